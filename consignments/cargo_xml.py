"""IATA Cargo-XML: house waybills (XFZB) and waybills (XFWB) as consignments.

What is scored is the house: an XFZB gives one consignment, a direct waybill (type 740) one too, a master (741) none;
read together with its houses it adds its route, forwarder and carrier to them. Elements are found by their local
names, so every style of prefixes reads alike. Missing mandatory elements and wrong check digits are no reason to refuse
a message; a message is refused where it is hostile, cut, of another kind, or breaks the limits of the record.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from lxml import etree

from consignments.errors import MessageFault
from consignments.identifiers import parse_awb
from consignments.records import Consignment
from consignments.rejects import Reject
from consignments.xml_elements import (
    Element,
    find_element,
    find_elements,
    find_required,
    is_true,
    join_text,
    parse_tree,
    read_kilograms,
    read_number,
    read_text,
)

MessageSource = Path | str | bytes
"""A file, or the bytes of a message."""
Fields = dict[str, Any]

MAX_BYTES = 10_000_000
DIRECT_WAYBILL, MASTER_WAYBILL = "740", "741"
"""Type codes of a waybill (UN/EDIFACT 1001): direct, and master of a consolidation."""

# Codes of customs notes (OCI), as in the enhanced US air-cargo advance screening; the meanings in the record are ours.
PAYMENTS = {
    "BILL": "account",
    "CC": "card",
    "CHQ": "cheque",
    "CSH": "cash",
    "CTO": "crypto",
    "EFT": "transfer",
    "MBL": "mobile",
}
SERVICES = {"01": "general", "02": "express", "03": "ecommerce"}
NATURES = {"B2B": "sale", "B2C": "sale", "C2B": "returned", "C2C": "other"}
PARTY_ELEMENTS = {"sender": ("ConsignorParty", "SHP"), "consignee": ("ConsigneeParty", "CNE")}
"""Our prefix, the element, and the subject of its customs notes."""
ACCOUNT_DATES = ("%m%d%Y", "%d%b%y")
"""The two forms in use: 01202023 and 20JAN23."""
NOTE_PARTS = ("Content", "ContentCode", "SubjectCode")
FLIGHT_FORM = re.compile(r"([A-Z0-9]{2}) ?\d{1,4}[A-Z]?$")
"""A flight number, led by the airline's two characters."""


@dataclass(frozen=True)
class MasterWaybill:
    """What a master waybill adds to its houses.

    Attributes
    ----------
    number : str
        Its waybill number, `180-12345675`.
    route : tuple of str
        Places in order.
    forwarder, carrier : str or None
    """

    number: str
    route: tuple[str, ...]
    forwarder: str | None
    carrier: str | None


@dataclass(frozen=True)
class ParsedMessage:
    """One message read: a consignment or a master, and what was odd about it."""

    consignment: Consignment | None
    master: MasterWaybill | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ParsedMessages:
    """Many messages read together.

    Attributes
    ----------
    consignments : tuple of Consignment
        In the order of the messages; several messages about one house give several.
    masters : tuple of Master
    rejects : tuple of Reject
        Messages that could not be read.
    notes : tuple of str
        What was odd, with the message's name.
    """

    consignments: tuple[Consignment, ...]
    masters: tuple[MasterWaybill, ...]
    rejects: tuple[Reject, ...]
    notes: tuple[str, ...]


def read_messages(
    sources: Iterable[MessageSource], *, received_at: datetime | None = None, max_bytes: int = MAX_BYTES
) -> ParsedMessages:
    """Read messages and join masters to their houses; a bad message does not sink the others.

    Parameters
    ----------
    sources : iterable of path or bytes
        In any order; only the records are kept in memory.
    received_at : datetime, optional
        When they reached customs; default: the time of issue in each message, UTC where it has no zone.
    max_bytes : int
        Larger messages are refused before they are read.

    Examples
    --------
    >>> found = read_messages(["master.xml", "house1.xml", "house2.xml"])  # doctest: +SKIP
    >>> [c.consignment_id for c in found.consignments]  # doctest: +SKIP
    ['180-48103826/SZX7714021', '180-48103826/SZX7714022']
    """
    consignments: list[Consignment] = []
    masters: dict[str, MasterWaybill] = {}
    rejects: list[Reject] = []
    notes: list[str] = []
    for number, source in enumerate(sources, start=1):
        name = f"message {number}" if isinstance(source, bytes) else str(source)
        try:
            message = _parse_message(_read_bytes(source, max_bytes), received_at)
        except MessageFault as fault:
            rejects.append(Reject(name, "", "", str(fault)))
            continue
        notes += [f"{name}: {note}" for note in message.notes]
        if message.consignment is not None:
            consignments.append(message.consignment)
        if message.master is not None:
            masters[message.master.number] = message.master
    joined = [add_master(house, masters.get(house.master_id or "")) for house in consignments]
    return ParsedMessages(tuple(joined), tuple(masters.values()), tuple(rejects), tuple(notes))


def read_message(
    source: MessageSource, *, received_at: datetime | None = None, max_bytes: int = MAX_BYTES
) -> ParsedMessage:
    """Read one message.

    Raises
    ------
    MessageFault
        Where it is too large, hostile, cut, not well formed, of another kind, or breaks the limits of the record.
    """
    try:
        return _parse_message(_read_bytes(source, max_bytes), received_at)
    except MessageFault as fault:
        name = "message" if isinstance(source, bytes) else str(source)
        raise MessageFault(
            fault.what,
            where=f"{name}, {fault.where}" if fault.where else name,
            got=fault.got,
            expected=fault.expected,
            todo=fault.todo,
        ) from fault


def add_master(house: Consignment, master: MasterWaybill | None) -> Consignment:
    """Add to a house what only its master says: the stops of the flight, the forwarder, the carrier."""
    if master is None:
        return house
    places = _splice_stops((house.route or "").split(">"), master.route)
    return msgspec.structs.replace(
        house,
        route=">".join(places) or None,
        declarant=house.declarant or master.forwarder,
        carrier=house.carrier or master.carrier,
    )


def _splice_stops(house: Sequence[str], master: Sequence[str]) -> Sequence[str]:
    """Put the master's stops between its two ends in the house's route."""
    if not master or master[0] not in house or master[-1] not in house:
        return house
    start, end = house.index(master[0]), len(house) - 1 - house[::-1].index(master[-1])
    return [*house[:start], *master, *house[end + 1 :]] if start <= end else house


def _read_bytes(source: MessageSource, max_bytes: int) -> bytes:
    try:
        size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        if size > max_bytes:
            raise MessageFault("too large", got=f"{size:,} bytes", expected=f"at most {max_bytes:,}")
        return source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise MessageFault("cannot be read", got=error.strerror or "an error of the system") from error


# --- from a tree to a message -----------------------------------------------------------------------------------------


def _parse_message(data: bytes, received_at: datetime | None) -> ParsedMessage:
    root = parse_tree(data)
    kind = etree.QName(root).localname
    if kind == "HouseWaybill":
        return _parse_house(root, received_at)
    if kind == "Waybill":
        return _parse_waybill(root, received_at)
    raise MessageFault(
        "unknown kind of message",
        got=kind,
        expected="HouseWaybill (XFZB) or Waybill (XFWB)",
        todo="leave it out",
    )


def _parse_house(root: Element, received_at: datetime | None) -> ParsedMessage:
    notes: list[str] = []
    house_number = read_text(root, "BusinessHeaderDocument/ID")
    if house_number is None:
        raise MessageFault("no house waybill number", where="BusinessHeaderDocument/ID")
    master = find_required(root, "MasterConsignment")
    house = find_required(master, "IncludedHouseConsignment")
    number = _parse_waybill_number(read_text(master, "TransportContractDocument/ID"), notes)
    origin, destination = _read_ends(house)
    outer_origin, outer_destination = _read_ends(master)
    stops = _read_stops(house) or _read_stops(master)
    fields = {
        "consignment_id": f"{number}/{house_number}" if number else house_number,
        "master_id": number,
        "carrier": _find_carrier(house) or _find_carrier(master),
        **_read_times(root, received_at),
        **_read_parties(house, notes),
        **_read_goods(house, "IncludedHouseConsignmentItem"),
        **_read_charges(house, _house_freight(house), notes),
    }
    places = _route(origin, outer_origin, *stops, outer_destination, destination)
    return ParsedMessage(_build_record(fields | _build_journey(places, fields)), None, tuple(notes))


def _parse_waybill(root: Element, received_at: datetime | None) -> ParsedMessage:
    notes: list[str] = []
    number = _parse_waybill_number(read_text(root, "BusinessHeaderDocument/ID"), notes)
    if number is None:
        raise MessageFault("no waybill number", where="BusinessHeaderDocument/ID")
    waybill = find_required(root, "MasterConsignment")
    origin, destination = _read_ends(waybill)
    places = _route(origin, *_read_stops(waybill), destination)
    kind = read_text(root, "MessageHeaderDocument/TypeCode")
    if kind == MASTER_WAYBILL:
        master = MasterWaybill(
            number, places, read_text(waybill, "FreightForwarderParty/Name"), _find_carrier(waybill)
        )
        return ParsedMessage(None, master, tuple(notes))
    if kind != DIRECT_WAYBILL:
        raise MessageFault(
            "unknown type of waybill",
            where="MessageHeaderDocument/TypeCode",
            got=repr(kind),
            expected=f"{DIRECT_WAYBILL} (direct) or {MASTER_WAYBILL} (master)",
        )
    fields = {
        "consignment_id": number,
        "carrier": _find_carrier(waybill),
        **_read_times(root, received_at),
        **_read_parties(waybill, notes),
        **_read_goods(waybill, "ApplicableRating/IncludedMasterConsignmentItem"),
        **_read_charges(waybill, _waybill_freight(waybill), notes),
    }
    if (fields["description"] or "").upper().startswith("CONSOLIDAT"):
        notes.append("a direct waybill described as a consolidation")
    return ParsedMessage(_build_record(fields | _build_journey(places, fields)), None, tuple(notes))


def _build_record(fields: Fields) -> Consignment:
    try:
        return msgspec.convert({"channel": "air_cargo", **fields}, Consignment)
    except msgspec.ValidationError as error:
        raise MessageFault("breaks the limits of the record", got=str(error)) from error


def _parse_waybill_number(text: str | None, notes: list[str]) -> str | None:
    parts = None if text is None else parse_awb(text)
    if parts is None:
        notes.append("no waybill number" if text is None else "the waybill number has an unknown form")
        return text
    return parts.number


def _read_times(root: Element, received_at: datetime | None) -> Fields:
    """Tell when it was received, and that it was withdrawn where the message says so."""
    where = "MessageHeaderDocument/IssueDateTime"
    moment = received_at
    if moment is None:
        text = read_text(root, where)
        try:
            moment = datetime.fromisoformat(text or "")
        except ValueError:
            raise MessageFault(
                "no time of issue" if text is None else "bad time of issue",
                where=where,
                expected="ISO 8601",
                todo="say when it was received",
            ) from None
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    withdrawn = read_text(root, "MessageHeaderDocument/PurposeCode") == "Deletion"
    return {"received_at": moment, "cancelled_at": moment if withdrawn else None}


# --- parts of a consignment -------------------------------------------------------------------------------------------


def _read_parties(element: Element, notes: list[str]) -> Fields:
    """Read sender, consignee, forwarder and account: from the parties, else from the customs notes."""
    oci = [
        tuple(read_text(note, part) or "" for part in NOTE_PARTS)
        for note in find_elements(element, "IncludedCustomsNote")
    ]
    fields: Fields = {}
    for prefix, (path, subject) in PARTY_ELEMENTS.items():
        own = {code: content for content, code, about in oci if about == subject}
        address = _address(element, f"{path}/PostalStructuredAddress")
        contact = f"{path}/DefinedTradeContact"
        fields |= {
            f"{prefix}_name": read_text(element, f"{path}/Name"),
            f"{prefix}_phone": read_text(element, f"{contact}/DirectTelephoneCommunication/CompleteNumber")
            or _first(own, "VP", "CT"),
            f"{prefix}_email": read_text(element, f"{contact}/URIEmailCommunication/URIID") or _email(own),
            **{f"{prefix}_{name}": value for name, value in address.items()},
        }
    codes = {code: content for content, code, _ in oci}
    fields["declarant"] = read_text(element, "FreightForwarderParty/Name")
    fields["account_id"] = (
        _first(codes, "AR") or read_text(element, "ConsignorParty/AccountID") or _first(codes, "AN")
    )
    fields["account_opened_on"] = _account_date(codes.get("AE"), notes)
    fields["service"] = SERVICES.get(codes.get("FT", "")) or _handling_service(element)
    fields["nature"] = NATURES.get(codes.get("RT", ""))
    fields["payment"] = PAYMENTS.get(codes.get("BT", "")) or _payment_terms(element)
    return fields


def _address(element: Element, path: str) -> Fields:
    box = read_text(element, f"{path}/PostOfficeBox")
    lines = [join_text(street) for street in find_elements(element, f"{path}/StreetName")]
    lines.append(f"PO Box {box}" if box else None)
    country = read_text(element, f"{path}/CountryID")
    return {
        "address": ", ".join(line for line in lines if line) or None,
        "city": read_text(element, f"{path}/CityName"),
        "postcode": read_text(element, f"{path}/PostcodeCode"),
        "country": country.upper() if country else None,
    }


def _first(codes: dict[str, str], *names: str) -> str | None:
    return next((codes[name] for name in names if codes.get(name)), None)


def _email(codes: dict[str, str]) -> str | None:
    user, domain = _first(codes, "VU", "MU"), _first(codes, "VD", "MD")
    return f"{user}@{domain}" if user and domain else None


def _account_date(text: str | None, notes: list[str]) -> date | None:
    """Read the day an account was opened, in either of its two forms."""
    if not text:
        return None
    for form in ACCOUNT_DATES:
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    notes.append("the date of the account has an unknown form")
    return None


def _handling_service(element: Element) -> str | None:
    codes = {read_text(each, "DescriptionCode") for each in find_elements(element, "HandlingSPHInstructions")}
    return "ecommerce" if "ECC" in codes else None


def _payment_terms(element: Element) -> str | None:
    flag = read_text(element, "TotalChargePrepaidIndicator")
    return None if flag is None else "prepaid" if is_true(flag) else "collect"


def _read_goods(element: Element, items_path: str) -> Fields:
    items = [item for item in map(_read_item, find_elements(element, items_path)) if item]
    return {
        "description": read_text(element, "SummaryDescription") or _first_value(items, "description"),
        "hs_code": _first_value(items, "hs_code"),
        "origin_country": _first_value(items, "origin_country"),
        "items": items or None,
        "pieces": read_number(element, "TotalPieceQuantity"),
        "gross_weight_kg": read_kilograms(element, "IncludedTareGrossWeightMeasure"),
    }


def _read_item(element: Element) -> Fields:
    """Read one line; a line that only carries dimensions gives nothing.

    The message has no net weights: the gross weight of a line stands for them.
    """
    item = {
        "description": read_text(element, "NatureIdentificationTransportCargo/Identification"),
        "hs_code": read_text(element, "TypeCode"),
        "origin_country": read_text(element, "OriginCountry/ID"),
        "net_weight_kg": read_kilograms(element, "GrossWeightMeasure"),
    }
    if not any(value is not None for value in item.values()):
        return {}
    pieces = read_number(element, "PieceQuantity")
    return item | {"quantity": pieces if pieces is not None else read_number(element, "PackageQuantity")}


def _first_value(items: Sequence[Fields], name: str) -> Any:
    return next((item[name] for item in items if item[name] is not None), None)


class Money(NamedTuple):
    """An amount and its currency, where one is given."""

    amount: float
    currency: str | None


def _read_money(element: Element, path: str) -> Money | None:
    amount, found = read_number(element, path), find_element(element, path)
    return None if amount is None or found is None else Money(amount, found.get("currencyID"))


def _house_freight(house: Element) -> Money | None:
    summed = _sum_amounts(_read_money(house, f"Total{how}ChargeAmount") for how in ("Prepaid", "Collect"))
    return summed or _read_money(house, "WeightTotalChargeAmount")


def _waybill_freight(waybill: Element) -> Money | None:
    totals = find_elements(waybill, "ApplicableTotalRating/ApplicablePrepaidCollectMonetarySummation")
    return _sum_amounts(_read_money(total, "GrandTotalAmount") for total in totals)


def _sum_amounts(amounts: Iterable[Money | None]) -> Money | None:
    """Add up amounts of one currency; those of another than the first are left out."""
    given = [money for money in amounts if money is not None]
    alike = [money.amount for money in given if money.currency == given[0].currency]
    return Money(sum(alike), given[0].currency) if given else None


def _read_charges(element: Element, freight: Money | None, notes: list[str]) -> Fields:
    """Read the declared value and the freight, in the one currency that the record has."""
    nil = is_true(read_text(element, "NilCustomsValueIndicator") or "")
    declared = None if nil else _read_money(element, "DeclaredValueForCustomsAmount")
    source = read_text(element, "ApplicableOriginCurrencyExchange/SourceCurrencyCode")
    currency = (declared and declared.currency) or (freight and freight.currency) or source
    comparable = freight is not None and freight.currency in (None, currency)
    if freight is not None and not comparable:
        notes.append("the freight is in another currency than the value, and was left out")
    return {
        "declared_value": declared.amount if declared else None,
        "currency": currency,
        "postage": freight.amount if freight and comparable else None,
    }


# --- the journey ------------------------------------------------------------------------------------------------------


def _read_ends(element: Element) -> tuple[str | None, str | None]:
    return read_text(element, "OriginLocation/ID"), read_text(element, "FinalDestinationLocation/ID")


def _movements(element: Element) -> list[Element]:
    def order(movement: Element) -> float:
        return read_number(movement, "SequenceNumeric") or 0.0

    return sorted(find_elements(element, "SpecifiedLogisticsTransportMovement"), key=order)


def _read_stops(element: Element) -> list[str | None]:
    return [
        read_text(movement, f"{way}Event/Occurrence{way}Location/ID")
        for movement in _movements(element)
        for way in ("Departure", "Arrival")
    ]


def _route(*places: str | None) -> tuple[str, ...]:
    """Put places in order, each once where it stands several times in a row."""
    codes = [place.upper() for place in places if place]
    return tuple(code for code, before in zip(codes, [None, *codes], strict=False) if code != before)


def _build_journey(places: Sequence[str], fields: Fields) -> Fields:
    """Give the route and its two countries: those of the airports, else those of the parties."""
    ends = (places[0], places[-1]) if places else ("", "")
    return {
        "route": ">".join(places) or None,
        "departure_country": find_airport_country(ends[0]) or fields["sender_country"],
        "destination_country": find_airport_country(ends[1]) or fields["consignee_country"],
    }


def _find_carrier(element: Element) -> str | None:
    """Name the airline of the first flight: the letters of its number, else the name given."""
    for movement in _movements(element):
        flight = FLIGHT_FORM.match(read_text(movement, "ID") or "")
        name = flight[1] if flight else read_text(movement, "UsedLogisticsTransportMeans/Name")
        if name:
            return name
    return None


def find_airport_country(code: str) -> str | None:
    """Give the country of an IATA airport code, or None where it is not known.

    Examples
    --------
    >>> find_airport_country("ICN"), find_airport_country("???")
    ('KR', None)
    """
    return _airport_countries().get(code)


@cache
def _airport_countries() -> dict[str, str]:
    import airportsdata  # a quarter of a second, needed by readers of messages only

    return {code: airport["country"] for code, airport in airportsdata.load("IATA").items()}
