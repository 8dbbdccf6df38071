"""Cargo-XML: real shapes of messages become consignments, defects become codes, hostile and broken ones are refused by name."""

import gzip
import re
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from lxml import etree
from support.messages import (
    BROKEN,
    DIRECT,
    HOUSE,
    MASTER,
    POUNDS,
    SAMPLES,
    change_message,
    read_all,
    read_messages,
    read_one,
)

from consignments.messages.entries import MasterEntry
from consignments.messages.linking import enrich_house
from consignments.messages.xml_parsing import MAX_TAGS
from consignments.records import Consignment, Item
from consignments.tables import build_frame, check_frame, to_consignments


def test_a_house_without_a_value_in_pounds_and_withdrawn_by_its_sender() -> None:
    found = read_one(POUNDS)
    assert found.consignment_id == "988-30076631/LAX0031"
    assert found.gross_weight_kg == pytest.approx(4.5359237)
    assert (found.declared_value, found.currency, found.postage) == (None, "USD", 44.1)
    assert found.cancelled_at == found.received_at == datetime(2026, 3, 12, 21, 20, tzinfo=UTC)
    assert found.route == "LAX>ICN>PUS"
    assert found.sender_country == "US"
    assert found.items is None


@pytest.mark.parametrize(
    ("house", "master", "joined"),
    [
        ("PVG>ICN", "PVG>HKG>ICN", "PVG>HKG>ICN"),
        ("SZX>PVG>ICN>PUS", "PVG>HKG>ICN", "SZX>PVG>HKG>ICN>PUS"),
        ("ICN>FRA", "PVG>HKG", "ICN>FRA"),
        ("ICN>PVG", "PVG>ICN", "ICN>PVG"),
        (None, "PVG>ICN", "PVG>ICN"),
        ("PVG>ICN", None, "PVG>ICN"),
    ],
)
def test_a_masters_stops_stand_between_its_ends(
    house: str | None, master: str | None, joined: str | None
) -> None:
    given = Consignment("1/2", "air_cargo", route=house, declarant="OWN")
    fields = {"declarant": "FORWARDER", "carrier": "CX"} | ({"route": master} if master else {})
    entry = MasterEntry("1", fields, datetime(2026, 1, 1, tzinfo=UTC), None)
    found = enrich_house(given, entry)
    assert (found.route, found.declarant, found.carrier) == (joined, "OWN", "CX")


def test_every_style_of_prefixes_reads_alike() -> None:
    default = change_message(HOUSE, ("<ram:", "<"), ("</ram:", "</"), ("xmlns:ram=", "xmlns="))
    bare = etree.fromstring(HOUSE.read_bytes())
    for element in bare.iter():
        element.tag = etree.QName(element).localname
    assert read_one(default) == read_one(etree.tostring(bare)) == read_one(HOUSE)


@pytest.mark.parametrize(
    ("path", "old", "new", "fields", "code"),
    [
        (HOUSE, 'PrepaidChargeAmount currencyID="USD"', 'PrepaidChargeAmount currencyID="CNY"', {"currency": "USD", "postage": None}, "currency_mixed"),
        (HOUSE, "<ram:TotalPieceQuantity>1<", "<ram:TotalPieceQuantity>25 PCS<", {"pieces": None}, "number_malformed"),
        (HOUSE, "<ram:SummaryDescription>", '<ram:GrossVolumeMeasure unitCode="KGM">0.4</ram:GrossVolumeMeasure><ram:SummaryDescription>', {}, "volume_in_weight_unit"),
        (HOUSE, "PARK JI HO", "PARK " * 120, {"consignee_name": "PARK " * 100}, "text_cut"),
        (HOUSE, "26FEB26", "yesterday", {"account_opened_on": None}, "number_malformed"),
        (HOUSE, "160-48103823</ram:ID>\n    </ram:Transport", "X1</ram:ID>\n    </ram:Transport", {"consignment_id": "X1/WHX26030917"}, "identifier_malformed"),
        (HOUSE, "160-48103823", "160-48103824", {"consignment_id": "160-48103824/WHX26030917"}, "check_digit"),
        (HOUSE, "26FEB26", "02262026", {"account_opened_on": date(2026, 2, 26)}, ""),
        (HOUSE, "RT</ram:ContentCode>\n        <ram:Content>B2C", "FT</ram:ContentCode><ram:Content>02", {"service": "express", "nature": None}, ""),
        (HOUSE, "<ram:DescriptionCode>ECC<", "<ram:DescriptionCode>EAW<", {"service": None}, ""),
        (DIRECT, "CENTRIFUGAL PUMPS", "CONSOLIDATED CARGO", {"level": "direct"}, "consolidation_undeclared"),
    ],
)  # fmt: skip
def test_a_defect_is_a_code_and_no_reason_to_refuse(
    path: Path, old: str, new: str, fields: dict[str, object], code: str
) -> None:
    found = read_one(change_message(path, (old, new)))
    assert {name: getattr(found, name) for name in fields} == fields
    added = set(found.quality or ()) - set(read_one(path).quality or ())
    assert code in added if code else not added


@pytest.mark.parametrize(
    ("new", "value", "code"),
    [
        ('K">1.85', 1.85, "unit_doubtful"), ('kg">1.85', 1.85, "unit_doubtful"), ('">1.85', 1.85, "unit_doubtful"), ('MTQ">1.85', None, "unit_doubtful"),
        ('GRM">1850', 1.85, None), ('KGM">174,5', None, "number_malformed"), ('KGM">-1', None, "number_malformed"),
        ('KGM">1e999', None, "number_malformed"), ('KGM">NaN', None, "number_malformed"), ('KGM">heavy', None, "number_malformed"),
    ],
)  # fmt: skip
def test_a_weight_that_cannot_be_used_is_missing_with_a_code(
    new: str, value: float | None, code: str | None
) -> None:
    found = read_one(change_message(HOUSE, ('unitCode="KGM">1.85', f'unitCode="{new}')))
    assert found.gross_weight_kg == value
    assert {"unit_doubtful", "number_malformed"} & set(found.quality or ()) == ({code} if code else set())


def test_more_items_than_a_record_holds_are_cut_with_a_code() -> None:
    root = etree.fromstring(HOUSE.read_bytes())
    (item,) = root.findall(".//{*}IncludedHouseConsignmentItem")
    item.getparent().extend([deepcopy(item) for _ in range(1_500)])
    found = read_one(etree.tostring(root))
    assert len(found.items or ()) == 1000
    assert "text_cut" in (found.quality or ())


@pytest.mark.parametrize("year", ["0000", "0001", "9999"])
def test_a_year_that_no_calendar_has_is_no_time_of_issue(year: str) -> None:
    data = change_message(HOUSE, ("2026-03-10T08:42:00+08:00", f"{year}-03-10T08:42:00+14:00"))
    moment = datetime(2026, 4, 1, tzinfo=UTC)
    found = read_all(data, received_at=moment)
    assert found.consignments[0].issued_at is None
    assert found.consignments[0].received_at == moment
    assert found.notes == ("the time of issue is malformed",)


def test_a_waybill_without_a_known_type_is_told_by_what_it_says() -> None:
    found = read_all(change_message(DIRECT, (">740<", ">785<")))
    assert found.consignments[0].level == "direct"
    assert found.notes == ("an unknown type of waybill",)
    consolidated = read_all(change_message(DIRECT, (">740<", "><"), ("CENTRIFUGAL PUMPS", "CONSOLIDATION")))
    assert consolidated.consignments[0].level == "master"


def test_missing_mandatory_elements_are_no_reason_to_refuse() -> None:
    data = HOUSE.read_bytes()
    parts = (
        "ConsignorParty",
        "ConsigneeParty",
        "OriginLocation",
        "TotalPieceQuantity",
        "TransportContractDocument",
    )
    for name in map(str.encode, parts):
        data = re.sub(rb"<ram:%s>.*?</ram:%s>" % (name, name), b"", data, flags=re.DOTALL)
    found = read_one(data)
    assert (found.consignment_id, found.route) == ("WHX26030917", "ICN")
    assert (found.sender_name, found.pieces) == (None, None)
    assert {"sender_missing", "consignee_missing"} <= set(found.quality or ())
    assert "identifier_missing" not in (found.quality or ())  # the house has its own


def test_a_house_without_a_number_is_identified_by_its_content() -> None:
    data = change_message(HOUSE, ("<ram:ID>WHX26030917</ram:ID>", ""))
    found = read_one(data)
    assert found.consignment_id.startswith("unidentified:")
    assert found.consignment_id == read_one(data).consignment_id
    assert "identifier_missing" in (found.quality or ())


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        (b"PARK JI HO", b"PARK & HO", "bare ampersands were read as text"),
        (b"PARK JI HO", b"PARK \x00HO", "control characters were left out"),
        (b"PARK JI HO", b"PARK \xe9HO", "read as Windows-1252"),
        (b"<ram:VersionID>4.00", b"<ram:VersionID>9.00", "version 9 is newer than 4: read as far as known"),
    ],
)
def test_what_senders_get_wrong_in_xml_is_repaired_with_a_note(old: bytes, new: bytes, note: str) -> None:
    found = read_all(HOUSE.read_bytes().replace(old, new))
    assert found.consignments[0].consignment_id == "160-48103823/WHX26030917"
    assert note in found.notes[0]


def test_a_byte_order_mark_and_other_encodings_are_read() -> None:
    text = HOUSE.read_text(encoding="utf-8").replace("PARK JI HO", "박지호")
    utf_16 = text.replace('encoding="UTF-8"', 'encoding="UTF-16"').encode("utf-16")
    for data in (b"\xef\xbb\xbf" + text.encode(), utf_16):
        assert read_one(data).consignee_name == "박지호"


def test_a_message_too_large_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "large.xml").write_bytes(b"<HouseWaybill>" + b" " * 11_000_000 + b"</HouseWaybill>")
    (reject,) = read_messages([tmp_path / "large.xml"]).rejects
    assert "too large" in reject.reason


def sized(count: int) -> bytes:
    return b"<HouseWaybill>" + b"<a/>" * count + b"</HouseWaybill>"


REFUSALS: list[tuple[Callable[[], bytes], str]] = [
    (lambda: b"", "empty"),
    (lambda: b" \n\0", "empty"),
    (lambda: (BROKEN / "xfzb_bomb.xml").read_bytes(), "entities are declared"),
    (lambda: '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY b "c">]><HouseWaybill>&b;</HouseWaybill>'.encode("utf-16"), "entities are declared"),
    (lambda: b'<!DOCTYPE a SYSTEM "http://host.example/a.dtd"><HouseWaybill/>', "entities are declared"),
    (lambda: (BROKEN / "xfzb_cut.xml").read_bytes(), "cut in half"),
    (lambda: HOUSE.read_bytes().rstrip()[:-1], "cut in half"),
    (lambda: HOUSE.read_bytes()[: HOUSE.read_bytes().rindex(b"</rsm:MasterConsignment>")], "cut in half"),
    (lambda: b"<HouseWaybill><b></HouseWaybill>", "not well-formed XML"),
    (lambda: b"<Waybill>" + b"<a>" * 300 + b"</a>" * 300 + b"</Waybill>", "nested too deep"),
    (lambda: sized(MAX_TAGS), "too many elements"),
    (lambda: b"<FWB>16</FWB>", "unknown kind of message; got root element 'FWB'"),
    (lambda: b"<Something/>", "unknown kind of message; got root element 'Something'; expected Cargo-XML"),
    (lambda: gzip.compress(HOUSE.read_bytes()), "compressed; got gzip; expected a message as it is, or a zip archive; decompress it"),
    (lambda: b'{"a": 1}', "unknown kind of message; got JSON without a known key"),
    (lambda: b"Dear Sir or Madam", "unknown kind of message; got a text without a known first line"),
    (lambda: b"<HouseWaybill/>", "HouseWaybill: an element is missing; got no MasterConsignment"),
    (lambda: b"<HouseWaybill><MasterConsignment/></HouseWaybill>", "got no IncludedHouseConsignment"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "words"), REFUSALS)
def test_a_bad_message_is_rejected_with_its_reason(data: Callable[[], bytes], words: str) -> None:
    found = read_messages([data()])
    assert found.consignments == ()
    (reject,) = found.rejects
    assert words in str(reject)


def test_an_element_is_read_in_any_number_of_unknown_ones_and_the_first_counts() -> None:
    names, tag = "".join(f"<N{number}/>" for number in range(3_000)), "<ram:SummaryDescription>"
    twice = f"{names}{tag} first\n one</ram:SummaryDescription>{tag}"
    assert read_one(change_message(HOUSE, (tag, twice))).description == "first one"


def test_messages_become_a_table_that_passes_its_checks() -> None:
    later = change_message(HOUSE, ("PARK JI HO", "KIM"), ("2026-03-10T08:42:00", "2026-03-10T09:42:00"))
    found = read_all(HOUSE, MASTER, DIRECT, POUNDS, HOUSE, later)
    table = check_frame(build_frame(found.consignments, Consignment), Consignment)
    assert table.rejects == ()
    assert list(table.frame["sequence"]) == [1, 2, 3, 4, 5]  # the house was amended; its copy changed nothing
    assert found.repeats == 1
    assert to_consignments(table.frame, Consignment) == list(found.consignments)


@pytest.mark.skipif(
    not SAMPLES.exists(), reason="the collected sample messages stand beside this repository only"
)
def test_collected_sample_messages_are_read() -> None:
    found = read_all(*sorted([*SAMPLES.glob("xfwb/*.xml"), *SAMPLES.glob("xfzb/*.xml")]))
    assert {c.consignment_id: c.route for c in found.consignments if c.level == "master"} == {
        "888-11111111": "ORK>DUB>AUH>PVG",
        "020-68548340": "VCP>FRA>CDG",
    }
    house = found.consignments[-1]
    assert house.consignment_id == "888-11111111/SEL22222222"
    assert (house.route, house.gross_weight_kg, house.pieces) == ("ICN>FRA>FDH", 134.0, 10.0)
    assert (house.currency, house.postage, house.declared_value) == ("KRW", 420.0, None)
    assert house.items == (Item("SPARE PARTS", 5.0, None, None, "1133557799", None),)
