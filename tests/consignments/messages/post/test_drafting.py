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
    expected = (
        "RB123456785FR|2 rue du Port|Nantes|44000|FR|anne@poste.example|Han & Co|Sejong-daero 110|KR|EUR"
    )
    columns = (
        "consignment_id sender_address sender_city sender_postcode sender_country sender_email "
        "consignee_name consignee_address consignee_country currency"
    )
    assert "|".join(first.fields[name] for name in columns.split()) == expected
    assert first.fields["declared_value"] == 11.0
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


@pytest.mark.parametrize(
    ("name", "codes", "marked"),
    [("AddressType", ("01", "02"), True), ("Zork", ("Receiver", "Sender"), False)],
)
def test_parties_told_apart_by_a_code_are_marked_if_the_code_does_not_spell_it(
    name: str, codes: tuple[str, str], marked: bool
) -> None:
    party = {"Name": "Ann", "Street": "1 Mill Lane", "City": "Bristol", "Countrycode": "GB"}
    goods = [{"Description": "tea", "Quantity": 1, "Weight": 200, "Value": 5, "HSTariffNr": "090210"}]
    addresses = [
        {name: codes[0]} | party | {"Name": "Kim", "Countrycode": "NL"},
        {name: codes[1]} | party,
    ]
    content = json.dumps(
        {"Shipments": [{"Barcode": "RB123456785GB", "Addresses": addresses, "Contents": goods}]}
    )
    draft = draft_mapping([("one", content.encode())])
    (only,) = read(draft, content.encode())
    assert (only.fields["sender_name"], only.fields["consignee_name"]) == ("Ann", "Kim")
    assert "element_unread" not in {warning.code for warning in only.doubts.warnings}, "the code was read"
    parties = [guess for guess in draft.record if guess.column.startswith(("sender", "consignee"))]
    assert all(guess.doubt for guess in parties) == marked


def test_elements_with_names_that_nobody_knows_are_read_by_their_values_and_marked() -> None:
    sender = {
        "qa": "Ann Lee",
        "qb": "1 Mill Lane",
        "qc": "GB",
        "qd": "ann@mail.example",
        "qe": "+441215002500",
    }
    consignee = {"qa": "Kim Minji", "qb": "110 Sejong-daero", "qc": "KR", "qg": "04524", "qf": "Seoul"}
    goods = [
        {"ga": "LED lamp", "gb": "940542", "gc": "CN", "gd": 7},
        {"ga": "tea", "gb": "090210", "gc": "IN"},
    ]
    parcel = {
        "xa": "RB123456785GB",
        "xb": sender,
        "xc": consignee,
        "xd": goods,
        "xe": "EUR",
        "xf": "2026-03-09",
    }
    content = json.dumps({"xx": [parcel]}).encode()
    draft = draft_mapping([("one", content)])
    (only,) = read(draft, content)
    given = only.fields | {"issued_at": only.issued_at and only.issued_at.isoformat()[:10]}
    assert " ".join(given[guess.column] for guess in draft.record) == (
        "Ann Lee 1 Mill Lane GB ann@mail.example +441215002500 Kim Minji 110 Sejong-daero KR 04524 Seoul EUR 2026-03-09 RB123456785GB"
    )
    assert [(item["description"], item["hs_code"], item["origin_country"]) for item in given["items"]] == [
        ("LED lamp", "940542", "CN"),
        ("tea", "090210", "IN"),
    ]
    assert all(guess.doubt for guess in (*draft.record[:-1], *draft.items))


@pytest.mark.parametrize(
    ("old", "new", "column", "values"),
    [
        ("Quantite", "Zork", "quantity", [2.0, 1.0]),
        ("PoidsNet", "Xyzpoids", "net_weight_kg", [150.0, 20.0]),
        ("Designation", "Naimenovanie", "description", ["cahier", "stylo"]),
        ("PaysOrigine", "OriginCountry", "origin_country", ["FR", "FR"]),
    ],
)
def test_goods_are_read_under_names_that_say_little(
    old: str, new: str, column: str, values: list[object]
) -> None:
    coded = FRENCH.replace(b"</Article>", b"<CodeSH>482010</CodeSH></Article>")
    content = coded.replace(old.encode(), new.encode())
    first, _ = read(draft_mapping([("one", content)]), content)
    assert [item[column] for item in first.fields["items"]] == values


@pytest.mark.parametrize(
    ("old", "new", "written"),
    [
        ("", "", 'consignee_city = "Destinataire/Ville"  # "Seoul"'),
        ("", "", "unsure: weight: kg, g, lb or oz?"),
        ("<ValeurTotale>11", "<Humeur>bonne</Humeur><ValeurTotale>11", '# Envoi/Humeur  "bonne"'),
        ("PoidsNet", "PoidsGrammes", 'weight = "g"'),
        ("<Quantite>", "<weightUnit>g</weightUnit><Quantite>", 'weight_unit = "weightUnit"'),
    ],
)
def test_a_draft_shows_each_guess_with_its_value_its_unit_and_what_is_open(
    old: str, new: str, written: str
) -> None:
    text = draft_mapping([("one", FRENCH.replace(old.encode(), new.encode()) if old else FRENCH)]).text
    assert written in text
    assert ("kg, g, lb" in text) == ("unit" not in written and "weight =" not in written)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<a><b>1</b></a>", "no element looks like one of a declaration"),
        (b"UNA:+.? 'UNB+UNOC:3+A+B'", "no draft for EDIFACT"),
        (b'<a b="1">text</a>', "no element looks like one of a declaration"),
        (b"   ", "no element looks like one of a declaration"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "document type"),
    ],
)
def test_what_cannot_be_drafted_is_told(content: bytes, what: str) -> None:
    with pytest.raises(MessageFault, match=what):
        draft_mapping([("one", content)])


WORDS = "hs code,Sender,recipient,Name,zip,Items,Weight,a/b,..,@type,x[1],#TEXT"
ANY_NAME = some.sampled_from(WORDS.split(",")) | some.text(max_size=6)
TEXTS = some.text(max_size=12) | some.sampled_from(["KR", "RB123456785GB", "12.5", "cz"])
VALUES = some.none() | some.booleans() | some.floats() | TEXTS


@settings(max_examples=150)
@given(
    some.recursive(
        VALUES,
        lambda below: some.lists(below, max_size=3) | some.dictionaries(ANY_NAME, below, max_size=4),
        max_leaves=25,
    )
)
def test_a_draft_of_anything_is_a_mapping_or_a_refusal(message: object) -> None:
    try:
        draft = draft_mapping([("one", json.dumps(message).encode())])
    except MessageFault:
        return
    parse_mapping(draft.text, "draft")
