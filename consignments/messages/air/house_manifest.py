"""IATA Cargo-XML house manifests (XFHL): every house of a master, each with few of its facts."""

from collections.abc import Iterator

import msgspec

from consignments.messages.air.cargo_xml import (
    ENDS,
    HEADER,
    PARTIES_AND_NOTES,
    Header,
    find_consignment,
    find_houses,
    merge_notes,
    read_ends,
    read_header,
    read_kilograms,
    read_notes,
    read_parties,
)
from consignments.messages.air.elements import ElementReader, Values
from consignments.messages.air.journeys import build_journey, join_places
from consignments.messages.air.waybill_numbers import identify_house, read_waybill_number
from consignments.messages.parsed import Declaration, MessageContext, Parsed
from consignments.messages.quantities import Doubts, parse_number
from consignments.messages.xml_parsing import Element

KIND = "HouseManifest"
HOUSE = ElementReader(
    "TransportContractDocument/ID",
    "ID",
    *ENDS,
    "FreightForwarderParty/Name",
    "SummaryDescription",
    "TotalPieceQuantity",
    "GrossWeightMeasure",
    "GrossWeightMeasure/@unitCode",
    "IncludedTareGrossWeightMeasure",
    "IncludedTareGrossWeightMeasure/@unitCode",
    each=PARTIES_AND_NOTES,
)
MASTER = ElementReader(
    "TransportContractDocument/ID",
    *ENDS,
    "TotalPieceQuantity",
    each={"IncludedHouseConsignment": HOUSE},
)
MESSAGE = ElementReader(*HEADER, "BusinessHeaderDocument/ID", each={"MasterConsignment": MASTER})


def read_house_manifest(root: Element, context: MessageContext) -> Iterator[Parsed]:
    """Read an XFHL: one declaration for each house."""
    message = MESSAGE.read(root)
    header = read_header(message, KIND, context)
    master = find_consignment(message, KIND)
    houses = find_houses(master, KIND)
    number = master.get("TransportContractDocument/ID") or message.get("BusinessHeaderDocument/ID")
    declarations = [
        _read_house(house, master, number, header, f"house {place}")
        for place, house in enumerate(houses, start=1)
    ]
    yield from flag_piece_counts(
        declarations, parse_number(master.get("TotalPieceQuantity"), set()), complete=True
    )


def flag_piece_counts(
    houses: list[Declaration], total: float | None, *, complete: bool
) -> Iterator[Declaration]:
    """Flag houses whose pieces together are not those of their master; a list that need not be complete may have fewer."""
    counts = [house.fields["pieces"] for house in houses]
    given = [count for count in counts if count is not None]
    differs = total is not None and (
        sum(given) > total or (complete and len(given) == len(counts) and sum(given) != total)
    )
    for house in houses:
        if differs:
            quality = tuple(sorted({*house.quality, "piece_count_mismatch"}))
            house = msgspec.structs.replace(house, quality=quality)
        yield house


def _read_house(house: Values, master: Values, named: str | None, header: Header, place: str) -> Declaration:
    doubts: Doubts = set()
    master_number = read_waybill_number(named, doubts)
    fields = read_parties(house)
    notes = read_notes(house, doubts)
    merge_notes(fields, notes)
    weight = "GrossWeightMeasure" if "GrossWeightMeasure" in house else "IncludedTareGrossWeightMeasure"
    fields |= {
        "channel": "air_cargo",
        "master_id": master_number,
        "description": house.get("SummaryDescription"),
        "pieces": parse_number(house.get("TotalPieceQuantity"), doubts),
        "gross_weight_kg": read_kilograms(house, weight, doubts),
    }
    origin, destination = read_ends(house)
    outer_origin, outer_destination = read_ends(master)
    fields |= build_journey(join_places(origin, outer_origin, outer_destination, destination), fields)
    number = house.get("TransportContractDocument/ID") or house.get("ID")
    fields["consignment_id"] = identify_house(master_number, number, fields, doubts)
    return Declaration(
        fields=fields,
        issued_at=header.issued_at,
        level="house",
        purpose=header.purpose,
        quality=tuple(sorted(doubts)),
        place=place,
        partial=True,
        extras=notes.extras,
    )
