"""Mapping files: what they say is checked, and which messages they are for; `test_cases` has what is read by them."""

from pathlib import Path
from typing import Any

import pytest
from support.cases import read_cases
from support.messages import MESSAGES, load

from consignments import errors
from consignments.errors import FileFault, MessageFault
from consignments.messages.kinds import detect_kind
from consignments.messages.parsed import MessageContext
from consignments.messages.post.mapped import measure_match, read_mapped
from consignments.messages.post.mapping import load_mapping, parse_mapping

FEED = b"<Feed><Parcel no='1'><From>Ann</From><To>Kim</To></Parcel></Feed>"
MAPPING = (
    '[record]\neach = "Feed/Parcel"\nconsignment_id = "@no"\nsender_name = "From"\nconsignee_name = "To"\n'
)


def read(content: bytes) -> None:
    list(read_mapped(content, MessageContext(), parse_mapping(MAPPING, "own.toml")))


@pytest.mark.parametrize("case", read_cases("mapping_faults"))
def test_errors_of_a_mapping_file_say_where_and_what_was_expected(case: dict[str, Any]) -> None:
    with pytest.raises(getattr(errors, case["error"]), match=case["said"]) as caught:
        parse_mapping(case["mapping"], "own.toml")
    assert "own.toml" in str(caught.value)


def test_a_segment_map_is_for_its_types_of_messages() -> None:
    mapping = load_mapping(MESSAGES / "itmatt.toml")
    assert measure_match(load("itmatt.edi"), mapping)
    assert not measure_match(load("itmatt.edi").replace(b"ITMATT", b"PREDES"), mapping)


def test_a_mapping_is_for_messages_that_have_its_names() -> None:
    mapping = parse_mapping(MAPPING, "own.toml")
    assert measure_match(FEED, mapping)
    assert not measure_match(load("ics2_f43.xml"), mapping)
    assert not measure_match(b'{"ItemId": 1}', mapping)
    one = parse_mapping('detect = "Sendung"\n[record]\nsender_name = "von"', "own.toml")
    assert measure_match(b'{"sendung": {}}', one)
    assert not measure_match(b'{"s": {}, "e": {}}', one)


def test_of_several_mappings_the_one_with_most_names_of_a_message_reads_it() -> None:
    rich = parse_mapping('[record]\nconsignee_name = "name"\nconsignee_city = "city"', "rich.toml")
    poor = parse_mapping('[record]\nconsignee_name = "name"\nconsignee_phone = "phone"', "poor.toml")
    assert detect_kind(b'{"name": "Kim", "city": "Seoul"}', (poor, rich)).mapping is rich
    assert not measure_match(b"from name,from city\nKim,Seoul\n", rich)


def test_a_message_without_records_says_where_they_were_expected_and_shows_no_value() -> None:
    with pytest.raises(MessageFault, match=r"record\.each.*root element Other.*Feed/Parcel") as caught:
        read(b"<Other><Name>Ann</Name></Other>")
    assert "Ann" not in str(caught.value)


def test_a_mapping_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileFault, match="cannot be read"):
        load_mapping(tmp_path / "none.toml")


def test_what_is_held_as_a_whole_is_bounded() -> None:
    for content in (b'{"id": "' + b"A" * 10_000_000 + b'"}', b"UNH+1'" + b"A" * 10_000_000):
        with pytest.raises(MessageFault, match="too large"):
            read(content)
