"""A draft of a mapping reads the samples that it was made from, and says of what it is not sure."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from support.messages import MESSAGES

from consignments.errors import MessageFault
from consignments.messages.parsed import Declaration, MessageContext
from consignments.messages.post.drafting import Draft, draft_mapping
from consignments.messages.post.mapped import read_mapped
from consignments.messages.post.mapping import parse_mapping

FRENCH = b"""<Envois><Devise>EUR</Devise>
 <Envoi numeroEnvoi="RB123456785FR"><Expediteur><Nom>Dupont</Nom><Prenom>Anne</Prenom><Rue>2 rue du Port</Rue><Ville>Nantes</Ville>
   <CodePostal>44000</CodePostal><Pays>FR</Pays><Courriel>anne@poste.example</Courriel></Expediteur>
  <Destinataire><RaisonSociale>Han &amp; Co</RaisonSociale><Adresse>Sejong-daero 110</Adresse><Ville>Seoul</Ville><Pays>KR</Pays></Destinataire>
  <Articles><Article><Designation>cahier</Designation><Quantite>2</Quantite><PoidsNet>150</PoidsNet><Valeur>4</Valeur><PaysOrigine>FR</PaysOrigine></Article>
   <Article><Designation>stylo</Designation><Quantite>1</Quantite><PoidsNet>20</PoidsNet><Valeur>3</Valeur><PaysOrigine>FR</PaysOrigine></Article></Articles>
  <ValeurTotale>11</ValeurTotale></Envoi>
 <Envoi numeroEnvoi="RB987654321FR"><Expediteur><Nom>Petit</Nom><Pays>FR</Pays></Expediteur><Destinataire><Nom>Kim</Nom><Pays>KR</Pays></Destinataire>
  <Articles><Article><Designation>livre</Designation><Quantite>1</Quantite><PoidsNet>300</PoidsNet><Valeur>9</Valeur></Article></Articles><ValeurTotale>9</ValeurTotale></Envoi></Envois>"""


def read(draft: Draft, content: bytes) -> list[Declaration]:
    found = read_mapped(content, MessageContext("test"), parse_mapping(draft.text, "draft"))
    return [each for each in found if isinstance(each, Declaration)]


def test_a_list_of_declarations_with_french_names_is_read_whole_by_its_draft() -> None:
    first, second = read(draft_mapping([("one", FRENCH)]), FRENCH)
    assert first.fields["sender_name"] == "Dupont Anne"
    expected = {
        "consignment_id": "RB123456785FR",
        "sender_address": "2 rue du Port",
        "sender_city": "Nantes",
        "sender_postcode": "44000",
        "sender_country": "FR",
        "sender_email": "anne@poste.example",
        "consignee_name": "Han & Co",
        "consignee_address": "Sejong-daero 110",
        "consignee_country": "KR",
        "currency": "EUR",
        "declared_value": 11.0,
    }
    assert {name: first.fields[name] for name in expected} == expected
    assert [item["description"] for item in first.fields["items"]] == ["cahier", "stylo"]
    assert [item["value"] for item in first.fields["items"]] == [8.0, 3.0], "the total says: per unit"
    assert second.fields["consignment_id"] == "RB987654321FR"
    assert second.fields["consignee_name"] == "Kim"


@pytest.mark.parametrize("name", ["cds_view.xml", "sku_list.xml", "flat_itmatt.xml", "content_pieces.json"])
def test_a_sample_of_a_known_interface_gets_its_goods_and_both_parties(name: str) -> None:
    content = (MESSAGES / name).read_bytes()
    for declaration in read(draft_mapping([(name, content)]), content):
        fields = declaration.fields
        assert fields["sender_name"]
        assert fields["consignee_name"]
        assert fields["items"][0]["description"]
        assert fields["items"][0]["hs_code"]


def test_parties_told_apart_by_a_code_are_marked_if_the_code_does_not_spell_it() -> None:
    party = {"Name": "Ann", "Street": "1 Mill Lane", "City": "Bristol", "Countrycode": "GB"}
    goods = [{"Description": "tea", "Quantity": 1, "Weight": 200, "Value": 5, "HSTariffNr": "090210"}]
    addresses = [
        {"AddressType": "01"} | party | {"Name": "Kim", "Countrycode": "NL"},
        {"AddressType": "02"} | party,
    ]
    content = json.dumps(
        {"Shipments": [{"Barcode": "RB123456785GB", "Addresses": addresses, "Contents": goods}]}
    )
    draft = draft_mapping([("one", content.encode())])
    (only,) = read(draft, content.encode())
    assert (only.fields["sender_name"], only.fields["consignee_name"]) == ("Ann", "Kim")
    assert all(guess.doubt for guess in draft.record if guess.column.startswith(("sender", "consignee")))


def test_every_guess_stands_beside_the_value_of_the_sample_and_what_is_not_used_is_listed() -> None:
    content = FRENCH.replace(b"<ValeurTotale>11", b"<Humeur>bonne</Humeur><ValeurTotale>11")
    draft = draft_mapping([("one", content)])
    assert 'consignee_city = "Destinataire/Ville"  # "Seoul"' in draft.text
    assert '# Envoi/Humeur  "bonne"' in draft.text
    assert "unsure: weight: kg, g, lb or oz?" in draft.text


def test_a_unit_in_a_name_or_an_element_of_its_own_is_taken() -> None:
    grams = draft_mapping([("one", FRENCH.replace(b"PoidsNet", b"PoidsGrammes"))])
    assert 'weight = "g"' in grams.text
    told = draft_mapping([("one", FRENCH.replace(b"<Quantite>", b"<weightUnit>g</weightUnit><Quantite>"))])
    assert 'weight_unit = "weightUnit"' in told.text
    assert "kg, g, lb" not in told.text


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<a><b>1</b></a>", "no element looks like one of a declaration"),
        (b"UNA:+.? 'UNB+UNOC:3+A+B'", "no draft for EDIFACT"),
        (b"   ", "no element looks like one of a declaration"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "document type"),
    ],
)
def test_what_cannot_be_drafted_is_told(content: bytes, what: str) -> None:
    with pytest.raises(MessageFault, match=what):
        draft_mapping([("one", content)])


NAMES = some.sampled_from(
    [
        "Sender",
        "recipient",
        "Name",
        "zip",
        "Items",
        "hs code",
        "Weight",
        "a/b",
        "..",
        "@type",
        "x[1]",
        "\n",
        "é",
    ]
) | some.text(max_size=6)
VALUES = (
    some.none()
    | some.booleans()
    | some.floats()
    | some.text(max_size=12)
    | some.sampled_from(["KR", "RB123456785GB", "12.5", "cz"])
)


@settings(max_examples=150)
@given(
    some.recursive(
        VALUES,
        lambda below: some.lists(below, max_size=3) | some.dictionaries(NAMES, below, max_size=4),
        max_leaves=25,
    )
)
def test_a_draft_of_anything_is_a_mapping_or_a_refusal(message: object) -> None:
    try:
        draft = draft_mapping([("one", json.dumps(message).encode())])
    except MessageFault:
        return
    parse_mapping(draft.text, "draft")
