"""IATA Cargo-XML house waybills (XFZB): each house of a message becomes one declaration."""

from collections.abc import Iterator

from consignments.messages.air.cargo_xml import (
    CONSIGNMENT,
    ENDS,
    FLIGHTS,
    HEADER,
    ITEM,
    PARTIES_AND_NOTES,
    Header,
    Money,
    find_carrier,
    find_consignment,
    find_houses,
    read_body,
    read_ends,
    read_header,
    read_money,
    read_movements,
    read_stops,
    sum_amounts,
)
from consignments.messages.air.elements import ElementReader, Values
from consignments.messages.air.journeys import build_journey, join_places
from consignments.messages.air.waybill_numbers import identify_house, read_waybill_number
from consignments.messages.parsed import Declaration, MessageContext, Parsed
from consignments.messages.quantities import Doubts
from consignments.messages.xml_parsing import Element

KIND = "HouseWaybill"
FREIGHT_TOTALS = ("TotalPrepaidChargeAmount", "TotalCollectChargeAmount")
FREIGHT = (*FREIGHT_TOTALS, "WeightTotalChargeAmount")
HOUSE = ElementReader(
    "TransportContractDocument/ID",
    "ID",
    *CONSIGNMENT,
    *FREIGHT,
    *(f"{name}/@currencyID" for name in FREIGHT),
    each=PARTIES_AND_NOTES | FLIGHTS | {"IncludedHouseConsignmentItem": ITEM},
)
MASTER = ElementReader(
    "TransportContractDocument/ID", *ENDS, each=FLIGHTS | {"IncludedHouseConsignment": HOUSE}
)
MESSAGE = ElementReader(*HEADER, "BusinessHeaderDocument/ID", each={"MasterConsignment": MASTER})


def read_house_waybill(root: Element, context: MessageContext) -> Iterator[Parsed]:
    """Read an XFZB."""
    message = MESSAGE.read(root)
    header = read_header(message, KIND, context)
    master = find_consignment(message, KIND)
    houses = find_houses(master, KIND)
    named = message.get("BusinessHeaderDocument/ID")
    for place, house in enumerate(houses, start=1):
        own = house.get("TransportContractDocument/ID") or house.get("ID")
        number = named if named is not None and len(houses) == 1 else own or (named if place == 1 else None)
        yield _read_house(house, master, number, header, f"house {place}")


def _read_house(house: Values, master: Values, number: str | None, header: Header, place: str) -> Declaration:
    doubts: Doubts = set()
    named = master.get("TransportContractDocument/ID")  # optional in the element table
    master_number = None if named is None else read_waybill_number(named, doubts)
    movements = read_movements(house) or read_movements(master)
    lines = house.get("IncludedHouseConsignmentItem", ())
    fields, notes = read_body(house, lines, _read_freight(house, doubts), doubts)
    origin, destination = read_ends(house)
    outer_origin, outer_destination = read_ends(master)
    places = join_places(origin, outer_origin, *read_stops(movements), outer_destination, destination)
    fields |= build_journey(places, fields)
    fields |= {"channel": "air_cargo", "master_id": master_number, "carrier": find_carrier(movements)}
    fields["consignment_id"] = identify_house(master_number, number, fields, doubts)
    return Declaration(
        fields=fields,
        issued_at=header.issued_at,
        level="house",
        purpose=header.purpose,
        quality=tuple(sorted(doubts)),
        place=place,
        extras=notes.extras,
    )


def _read_freight(house: Values, doubts: Doubts) -> Money | None:
    totals = [read_money(house, name, doubts) for name in FREIGHT_TOTALS]
    return sum_amounts(totals, doubts) or read_money(house, "WeightTotalChargeAmount", doubts)
