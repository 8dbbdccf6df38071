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


def test_more_pieces_than_the_master_has_are_a_code() -> None:
    found = houses_of(HOUSES.replace(b"/T87K412.5", b"/T4K412.5"))
    assert all("piece_count_mismatch" in (house.quality or ()) for house in found)


def test_a_house_listed_twice_has_a_code() -> None:
    found = houses_of(HOUSES.replace(b"WHX26030918", b"WHX26030919"))
    assert [("identifier_repeated" in (house.quality or ())) for house in found] == [False, False, True]


def test_a_house_without_a_number_or_a_master() -> None:
    nameless = houses_of(HOUSES.replace(b"HBS/WHX26030918/", b"HBS//"))[1]
    assert nameless.consignment_id.startswith("unidentified:")
    assert nameless.master_id == "160-48103823"
    alone = houses_of(HOUSES.replace(b"MBI/160-48103823PVGICN/T87K412.5\n", b""))[0]
    assert (alone.consignment_id, alone.master_id) == ("WHX26030917", None)
    assert "identifier_missing" in (alone.quality or ())


def test_a_list_without_a_house_is_rejected() -> None:
    (reject,) = read_messages([b"FHL/4\nMBI/160-48103823PVGICN/T87K412.5\n"]).rejects
    assert reject.reason.startswith("FHL: no house waybill")
