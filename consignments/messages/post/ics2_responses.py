"""Answers of EU customs to data sets of ICS2 as customs events: referrals, do not load, assessment complete, errors."""

import re
from collections.abc import Iterator

from consignments.countries import parse_country
from consignments.errors import MessageFault
from consignments.identifiers import format_awb_number, parse_awb
from consignments.messages.content.paths import find_nodes, find_text, find_texts
from consignments.messages.content.trees import (
    TEXT,
    Node,
    decode_head,
    parse_xml_tree,
    prepare_xml,
    walk_nodes,
)
from consignments.messages.content.values import clean_text, join_lines, parse_time
from consignments.messages.parsed import (
    CustomsEvent,
    EventState,
    Ignored,
    MessageContext,
    Parsed,
    build_mapping_fault,
)
from consignments.messages.post.ics2 import TABLE, read_issue_time

RESPONSE = re.compile(r"<(?:[\w.\-]+:)?((?:IE3[NQR]\d{2})|(?:IE|CC)(?:351|315|328|316)[A-Z]?)(?=[\s/>])")
PATHS: dict[str, str] = TABLE["answer"]
INTERVENTION_CODE = re.compile(r"[A-Z]\d{3}", re.ASCII)


def looks_like_ics2_response(head: bytes) -> bool:
    """Check whether a message begins like an answer of ICS2 or of its predecessor."""
    return RESPONSE.search(decode_head(head)) is not None


def read_ics2_response(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read an answer; a kind without a state is named and ignored."""
    content = prepare_xml(content, context.notes)
    root_name, root = parse_xml_tree(content, context.notes)
    kind, message = _find_message(root_name, root)
    if kind in TABLE["responses"]:
        yield from _read_intervention(message) if kind == "IE351" else _read_events(kind, message)
    elif kind in TABLE["goods"]:
        raise build_mapping_fault(kind)
    else:
        reasons: dict[str, str] = TABLE["ignored"]
        reason = next((text for name, text in reasons.items() if kind.startswith(name)), "no state known")
        yield Ignored(kind, reason)


def _find_message(root_name: str, root: Node) -> tuple[str, Node]:
    """Find the message inside its envelopes, and its kind."""
    for _, node in (("", {root_name.lower(): [root]}), *walk_nodes(root)):
        for key, values in node.items():
            found = RESPONSE.match(f"<{key.upper()} ")
            if found and values and isinstance(values[0], dict):
                number = found[1].replace("CC", "IE")
                return number[:6] if number[3] in "NQR" else number[:5], values[0]
    return root_name, root


def _read_events(kind: str, message: Node) -> Iterator[CustomsEvent]:
    """Read an event for each consignment that an answer names; without any, for its own reference."""
    authority, issued_at = (
        parse_country(find_text([message], PATHS["authority"])) or "EU",
        read_issue_time(message),
    )
    for detail in [node for name in TABLE["details"] for node in find_nodes(message, name)] or [{}]:
        code = find_text([detail], PATHS["code"])
        about, reference = find_text([detail], PATHS["about"]), find_text([detail], PATHS["reference"])
        lines = [
            *find_texts([detail], PATHS["text"]),
            about and f"at {about}",
            reference and f"reference {reference}",
        ]
        text = join_lines(*lines, separator="; ") or TABLE["responses"][kind]["text"]
        state: EventState = TABLE["requests"].get((code or "").upper(), TABLE["responses"][kind]["state"])
        for identifier in _list_identifiers(message, detail):
            yield CustomsEvent(identifier, authority, state, code or kind, text, issued_at, f"ICS2 {kind}")


def _list_identifiers(message: Node, detail: Node) -> list[str]:
    """List the houses, else the receptacles, else the master that an answer is about."""
    master = _read_number(detail, "master") or _read_number(message, "any_master")
    houses = [
        number
        for name in TABLE["houses"]
        for node in find_nodes(detail, name)
        if (number := find_text([node], PATHS["number"]))
    ]
    own = _read_number(message, "house")
    houses = houses or ([own] if own else [])
    if houses:  # in air cargo under their master, as their declarations
        leads = f"{master}/" if master and parse_awb(master) else ""
        return [house if "/" in house else leads + house for house in houses]
    receptacles = find_texts([detail], PATHS["receptacle"])
    found = receptacles or ([master] if master else find_texts([message], PATHS["own"])[:1])
    if not found:
        raise _build_missing_fault("an answer that names no consignment")
    return found


def _read_number(node: Node, path: str) -> str | None:
    number = find_text([node], PATHS[path])
    return format_awb_number(number) if number else number


def _read_intervention(message: Node) -> Iterator[CustomsEvent]:
    """Read the codes of an intervention of the first Import Control System."""
    meaning = TABLE["responses"]["IE351"]
    leaves = [
        (name, text)
        for _, node in walk_nodes(message)
        for name, values in node.items()
        for value in values
        if (text := clean_text(value))
    ]
    given = [text for _, text in leaves if INTERVENTION_CODE.fullmatch(text)]
    code = next((text for text in given if text in meaning["codes"]), next(iter(given), None))
    identifier = _find_leaf(leaves, meaning["identifiers"])
    if identifier is None:
        raise _build_missing_fault("an intervention without a reference")
    state: EventState = meaning["state"] if code in meaning["codes"] else "request_for_screening"
    issued_at = read_issue_time(message) or parse_time(_find_leaf(leaves, meaning["times"]))
    yield CustomsEvent(identifier, "EU", state, code, meaning["text"], issued_at, "ICS IE351")


def _build_missing_fault(what: str) -> MessageFault:
    return MessageFault(what, expected="a transport document, a receptacle or an MRN")


def _find_leaf(leaves: list[tuple[str, str]], names: list[str]) -> str | None:
    """Find the text of the first element whose name begins with one of several names."""
    found = (text for wanted in names for name, text in leaves if name != TEXT and name.startswith(wanted))
    return next(found, None)
