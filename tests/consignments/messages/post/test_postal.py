"""Postal messages of built-in forms: the flat schema, a post's item attributes, customs data of two interfaces, despatches, answers."""

from datetime import UTC, datetime

import pytest
from support.messages import changed, declaration, declarations, events, given, load, masters, read

from consignments.errors import MessageFault
from consignments.messages.parsed import Ignored
from consignments.messages.post.postal import list_built_in, looks_like_postal, read_postal

CDS, ITMATT, PIECES, SKUS = (
    load(name) for name in ("cds_view.xml", "flat_itmatt.xml", "content_pieces.json", "sku_list.xml")
)
FLAT = b"""{"ItemId": "RB123456785GB", "SenderName": "A. Smith", "SenderCountryCd": "GB", "RecipientName": "Kim",
 "RecipientCountryCd": "KOR", "GrossWeight": 0.4, "NatureTypeCd": 11,
 "ContentPieces": [{"Description": "tea", "Number": 3, "NetWeight": 0.3, "Amount": 9, "CurrencyCd": "gbp", "HS": "090210"}]}"""


def test_the_flat_schema_in_json() -> None:
    found = declaration(read_postal, FLAT)
    assert given(found.fields)["items"] == [
        {"description": "tea", "quantity": 3.0, "net_weight_kg": 0.3, "value": 9.0, "hs_code": "090210"}
    ]
    assert (found.fields["consignee_country"], found.fields["currency"], found.fields["nature"]) == (
        "KR",
        "GBP",
        "sale",
    )
    assert found.quality == ()


def test_a_list_of_declarations_has_one_for_each() -> None:
    other = FLAT.replace(b"RB123456785GB", b"RA473124829CA")
    for content in (b"[" + FLAT + b"," + other + b"]", b'{"Declarations": [' + FLAT + b"," + other + b"]}"):
        found = declarations(read_postal, content)
        assert [each.fields["consignment_id"] for each in found] == ["RB123456785GB", "RA473124829CA"]


def test_grams_where_kilograms_are_due_are_in_doubt() -> None:
    found = declaration(read_postal, changed(FLAT, ('"GrossWeight": 0.4', '"GrossWeight": 400')))
    assert found.quality == ("unit_doubtful",)


def test_net_weights_heavier_than_the_item_are_in_doubt() -> None:
    found = declaration(read_postal, changed(FLAT, ('"NetWeight": 0.3', '"NetWeight": 0.9')))
    assert found.quality == ("unit_doubtful",)


def test_a_number_out_of_range_is_left_out_and_the_rest_is_read() -> None:
    found = declaration(read_postal, changed(FLAT, ('"GrossWeight": 0.4', '"GrossWeight": 1e999')))
    assert "gross_weight_kg" not in found.fields
    assert found.quality == ("number_malformed",)
    assert found.fields["sender_name"] == "A. Smith"


def test_half_of_a_surrogate_pair_does_not_end_the_run() -> None:
    found = declaration(read_postal, changed(FLAT, ("A. Smith", "A. \\ud800Smith")))
    assert found.fields["sender_name"] == "A. \ufffdSmith"


def test_a_despatch_names_the_items_of_a_receptacle() -> None:
    (bag,) = masters(read_postal, load("predes.json"))
    assert bag.number == "USLAXANLHAGICCN12345678901234"
    assert bag.fields == {"route": "USLAXA>NLHAGI", "departure_country": "US", "destination_country": "NL"}
    assert bag.members == ("CT123456785US", "CT987654321US")


def test_a_declaration_that_names_its_receptacle_takes_its_route() -> None:
    tagged = changed(FLAT, ('"SenderName"', '"ReceptacleId": "GBLONAKRSELBAUN60001001100123", "SenderName"'))
    fields = declaration(read_postal, tagged).fields
    assert (fields["master_id"], fields["route"]) == ("GBLONAKRSELBAUN60001001100123", "GBLONA>KRSELB")
    assert masters(read_postal, tagged) == []


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("ASC", "assessment_complete"),
        ("RFI", "request_for_information"),
        ("rfs", "request_for_screening"),
        ("DNL", "do_not_load"),
        ("ERR", "error"),
        ("INC", "error"),
    ],
)
def test_answers_of_the_postal_system(code: str, state: str) -> None:
    message = f'{{"ItemId": "RB123456785GB", "ResponseCd": "{code}", "ResponseDt": "2026-03-01T00:00:00Z"}}'
    (found,) = events(read_postal, message.encode())
    assert (found.consignment_id, found.state, found.code) == ("RB123456785GB", state, code)
    assert found.issued_at == datetime(2026, 3, 1, tzinfo=UTC)


def test_a_message_without_goods_is_named_and_ignored() -> None:
    (found,) = read(read_postal, b'{"MailObject": {"Id": "RB123456785GB", "MailClassCd": "U"}}')
    assert isinstance(found, Ignored)


@pytest.mark.parametrize(
    "content", [b'{"SenderName": ', b'["SenderZIP"', b"<Item><ItemId>", b"", b"[" * 5000 + b'"SenderZIP"']
)
def test_broken_messages_are_faults(content: bytes) -> None:
    with pytest.raises(MessageFault):
        read(read_postal, content)


def test_forms_are_told_apart_by_their_names() -> None:
    names = {
        name: next(iter(list_built_in(load(f"{name}"))), None)
        for name in ("cds_view.xml", "flat_itmatt.xml", "content_pieces.json", "sku_list.xml")
    }
    assert [mapping.name for mapping in names.values() if mapping] == [
        "cds",
        "flat_itmatt",
        "content_pieces",
        "sku_list",
    ]
    assert looks_like_postal(load("predes.json"))
    assert not looks_like_postal(b'{"hello": "world"}')
    assert not looks_like_postal(b"FWB/16")
