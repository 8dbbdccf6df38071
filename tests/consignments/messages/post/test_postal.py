"""Postal messages of built-in forms: the flat schema, a post's item attributes, customs data of two interfaces, despatches, answers."""

from datetime import UTC, datetime

import pytest
from support.messages import (
    changed,
    check_quality,
    declaration,
    declarations,
    events,
    given,
    load,
    masters,
    read,
)

from consignments.errors import MessageFault
from consignments.messages.parsed import CustomsEvent, Ignored
from consignments.messages.post.postal import list_built_in, looks_like_postal, read_postal

CDS, ITMATT, PIECES, SKUS = (
    load(name) for name in ("cds_view.xml", "flat_itmatt.xml", "content_pieces.json", "sku_list.xml")
)
FLAT = b"""{"ItemId": "RB123456785GB", "SenderName": "A. Smith", "SenderCountryCd": "GB", "RecipientName": "Kim",
 "RecipientCountryCd": "KOR", "GrossWeight": 0.4, "NatureTypeCd": 11,
 "ContentPieces": [{"Description": "tea", "Number": 3, "NetWeight": 0.3, "Amount": 9, "CurrencyCd": "gbp", "HS": "090210"}]}"""


def test_a_declaration_of_the_customs_declaration_system_with_all_its_fields() -> None:
    assert given(declaration(read_postal, CDS).fields) == {
        "consignment_id": "RA473124829CA",
        "channel": "postal",
        "service": "letter",
        "nature": "gift",
        "carrier": "CAA",
        "sender_name": "Ann Baker",
        "sender_address": "22 Elm Street",
        "sender_city": "Ottawa",
        "sender_postcode": "K1A 0B1",
        "sender_country": "CA",
        "consignee_name": "Kim Min-su",
        "consignee_address": "Sejong-daero 110, 3F",
        "consignee_city": "Seoul",
        "consignee_postcode": "04524",
        "consignee_country": "KR",
        "consignee_phone": "010-5550-4471",
        "consignee_email": "kim@mail.example",
        "departure_country": "CA",
        "destination_country": "KR",
        "description": "wrist watch",
        "hs_code": "910211",
        "origin_country": "CH",
        "items": [
            {
                "description": "wrist watch",
                "quantity": 2.0,
                "net_weight_kg": 0.1,
                "value": 20.0,
                "hs_code": "910211",
                "origin_country": "CH",
            },
            {"description": "watch strap", "quantity": 1.0, "net_weight_kg": 0.02, "value": 5.5},
        ],
        "pieces": 3.0,
        "gross_weight_kg": 0.15,
        "declared_value": 25.5,
        "currency": "CAD",
        "postage": 8.25,
    }
    assert declaration(read_postal, CDS).issued_at == datetime(2026, 1, 2, 10, 0, tzinfo=UTC)


def test_the_answer_beside_a_declaration_is_an_event() -> None:
    assert events(read_postal, CDS) == [
        CustomsEvent(
            "RA473124829CA",
            "KR",
            "assessment_complete",
            "3/12",
            "no objection",
            datetime(2026, 1, 5, 4, 0, tzinfo=UTC),
            "postal response",
        )
    ]


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


def test_item_attributes_of_a_post() -> None:
    found = declaration(read_postal, ITMATT)
    assert given(found.fields) == {
        "consignment_id": "CT123456785US",
        "channel": "postal",
        "service": "parcel",
        "nature": "gift",
        "sender_name": "Toy Barn",
        "sender_address": "1567 Broadway",
        "sender_city": "New York",
        "sender_postcode": "10036",
        "sender_country": "US",
        "consignee_name": "J. de Vries",
        "consignee_address": "Loire 1",
        "consignee_city": "Den Haag",
        "consignee_postcode": "2491 AN",
        "consignee_country": "NL",
        "consignee_phone": "31655501234",
        "consignee_email": "vries@mail.example",
        "departure_country": "US",
        "destination_country": "NL",
        "description": "wooden train",
        "hs_code": "950300",
        "origin_country": "US",
        "items": [
            {
                "description": "wooden train",
                "quantity": 1.0,
                "net_weight_kg": 0.7,
                "value": 300.0,
                "hs_code": "950300",
                "origin_country": "US",
            }
        ],
        "pieces": 1.0,
        "gross_weight_kg": 0.8,
        "declared_value": 300.0,
        "currency": "USD",
    }
    assert found.quality == ("currency_mixed",)  # the postage is in euro


def test_grams_and_totals_of_one_interface() -> None:
    fields = declaration(read_postal, PIECES).fields
    assert (fields["gross_weight_kg"], fields["declared_value"]) == (0.62, 25.0)
    assert given(fields)["items"] == [
        {
            "description": "printed book",
            "quantity": 2.0,
            "net_weight_kg": 0.6,
            "value": 25.0,
            "hs_code": "49019900",
            "origin_country": "DE",
        }
    ]
    assert (fields["nature"], fields["sender_name"], fields["consignee_address"]) == (
        "sale",
        "Buch & Co",
        "1 Collins Street, Level 3",
    )


def test_kilograms_and_amounts_per_unit_of_another() -> None:
    fields = declaration(read_postal, SKUS).fields
    assert (fields["gross_weight_kg"], fields["declared_value"], fields["pieces"]) == (0.5, 60.0, 3.0)
    (item,) = fields["items"]
    assert (item["value"], item["net_weight_kg"], item["hs_code"]) == (60.0, pytest.approx(0.3), "9608.30")
    assert (fields["sender_country"], fields["sender_phone"], fields["currency"]) == (
        "CA",
        "613 555 0199",
        "CAD",
    )
    assert check_quality(fields) == ("identifier_missing",)


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
