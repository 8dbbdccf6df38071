"""Answers of customs about air consignments: Cargo-XML XCSN and XFNM, and CAMIR PSN and PER.

The codes are those of Canada's Pre-load Air Cargo Targeting (implementation guide 2024, tables 7 to 10), which the IATA
messages share. CO means that the assessment is complete, or that a hold is removed; which of the two follows from the holds
that stand, and that is decided by who reads all answers (`consignments.messages.linking`).
"""

import re
from collections.abc import Iterator
from datetime import datetime

from consignments.errors import MessageFault
from consignments.messages.air.cargo_imp import read_lines
from consignments.messages.air.cargo_xml import Values, read_message
from consignments.messages.air.waybills import clean_identifier, read_waybill_number
from consignments.messages.configuration import load_codes
from consignments.messages.content.values import Doubts, complete_moment, parse_time
from consignments.messages.parsed import EventState, Ignored, MessageContext, Parsed, StateRow

XML_STATES, CAMIR_STATES = (
    load_codes("air/customs_codes", section) for section in ("xml_states", "camir_states")
)
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
AUTHORITIES = ("PACT", "ACAS", "ICS2")
HOUSE_DOCUMENT = "703"
WAYBILL_DOCUMENTS = ("740", "741")
REMOVED = re.compile(r"\b(REMOVED|RESOLVED|RELEASED)\b", re.IGNORECASE)
CAMIR_WAYBILL = re.compile(r"\s*(\d{3}-?\d{8})(?:\s*-\s*([^\s/]+))?", re.ASCII)
CAMIR_STATUS = re.compile(
    r"(CSN|ERR)/([A-Z0-9]+)(?:-\d+)?/?(?:(\d{2})([A-Z]{3})(\d{4})/?)?(.*)", re.ASCII | re.DOTALL
)
MASTER_SUFFIX = "M"
"""What stands in the place of a house in CAMIR for the master itself."""


def read_customs_status(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read an XCSN."""
    _, message, header = read_message("status", content, context)
    code, text = message.get("code"), message.get("text")
    if code is None:
        raise MessageFault("no status", where="BusinessHeaderDocument/StatusCode")
    state: EventState | None = XML_STATES.get(code.upper())
    if state is None:
        yield Ignored("XCSN", f"its status {code[:10]!r} is not known")
        return
    if state == "assessment_complete" and text and REMOVED.search(text):
        state = "resolved"
    issued_at = parse_time(message.get("decided_at")) or header.issued_at
    authority = _name_authority(header.sender, text)
    yield StateRow(_find_subject(message), authority, state, code, text, issued_at, "XCSN")


def _find_subject(message: Values) -> str:
    """Find what a status is about: the house where one is named, else its waybill."""
    consignment: Values = next(iter(message.get("consignments", ())), {})
    houses = consignment.get("houses", [])
    by_type: dict[str, str] = {}
    for document in [each for level in (consignment, *houses) for each in level.get("documents", ())]:
        if document.get("id"):
            by_type.setdefault(document.get("type") or "", document["id"])
    named = next((by_type[code] for code in WAYBILL_DOCUMENTS if code in by_type), consignment.get("number"))
    house = by_type.get(HOUSE_DOCUMENT) or (houses[0].get("id") if houses else None)
    if named is None and house is None:
        named = next(iter(by_type.values()), None) or message.get("named")
        if named is None:
            raise MessageFault("no waybill", where="AssociatedReferenceDocument", expected="its number")
    return _join_identifier(named, house)


def _join_identifier(waybill: str | None, house: str | None) -> str:
    number = None if waybill is None else read_waybill_number(waybill, Doubts())
    own = None if house is None else clean_identifier(house, Doubts())
    if not own or own == number:
        return number or "unknown"
    return f"{number}/{own}" if number and not own.startswith(f"{number}/") else own


def _name_authority(sender: str | None, text: str | None) -> str | None:
    for name in AUTHORITIES:
        if (sender or "").upper().startswith(name) or (text or "").upper().startswith(name):
            return name
    return sender


def read_response(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read an XFNM: an acknowledgement, or the errors of a message that was sent."""
    _, message, header = read_message("response", content, context)
    business = message.get("business", [])
    subject = business[0].get("id") if business else None
    conditions = [each for level in (message, *business) for each in level.get("conditions", ())]
    if subject is None or not conditions:
        yield Ignored("XFNM", "an answer without a waybill or a status")
        return
    name = clean_identifier(subject, Doubts())
    if found := CAMIR_WAYBILL.match(subject):
        name = _join_identifier(found[1], found[2] or subject[found.end() :].lstrip("/_ ") or None)
    authority = _name_authority(header.sender, None)
    for each in conditions:
        condition, reason = each.get("code"), each.get("reason")
        failed = (condition or "").lower() in ("error", "rejected", "rejection", "failure")
        state: EventState = "error" if failed else "received"
        code, text = reason if failed else condition, each.get("text") or reason
        yield StateRow(name, authority, state, code, text, header.issued_at, "XFNM")


def read_camir_status(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read a PSN or PER, of which several may follow each other."""
    subject: str | None = None
    kind = "PSN"
    found_any = False
    for line in read_lines(content):
        head = line.strip().split("/")[0]
        if head in ("PSN", "PER", "FSN", "FER"):
            kind, subject = head, None
            continue
        waybill = CAMIR_WAYBILL.match(line)
        if waybill:
            subject = _join_identifier(waybill[1], None if waybill[2] == MASTER_SUFFIX else waybill[2])
            line = line[waybill.end() :]
        if status := CAMIR_STATUS.match(line.strip()):
            found_any = True
            yield _build_camir_state(status, subject, kind, context.received_at)
    if not found_any:
        raise MessageFault("no status", where=kind, expected="a line CSN or ERR")


def _build_camir_state(
    status: re.Match[str], subject: str | None, kind: str, reference: datetime | None
) -> StateRow | Ignored:
    segment, code, day, month, clock, rest = status.groups()
    text = " ".join(rest.split()) or None
    state: EventState | None = "error" if segment == "ERR" else CAMIR_STATES.get(code)
    if state is None:
        return Ignored(kind, f"its status {code[:10]!r} is not known")
    if subject is None:
        return Ignored(kind, "an answer that names no waybill")
    issued_at = None
    if day is not None and month in MONTHS:
        issued_at = complete_moment(int(day), MONTHS.index(month) + 1, clock, reference)
    own = text.split()[0] if segment == "ERR" and text else code
    return StateRow(subject, _name_authority(None, text), state, own, text, issued_at, kind)
