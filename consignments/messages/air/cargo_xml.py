"""Common parts of IATA Cargo-XML messages: header, parties, customs notes, goods, charges and journey.

The tables of paths say which elements are read. The functions below them say what becomes of their values.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from consignments.countries import parse_country
from consignments.errors import MessageFault
from consignments.messages.air.customs_notes import CustomsNote, DecodedNotes, decode_notes
from consignments.messages.air.elements import ElementReader, Values
from consignments.messages.air.journeys import find_airline
from consignments.messages.content.values import get_first
from consignments.messages.parsed import MessageContext, Purpose, build_count_fault
from consignments.messages.quantities import (
    Doubts,
    is_weight_unit,
    parse_kilograms,
    parse_moment,
    parse_number,
)

Fields = dict[str, Any]

PARTIES = {"sender": "ConsignorParty", "consignee": "ConsigneeParty"}
CONTACTS = {
    "phone": "DirectTelephoneCommunication/CompleteNumber",
    "email": "URIEmailCommunication/URIID",
}
"""Part of a contact, and the element that has it."""
STOPS = ("DepartureEvent/OccurrenceDepartureLocation/ID", "ArrivalEvent/OccurrenceArrivalLocation/ID")
PURPOSES: dict[str, Purpose] = {
    "creation": "create",
    "create": "create",
    "original": "create",
    "9": "create",
    "update": "update",
    "change": "update",
    "replace": "update",
    "4": "update",
    "5": "update",
    "deletion": "delete",
    "delete": "delete",
    "cancellation": "delete",
    "1": "delete",
    "3": "delete",
}
"""By what stands in PurposeCode, in any case; the digits are those of UN/EDIFACT 1225."""
NEWEST_VERSIONS = {"Waybill": 5, "HouseWaybill": 4, "HouseManifest": 3, "CustomsStatusNotification": 1}
"""Newest version of each message that the element tables describe."""

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


class Header(NamedTuple):
    """Header of a message."""

    type_code: str | None
    issued_at: datetime | None
    purpose: Purpose
    sender: str | None


def read_header(message: Values, kind: str, context: MessageContext) -> Header:
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
    _note_version(kind, version, context)
    return Header(type_code, issued_at, known or "create", sender)


def _note_version(kind: str, version: str | None, context: MessageContext) -> None:
    major = (version or "").split(".")[0]
    if major.isascii() and major.isdigit() and len(major) < 4 and int(major) > NEWEST_VERSIONS.get(kind, 99):
        context.notes.append(f"version {int(major)} is newer than the element tables: read as far as known")


def find_consignment(message: Values, kind: str) -> Values:
    """Find the one consignment of a message."""
    found: list[Values] | None = message.get("MasterConsignment")
    if found is None:
        raise MessageFault("an element is missing", where=kind, got="no MasterConsignment", expected="one")
    if len(found) > 1:
        raise build_count_fault(len(found), 1)
    return found[0]


def find_houses(consignment: Values, kind: str) -> list[Values]:
    """Find the houses of a message's consignment."""
    houses: list[Values] | None = consignment.get("IncludedHouseConsignment")
    if houses is None:
        raise MessageFault(
            "an element is missing", where=kind, got="no IncludedHouseConsignment", expected="one or more"
        )
    return houses


# --- parties and notes ------------------------------------------------------------------------------------------------


def read_parties(consignment: Values) -> Fields:
    """Read sender, consignee, forwarder and account, as the parties themselves say."""
    fields: Fields = {}
    for prefix, name in PARTIES.items():
        if name in consignment:
            _read_party(prefix, consignment[name][0], fields)
    fields["declarant"] = consignment.get("FreightForwarderParty/Name")
    return fields


def _read_party(prefix: str, party: Values, fields: Fields) -> None:
    lines = [line for line in party.get("PostalStructuredAddress/StreetName", ()) if line]
    box = party.get("PostalStructuredAddress/PostOfficeBox")
    if box:
        lines.append(f"PO Box {box}")
    fields[f"{prefix}_name"] = party.get("Name")
    fields[f"{prefix}_address"] = ", ".join(lines) or None
    fields[f"{prefix}_city"] = party.get("PostalStructuredAddress/CityName")
    fields[f"{prefix}_postcode"] = party.get("PostalStructuredAddress/PostcodeCode")
    fields[f"{prefix}_country"] = parse_country(party.get("PostalStructuredAddress/CountryID"))
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


def read_notes(consignment: Values, doubts: Doubts) -> DecodedNotes:
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


def read_goods(consignment: Values, lines: Sequence[Values], doubts: Doubts) -> Fields:
    """Read description, items, pieces and weight of a waybill with some lines of goods."""
    items: list[Fields] = []
    counts: list[float | None] = []
    for line in lines:
        pieces = parse_number(line.get("PieceQuantity"), doubts)
        item = _read_item(line, pieces, doubts)
        if item:
            items.append(item)
            counts.append(pieces)
    _check_volume(consignment, doubts)
    total = parse_number(consignment.get("TotalPieceQuantity"), doubts)
    _check_piece_counts(counts, total, doubts)
    return {
        "description": consignment.get("SummaryDescription") or get_first(items, "description"),
        "hs_code": get_first(items, "hs_code"),
        "origin_country": get_first(items, "origin_country"),
        "items": items or None,
        "pieces": total,
        "gross_weight_kg": read_kilograms(consignment, "IncludedTareGrossWeightMeasure", doubts),
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
        "origin_country": parse_country(line.get("OriginCountry/ID")),
    }
    weight = read_kilograms(line, "GrossWeightMeasure", doubts)
    if weight is None and not any(item.values()):
        return {}
    item["quantity"] = pieces if pieces is not None else parse_number(line.get("PackageQuantity"), doubts)
    return item


def read_kilograms(values: Values, path: str, doubts: Doubts) -> float | None:
    """Read a weight in kilograms."""
    return parse_kilograms(values.get(path), values.get(f"{path}/@unitCode"), doubts)


def _check_volume(values: Values, doubts: Doubts) -> None:
    """Flag a volume that is given in a unit of weight."""
    if is_weight_unit(values.get("GrossVolumeMeasure/@unitCode")):
        doubts.add("volume_in_weight_unit")


# --- charges ----------------------------------------------------------------------------------------------------------


class Money(NamedTuple):
    """An amount and its currency, where one is given."""

    amount: float
    currency: str | None


def read_money(values: Values, path: str, doubts: Doubts) -> Money | None:
    """Read an amount."""
    amount = parse_number(values.get(path), doubts)
    if amount is None:
        return None
    currency = (values.get(f"{path}/@currencyID") or "").strip().upper()
    return Money(amount, currency or None)


def sum_amounts(amounts: Iterable[Money | None], doubts: Doubts) -> Money | None:
    """Add up amounts of one currency; those of another than the first are left out, with a code."""
    given = [money for money in amounts if money is not None]
    if len(given) < 2:
        return given[0] if given else None
    alike = [money.amount for money in given if money.currency == given[0].currency]
    if any(money.amount for money in given if money.currency != given[0].currency):
        doubts.add("currency_mixed")
    return Money(sum(alike), given[0].currency)


def read_charges(consignment: Values, freight: Money | None, doubts: Doubts) -> Fields:
    """Read the declared value, the freight in the one currency that the record has, and how carriage is paid."""
    nil = is_true(consignment.get("NilCustomsValueIndicator"))
    declared = None if nil else read_money(consignment, "DeclaredValueForCustomsAmount", doubts)
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
        "payment": None if flag is None else "prepaid" if is_true(flag) else "collect",
    }


def is_true(text: str | None) -> bool:
    """Check whether the text of an indicator says yes."""
    return (text or "").lower() in ("true", "1")


def read_body(
    consignment: Values, lines: Sequence[Values], freight: Money | None, doubts: Doubts
) -> tuple[Fields, DecodedNotes]:
    """Read what house and air waybills share: parties, customs notes, goods and charges."""
    fields = read_parties(consignment)
    notes = read_notes(consignment, doubts)
    fields |= read_goods(consignment, lines, doubts)
    merge_notes(fields, notes)
    paid = notes.fields.get("payment")
    fields |= read_charges(consignment, freight, doubts)
    if paid is not None:
        fields["payment"] = paid
    return fields, notes


# --- the journey ------------------------------------------------------------------------------------------------------


def read_ends(consignment: Values) -> tuple[str | None, str | None]:
    """Read where a waybill begins and ends."""
    return consignment.get("OriginLocation/ID"), consignment.get("FinalDestinationLocation/ID")


def read_movements(consignment: Values) -> list[Values]:
    """Find the flights in their order."""
    movements: list[Values] = consignment.get("SpecifiedLogisticsTransportMovement", [])
    return movements if len(movements) < 2 else sorted(movements, key=_read_place_in_order)


def _read_place_in_order(movement: Values) -> float:
    return parse_number(movement.get("SequenceNumeric"), set()) or 0.0


def read_stops(movements: Sequence[Values]) -> list[str | None]:
    """Read the airports of flights in order."""
    return [movement.get(stop) for movement in movements for stop in STOPS]


def find_carrier(movements: Sequence[Values]) -> str | None:
    """Name the airline of the first flight."""
    return find_airline(
        (movement.get("ID"), movement.get("UsedLogisticsTransportMeans/Name")) for movement in movements
    )
