"""Answers of EU customs to data sets of ICS2 as customs events: referrals, do not load, assessment complete, errors."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from consignments.countries import parse_country
from consignments.errors import MessageFault
from consignments.identifiers import format_awb_number, parse_awb
from consignments.messages.content.trees import (
    TEXT,
    Node,
    decode_head,
    list_nodes,
    parse_xml_tree,
    prepare_xml,
    walk_nodes,
)
from consignments.messages.content.values import clean_text, join_lines, parse_time, read_text, read_texts
from consignments.messages.parsed import (
    CustomsEvent,
    EventState,
    Ignored,
    MessageContext,
    Parsed,
    build_mapping_fault,
)
from consignments.messages.post.configuration import load_table
from consignments.messages.post.ics2 import read_issue_time

RESPONSE = re.compile(r"<(?:[\w.\-]+:)?((?:IE3[NQR]\d{2})|(?:IE|CC)(?:351|315|328|316)[A-Z]?)(?=[\s/>])")
MASTER_DOCUMENTS = ("transportdocumentmaster", "transportdocumentmasterlevel")
HOUSE_DOCUMENTS = ("transportdocumenthouse", "transportdocumenthouselevel")
DETAILS = ("referralrequestdetails", "donotloaddetails", "assessmentcomplete", "error")
OWN_REFERENCES = ("mrn", "functionalreference", "lrn")
INTERVENTION_CODE = re.compile(r"[A-Z]\d{3}", re.ASCII)


def looks_like_ics2_response(head: bytes) -> bool:
    """Check whether a message begins like an answer of ICS2 or of its predecessor."""
    return RESPONSE.search(decode_head(head)) is not None


def read_ics2_response(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read an answer; a kind without a state is named and ignored."""
    content = prepare_xml(content, context.notes)
    root_name, root = parse_xml_tree(content, context.notes)
    kind, message = _find_message(root_name, root)
    meaning = load_table("ics2")["responses"].get(kind)
    if meaning is None:
        reasons: dict[str, str] = load_table("ics2")["ignored"]
        if kind in load_table("ics2")["goods"]:
            raise build_mapping_fault(kind)
        reason = next((text for name, text in reasons.items() if kind.startswith(name)), "no state known")
        yield Ignored(kind, reason)
        return
    answer = _Answer(kind, meaning, message)
    if kind == "IE351":
        yield from answer.read_intervention()
    else:
        yield from answer.read_events()


def _find_message(root_name: str, root: Node) -> tuple[str, Node]:
    """Find the message inside its envelopes, and its kind."""
    for _, node in (("", {root_name.lower(): [root]}), *walk_nodes(root)):
        for key, values in node.items():
            found = RESPONSE.match(f"<{key.upper()} ")
            if found and values and isinstance(values[0], dict):
                number = found[1].replace("CC", "IE")
                return number[:6] if number[3] in "NQR" else number[:5], values[0]
    return root_name, root


class _Answer:
    """One answer: its moment, its authority and what it is about."""

    def __init__(self, kind: str, meaning: dict[str, Any], message: Node) -> None:
        self.kind, self.message = kind, message
        self.state: EventState = meaning["state"]
        self.text: str = meaning["text"]
        country = read_text(message, "responsiblememberstate/country", "addressedmemberstate/country")
        self.authority = parse_country(country) or "EU"
        self.issued_at = read_issue_time(message)
        self.master = _read_number(message, (*MASTER_DOCUMENTS, "transportdocument"))
        self.house = _read_number(message, HOUSE_DOCUMENTS)

    def read_events(self) -> Iterator[CustomsEvent]:
        """Read an event for each consignment that the answer names; without any, for its own reference."""
        details = [node for name in DETAILS for node in list_nodes(self.message, name)]
        for detail in details or [{}]:
            code, text, state = self._describe(detail)
            for identifier in self._list_identifiers(detail):
                yield CustomsEvent(
                    identifier, self.authority, state, code, text, self.issued_at, f"ICS2 {self.kind}"
                )

    def read_intervention(self) -> Iterator[CustomsEvent]:
        """Read the codes of an intervention of the first Import Control System."""
        codes: list[str] = load_table("ics2")["responses"]["IE351"]["codes"]
        leaves = [
            (name, text)
            for _, node in walk_nodes(self.message)
            for name, values in node.items()
            for value in values
            if (text := clean_text(value))
        ]
        given = [text for _, text in leaves if INTERVENTION_CODE.fullmatch(text)]
        code = next((text for text in given if text in codes), next(iter(given), None))
        identifier = _find_leaf(leaves, ("docnumhea5", "mrn", "documentnumber", "refnumhea4", "lrn"))
        state: EventState = "do_not_load" if code in codes else "request_for_screening"
        moment = _find_leaf(leaves, ("notdathea", "issuedate", "datofprmes9", "documentissuedate"))
        issued_at: datetime | None = self.issued_at or parse_time(moment)
        if identifier:
            yield CustomsEvent(identifier, "EU", state, code, self.text, issued_at, "ICS IE351")
        else:
            raise build_missing_fault("an intervention without a reference")

    def _describe(self, detail: Node) -> tuple[str, str, EventState]:
        code = read_text(detail, "requesttype", "validationcode")
        said = read_texts(detail, "additionalinformation/text", "description", "technicalerrormessage")
        about = read_text(detail, "pointer/messageelementpath")
        reference = read_text(detail, "referralrequestreference")
        parts = [*said, f"at {about}" if about else None, f"reference {reference}" if reference else None]
        states: dict[str, EventState] = load_table("ics2")["requests"]
        state = states.get((code or "").upper(), self.state)
        return code or self.kind, join_lines(*parts, separator="; ") or self.text, state

    def _list_identifiers(self, detail: Node) -> list[str]:
        master = _read_number(detail, MASTER_DOCUMENTS) or self.master
        houses = [
            number
            for name in (*HOUSE_DOCUMENTS, "transportdocument")
            for node in list_nodes(detail, name)
            if (number := read_text(node, "documentnumber", "referencenumber"))
        ]
        houses = houses or ([self.house] if self.house else [])
        if houses:
            return [_join_numbers(master, house) for house in houses]
        receptacles = read_texts(
            detail, "receptacle/receptacleidentificationnumber", "receptacle/identificationnumber"
        )
        own = [master] if master else read_texts(self.message, *OWN_REFERENCES)
        found = receptacles or own[:1]
        if not found:
            raise build_missing_fault("an answer that names no consignment")
        return found


def build_missing_fault(what: str) -> MessageFault:
    """Build the fault of an answer that cannot be joined to a consignment."""
    return MessageFault(what, expected="a transport document, a receptacle or an MRN")


def _read_number(node: Node, documents: tuple[str, ...]) -> str | None:
    number = read_text(node, *(f"{document}/documentnumber" for document in documents))
    return format_awb_number(number) if number else number


def _join_numbers(master: str | None, house: str) -> str:
    """Name a house as its declaration does: under its master in air cargo, alone in post."""
    return f"{master}/{house}" if master and parse_awb(master) and "/" not in house else house


def _find_leaf(leaves: list[tuple[str, str]], names: tuple[str, ...]) -> str | None:
    for wanted in names:
        for name, text in leaves:
            if name != TEXT and name.startswith(wanted):
                return text
    return None
