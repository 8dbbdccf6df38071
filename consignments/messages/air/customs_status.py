"""Answers of customs about air consignments: Cargo-XML XCSN and XFNM, and CAMIR PSN and PER.

The codes are those of Canada's Pre-load Air Cargo Targeting (implementation guide 2024, tables 7 to 10), which the IATA
messages share. CO means that the assessment is complete, or that a hold is removed; which of the two follows from the holds
that stand, and that is decided by who reads all answers (`consignments.messages.states`).
"""

import re
from collections.abc import Iterator
from datetime import datetime

from consignments.errors import MessageFault
from consignments.messages.air.cargo_imp import decode_text, split_lines
from consignments.messages.air.cargo_xml import HEADER, read_header
from consignments.messages.air.elements import ElementReader, Values
from consignments.messages.air.waybill_numbers import clean_identifier, read_waybill_number
from consignments.messages.parsed import CustomsEvent, EventState, Ignored, MessageContext, Parsed
from consignments.messages.quantities import MONTHS, Doubts, complete_moment, parse_moment
from consignments.messages.xml_parsing import Element

XML_STATES: dict[str, EventState] = {
    "CO": "assessment_complete",
    "RI": "request_for_information",
    "RS": "request_for_screening",
    "CD": "do_not_load",
    "CB": "do_not_load",
}
CAMIR_STATES: dict[str, EventState] = {
    "SR": "received",
    "SF": "assessment_complete",
    **dict.fromkeys(("7H", "7J"), "request_for_information"),
    **dict.fromkeys(("8H", "8J"), "request_for_screening"),
    **dict.fromkeys(("6H", "6J"), "do_not_load"),
    **dict.fromkeys(("6I", "7I", "8I"), "resolved"),
}
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


REFERENCE = ElementReader("ID", "TypeCode")
HOUSE = ElementReader("ID", each={"AssociatedReferenceDocument": REFERENCE})
CONSIGNMENT = ElementReader(
    "TransportContractDocument/ID",
    each={"AssociatedReferenceDocument": REFERENCE, "IncludedHouseConsignment": HOUSE},
)
STATUS_MESSAGE = ElementReader(
    *HEADER,
    "BusinessHeaderDocument/ID",
    "BusinessHeaderDocument/StatusCode",
    "BusinessHeaderDocument/Information",
    "BusinessHeaderDocument/IssueDateTime",
    each={"MasterConsignment": CONSIGNMENT},
)
STATUS = ElementReader("ConditionCode", "Reason", "Information")
BUSINESS = ElementReader("ID", each={"ResponseStatus": STATUS})
RESPONSE = ElementReader(*HEADER, each={"ResponseStatus": STATUS, "BusinessHeaderDocument": BUSINESS})


def read_customs_status(root: Element, context: MessageContext) -> Iterator[Parsed]:
    """Read an XCSN."""
    message = STATUS_MESSAGE.read(root)
    header = read_header(message, context)
    code = message.get("BusinessHeaderDocument/StatusCode")
    if code is None:
        raise MessageFault("no status", where="BusinessHeaderDocument/StatusCode")
    text = message.get("BusinessHeaderDocument/Information")
    state = XML_STATES.get(code.upper())
    if state is None:
        yield Ignored("XCSN", f"its status {code[:10]!r} is not known")
        return
    if state == "assessment_complete" and text and REMOVED.search(text):
        state = "resolved"
    issued_at = parse_moment(message.get("BusinessHeaderDocument/IssueDateTime")) or header.issued_at
    yield CustomsEvent(
        consignment_id=_find_subject(message),
        authority=_name_authority(header.sender, text),
        state=state,
        code=code,
        text=text,
        issued_at=issued_at,
        source="XCSN",
    )


def _find_subject(message: Values) -> str:
    """Find what a status is about: the house where one is named, else its waybill."""
    consignment: Values = next(iter(message.get("MasterConsignment", ())), {})
    houses = consignment.get("IncludedHouseConsignment", [])
    documents = [
        document
        for each in (consignment, *houses)
        for document in each.get("AssociatedReferenceDocument", ())
    ]
    by_type: dict[str, str] = {}
    for document in documents:
        number = document.get("ID")
        if number:
            by_type.setdefault(document.get("TypeCode") or "", number)
    named = next((by_type[code] for code in WAYBILL_DOCUMENTS if code in by_type), None)
    if named is None:
        named = consignment.get("TransportContractDocument/ID")
    house = by_type.get(HOUSE_DOCUMENT)
    if house is None and houses:
        house = houses[0].get("ID")
    if named is None and house is None:
        named = next(iter(by_type.values()), None) or message.get("BusinessHeaderDocument/ID")
    if named is None and house is None:
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


def read_response(root: Element, context: MessageContext) -> Iterator[Parsed]:
    """Read an XFNM: an acknowledgement, or the errors of a message that was sent."""
    message = RESPONSE.read(root)
    header = read_header(message, context)
    business = message.get("BusinessHeaderDocument", [])
    subject = business[0].get("ID") if business else None
    statuses = [status for each in (message, *business) for status in each.get("ResponseStatus", ())]
    events = [
        (status.get("ConditionCode") or "", status.get("Reason"), status.get("Information"))
        for status in statuses
    ]
    if subject is None or not events:
        yield Ignored("XFNM", "an answer without a waybill or a status")
        return
    for condition, reason, information in events:
        failed = condition.lower() in ("error", "rejected", "rejection", "failure")
        yield CustomsEvent(
            consignment_id=_split_subject(subject),
            authority=_name_authority(header.sender, None),
            state="error" if failed else "received",
            code=reason if failed else condition or None,
            text=information or reason,
            issued_at=header.issued_at,
            source="XFNM",
        )


def _split_subject(text: str) -> str:
    found = CAMIR_WAYBILL.match(text)
    if found is None:
        return clean_identifier(text, Doubts())
    house = found[2] or (text[found.end() :].lstrip("/_ ") or None)
    return _join_identifier(found[1], house)


def read_camir_status(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read a PSN or PER, of which several may follow each other."""
    subject: str | None = None
    kind = "PSN"
    found_any = False
    for line in split_lines(decode_text(content)):
        head = line.strip().split("/")[0]
        if head in ("PSN", "PER", "FSN", "FER"):
            kind, subject = head, None
            continue
        waybill = CAMIR_WAYBILL.match(line)
        if waybill:
            subject = _join_identifier(waybill[1], None if waybill[2] == MASTER_SUFFIX else waybill[2])
            line = line[waybill.end() :].strip()
        status = CAMIR_STATUS.match(line.strip())
        if status is None:
            continue
        found_any = True
        yield _build_camir_event(status, subject, kind, context.received_at)
    if not found_any:
        raise MessageFault("no status", where=kind, expected="a line CSN or ERR")


def _build_camir_event(
    status: re.Match[str], subject: str | None, kind: str, reference: datetime | None
) -> CustomsEvent | Ignored:
    segment, code, day, month, clock, rest = status.groups()
    text = " ".join(rest.split()) or None
    state = "error" if segment == "ERR" else CAMIR_STATES.get(code)
    if state is None:
        return Ignored(kind, f"its status {code[:10]!r} is not known")
    if subject is None:
        return Ignored(kind, "an answer that names no waybill")
    issued_at = None
    if day is not None and month in MONTHS:
        issued_at = complete_moment(int(day), MONTHS.index(month) + 1, clock, reference)
    return CustomsEvent(
        consignment_id=subject,
        authority=_name_authority(None, text),
        state=state,
        code=text.split()[0] if segment == "ERR" and text else code,
        text=text,
        issued_at=issued_at,
        source=kind,
    )
