"""Answers of customs: Cargo-XML XCSN and XFNM, CAMIR PSN and PER, and those of the EU Import Control System 2 about air cargo and post.

`customs_status.toml` has the paths of an answer in XML, the codes and their states. CO means that the assessment is complete, or
that a hold is removed; which of the two follows from the holds that stand, and that is decided by who reads all answers
(`consignments.messages.linking`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from consignments.countries import parse_country
from consignments.errors import MessageFault
from consignments.identifiers import format_awb_number, parse_awb
from consignments.messages.air.cargo_imp import read_lines
from consignments.messages.air.cargo_xml import read_message
from consignments.messages.air.waybills import clean_identifier, read_waybill_number
from consignments.messages.configuration import load_codes, load_table
from consignments.messages.content.paths import find_nodes, find_text, find_texts, find_values
from consignments.messages.content.trees import Node, convert_element, parse_xml_tree, prepare_xml, walk_nodes
from consignments.messages.content.values import Doubts, complete_moment, join_lines, parse_time
from consignments.messages.parsed import (
    EventState,
    Ignored,
    MessageContext,
    Parsed,
    StateRow,
    build_mapping_fault,
)
from consignments.messages.xml_parsing import get_local_name

TABLE = load_table("air/customs_status")
CAMIR_STATES = load_codes("air/customs_status", "camir_states")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
AUTHORITIES = ("PACT", "ACAS", "ICS2")
REMOVED = re.compile(r"\b(REMOVED|RESOLVED|RELEASED)\b", re.IGNORECASE)
ICS2_ANSWER = re.compile(r"ie(3[nqr]\d{2})|(?:ie|cc)(351|315|328|316)[a-z]?")
CAMIR_WAYBILL = re.compile(r"\s*(\d{3}-?\d{8})(?:\s*-\s*([^\s/]+))?", re.ASCII)
CAMIR_STATUS = re.compile(
    r"(CSN|ERR)/([A-Z0-9]+)(?:-\d+)?/?(?:(\d{2})([A-Z]{3})(\d{4})/?)?(.*)", re.ASCII | re.DOTALL
)
ENTRY_SUMMARY = "IE315"
"""The declaration of goods of the first Import Control System."""
MASTER_SUFFIX = "M"
"""What stands in the place of a house in CAMIR for the master itself."""


def read_customs_status(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read an XCSN or XFNM."""
    root, values = read_message("header", content, context)
    message, table = convert_element(root), TABLE[get_local_name(root.tag)]
    authority = _name_authority(values.get("sender"), find_text([message], table["lines"]))
    yield from _read_answer(message, table, authority)


def read_ics2_response(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read an answer of ICS2; a kind without a state is named and ignored."""
    content = prepare_xml(content, context.notes)
    kind, message = parse_xml_tree(content, context.notes)
    for name, node in walk_nodes({kind.lower(): [message]}):  # inside its envelopes
        if found := ICS2_ANSWER.fullmatch(name):
            kind, message = f"IE{(found[1] or found[2]).upper()}", node
            break
    table = TABLE["ics2"]
    if kind in TABLE["responses"]:
        authority = parse_country(find_text([message], table["authority"])) or "EU"
        own = {"source": f"ICS2 {kind}", "own_code": kind}
        yield from _read_answer(message, table | own | TABLE["responses"][kind], authority)
    elif kind == ENTRY_SUMMARY:
        raise build_mapping_fault(kind)
    else:
        reasons: dict[str, str] = TABLE["ignored"]
        reason = next((text for name, text in reasons.items() if kind.startswith(name)), "no state known")
        yield Ignored(kind, reason)


def _read_answer(message: Node, table: Mapping[str, Any], authority: str | None) -> Iterator[Parsed]:
    """Read the state of each consignment that an answer names, from each part of it that gives one."""
    states, source = table["states"], table["source"]
    times = (parse_time(find_text([message], path)) for path in table["issued_at"])
    issued_at = next(filter(None, times), None)
    parts = [node for path in table["parts"] for node in find_nodes(message, path)]
    for part in parts or [{}]:
        levels = [message, part]
        code, names = _find_code(levels, table), _list_subjects(levels, table)
        if not (parts and names) and "otherwise" in table:
            yield Ignored(source, table["otherwise"])
            return
        state: EventState | None = states.get((code or "").upper(), table.get("state"))
        if not (code or state):
            raise MessageFault("no status", where=table["code"])
        if state is None:
            yield Ignored(source, f"its status {(code or '')[:10]!r} is not known")
            continue
        if not names:
            raise MessageFault("an answer that names no consignment", expected=table["expected"])
        text = _read_text(levels, table)
        if state == "assessment_complete" and text and REMOVED.search(text):
            state = "resolved"
        if state == "error":
            code = _find_text(levels, table, "reason") or code
        for name in names:
            yield StateRow(name, authority, state, code, text, issued_at, source)


def _read_text(levels: Sequence[Node], table: Mapping[str, Any]) -> str | None:
    """Read what an answer says in words, else what it means."""
    more = ((word, find_text(levels, path)) for word, path in table.get("more", {}).items())
    lines = [*find_texts(levels, table["lines"]), *(f"{word} {text}" for word, text in more if text)]
    return join_lines(*lines, separator="; ") or table.get("text")


def _find_text(levels: Sequence[Node], table: Mapping[str, Any], name: str) -> str | None:
    return find_text(levels, table[name]) if name in table else None


def _find_code(levels: Sequence[Node], table: Mapping[str, Any]) -> str | None:
    """Find the first code that has a state, else the first one."""
    given = [text for text in find_texts(levels, table["code"]) if re.fullmatch(table["form"], text)]
    known = (code for code in given if code.upper() in table["states"])
    return next(known, next(iter(given), table.get("own_code")))


def _list_subjects(levels: Sequence[Node], table: Mapping[str, Any]) -> list[str]:
    """List the houses that an answer is about, else the receptacles, else the waybill, else what it refers to."""
    waybill = _find_text(levels, table, "waybill")
    groups = (find_values(levels, path) for path in table.get("houses", ()))
    numbers = ([find_text([node], table["number"]) for node in nodes] for nodes in groups)
    if houses := next(filter(None, ([*filter(None, each)] for each in numbers)), []):
        is_above = not table["of_post"] or parse_awb(waybill or "") is not None
        joined = (_join_identifier(waybill if is_above else None, house) for house in houses)
        return list(dict.fromkeys(joined))
    receptacles = find_texts(levels, table["receptacles"]) if table["of_post"] else []
    named = waybill or _find_text(levels, table, "reference")
    if receptacles or not named:
        return receptacles
    return [format_awb_number(named) if table["of_post"] else _join_identifier(named, None)]


def _join_identifier(waybill: str | None, house: str | None) -> str:
    """Join the numbers of a waybill and of a house, which may stand behind that of the waybill."""
    found = CAMIR_WAYBILL.match(waybill or "")
    if waybill and found and house is None:
        waybill, house = found[1], found[2] or waybill[found.end() :].lstrip("/_ ")
    number = None if waybill is None else read_waybill_number(waybill, Doubts())
    own = clean_identifier(house or "", Doubts())
    if not own or own == number:
        return number or "unknown"
    return f"{number}/{own}" if number and not own.startswith(f"{number}/") else own


def _name_authority(sender: str | None, text: str | None) -> str | None:
    for name in AUTHORITIES:
        if (sender or "").upper().startswith(name) or (text or "").upper().startswith(name):
            return name
    return sender


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
            subject = _join_identifier(waybill[1], "" if waybill[2] == MASTER_SUFFIX else waybill[2])
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
