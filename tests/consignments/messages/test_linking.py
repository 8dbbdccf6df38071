"""Masters and houses, versions and cancellations: rows in the order of time, and none that knows of later messages."""

from datetime import UTC, datetime

import pytest
from support.messages import HOUSE, MASTER, POUNDS, change_message, read_all

from consignments.records import Consignment

HOUSE_TIME, MASTER_TIME = "2026-03-10T08:42:00+08:00", "2026-03-10T06:15:00+08:00"
LATER, LATEST = "2026-03-10T09:00:00+08:00", "2026-03-10T10:00:00+08:00"
HOUSE_ID, MASTER_ID = "160-48103823/WHX26030917", "160-48103823"


def house(time: str = HOUSE_TIME, *changes: tuple[str, str]) -> bytes:
    return change_message(HOUSE, (HOUSE_TIME, time), *changes)


def master(time: str = MASTER_TIME, *changes: tuple[str, str]) -> bytes:
    return change_message(MASTER, (MASTER_TIME, time), *changes)


def rows_of(*messages: bytes, received_at: datetime | None = None) -> tuple[Consignment, ...]:
    return read_all(*messages, received_at=received_at).consignments


def at(time: str) -> datetime:
    return datetime.fromisoformat(time).astimezone(UTC)


def test_a_master_that_came_before_enriches_its_house_at_once() -> None:
    consolidation, row = rows_of(house(), master())
    assert (row.route, row.declarant, row.received_at) == (
        "PVG>HKG>ICN",
        "BRIGHT HARBOUR LOGISTICS",
        at(HOUSE_TIME),
    )
    assert (consolidation.level, consolidation.cancelled_at) == ("master", at(HOUSE_TIME))


def test_a_master_that_comes_later_amends_its_house_at_its_own_time() -> None:
    first, second = rows_of(house(), master(LATER))
    assert (first.route, first.declarant, first.received_at) == ("PVG>ICN", None, at(HOUSE_TIME))
    assert (second.route, second.declarant, second.received_at) == (
        "PVG>HKG>ICN",
        "BRIGHT HARBOUR LOGISTICS",
        at(LATER),
    )
    assert first.consignment_id == second.consignment_id == HOUSE_ID  # and no row for the consolidation


def test_at_one_moment_a_master_comes_first_and_its_consolidation_never_was() -> None:
    moment = datetime(2026, 3, 11, tzinfo=UTC)
    (row,) = rows_of(house(), master(LATER), received_at=moment)
    assert (row.consignment_id, row.route) == (HOUSE_ID, "PVG>HKG>ICN")


def test_a_later_version_of_a_master_amends_again_and_an_older_one_does_not() -> None:
    changed = ("<ID>HKG</ID>", "<ID>TPE</ID>")
    routes = [row.route for row in rows_of(house(), master(LATER), master(LATEST, changed))]
    assert routes == ["PVG>ICN", "PVG>HKG>ICN", "PVG>TPE>ICN"]
    same_again = [row.route for row in rows_of(house(), master(LATER), master(LATEST))]
    assert same_again == ["PVG>ICN", "PVG>HKG>ICN"]


def test_a_corrected_master_corrects_what_it_filled_in_its_houses() -> None:
    corrected = ("BRIGHT HARBOUR LOGISTICS", "BRIGHTER HARBOUR")
    for messages in (
        (house(), master(LATER), master(LATEST, corrected)),
        (master(), house(), master(LATEST, corrected)),
    ):
        rows = [row for row in rows_of(*messages) if row.consignment_id == HOUSE_ID]
        assert rows[-1].declarant == "BRIGHTER HARBOUR"
        assert rows[-2].declarant == "BRIGHT HARBOUR LOGISTICS"


def test_a_corrected_master_leaves_what_the_house_says_itself() -> None:
    own = (
        "<ram:FreightForwarderParty><ram:Name>BRIGHT HARBOUR LOGISTICS</ram:Name></ram:FreightForwarderParty>"
    )
    agent = ("<ram:SummaryDescription>", f"{own}<ram:SummaryDescription>")
    corrected = master(LATEST, ("BRIGHT HARBOUR LOGISTICS", "BRIGHTER HARBOUR"))
    rows = rows_of(house(HOUSE_TIME, agent), master(LATER), corrected)
    assert {row.declarant for row in rows if row.consignment_id == HOUSE_ID} == {"BRIGHT HARBOUR LOGISTICS"}


def test_what_a_house_says_itself_goes_before_its_master() -> None:
    own = "<ram:FreightForwarderParty><ram:Name>OWN AGENT</ram:Name></ram:FreightForwarderParty><ram:OriginLocation>"
    _, row = rows_of(
        house(HOUSE_TIME, ("<ram:IncludedCustomsNote>", "<ram:IncludedCustomsNote>"), ("<ram:SummaryDescription>", own.removesuffix("<ram:OriginLocation>") + "<ram:SummaryDescription>")),
        master(),
    )  # fmt: skip
    assert row.declarant == "OWN AGENT"


def test_a_retransmission_changes_nothing_whatever_its_header_says() -> None:
    again = house(LATER, ("160-48103823_", "160-99999999_")) if b"160-48103823_" in house() else house(LATER)
    found = read_all(house(), again)
    assert len(found.consignments) == 1
    assert found.repeats == 1


def test_an_update_amends_and_a_late_retry_of_the_first_version_is_known() -> None:
    update = house(LATER, ("PARK JI HO", "KIM"), ("Creation", "UPDATE"))
    found = read_all(house(), update, house())
    assert [row.consignee_name for row in found.consignments] == ["PARK JI HO", "KIM"]
    assert found.repeats == 1


def test_a_version_that_was_issued_earlier_is_recorded_and_does_not_take_its_place() -> None:
    moment = datetime(2026, 3, 11, tzinfo=UTC)
    newer = house(LATER, ("PARK JI HO", "KIM"))
    found = rows_of(newer, house(), house(LATEST, ("PARK JI HO", "LEE")), received_at=moment)
    assert [(row.consignee_name, row.issued_at) for row in found] == [
        ("KIM", at(LATER)),
        ("PARK JI HO", at(HOUSE_TIME)),
        ("LEE", at(LATEST)),
    ]


def test_a_deletion_withdraws_the_row_that_stands() -> None:
    (row,) = rows_of(house(), house(LATER, ("Creation", "Deletion")))
    assert (row.received_at, row.cancelled_at) == (at(HOUSE_TIME), at(LATER))
    again = read_all(house(), house(LATER, ("Creation", "Deletion")), house(LATEST, ("Creation", "deletion")))
    assert again.consignments == (row,)


def test_a_deletion_issued_before_the_latest_version_does_not_withdraw_it() -> None:
    moment = datetime(2026, 3, 11, tzinfo=UTC)
    newer = house(LATEST, ("PARK JI HO", "KIM"))
    (row,) = rows_of(newer, house(LATER, ("Creation", "Deletion")), received_at=moment)
    assert row.cancelled_at is None


def test_a_consignment_that_was_deleted_can_come_again() -> None:
    first, second = rows_of(house(), house(LATER, ("Creation", "Deletion")), house(LATEST))
    assert (first.cancelled_at, second.cancelled_at) == (at(LATER), None)


def test_a_deletion_of_an_unknown_consignment_is_a_withdrawn_row() -> None:
    (row,) = rows_of(POUNDS.read_bytes())
    assert row.cancelled_at == row.received_at


def test_a_master_that_is_deleted_withdraws_its_consolidation_and_enriches_no_more() -> None:
    consolidation, row = rows_of(
        master(), master("2026-03-10T07:00:00+08:00", ("Creation", "Deletion")), house()
    )
    assert consolidation.cancelled_at == at("2026-03-10T07:00:00+08:00")
    assert (row.route, row.declarant) == ("PVG>ICN", None)


MANIFEST = """<HouseManifest xmlns="iata:housemanifest:1"><MessageHeaderDocument><ID>{id}</ID><TypeCode>785</TypeCode>
<IssueDateTime>{time}</IssueDateTime><PurposeCode>Creation</PurposeCode></MessageHeaderDocument>
<BusinessHeaderDocument><ID>160-48103823</ID></BusinessHeaderDocument>
<MasterConsignment><TotalPieceQuantity>{total}</TotalPieceQuantity>
<TransportContractDocument><ID>160-48103823</ID></TransportContractDocument>
<OriginLocation><ID>PVG</ID></OriginLocation><FinalDestinationLocation><ID>ICN</ID></FinalDestinationLocation>
<IncludedHouseConsignment><SequenceNumeric>1</SequenceNumeric><GrossWeightMeasure unitCode="KGM">2.5</GrossWeightMeasure>
<TotalPieceQuantity>1</TotalPieceQuantity><SummaryDescription>PIGMENT</SummaryDescription>
<TransportContractDocument><ID>WHX26030917</ID></TransportContractDocument>
<OriginLocation><ID>PVG</ID></OriginLocation><FinalDestinationLocation><ID>ICN</ID></FinalDestinationLocation>
</IncludedHouseConsignment>
<IncludedHouseConsignment><SequenceNumeric>2</SequenceNumeric><GrossWeightMeasure unitCode="LBR">10</GrossWeightMeasure>
<TotalPieceQuantity>3</TotalPieceQuantity><SummaryDescription>PLASTIC TOYS</SummaryDescription>
<TransportContractDocument><ID>H2</ID></TransportContractDocument>
<OriginLocation><ID>SHA</ID></OriginLocation><FinalDestinationLocation><ID>PUS</ID></FinalDestinationLocation>
</IncludedHouseConsignment></MasterConsignment></HouseManifest>"""


def manifest(time: str = LATER, total: int = 4) -> bytes:
    return MANIFEST.format(id="x", time=time, total=total).encode()


def test_a_house_of_a_manifest_that_was_deleted_can_come_again() -> None:
    deletion = manifest(LATER).replace(b"Creation", b"Deletion")
    rows = rows_of(manifest(HOUSE_TIME), deletion, manifest(LATEST))
    found = [(row.received_at, row.cancelled_at) for row in rows if row.consignment_id == HOUSE_ID]
    assert found == [(at(HOUSE_TIME), at(LATER)), (at(LATEST), None)]


def test_a_house_manifest_gives_every_house_it_lists() -> None:
    first, second = rows_of(manifest())
    assert [row.consignment_id for row in (first, second)] == [HOUSE_ID, "160-48103823/H2"]
    assert (second.route, second.description, second.pieces, second.level) == (
        "SHA>PVG>ICN>PUS",
        "PLASTIC TOYS",
        3.0,
        "house",
    )
    assert second.gross_weight_kg == pytest.approx(4.5359237)
    assert (second.departure_country, second.destination_country) == ("CN", "KR")
    assert "piece_count_mismatch" not in (second.quality or ())
    assert "piece_count_mismatch" in (rows_of(manifest(total=9))[1].quality or ())


def test_a_manifest_keeps_what_a_house_waybill_said() -> None:
    first, second, other = rows_of(house(), manifest())
    assert (second.consignment_id, second.received_at) == (HOUSE_ID, at(LATER))
    assert (second.consignee_name, second.items) == (first.consignee_name, first.items)
    assert (second.description, second.gross_weight_kg) == ("PIGMENT", 2.5)
    assert "consignee_missing" not in (second.quality or ())
    assert other.consignment_id == "160-48103823/H2"
    again = read_all(house(), manifest(), manifest(LATEST))
    assert len(again.consignments) == 3


def test_a_house_waybill_takes_the_place_of_what_a_manifest_said() -> None:
    *_, last = rows_of(manifest(), house(LATEST))
    assert (last.consignment_id, last.description) == (HOUSE_ID, "PIGMENT SAMPLE, NOT FOR HUMAN CONSUMPTION")


def test_messages_in_any_order_give_the_same_rows() -> None:
    messages = [house(), master(LATER), manifest(LATEST), house("2026-03-10T11:00:00+08:00", ("PARK", "LEE"))]
    assert rows_of(*messages) == rows_of(*reversed(messages))
