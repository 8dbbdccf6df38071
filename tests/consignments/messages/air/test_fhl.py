"""FHL: each house of a list with its own parties, goods and values, or none."""

from datetime import UTC, datetime

import pytest
from support.messages import MESSAGES, read_all, read_messages

from consignments.records import Consignment, Item

HOUSES = (MESSAGES / "fhl_houses.txt").read_bytes()
CAME = datetime(2026, 3, 10, 6, tzinfo=UTC)


def houses_of(data: bytes) -> tuple[Consignment, ...]:
    return read_all(data, received_at=CAME).consignments


def test_the_first_house_has_all_its_own_facts() -> None:
    assert houses_of(HOUSES)[0] == Consignment(
        consignment_id="160-48103823/WHX26030917",
        channel="air_cargo",
        received_at=CAME,
        master_id="160-48103823",
        nature="sale",
        sender_name="WUHAN HEXIANG FINE MATERIAL TRADING",
        sender_address="ROOM 1907 UNIT 2, LUOYU ROAD 88",
        sender_city="WUHAN",
        sender_postcode="430070",
        sender_country="CN",
        sender_phone="8613900000017",
        consignee_name="PARK JI HO",
        consignee_address="21 SILLIM-RO 7-GIL",
        consignee_city="SEOUL",
        consignee_postcode="08789",
        consignee_country="KR",
        consignee_phone="01055504471",  # of a customs note: the party gives a fax
        departure_country="CN",
        destination_country="KR",
        route="PVG>ICN",
        description="ORGANIC PIGMENT POWDER FOR LABORATORY TESTS NOT FOR HUMAN CONSUMPTION",
        hs_code="320417",
        pieces=1.0,
        gross_weight_kg=1.85,
        declared_value=18.0,
        currency="USD",
        payment="prepaid",
        level="house",
    )


def test_houses_without_parties_have_their_own_goods_and_values() -> None:
    _, second, third = houses_of(HOUSES)
    assert (second.consignment_id, second.description, second.pieces) == (
        "160-48103823/WHX26030918",
        "TOYS",
        3.0,
    )
    assert second.gross_weight_kg == pytest.approx(11 * 0.45359237)
    assert (second.route, second.payment, second.declared_value) == ("PVG>ICN>PUS", "collect", None)
    assert (second.sender_name, second.consignee_name) == (None, None)
    assert {"sender_missing", "consignee_missing"} <= set(second.quality or ())
    assert (third.description, third.hs_code, third.route) == ("CATALOGUES", "491110", "PVG>ICN")
    assert third.items == (Item(hs_code="491110"), Item(hs_code="491199"))


def test_parties_of_version_5_are_segments_of_their_own() -> None:
    five = (
        HOUSES.replace(b"FHL/4", b"FHL/5")
        .replace(
            b"SHP/WUHAN HEXIANG FINE MATERIAL TRADING\n/ROOM 1907 UNIT 2\n/LUOYU ROAD 88\n/WUHAN/HUBEI",
            b"SHP\nNAM/WUHAN HEXIANG FINE MATERIAL TRADING\nADR/ROOM 1907 UNIT 2\n/LUOYU ROAD 88\nLOC/WUHAN/HUBEI",
        )
        .replace(
            b"CNE/PARK JI HO\n/21 SILLIM-RO 7-GIL\n/SEOUL\n",
            b"CNE\nNAM/PARK JI HO\nADR/21 SILLIM-RO 7-GIL\nLOC/SEOUL\n",
        )
    )
    assert five.count(b"NAM/") == 2
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


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_all_versions_are_read(version: int) -> None:
    assert houses_of(HOUSES.replace(b"FHL/4", f"FHL/{version}".encode())) == houses_of(HOUSES)
