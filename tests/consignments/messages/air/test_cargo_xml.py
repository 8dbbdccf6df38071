"""Cargo-XML: real shapes of messages become consignments, defects become codes, hostile and broken ones are refused by name."""

import gzip
import re
from collections.abc import Callable
from copy import deepcopy

import pytest
from lxml import etree
from support import messages

from consignments.messages.xml_parsing import MAX_TAGS
from consignments.records import Consignment, Item
from consignments.tables import build_frame, check_frame, to_records


def test_more_items_than_a_record_holds_are_cut_with_a_code() -> None:
    root = etree.fromstring(messages.HOUSE.read_bytes())
    item = root.find(".//{*}IncludedHouseConsignmentItem")
    item.getparent().extend([deepcopy(item) for _ in range(1_500)])
    found = messages.read_one(etree.tostring(root))
    assert len(found.items or ()) == 1000
    assert "text_cut" in (found.quality or ())


def test_missing_mandatory_elements_are_no_reason_to_refuse() -> None:
    data = messages.HOUSE.read_bytes()
    names = (b"ConsignorParty", b"ConsigneeParty", b"OriginLocation", b"TransportContractDocument")
    for name in (*names, b"TotalPieceQuantity"):
        data = re.sub(rb"<ram:%s>.*?</ram:%s>" % (name, name), b"", data, flags=re.DOTALL)
    found = messages.read_one(data)
    assert (found.consignment_id, found.route) == ("WHX26030917", "ICN")
    assert (found.sender_name, found.pieces) == (None, None)
    assert {"sender_missing", "consignee_missing"} <= set(found.quality or ())
    assert "identifier_missing" not in (found.quality or ())  # the house has its own


def test_a_byte_order_mark_and_other_encodings_are_read() -> None:
    found = messages.read_all(messages.HOUSE.read_bytes().replace(b"PARK JI HO", b"PARK \xe9HO"))
    assert found.consignments[0].consignee_name == "PARK éHO"
    assert "read as Windows-1252" in found.notes[0]
    text = messages.HOUSE.read_text(encoding="utf-8").replace("PARK JI HO", "박지호")
    utf_16 = text.replace('encoding="UTF-8"', 'encoding="UTF-16"').encode("utf-16")
    for data in (b"\xef\xbb\xbf" + text.encode(), utf_16):
        assert messages.read_one(data).consignee_name == "박지호"


REFUSALS: list[tuple[Callable[[], bytes], str]] = [
    (lambda: '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY b "c">]><HouseWaybill>&b;</HouseWaybill>'.encode("utf-16"), "entities are declared"),
    (lambda: b"<Waybill>" + b"<a>" * 300 + b"</a>" * 300 + b"</Waybill>", "nested too deep"),
    (lambda: b"<HouseWaybill>" + b"<a/>" * MAX_TAGS + b"</HouseWaybill>", "too many elements"),
    (lambda: b"<HouseWaybill>" + b" " * 11_000_000 + b"</HouseWaybill>", "too large"),
    *((lambda code=code: code + b"\n" + b"A" * 1_000_000, "too large; got 1,000,007 bytes; expected at most 1,000,000; send several messages") for code in (b"FWB/16", b"FHL/16")),
    (lambda: gzip.compress(messages.HOUSE.read_bytes()), "compressed; got gzip; expected a message as it is, or a zip archive; decompress it"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "words"), REFUSALS)
def test_a_bad_message_is_rejected_with_its_reason(data: Callable[[], bytes], words: str) -> None:
    found = messages.read_messages([data()])
    assert found.consignments == ()
    (reject,) = found.rejects
    assert words in str(reject)


def test_an_element_is_read_in_any_number_of_unknown_ones_and_the_first_counts() -> None:
    names, tag = "".join(f"<N{number}/>" for number in range(3_000)), "<ram:SummaryDescription>"
    twice = f"{names}{tag} first\n one</ram:SummaryDescription>{tag}"
    assert messages.read_one(messages.change_message(messages.HOUSE, (tag, twice))).description == "first one"


def test_messages_become_a_table_that_passes_its_checks() -> None:
    hour_later = ("2026-03-10T08:42:00", "2026-03-10T09:42:00")
    later = messages.change_message(messages.HOUSE, ("PARK JI HO", "KIM"), hour_later)
    others = (messages.MASTER, messages.DIRECT, messages.POUNDS)
    found = messages.read_all(messages.HOUSE, *others, messages.HOUSE, later)
    table = check_frame(build_frame(found.consignments, Consignment), Consignment)
    assert table.rejects == ()
    assert list(table.frame["sequence"]) == [1, 2, 3, 4, 5]  # the house was amended; its copy changed nothing
    assert found.repeats == 1
    assert to_records(table.frame, Consignment) == list(found.consignments)


@pytest.mark.skipif(
    not messages.SAMPLES.exists(), reason="the collected sample messages stand beside this repository only"
)
def test_collected_sample_messages_are_read() -> None:
    paths = [*messages.SAMPLES.glob("xfwb/*.xml"), *messages.SAMPLES.glob("xfzb/*.xml")]
    found = messages.read_all(*sorted(paths))
    routes = {c.consignment_id: c.route for c in found.consignments if c.level == "master"}
    assert routes == {"888-11111111": "ORK>DUB>AUH>PVG", "020-68548340": "VCP>FRA>CDG"}
    house = found.consignments[-1]
    assert house.consignment_id == "888-11111111/SEL22222222"
    assert (house.route, house.gross_weight_kg, house.pieces) == ("ICN>FRA>FDH", 134.0, 10.0)
    assert (house.currency, house.postage, house.declared_value) == ("KRW", 420.0, None)
    assert house.items == (Item("SPARE PARTS", 5.0, None, None, "1133557799", None),)
