"""IATA Cargo-XML: house waybills (XFZB), waybills (XFWB) and house manifests (XFHL).

Each house becomes a declaration, and so does a direct waybill. A master adds to its houses. The tables of paths say which elements
are read. The functions below them say what becomes of their values.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from consignments.errors import MessageFault
from consignments.messages.air.customs_notes import CustomsNote, DecodedNotes, decode_notes
from consignments.messages.air.elements import ElementReader, Values
from consignments.messages.air.journeys import build_journey, find_airline, join_places, looks_consolidated
from consignments.messages.air.waybill_numbers import (
    identify_by_content,
    identify_house,
    read_waybill_number,
)
from consignments.messages.content.values import get_first
from consignments.messages.parsed import (
    MASTER_FIELDS,
    Declaration,
    Level,
    MasterDetails,
    MessageContext,
    Parsed,
    Purpose,
    build_count_fault,
)
from consignments.messages.quantities import (
    Doubts,
    is_weight_unit,
    parse_kilograms,
    parse_moment,
    parse_number,
    read_country,
)
from consignments.messages.xml_parsing import Element

Fields = dict[str, Any]

PARTIES = {"sender": "ConsignorParty", "consignee": "ConsigneeParty"}
CONTACTS = {
    "phone": "DirectTelephoneCommunication/CompleteNumber",
    "email": "URIEmailCommunication/URIID",
}
"""Part of a contact, and the element that has it."""
STOPS = ("DepartureEvent/OccurrenceDepartureLocation/ID", "ArrivalEvent/OccurrenceArrivalLocation/ID")
PURPOSES: dict[str, Purpose] = {
    **dict.fromkeys(("creation", "create", "original", "9"), "create"),
    **dict.fromkeys(("update", "change", "replace", "4", "5"), "update"),
    **dict.fromkeys(("deletion", "delete", "cancellation", "1", "3"), "delete"),
}
"""By what stands in PurposeCode, in any case; the digits are those of UN/EDIFACT 1225."""
HEADER = (
    "MessageHeaderDocument/TypeCode",
    "MessageHeaderDocument/IssueDateTime",
    "MessageHeaderDocument/PurposeCode",
    "MessageHeaderDocument/VersionID",
    "MessageHeaderDocument/SenderParty/PrimaryID",
)
CONTACT = ElementReader(*CONTACTS.values())
PARTY = ElementReader(
    "Name",
    "AccountID",
    "PostalStructuredAddress/PostOfficeBox",
    "PostalStructuredAddress/CityName",
    "PostalStructuredAddress/PostcodeCode",
    "PostalStructuredAddress/CountryID",
    each={"PostalStructuredAddress/StreetName": None, "DefinedTradeContact": CONTACT},
)
NOTE_PARTS = ("CountryID", "SubjectCode", "ContentCode", "Content")
NOTE = ElementReader(*NOTE_PARTS)
ITEM = ElementReader(
    "NatureIdentificationTransportCargo/Identification",
    "TypeCode",
    "OriginCountry/ID",
    "PieceQuantity",
    "PackageQuantity",
    "GrossWeightMeasure",
    "GrossWeightMeasure/@unitCode",
    "GrossVolumeMeasure/@unitCode",
)
MOVEMENT = ElementReader("SequenceNumeric", "ID", "UsedLogisticsTransportMeans/Name", *STOPS)
ENDS = ("OriginLocation/ID", "FinalDestinationLocation/ID")
CONSIGNMENT = (
    *ENDS,
    "FreightForwarderParty/Name",
    "SummaryDescription",
    "TotalPieceQuantity",
    "IncludedTareGrossWeightMeasure",
    "IncludedTareGrossWeightMeasure/@unitCode",
    "GrossVolumeMeasure/@unitCode",
    "DeclaredValueForCustomsAmount",
    "DeclaredValueForCustomsAmount/@currencyID",
    "NilCustomsValueIndicator",
    "ApplicableOriginCurrencyExchange/SourceCurrencyCode",
    "TotalChargePrepaidIndicator",
)
PARTIES_AND_NOTES = {"ConsignorParty": PARTY, "ConsigneeParty": PARTY, "IncludedCustomsNote": NOTE}
FLIGHTS = {"SpecifiedLogisticsTransportMovement": MOVEMENT}
NUMBER = "TransportContractDocument/ID"
FREIGHT_TOTALS = ("TotalPrepaidChargeAmount", "TotalCollectChargeAmount")
FREIGHT = (*FREIGHT_TOTALS, "WeightTotalChargeAmount")
HOUSE = ElementReader(
    NUMBER,
    "ID",
    *CONSIGNMENT,
    *FREIGHT,
    *(f"{name}/@currencyID" for name in FREIGHT),
    each=PARTIES_AND_NOTES | FLIGHTS | {"IncludedHouseConsignmentItem": ITEM},
)
LISTED_HOUSE = ElementReader(
    NUMBER,
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
RATING = ElementReader(each={"IncludedMasterConsignmentItem": ITEM})
TOTAL = ElementReader("GrandTotalAmount", "GrandTotalAmount/@currencyID")
TOTAL_RATING = ElementReader(each={"ApplicablePrepaidCollectMonetarySummation": TOTAL})
RATINGS = {"ApplicableRating": RATING, "ApplicableTotalRating": TOTAL_RATING}


def _build_message_reader(consignment: ElementReader) -> ElementReader:
    head = (*HEADER, "BusinessHeaderDocument/ID", "BusinessHeaderDocument/IncludedHeaderNote/ContentCode")
    return ElementReader(*head, each={"MasterConsignment": consignment})


HOUSE_WAYBILL = _build_message_reader(
    ElementReader(NUMBER, *ENDS, each=FLIGHTS | {"IncludedHouseConsignment": HOUSE})
)
HOUSE_MANIFEST = _build_message_reader(
    ElementReader(NUMBER, *ENDS, "TotalPieceQuantity", each={"IncludedHouseConsignment": LISTED_HOUSE})
)
WAYBILL = _build_message_reader(
    ElementReader(NUMBER, *CONSIGNMENT, each=PARTIES_AND_NOTES | FLIGHTS | RATINGS)
)
DIRECT_WAYBILL, MASTER_WAYBILL = "740", "741"
"""Type codes of a waybill (UN/EDIFACT 1001): direct, and master of a consolidation."""
CONSOLIDATION_NOTE = "C"


class Header(NamedTuple):
    """Header of a message; `type_code` is UN/EDIFACT 1001: 740 direct waybill, 741 master, 703 house, 785 house manifest, 962 status."""

    type_code: str | None
    issued_at: datetime | None
    purpose: Purpose
    sender: str | None


# --- the three messages -----------------------------------------------------------------------------------------------


def read_house_waybill(root: Element, context: MessageContext) -> Iterator[Parsed]:
    """Read an XFZB."""
    message = HOUSE_WAYBILL.read(root)
    header = read_header(message, context)
    master = _find_consignment(message, "HouseWaybill")
    houses = _find_houses(master, "HouseWaybill")
    named = message.get("BusinessHeaderDocument/ID")
    for place, house in enumerate(houses, start=1):
        own = house.get(NUMBER) or house.get("ID")
        number = named if named is not None and len(houses) == 1 else own or (named if place == 1 else None)
        yield _read_house(house, master, number, header, f"house {place}")


def _read_house(house: Values, master: Values, number: str | None, header: Header, place: str) -> Declaration:
    doubts = Doubts()
    named = master.get(NUMBER)  # optional in the element table
    master_number = None if named is None else read_waybill_number(named, doubts)
    movements = _read_movements(house) or _read_movements(master)
    totals = [_read_money(house, name, doubts, "postage") for name in FREIGHT_TOTALS]
    freight = _sum_amounts(totals, doubts) or _read_money(house, "WeightTotalChargeAmount", doubts, "postage")
    fields, notes = _read_body(house, house.get("IncludedHouseConsignmentItem", ()), freight, doubts)
    _add_journey(fields, house, movements, master)
    fields["master_id"] = master_number
    fields["consignment_id"] = identify_house(master_number, number, fields, doubts)
    return _build_declaration(fields, "house", doubts, header, place, notes.extras)


def read_house_manifest(root: Element, context: MessageContext) -> Iterator[Parsed]:
    """Read an XFHL: one declaration for each house."""
    message = HOUSE_MANIFEST.read(root)
    header = read_header(message, context)
    master = _find_consignment(message, "HouseManifest")
    houses = _find_houses(master, "HouseManifest")
    number = master.get(NUMBER) or message.get("BusinessHeaderDocument/ID")
    declarations = [
        _read_listed_house(house, master, number, header, f"house {place}")
        for place, house in enumerate(houses, start=1)
    ]
    total = parse_number(master.get("TotalPieceQuantity"), Doubts())
    yield from flag_piece_counts(declarations, total, complete=True)


def _read_listed_house(
    house: Values, master: Values, named: str | None, header: Header, place: str
) -> Declaration:
    doubts = Doubts()
    master_number = read_waybill_number(named, doubts)
    fields = _read_parties(house, doubts)
    notes = _read_notes(house, doubts)
    merge_notes(fields, notes)
    weight = "GrossWeightMeasure" if "GrossWeightMeasure" in house else "IncludedTareGrossWeightMeasure"
    fields |= {
        "master_id": master_number,
        "description": house.get("SummaryDescription"),
        "pieces": parse_number(house.get("TotalPieceQuantity"), doubts, "pieces"),
        "gross_weight_kg": _read_kilograms(house, weight, doubts),
    }
    _add_journey(fields, house, None, master)
    number = house.get(NUMBER) or house.get("ID")
    fields["consignment_id"] = identify_house(master_number, number, fields, doubts)
    return _build_declaration(fields, "house", doubts, header, place, notes.extras, partial=True)


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
            house.doubts.add("piece_count_mismatch")
        yield house


def read_air_waybill(root: Element, context: MessageContext) -> Iterator[Parsed]:
    """Read an XFWB."""
    message = WAYBILL.read(root)
    header = read_header(message, context)
    waybill = _find_consignment(message, "Waybill")
    doubts = Doubts()
    number = read_waybill_number(message.get("BusinessHeaderDocument/ID") or waybill.get(NUMBER), doubts)
    lines = _list_below(waybill, "ApplicableRating", "IncludedMasterConsignmentItem")
    totals = _list_below(waybill, "ApplicableTotalRating", "ApplicablePrepaidCollectMonetarySummation")
    freight = _sum_amounts(
        (_read_money(total, "GrandTotalAmount", doubts, "postage") for total in totals), doubts
    )
    fields, notes = _read_body(waybill, lines, freight, doubts)
    _add_journey(fields, waybill, _read_movements(waybill), {})
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
    declaration = _build_declaration(fields, level, doubts, header, "waybill", extras, partial=partial)
    if level == "direct":
        return declaration
    details = {name: fields[name] for name in MASTER_FIELDS if fields.get(name) is not None}
    return MasterDetails(fields["consignment_id"], details, header.issued_at, declaration)


def _build_declaration(
    fields: Fields,
    level: Level,
    doubts: Doubts,
    header: Header,
    place: str,
    extras: dict[str, str],
    *,
    partial: bool = False,
) -> Declaration:
    fields["channel"] = "air_cargo"
    return Declaration(
        fields, header.issued_at, level, header.purpose, doubts, place, partial=partial, extras=extras
    )


def _find_level(message: Values, header: Header, fields: Fields, context: MessageContext) -> Level:
    """Determine if a waybill is direct or a master: by its type code, else by its header note, else by its description."""
    if header.type_code in (DIRECT_WAYBILL, MASTER_WAYBILL):
        return "master" if header.type_code == MASTER_WAYBILL else "direct"
    context.notes.append("no type of waybill" if header.type_code is None else "an unknown type of waybill")
    noted = message.get("BusinessHeaderDocument/IncludedHeaderNote/ContentCode")
    consolidated = noted == CONSOLIDATION_NOTE or looks_consolidated(fields.get("description"))
    return "master" if consolidated else "direct"


def _list_below(waybill: Values, name: str, below: str) -> list[Values]:
    """List the elements of one name in all elements of another."""
    return [each for above in waybill.get(name, ()) for each in above.get(below, ())]


# --- header -----------------------------------------------------------------------------------------------------------


def read_header(message: Values, context: MessageContext) -> Header:
    """Read the head of a kind of message; a fault in it is noted and never refuses the message."""
    if "MessageHeaderDocument" not in message:
        context.notes.append("the message has no header")
        return Header(None, None, "create", None)
    type_code, issued, purpose, version, sender = map(message.get, HEADER)
    issued_at = parse_moment(issued)
    if issued_at is None:
        context.notes.append("no time of issue" if issued is None else "the time of issue is malformed")
    known = PURPOSES.get((purpose or "creation").lower())
    if known is None:
        context.notes.append("an unknown purpose, read as a creation")
    _note_version(version, context)
    return Header(type_code, issued_at, known or "create", sender)


def _note_version(version: str | None, context: MessageContext) -> None:
    major = (version or "").split(".")[0]
    if major.isascii() and major.isdigit() and len(major) < 4:
        context.note_version(f"version {int(major)}", int(major))


def _find_consignment(message: Values, kind: str) -> Values:
    """Find the one consignment of a message."""
    found: list[Values] | None = message.get("MasterConsignment")
    if found is None:
        raise MessageFault("an element is missing", where=kind, got="no MasterConsignment", expected="one")
    if len(found) > 1:
        raise build_count_fault(len(found), 1)
    return found[0]


def _find_houses(consignment: Values, kind: str) -> list[Values]:
    """Find the houses of a message's consignment."""
    houses: list[Values] | None = consignment.get("IncludedHouseConsignment")
    if houses is None:
        raise MessageFault(
            "an element is missing", where=kind, got="no IncludedHouseConsignment", expected="one or more"
        )
    return houses


# --- parties and notes ------------------------------------------------------------------------------------------------


def _read_parties(consignment: Values, doubts: Doubts) -> Fields:
    """Read sender, consignee, forwarder and account, as the parties themselves say."""
    fields: Fields = {}
    for prefix, name in PARTIES.items():
        if name in consignment:
            _read_party(prefix, consignment[name][0], fields, doubts)
    fields["declarant"] = consignment.get("FreightForwarderParty/Name")
    return fields


def _read_party(prefix: str, party: Values, fields: Fields, doubts: Doubts) -> None:
    lines = [line for line in party.get("PostalStructuredAddress/StreetName", ()) if line]
    box = party.get("PostalStructuredAddress/PostOfficeBox")
    if box:
        lines.append(f"PO Box {box}")
    fields[f"{prefix}_name"] = party.get("Name")
    fields[f"{prefix}_address"] = ", ".join(lines) or None
    fields[f"{prefix}_city"] = party.get("PostalStructuredAddress/CityName")
    fields[f"{prefix}_postcode"] = party.get("PostalStructuredAddress/PostcodeCode")
    country = f"{prefix}_country"
    fields[country] = read_country(party.get("PostalStructuredAddress/CountryID"), country, doubts)
    for contact in party.get("DefinedTradeContact", ()):
        _read_contact(prefix, contact, fields)
    if prefix == "sender":
        fields["account_id"] = party.get("AccountID")


def _read_contact(prefix: str, contact: Values, fields: Fields) -> None:
    """Add the first telephone and the first e-mail address of a contact, if an earlier contact gave none."""
    for part, path in CONTACTS.items():
        value = contact.get(path)
        if value and not fields.get(f"{prefix}_{part}"):
            fields[f"{prefix}_{part}"] = value


def _read_notes(consignment: Values, doubts: Doubts) -> DecodedNotes:
    """Decode the customs notes of one waybill."""
    notes = [_read_note(note) for note in consignment.get("IncludedCustomsNote", ())]
    return decode_notes([note for note in notes if any(note)], doubts)


def _read_note(note: Values) -> CustomsNote:
    return CustomsNote(*[note.get(part) or "" for part in NOTE_PARTS])


def merge_notes(fields: Fields, notes: DecodedNotes) -> None:
    """Add what the notes say: the account's number goes before the party's, contacts of the party before those of notes."""
    for name, value in notes.fields.items():
        if name == "account_id" or not fields.get(name):
            fields[name] = value
    if not fields.get("account_id"):
        fields["account_id"] = notes.extras.get("account_name")


# --- goods ------------------------------------------------------------------------------------------------------------


def _read_goods(consignment: Values, lines: Sequence[Values], doubts: Doubts) -> Fields:
    """Read description, items, pieces and weight of a waybill with some lines of goods."""
    items: list[Fields] = []
    counts: list[float | None] = []
    for line in lines:
        pieces = parse_number(line.get("PieceQuantity"), doubts, "items.quantity")
        item = _read_item(line, pieces, doubts)
        if item:
            items.append(item)
            counts.append(pieces)
    _check_volume(consignment, doubts)
    total = parse_number(consignment.get("TotalPieceQuantity"), doubts, "pieces")
    _check_piece_counts(counts, total, doubts)
    return {
        "description": consignment.get("SummaryDescription") or get_first(items, "description"),
        "hs_code": get_first(items, "hs_code"),
        "origin_country": get_first(items, "origin_country"),
        "items": items or None,
        "pieces": total,
        "gross_weight_kg": _read_kilograms(consignment, "IncludedTareGrossWeightMeasure", doubts),
    }


def _check_piece_counts(counts: Sequence[float | None], total: float | None, doubts: Doubts) -> None:
    """Flag lines whose pieces do not add up to the total; packages inside pieces are no pieces."""
    known = [count for count in counts if count is not None]
    if known and len(known) == len(counts) and total is not None and sum(known) != total:
        doubts.add("piece_count_mismatch")


def _read_item(line: Values, pieces: float | None, doubts: Doubts) -> Fields:
    """Read one line; a line that only carries dimensions gives nothing."""
    _check_volume(line, doubts)
    item: Fields = {
        "description": line.get("NatureIdentificationTransportCargo/Identification"),
        "hs_code": line.get("TypeCode"),
        "origin_country": read_country(line.get("OriginCountry/ID"), "items.origin_country", doubts),
    }
    weight = _read_kilograms(line, "GrossWeightMeasure", doubts, None)
    if weight is None and not any(item.values()):
        return {}
    item["quantity"] = (
        pieces if pieces is not None else parse_number(line.get("PackageQuantity"), doubts, "items.quantity")
    )
    return item


def _read_kilograms(
    values: Values, path: str, doubts: Doubts, field: str | None = "gross_weight_kg"
) -> float | None:
    """Read a weight in kilograms."""
    return parse_kilograms(values.get(path), values.get(f"{path}/@unitCode"), doubts, field)


def _check_volume(values: Values, doubts: Doubts) -> None:
    """Flag a volume that is given in a unit of weight."""
    if is_weight_unit(values.get("GrossVolumeMeasure/@unitCode")):
        doubts.add("volume_in_weight_unit")


# --- charges ----------------------------------------------------------------------------------------------------------


class Money(NamedTuple):
    """An amount and its currency, where one is given."""

    amount: float
    currency: str | None


def _read_money(values: Values, path: str, doubts: Doubts, field: str) -> Money | None:
    """Read an amount."""
    amount = parse_number(values.get(path), doubts, field)
    if amount is None:
        return None
    currency = (values.get(f"{path}/@currencyID") or "").strip().upper()
    return Money(amount, currency or None)


def _sum_amounts(amounts: Iterable[Money | None], doubts: Doubts) -> Money | None:
    """Add up amounts of one currency; those of another than the first are left out, with a code."""
    given = [money for money in amounts if money is not None]
    if len(given) < 2:
        return given[0] if given else None
    alike = [money.amount for money in given if money.currency == given[0].currency]
    if any(money.amount for money in given if money.currency != given[0].currency):
        doubts.add("currency_mixed")
    return Money(sum(alike), given[0].currency)


def _read_charges(consignment: Values, freight: Money | None, doubts: Doubts) -> Fields:
    """Read the declared value, the freight in the one currency that the record has, and how carriage is paid."""
    nil = _is_true(consignment.get("NilCustomsValueIndicator"))
    declared = (
        None if nil else _read_money(consignment, "DeclaredValueForCustomsAmount", doubts, "declared_value")
    )
    source = consignment.get("ApplicableOriginCurrencyExchange/SourceCurrencyCode")
    currency = (declared and declared.currency) or (freight and freight.currency) or source
    comparable = freight is not None and freight.currency in (None, currency)
    if freight is not None and not comparable:
        doubts.add("currency_mixed")
    flag = consignment.get("TotalChargePrepaidIndicator")
    return {
        "declared_value": declared.amount if declared else None,
        "currency": currency,
        "postage": freight.amount if freight and comparable else None,
        "payment": None if flag is None else "prepaid" if _is_true(flag) else "collect",
    }


def _is_true(text: str | None) -> bool:
    """Check whether the text of an indicator says yes."""
    return (text or "").lower() in ("true", "1")


def _read_body(
    consignment: Values, lines: Sequence[Values], freight: Money | None, doubts: Doubts
) -> tuple[Fields, DecodedNotes]:
    """Read what house and air waybills share: parties, customs notes, goods and charges."""
    fields = _read_parties(consignment, doubts)
    notes = _read_notes(consignment, doubts)
    fields |= _read_goods(consignment, lines, doubts)
    merge_notes(fields, notes)
    paid = notes.fields.get("payment")
    fields |= _read_charges(consignment, freight, doubts)
    if paid is not None:
        fields["payment"] = paid
    return fields, notes


# --- the journey ------------------------------------------------------------------------------------------------------


def _add_journey(fields: Fields, own: Values, movements: Sequence[Values] | None, outer: Values) -> None:
    """Add route, countries and, if flights can be known, the airline of the first."""
    origin, destination = map(own.get, ENDS)
    outer_origin, outer_destination = map(outer.get, ENDS)
    stops = [movement.get(stop) for movement in movements or () for stop in STOPS]
    places = join_places(origin, outer_origin, *stops, outer_destination, destination)
    fields |= build_journey(places, fields)
    if movements is not None:
        name = "UsedLogisticsTransportMeans/Name"
        fields["carrier"] = find_airline((movement.get("ID"), movement.get(name)) for movement in movements)


def _read_movements(consignment: Values) -> list[Values]:
    """Find the flights in their order."""
    movements: list[Values] = consignment.get("SpecifiedLogisticsTransportMovement", [])
    return movements if len(movements) < 2 else sorted(movements, key=_read_place_in_order)


def _read_place_in_order(movement: Values) -> float:
    return parse_number(movement.get("SequenceNumeric"), Doubts()) or 0.0
