"""Postal messages of built-in forms: the flat schema, a post's item attributes, customs data of two interfaces, despatches, answers."""

from datetime import UTC, datetime
from typing import Any

import pytest
from support.messages import declaration, declarations, events, given, load, masters, read

from consignments.errors import MessageFault
from consignments.messages.parsed import Ignored
from consignments.messages.post.postal import list_built_in, looks_like_postal, read_postal

FLAT = b"""{"ItemId": "RB123456785GB", "SenderName": "A. Smith", "SenderCountryCd": "GB", "RecipientName": "Kim",
 "RecipientCountryCd": "KOR", "GrossWeight": 0.4, "NatureTypeCd": 11,
 "ContentPieces": [{"Description": "tea", "Number": 3, "NetWeight": 0.3, "Amount": 9, "CurrencyCd": "gbp", "HS": "090210"}]}"""
TEA = {"description": "tea", "quantity": 3.0, "net_weight_kg": 0.3, "value": 9.0, "hs_code": "090210"}
BAG = "GBLONAKRSELBAUN60001001100123"


@pytest.mark.parametrize(
    ("old", "new", "fields", "quality"),
    [
        ("", "", {"items": [TEA], "consignee_country": "KR", "currency": "GBP", "nature": "sale"}, ()),
        ("0.4", "400", {"gross_weight_kg": 400.0}, ("unit_doubtful",)),
        ('"NetWeight": 0.3', '"NetWeight": 0.9', {"gross_weight_kg": 0.4}, ("unit_doubtful",)),
        ("0.4", "1e999", {"gross_weight_kg": None, "sender_name": "A. Smith"}, ("number_malformed",)),
        ("A. Smith", "A. \\ud800Smith", {"sender_name": "A. \ufffdSmith"}, ()),
        ("{", f'{{"ReceptacleId": "{BAG}", ', {"master_id": BAG, "route": "GBLONA>KRSELB"}, ()),
    ],
)
def test_a_declaration_of_the_flat_schema(
    old: str, new: str, fields: dict[str, Any], quality: tuple[str, ...]
) -> None:
    content = FLAT.replace(old.encode(), new.encode(), 1)
    found = declaration(read_postal, content)
    assert {name: given(found.fields).get(name) for name in fields} == fields
    assert found.quality == quality
    assert masters(read_postal, content) == []


def test_a_list_of_declarations_has_one_for_each() -> None:
    other = FLAT.replace(b"RB123456785GB", b"RA473124829CA")
    for content in (b"[" + FLAT + b"," + other + b"]", b'{"Declarations": [' + FLAT + b"," + other + b"]}"):
        found = declarations(read_postal, content)
        assert [each.fields["consignment_id"] for each in found] == ["RB123456785GB", "RA473124829CA"]


def test_a_despatch_names_the_items_of_a_receptacle() -> None:
    (bag,) = masters(read_postal, load("predes.json"))
    assert bag.number == "USLAXANLHAGICCN12345678901234"
    assert bag.fields == {"route": "USLAXA>NLHAGI", "departure_country": "US", "destination_country": "NL"}
    assert bag.members == ("CT123456785US", "CT987654321US")


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


@pytest.mark.parametrize("sample", ["cds_view.xml", "flat_itmatt.xml", "content_pieces.json", "sku_list.xml"])
def test_forms_are_told_apart_by_their_names(sample: str) -> None:
    assert sample.startswith(list_built_in(load(sample))[0].name)


def test_other_messages_are_not_postal() -> None:
    assert not any(map(looks_like_postal, (b'{"hello": "world"}', b"FWB/16")))
