"""IATA Cargo-XML waybills (XFWB): a direct one becomes a declaration, a master adds to its houses."""

from collections.abc import Iterator

from consignments.messages.air.cargo_xml import (
    Fields,
    Header,
    Money,
    find_carrier,
    read_body,
    read_ends,
    read_header,
    read_money,
    read_movements,
    read_stops,
    read_waybill,
    sum_amounts,
)
from consignments.messages.air.journeys import build_journey, join_places, looks_consolidated
from consignments.messages.air.waybill_numbers import identify_by_content, read_waybill_number
from consignments.messages.parsed import Declaration, Level, MasterDetails, MessageContext, Parsed
from consignments.messages.quantities import Doubts
from consignments.messages.xml_nodes import XmlNode

DIRECT_WAYBILL, MASTER_WAYBILL = "740", "741"
"""Type codes of a waybill (UN/EDIFACT 1001): direct, and master of a consolidation."""
CONSOLIDATION_NOTE = "C"
MASTER_FIELDS = ("route", "declarant", "carrier", "payment", "departure_country", "destination_country")
"""What a master tells of its houses."""


def read_air_waybill(root: XmlNode, context: MessageContext) -> Iterator[Parsed]:
    """Read an XFWB.

    Raises
    ------
    MessageFault
        If it holds no consignment.
    """
    header = read_header(root, context)
    waybill = read_waybill(root)
    doubts: Doubts = set()
    number = read_waybill_number(
        root.read("BusinessHeaderDocument/ID") or waybill.read("TransportContractDocument/ID"), doubts
    )
    movements = read_movements(waybill)
    freight = _read_freight(waybill, doubts)
    fields, notes = read_body(waybill, "ApplicableRating/IncludedMasterConsignmentItem", freight, doubts)
    origin, destination = read_ends(waybill)
    fields |= build_journey(join_places(origin, *read_stops(movements), destination), fields)
    fields |= {"channel": "air_cargo", "carrier": find_carrier(movements)}
    fields["consignment_id"] = number or identify_by_content(fields)
    level = _find_level(root, header, fields, context)
    yield build_waybill(fields, level, doubts, header, notes.extras)


def build_waybill(
    fields: Fields,
    level: Level,
    doubts: Doubts,
    header: Header,
    extras: dict[str, str],
    *,
    partial: bool = False,
) -> Parsed:
    """Make a declaration of a direct waybill, and the details of a master of a consolidation."""
    if level == "direct" and looks_consolidated(fields.get("description")):
        doubts.add("consolidation_undeclared")
    declaration = Declaration(
        fields=fields,
        issued_at=header.issued_at,
        level=level,
        purpose=header.purpose,
        quality=tuple(sorted(doubts)),
        place="waybill",
        partial=partial,
        extras=extras,
    )
    if level == "direct":
        return declaration
    details = {name: fields[name] for name in MASTER_FIELDS if fields.get(name) is not None}
    return MasterDetails(fields["consignment_id"], details, header.issued_at, declaration)


def _find_level(root: XmlNode, header: Header, fields: Fields, context: MessageContext) -> Level:
    """Determine if a waybill is direct or a master: by its type code, else by its header note, else by its description."""
    if header.type_code in (DIRECT_WAYBILL, MASTER_WAYBILL):
        return "master" if header.type_code == MASTER_WAYBILL else "direct"
    context.notes.append("no type of waybill" if header.type_code is None else "an unknown type of waybill")
    noted = root.read("BusinessHeaderDocument/IncludedHeaderNote/ContentCode")
    consolidated = noted == CONSOLIDATION_NOTE or looks_consolidated(fields.get("description"))
    return "master" if consolidated else "direct"


def _read_freight(waybill: XmlNode, doubts: Doubts) -> Money | None:
    totals = waybill.find_all("ApplicableTotalRating/ApplicablePrepaidCollectMonetarySummation")
    return sum_amounts((read_money(total, "GrandTotalAmount", doubts) for total in totals), doubts)
