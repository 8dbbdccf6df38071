"""Mapping files: what they say is checked, and the messages they are for are read by it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.messages import MESSAGES, ROOT, changed, load

from consignments import errors
from consignments.errors import FileFault, MessageFault
from consignments.messages.parsed import Declaration, MessageContext, Parsed
from consignments.messages.post.mapped import matches_mapping, read_mapped
from consignments.messages.post.mapping import load_mapping, parse_mapping

XML = b"""<Feed><Head><Currency>EUR</Currency></Head>
 <Parcel no="RB123456785GB"><From><First>Ann</First><Last>Smith</Last><Line>1 Mill Lane</Line><Line>Flat 2</Line><Land>Great Britain</Land></From>
  <To><Name>Kim</Name><Land>KOR</Land></To><Kind>V</Kind><Weight unit="oz">16</Weight>
  <Goods><Line><What>tea</What><Count>2</Count><Each>3.5</Each></Line><Line><What>cups</What><Count>4</Count><Each>1</Each></Line></Goods></Parcel>
 <Parcel no="RA473124829CA"><From><Last>Roe</Last></From><Weight>2</Weight></Parcel></Feed>"""
MAPPING = """
[record]
each = "Feed/Parcel"
consignment_id = "@no"
sender_name = ["From/First", "From/Last"]
sender_address = "From/Line"
sender_country = "From/Land"
consignee_name = "To/Name"
consignee_country = "To/Land"
nature = "Kind"
gross_weight_kg = "Weight"
weight_unit = "Weight/@unit"
currency = "/Head/Currency"
carrier = { value = "Our Post" }

[items]
each = "Goods/Line"
description = "What"
quantity = "Count"
value = "Each"

[units]
weight = "lb"
value = "per unit"

[codes.nature]
V = "sale"
"""


def read(text: str, content: bytes) -> list[Parsed]:
    return list(read_mapped(content, MessageContext("test"), parse_mapping(text, "own.toml")))


def read_one(text: str, content: bytes) -> Declaration:
    (found,) = read(text, content)
    assert isinstance(found, Declaration)
    return found


def test_columns_come_from_paths_joined_converted_and_decoded() -> None:
    first, second = read(MAPPING, XML)
    assert isinstance(first, Declaration)
    fields = {name: value for name, value in first.fields.items() if name != "items"}
    assert fields == {
        "channel": "postal",
        "consignment_id": "RB123456785GB",
        "sender_name": "Ann Smith",
        "sender_address": "1 Mill Lane, Flat 2",
        "sender_country": "GB",
        "consignee_name": "Kim",
        "consignee_country": "KR",
        "nature": "sale",
        "gross_weight_kg": pytest.approx(0.45359237),
        "currency": "EUR",
        "carrier": "Our Post",
        "departure_country": "GB",
        "destination_country": "KR",
        "description": "tea",
        "declared_value": 11.0,
        "pieces": 6.0,
    }
    assert [(item["description"], item["quantity"], item["value"]) for item in first.fields["items"]] == [
        ("tea", 2.0, 7.0),
        ("cups", 4.0, 4.0),
    ]
    assert isinstance(second, Declaration)
    assert second.fields["gross_weight_kg"] == pytest.approx(0.90718474)
    assert second.doubts == set()


def test_a_declaration_without_identifier_gets_one_of_its_content() -> None:
    content = b'{"to": "Kim", "what": "tea"}'
    text = '[record]\nconsignee_name = "to"\ndescription = "what"\nconsignment_id = "id"\n'
    first, again = read_one(text, content), read_one(text, b'{"what": "tea", "to": "Kim"}')
    assert first.fields["consignment_id"].startswith("unidentified:")
    assert first.fields["consignment_id"] == again.fields["consignment_id"]


RECORD = '[record]\nconsignment_id = "id"\n'


CASES = [
    json.loads(line) for line in (ROOT / "tests" / "data" / "mapping_cases.jsonl").read_text().splitlines()
]


@pytest.mark.parametrize("case", [case for case in CASES if "error" not in case])
def test_paths_lead_to_values_in_the_unit_and_per_what_the_file_or_a_sum_says_or_in_doubt(
    case: dict[str, Any],
) -> None:
    """Each line has a mapping, a message, some fields or some of its first item, and its quality codes."""
    found = read_one(case["mapping"], case["message"].encode())
    for name, value in case.get("fields", {}).items():
        assert found.fields[name] == (value if isinstance(value, str) else pytest.approx(value))
    for name, value in case.get("item", {}).items():
        assert found.fields["items"][0][name] == value
    if "sender_name" not in case.get("fields", {}):
        assert sorted(found.doubts) == case.get("quality", [])


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case])
def test_errors_of_a_mapping_file_say_where_and_what_was_expected(case: dict[str, Any]) -> None:
    with pytest.raises(getattr(errors, case["error"]), match=case["said"]) as caught:
        parse_mapping(case["mapping"], "own.toml")
    assert "own.toml" in str(caught.value)


@pytest.mark.parametrize("each", ["$[*]", "$.[*]", "[*]", ".", "$"])
def test_a_list_at_the_top_is_one_record_for_each_element(each: str) -> None:
    text = f'[record]\neach = "{each}"\nconsignment_id = "id"\nsender_name = "=S"\n'
    found = read(text, b'[{"id": "RB123456785GB"}, {"id": "RA473124829CA"}]')
    assert [parsed.fields["consignment_id"] for parsed in found] == ["RB123456785GB", "RA473124829CA"]  # type: ignore[union-attr]


def test_rows_of_csv_are_records() -> None:
    text = 'format = "csv"\n[record]\nconsignment_id = "Item No"\nsender_country = "Origin"\n'
    found = read(text, b"Item No;Origin\nRB123456785GB;NA\nRA473124829CA;Namibia\n")
    rows = [(each.fields["consignment_id"], each.fields["sender_country"]) for each in found]  # type: ignore[union-attr]
    assert rows == [("RB123456785GB", "NA"), ("RA473124829CA", "NA")]


def test_a_purpose_cancels_and_a_time_of_issue_is_read() -> None:
    text = f'{RECORD}purpose = "action"\nissued_at = "at"\n[codes.purpose]\nX = "delete"\n'
    found = read_one(text, b'{"id": "RB123456785GB", "action": "x", "at": "/Date(1773100800000+0100)/"}')
    assert found.purpose == "delete"
    assert found.issued_at == datetime(2026, 3, 10, tzinfo=UTC)


def test_a_segment_map_is_for_its_types_of_messages() -> None:
    mapping = load_mapping(MESSAGES / "itmatt.toml")
    assert matches_mapping(load("itmatt.edi"), mapping)
    assert not matches_mapping(load("itmatt.edi").replace(b"ITMATT", b"PREDES"), mapping)


def test_a_mapping_is_for_messages_that_have_its_names() -> None:
    mapping = parse_mapping(MAPPING, "own.toml")
    assert matches_mapping(XML, mapping)
    assert not matches_mapping(load("ics2_f43.xml"), mapping)
    assert not matches_mapping(b'{"ItemId": 1}', mapping)
    one = parse_mapping('detect = "Sendung"\n[record]\nsender_name = "von"', "own.toml")
    assert matches_mapping(b'{"sendung": {}}', one)
    assert not matches_mapping(b'{"s": {}, "e": {}}', one)


def test_a_message_without_records_says_where_they_were_expected_and_shows_no_value() -> None:
    with pytest.raises(MessageFault, match=r"record\.each.*root element Other.*Feed/Parcel") as caught:
        read(MAPPING, b"<Other><Name>Ann</Name></Other>")
    assert "Ann" not in str(caught.value)


def test_a_mapping_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileFault, match="cannot be read"):
        load_mapping(tmp_path / "none.toml")


def test_what_is_held_as_a_whole_is_bounded() -> None:
    text = '[record]\nconsignment_id = "id"\n'
    for content in (b'{"id": "' + b"A" * 10_000_000 + b'"}', b"UNH+1'" + b"A" * 10_000_000):
        with pytest.raises(MessageFault, match="too large"):
            read(text, content)


def test_an_edifact_message_with_two_identifiers_and_no_path_of_each_is_refused() -> None:
    mapping, content = load_mapping(MESSAGES / "itmatt.toml"), load("itmatt.edi")
    assert mapping.each == (".",)
    second = changed(content, ("DTM+137", "BGM+ITM+CP000000027US+9'\nDTM+137"), ("UNT+19", "UNT+20"))
    with pytest.raises(MessageFault, match="2 identifiers, 1 read"):
        list(read_mapped(second, MessageContext("test"), mapping))
