"""Masters and houses, versions and cancellations: rows in the order of time, and none that knows of later messages."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from support.messages import HOUSE, MASTER, MESSAGES, POUNDS, change_message, read_all

from consignments.records import Consignment

MANIFEST = MESSAGES / "xfhl_manifest.xml"
CHINA = timezone(timedelta(hours=8))
OWN = "<ram:FreightForwarderParty><ram:Name>{}</ram:Name></ram:FreightForwarderParty><ram:SummaryDescription>"
KIM, LEE = ("PARK JI HO", "KIM"), ("PARK JI HO", "LEE")
DELETION, UPDATE = ("Creation", "Deletion"), ("Creation", "UPDATE")
CORRECTED, OTHER_STOP = ("BRIGHT HARBOUR LOGISTICS", "BRIGHTER HARBOUR"), ("<ID>HKG</ID>", "<ID>TPE</ID>")
MOMENT = datetime(2026, 3, 11, tzinfo=UTC)


def house(time: str = "08:42", *changes: tuple[str, str]) -> bytes:
    return change_message(HOUSE, ("T08:42:00+08", f"T{time}:00+08"), *changes)


def master(time: str = "06:15", *changes: tuple[str, str]) -> bytes:
    return change_message(MASTER, ("T06:15:00+08", f"T{time}:00+08"), *changes)


def manifest(time: str = "09:00", purpose: str = "Creation") -> bytes:
    """Write the sample of a list of two houses for the master of the samples, whose first is its house."""
    names = ("160-48103834", "160-48103823"), (">H1<", ">WHX26030917<")
    return change_message(MANIFEST, *names, ("T08:00:00", f"T{time}:00+08:00"), ("Creation", purpose))


def show(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(CHINA).strftime("%H:%M")


def describe(row: Consignment) -> str:
    """Describe a row: house or master, consignee, route, last word of the declarant, when it was received and cancelled."""
    name = (
        "master" if row.level == "master" else row.consignment_id.rpartition("/")[2].removesuffix("X26030917")
    )
    who, declarant = ((text or "-").split() for text in (row.consignee_name, row.declarant))
    ends = f" until {show(row.cancelled_at)}" if row.cancelled_at else ""
    return f"{name} {who[0]} {row.route} {declarant[-1]} {show(row.received_at)}{ends}"


ALONE, ENRICHED = "WH PARK PVG>ICN - 08:42", "WH PARK PVG>HKG>ICN LOGISTICS 08:42"
CONSOLIDATION = "master BRIGHT PVG>HKG>ICN LOGISTICS 06:15 until 08:42"
AMENDED = "WH PARK PVG>HKG>ICN LOGISTICS 09:00"


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        # a master that came before enriches its house at once; one that comes later amends it at its own time
        ([house(), master()], [CONSOLIDATION, ENRICHED]),
        ([house(), master("09:00")], [ALONE, AMENDED]),
        # a later version of a master amends again, an equal one does not
        ([house(), master("09:00"), master("10:00", OTHER_STOP)], [ALONE, AMENDED, "WH PARK PVG>TPE>ICN LOGISTICS 10:00"]),
        ([house(), master("09:00"), master("10:00")], [ALONE, AMENDED]),
        # a corrected master corrects what it filled in its houses, and leaves what they say themselves
        ([house(), master("09:00"), master("10:00", CORRECTED)], [ALONE, AMENDED, "WH PARK PVG>HKG>ICN HARBOUR 10:00"]),
        ([master(), house(), master("10:00", CORRECTED)], [CONSOLIDATION, ENRICHED, "WH PARK PVG>HKG>ICN HARBOUR 10:00"]),
        ([house("08:42", ("<ram:SummaryDescription>", OWN.format("BRIGHT HARBOUR LOGISTICS"))), master("09:00"), master("10:00", CORRECTED)],
         ["WH PARK PVG>ICN LOGISTICS 08:42", AMENDED]),
        ([house("08:42", ("<ram:SummaryDescription>", OWN.format("OWN AGENT"))), master()], [CONSOLIDATION, ENRICHED.replace("LOGISTICS", "AGENT")]),
        # an update amends; equal content changes nothing, also a late retry
        ([house(), house("09:00")], [ALONE]),
        ([house(), house("09:00", KIM, UPDATE), house()], [ALONE, "WH KIM PVG>ICN - 09:00"]),
        # a deletion withdraws the row that stands, once, and the consignment can come again
        ([house(), house("09:00", DELETION), house("10:00", DELETION)], [f"{ALONE} until 09:00"]),
        ([house(), house("09:00", DELETION), house("10:00")], [f"{ALONE} until 09:00", "WH PARK PVG>ICN - 10:00"]),
        # a master that is deleted withdraws its consolidation and enriches no more
        ([master(), master("07:00", DELETION), house()], [CONSOLIDATION.replace("08:42", "07:00"), ALONE]),
        # a manifest gives every house it lists, keeps what a waybill said, and can be deleted
        ([manifest()], ["WH - PVG>ICN - 09:00", "H2 - SHA>PVG>ICN>PUS - 09:00"]),
        ([house(), manifest(), manifest("10:00")], [ALONE, "WH PARK PVG>ICN - 09:00", "H2 - SHA>PVG>ICN>PUS - 09:00"]),
        ([manifest("08:42"), manifest("09:00", purpose="Deletion"), manifest("10:00")],
         ["WH - PVG>ICN - 08:42 until 09:00", "H2 - SHA>PVG>ICN>PUS - 08:42 until 09:00", "WH - PVG>ICN - 10:00", "H2 - SHA>PVG>ICN>PUS - 10:00"]),
    ],
)  # fmt: skip
def test_messages_in_any_order_become_rows_by_their_time(messages: list[bytes], expected: list[str]) -> None:
    for given in (messages, messages[::-1]):
        found = read_all(*given)
        assert list(map(describe, found.consignments)) == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        # at one moment a master comes first, and its consolidation never was
        ([house(), master("09:00")], [("PARK JI HO", "PVG>HKG>ICN", "08:42", "")]),
        # a version that was issued earlier is recorded and does not take its place
        ([house("09:00", KIM), house(), house("10:00", LEE)],
         [("KIM", "PVG>ICN", "09:00", ""), ("PARK JI HO", "PVG>ICN", "08:42", ""), ("LEE", "PVG>ICN", "10:00", "")]),
        # a deletion issued before the latest version does not withdraw it
        ([house("10:00", KIM), house("09:00", DELETION)], [("KIM", "PVG>ICN", "10:00", "")]),
        ([house("09:00", KIM), house(), house("08:50", DELETION)], [("KIM", "PVG>ICN", "09:00", ""), ("PARK JI HO", "PVG>ICN", "08:42", "")]),
    ],
)  # fmt: skip
def test_messages_of_one_moment_are_told_apart_by_their_time_of_issue(
    messages: list[bytes], expected: list[tuple[str, ...]]
) -> None:
    rows = read_all(*messages, received_at=MOMENT).consignments
    assert [(c.consignee_name, c.route, show(c.issued_at), show(c.cancelled_at)) for c in rows] == expected


def test_retransmissions_are_counted() -> None:
    assert read_all(house(), house("09:00")).repeats == 1
    assert read_all(house(), house("09:00", KIM, UPDATE), house()).repeats == 1


def test_a_deletion_of_an_unknown_consignment_is_a_withdrawn_row() -> None:
    (row,) = read_all(POUNDS).consignments
    assert row.cancelled_at == row.received_at


def test_a_manifest_and_a_house_waybill_each_say_what_they_know() -> None:
    first, second, _ = read_all(house(), manifest()).consignments
    assert (second.consignee_name, second.items) == (first.consignee_name, first.items)
    assert (second.description, second.gross_weight_kg) == ("PIGMENT", 2.5)
    assert "consignee_missing" not in (second.quality or ())
    *_, last = read_all(manifest(), house("10:00")).consignments
    assert last.description == "PIGMENT SAMPLE, NOT FOR HUMAN CONSUMPTION"
