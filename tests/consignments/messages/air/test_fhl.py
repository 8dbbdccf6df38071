"""FHL: each house of a list with its own parties, goods and values, or none."""

from datetime import UTC, datetime

from support.messages import MESSAGES, changed, read_all, read_messages

from consignments.records import Consignment

HOUSES = (MESSAGES / "fhl_houses.txt").read_bytes()
CAME = datetime(2026, 3, 10, 6, tzinfo=UTC)


def houses_of(data: bytes) -> tuple[Consignment, ...]:
    return read_all(data, received_at=CAME).consignments


def test_parties_of_version_5_are_segments_of_their_own() -> None:
    five = changed(
        HOUSES,
        ("FHL/4", "FHL/5"),
        ("SHP/WUHAN", "SHP\nNAM/WUHAN"),
        ("/ROOM 1907", "ADR/ROOM 1907"),
        ("/WUHAN/HUBEI", "LOC/WUHAN/HUBEI"),
        (
            "CNE/PARK JI HO\n/21 SILLIM-RO 7-GIL\n/SEOUL\n",
            "CNE\nNAM/PARK JI HO\nADR/21 SILLIM-RO 7-GIL\nLOC/SEOUL\n",
        ),
    )
    assert houses_of(five) == houses_of(HOUSES)


def test_a_list_without_a_house_is_rejected() -> None:
    (reject,) = read_messages([b"FHL/4\nMBI/160-48103823PVGICN/T87K412.5\n"]).rejects
    assert reject.reason.startswith("FHL: no house waybill")
