"""IATA Cargo-XML waybills (XFWB): a direct one becomes a declaration, a master adds to its houses."""

from collections.abc import Iterator

from consignments.messages.air.cargo_xml import (
    CONSIGNMENT,
    FLIGHTS,
    HEADER,
    ITEM,
    PARTIES_AND_NOTES,
    Fields,
    Header,
    Money,
    find_carrier,
    find_consignment,
    read_body,
    read_ends,
    read_header,
    read_money,
    read_movements,
    read_stops,
    sum_amounts,
)
from consignments.messages.air.elements import ElementReader, Values
from consignments.messages.air.journeys import build_journey, join_places, looks_consolidated
from consignments.messages.air.waybill_numbers import identify_by_content, read_waybill_number
from consignments.messages.parsed import (
    MASTER_FIELDS,
    Declaration,
    Level,
    MasterDetails,
    MessageContext,
    Parsed,
)
from consignments.messages.quantities import Doubts
from consignments.messages.xml_parsing import Element

KIND = "Waybill"
DIRECT_WAYBILL, MASTER_WAYBILL = "740", "741"
"""Type codes of a waybill (UN/EDIFACT 1001): direct, and master of a consolidation."""
CONSOLIDATION_NOTE = "C"


RATING = ElementReader(each={"IncludedMasterConsignmentItem": ITEM})
TOTAL = ElementReader("GrandTotalAmount", "GrandTotalAmount/@currencyID")
TOTAL_RATING = ElementReader(each={"ApplicablePrepaidCollectMonetarySummation": TOTAL})
WAYBILL = ElementReader(
    "TransportContractDocument/ID",
    *CONSIGNMENT,
    each=PARTIES_AND_NOTES | FLIGHTS | {"ApplicableRating": RATING, "ApplicableTotalRating": TOTAL_RATING},
)
MESSAGE = ElementReader(
    *HEADER,
    "BusinessHeaderDocument/ID",
    "BusinessHeaderDocument/IncludedHeaderNote/ContentCode",
    each={"MasterConsignment": WAYBILL},
)


def read_air_waybill(root: Element, context: MessageContext) -> Iterator[Parsed]:
    """Read an XFWB."""
    message = MESSAGE.read(root)
    header = read_header(message, KIND, context)
    waybill = find_consignment(message, KIND)
    doubts: Doubts = set()
    number = read_waybill_number(
        message.get("BusinessHeaderDocument/ID") or waybill.get("TransportContractDocument/ID"), doubts
    )
    movements = read_movements(waybill)
    lines = _list_below(waybill, "ApplicableRating", "IncludedMasterConsignmentItem")
    fields, notes = read_body(waybill, lines, _read_freight(waybill, doubts), doubts)
    origin, destination = read_ends(waybill)
    fields |= build_journey(join_places(origin, *read_stops(movements), destination), fields)
    fields |= {"channel": "air_cargo", "carrier": find_carrier(movements)}
    fields["consignment_id"] = number or identify_by_content(fields)
    level = _find_level(message, header, fields, context)
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


def _find_level(message: Values, header: Header, fields: Fields, context: MessageContext) -> Level:
    """Determine if a waybill is direct or a master: by its type code, else by its header note, else by its description."""
    if header.type_code in (DIRECT_WAYBILL, MASTER_WAYBILL):
        return "master" if header.type_code == MASTER_WAYBILL else "direct"
    context.notes.append("no type of waybill" if header.type_code is None else "an unknown type of waybill")
    noted = message.get("BusinessHeaderDocument/IncludedHeaderNote/ContentCode")
    consolidated = noted == CONSOLIDATION_NOTE or looks_consolidated(fields.get("description"))
    return "master" if consolidated else "direct"


def _read_freight(waybill: Values, doubts: Doubts) -> Money | None:
    totals = _list_below(waybill, "ApplicableTotalRating", "ApplicablePrepaidCollectMonetarySummation")
    return sum_amounts((read_money(total, "GrandTotalAmount", doubts) for total in totals), doubts)


def _list_below(waybill: Values, name: str, below: str) -> list[Values]:
    """List the elements of one name in all elements of another."""
    return [each for above in waybill.get(name, ()) for each in above.get(below, ())]
