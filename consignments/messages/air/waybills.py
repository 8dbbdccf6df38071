"""Waybills of air cargo, whatever the format of their message: their numbers, journeys and customs notes.

A customs note (OCI) is country, subject, code and content. The codes of the enhanced US air-cargo advance screening say how long a
shipper's account exists and how it pays, which no other part of a waybill does (19 CFR 122.48b; IATA list of OCI codes).
The meanings in the record are ours.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from consignments.identifiers import parse_awb
from consignments.messages.configuration import load_codes, load_table
from consignments.messages.content.values import HIDDEN, Doubts, Fields, parse_short_date, sum_all
from consignments.messages.parsed import EXTRA_COLUMNS, MASTER_FIELDS, Declaration, MasterDetails
from consignments.messages.quality import UNIDENTIFIED
from consignments.records import TEXT_LIMITS, Consignment

MAX_IDENTIFIER = TEXT_LIMITS[Consignment]["consignment_id"]
NOT_OF_IDENTIFIERS = re.compile("[\x00-\x1f\x7f\u200c\u200d]")
"""Control characters and joiners: identifiers that differ in them or in hidden characters alone look equal."""
DIGEST_CHARACTERS = 16


def read_waybill_number(text: str | None, doubts: Doubts) -> str | None:
    """Return a waybill number in its normal form; another form is kept, with a code."""
    if text is None:
        doubts.add("identifier_missing")
        return None
    parts = parse_awb(text)
    if parts is None or parts.house:
        doubts.add("identifier_malformed")
        return clean_identifier(text, doubts)
    return parts.number


def clean_identifier(text: str, doubts: Doubts) -> str:
    """Remove invisible characters, and shorten an identifier that is too long to a unique one."""
    clean = NOT_OF_IDENTIFIERS.sub("", HIDDEN.sub("", text)).strip()
    if clean != text:
        doubts.add("identifier_malformed")
    if len(clean) > MAX_IDENTIFIER:
        doubts.update(("identifier_malformed", "text_cut"))
        digest = hashlib.sha256(clean.encode("utf-8", "replace")).hexdigest()[:DIGEST_CHARACTERS]
        clean = f"{clean[: MAX_IDENTIFIER - DIGEST_CHARACTERS - 1]}~{digest}"
    return clean


def identify_by_content(fields: dict[str, Any]) -> str:
    """Return the identifier of a declaration that has none: a hash of its content."""
    given = {name: value for name, value in sorted(fields.items()) if value is not None}
    encoded = msgspec.json.encode(given, enc_hook=str)
    return UNIDENTIFIED + hashlib.sha256(encoded).hexdigest()[: 2 * DIGEST_CHARACTERS]


FLIGHT_FORM = re.compile(r"([A-Z0-9]{2}) ?\d{1,4}[A-Z]?$")
"""A flight number, led by the airline's two characters."""
CONSOLIDATION_FORM = re.compile(r"\bCONSOL(?:S|\.|IDAT\w*)?(?![A-Z])", re.IGNORECASE)


def looks_consolidated(description: str | None) -> bool:
    """Check whether a description says that the goods are a consolidation."""
    return description is not None and CONSOLIDATION_FORM.search(description) is not None


def splice_stops(house: Sequence[str], master: Sequence[str]) -> Sequence[str]:
    """Insert the master's stops between its two ends in the house's route; a house without a route gets its master's."""
    if not house:
        return master
    if not master or master[0] not in house or master[-1] not in house:
        return house
    start, end = house.index(master[0]), len(house) - 1 - house[::-1].index(master[-1])
    return [*house[:start], *master, *house[end + 1 :]] if start <= end else house


class Journey(NamedTuple):
    """The places of a waybill, as codes of airports, and its flights: the number of each, and the name of its airline if it has one."""

    origin: str | None = None
    destination: str | None = None
    stops: Sequence[str | None] = ()
    flights: Iterable[tuple[str | None, str | None]] = ()


def read_journey(journey: Journey, fields: Fields) -> Fields:
    """Return the route of a waybill through places in order, its two countries, and the airline of the first flight.

    The countries are those of the airports, else those of the parties; one place is not both ends. The characters that lead the number
    of a flight name the airline, else the name given with it.
    """
    ends = ((journey.origin or "").upper(), (journey.destination or "").upper())
    stops = ((place or "").upper() for place in journey.stops)
    route = [code for code, _ in groupby(filter(None, (ends[0], *stops, ends[1])))]
    first, last = (route[0], route[-1]) if len(route) > 1 else ends
    numbers = ((FLIGHT_FORM.match(number or ""), name) for number, name in journey.flights)
    return {
        "route": ">".join(route) or None,
        "departure_country": find_airport_country(first) or fields.get("sender_country"),
        "destination_country": find_airport_country(last) or fields.get("consignee_country"),
        "carrier": next(filter(None, (found[1] if found else name for found, name in numbers)), None),
    }


def find_airport_country(code: str) -> str | None:
    """Return the country of an IATA code of an airport or city, or None if it is not known."""
    return _load_countries().get(code)


@cache
def _load_countries() -> dict[str, str]:
    import airportsdata  # a quarter of a second, needed by readers of messages only

    airports = {code: airport["country"] for code, airport in airportsdata.load("IATA").items()}
    return load_codes("air/customs_codes", "cities") | airports


class Money(NamedTuple):
    """An amount and its currency, if one is given."""

    amount: float
    currency: str | None


def settle_charges(
    declared: Money | None, freight: Iterable[Money | None], currency: str | None, doubts: Doubts
) -> Fields:
    """Return the declared value and the sum of the freight in the one currency that a record has; other amounts are left out."""
    charges = [money for money in freight if money is not None]
    known = [money.currency for money in (declared, *charges) if money is not None and money.currency]
    currency = known[0] if known else currency
    alike = [amount for amount, own in charges if own in (None, currency)]
    if any(amount for amount, own in charges if own not in (None, currency)):
        doubts.add("currency_mixed")
    return {
        "declared_value": declared.amount if declared else None,
        "currency": currency,
        "postage": round(sum(alike), 6) if alike else None,
    }


COLUMNS: list[tuple[str, str, dict[str, str]]] = [
    (column, code, load_codes("air/customs_codes", column))
    for column, code in load_table("air/customs_codes")["columns"].items()
]
"""Columns that take the content of a note, with its code and the meanings of its content, if it is not taken as it is."""
SUBJECTS = {"sender": "SHP", "consignee": "CNE"}
CUSTOMER, CONSIGNEE_HOLDS = "CUS", "C"
"""The subject of the account's own notes, and the code of its holder if that is the consignee."""


class CustomsNote(NamedTuple):
    """One note; an empty part is the empty string."""

    country: str
    subject: str
    code: str
    content: str


def decode_notes(notes: Sequence[CustomsNote], doubts: Doubts) -> Fields:
    """Decode the notes of one waybill, by column of the record and extra column; what they do not say is left out."""
    if not notes:
        return {}
    codes: dict[str, str] = {}
    by_subject: dict[str, dict[str, str]] = defaultdict(dict)
    for _, subject, code, content in notes:
        if content:
            codes.setdefault(code, content)
            by_subject[subject].setdefault(code, content)
    decoded: Fields = {"customs_notes": "\n".join(map("/".join, notes))}
    for column, code, meanings in COLUMNS:
        if code in codes:
            decoded[column] = meanings.get(codes[code].upper()) if meanings else codes[code]
    decoded["account_opened_on"] = _read_account_date(codes["AE"], doubts) if "AE" in codes else None
    holder = "consignee" if codes.get("AH", "").upper() == CONSIGNEE_HOLDS else "sender"
    for prefix, subject in SUBJECTS.items():
        own = (by_subject[CUSTOMER] if prefix == holder else {}) | by_subject[subject]
        user, domain = own.get("VU") or own.get("MU"), own.get("VD") or own.get("MD")
        decoded[f"{prefix}_phone"] = own.get("VP") or own.get("CT")
        decoded[f"{prefix}_email"] = f"{user}@{domain}" if user and domain else None
        decoded[f"{prefix}_phone_verified"] = "yes" if "VP" in own else None
        decoded[f"{prefix}_email_verified"] = "yes" if own.get("VU") and own.get("VD") else None
    return {name: value for name, value in decoded.items() if value is not None}


def _read_account_date(text: str, doubts: Doubts) -> date | None:
    """Read the day an account was opened, in either of its two forms: 01202023 and 20JAN23."""
    is_of_digits = re.fullmatch(r"\d{8}", text.strip(), re.ASCII)
    found = parse_short_date(text, ("%m%d%Y",)) if is_of_digits else parse_short_date(text)
    if found is None:
        doubts.note("number_malformed", "account_opened_on")
    return found


NOTES_FIRST = ("account_id", "payment")
"""Columns of which a customs note says more than the waybill itself."""


def finish_waybill(
    waybill: Declaration,
    journey: Journey,
    notes: Sequence[CustomsNote],
    number: str | None,
    master: str | None = None,
) -> Declaration | MasterDetails:
    """Complete a waybill by its journey, customs notes and number; return a house or direct waybill, and the details of a master.

    What journey and notes say comes after all that the waybill says itself. The identifier of a house is the number of its master, a
    slash and its own number. Without a number an identifier is a hash of the content.
    """
    doubts, own = waybill.doubts, waybill.fields
    decoded = decode_notes(notes, doubts)
    waybill.extras = {name: decoded.pop(name) for name in EXTRA_COLUMNS if name in decoded}
    given = read_journey(journey, own) | {name: value for name, value in own.items() if value is not None}
    given |= {name: value for name, value in decoded.items() if name in NOTES_FIRST or not given.get(name)}
    given["account_id"] = given.get("account_id") or waybill.extras.get("account_name")
    given["master_id"] = master or given.get("master_id")
    fields = {name: value for name, value in given.items() if value is not None}
    if waybill.level == "house":
        number = clean_identifier(number or "", doubts)
        if not number:
            doubts.add("identifier_missing")
        elif master:
            number = clean_identifier(f"{master}/{number}", doubts)
    fields["consignment_id"] = number or identify_by_content(fields)
    waybill.fields = {"channel": "air_cargo", **fields}
    if waybill.level == "direct" and looks_consolidated(fields.get("description")):
        doubts.add("consolidation_undeclared")
    if waybill.level != "master":
        return waybill
    details = {name: fields[name] for name in MASTER_FIELDS if name in fields}
    return MasterDetails(fields["consignment_id"], details, waybill.issued_at, waybill)


def flag_piece_counts(houses: Sequence[Declaration], total: float | None, *, complete: bool) -> None:
    """Flag houses whose pieces together are not those of their master; a list that need not be complete may have fewer."""
    counts = [house.fields.get("pieces") for house in houses]
    differs = complete and sum_all(counts) not in (None, total)
    if total is not None and (differs or sum(filter(None, counts)) > total):
        for house in houses:
            house.doubts.add("piece_count_mismatch")
