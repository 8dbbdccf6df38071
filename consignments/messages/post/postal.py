"""Postal declarations without a mapping file: the flat schema of the Customs Declaration System, and interfaces of posts.

Each interface is a mapping in `mappings/`, chosen by the names in the message. Despatches (PREDES) of receptacles and answers of
customs in the same systems are read here too.
"""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from consignments.errors import MessageFault
from consignments.messages.content.paths import find_values, get_leaf
from consignments.messages.content.trees import Node, decode_head, has_name, name_content, walk_nodes
from consignments.messages.content.values import clean_text, parse_time, read_text, read_texts
from consignments.messages.parsed import (
    CustomsEvent,
    EventState,
    Ignored,
    MasterDetails,
    MessageContext,
    Parsed,
)
from consignments.messages.post.configuration import load_table
from consignments.messages.post.mapped import Record, list_records, read_record
from consignments.messages.post.mapping import MessageMapping, parse_mapping
from consignments.messages.post.receptacles import build_receptacle_fields

MAPPING_NAMES = ("content_pieces", "sku_list", "flat_itmatt", "cds")
"""In the order in which they are tried."""
RECEPTACLE_NAMES = ("receptacleid", "receptacle_id")
DECLARED = (
    "items",
    "description",
    "nature",
    "sender_name",
    "sender_country",
    "consignee_name",
    "consignee_country",
    "gross_weight_kg",
    "declared_value",
)
"""Columns of which a declaration has at least one."""
MEMBER_LISTS = ("item", "items", "mailitem", "mailitems")
"""Names of the list of items in a receptacle; in a declaration its receptacle is no more than a number."""
RESPONSE_MARKS = ("decisioncd", "responsecd", "responsecode", "eadstatus")
MAX_EVENTS = 100_000


def looks_like_postal(head: bytes) -> bool:
    """Check whether a message begins like a postal declaration, a despatch or an answer in a form that is built in."""
    text = decode_head(head)
    return text[:1] in ("<", "{", "[") and (
        find_built_in(head) is not None
        or any(has_name(text, name) for name in (*RECEPTACLE_NAMES, *RESPONSE_MARKS))
    )


def find_built_in(content: bytes) -> MessageMapping | None:
    """Find the built-in mapping whose names stand in the message."""
    text = decode_head(content)
    for mapping in load_built_in():
        if any(all(has_name(text, name) for name in names.split()) for names in mapping.detect):
            return mapping
    return None


@cache
def load_built_in() -> tuple[MessageMapping, ...]:
    """Read the built-in mappings."""
    folder = files("consignments.messages.post").joinpath("mappings")
    return tuple(
        parse_mapping(folder.joinpath(f"{name}.toml").read_text(encoding="utf-8"), f"{name}.toml")
        for name in MAPPING_NAMES
    )


def read_postal(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read a postal message of a form that is built in.

    Yields
    ------
    Parsed
        Declarations; a `MasterDetails` for each receptacle; customs events.

    Raises
    ------
    MessageFault
        If it cannot be read or is of another form.
    """
    mapping = find_built_in(content)
    chosen = mapping or _build_empty_mapping()
    found, known = 0, False
    for place, record in enumerate(list_records(content, context, chosen), start=1):
        known = True
        if mapping is not None:
            declaration = read_record(mapping, record, f"item {place}")
            if any(declaration.fields.get(column) is not None for column in DECLARED):
                found += 1
                yield declaration
        for parsed in _read_others(record):
            found += 1
            yield parsed
    if not known:
        raise MessageFault("no declaration in it", got=name_content(content))
    if not found:
        yield Ignored("postal message", "it holds no goods, no receptacle and no answer of customs")


@cache
def _build_empty_mapping() -> MessageMapping:
    return parse_mapping('[record]\nconsignment_id = "ItemId"\n', "postal")


def _read_others(record: Record) -> Iterator[Parsed]:
    """Read receptacles and answers of customs in one record; in the whole message if it is the only one."""
    for receptacle, number in _list_receptacles(record.scope):
        yield from _read_receptacle(receptacle, number)
    yield from read_responses(record.scope)


def _list_receptacles(record: Node) -> Iterator[tuple[Node, str]]:
    for _, node in walk_nodes(record):
        if node.keys().isdisjoint(RECEPTACLE_NAMES):
            continue
        number = read_text(node, *RECEPTACLE_NAMES)
        if number and any(name in node for name in MEMBER_LISTS):
            yield node, number


def _read_receptacle(node: Node, number: str) -> Iterator[MasterDetails]:
    members = read_texts(
        node, "item/itemid", "items/item/itemid", "items/itemid", "mailitem/itemid", "itemid"
    )
    yield MasterDetails(number, build_receptacle_fields(number), _read_moment(node), members=tuple(members))


# --- answers of customs -----------------------------------------------------------------------------------------------


def read_responses(record: Node) -> Iterator[CustomsEvent]:
    """Yield the answers of customs in a record: nodes with a decision or a state that is known, and an item."""
    names: dict[str, list[str]] = load_table("responses")["names"]
    owner = _find_below(record, "//mailobject/id") or read_text(record, *names["identifier"])
    customs = read_text(record, *names["authority"]) or _find_below(record, "//custorganizationcd")
    for count, (_, node) in enumerate(walk_nodes(record)):
        if count > MAX_EVENTS:
            return
        if node.keys().isdisjoint(names["code"]):
            continue
        code = next((text for name in names["code"] if (text := read_text(node, name))), None)
        if code is None or not _is_response(node, code):
            continue
        identifier = read_text(node, "mailobject/id", *names["identifier"]) or owner
        if identifier is None:
            continue
        reason, said = read_text(node, *names["reason_code"]), read_text(node, *names["text"])
        yield CustomsEvent(
            identifier,
            read_text(node, *names["authority"]) or customs,
            _find_state(node, code),
            code if reason is None else f"{code}/{reason}",
            said,
            _read_moment(node),
            "postal response",
        )


def _find_below(record: Node, path: str) -> str | None:
    return next(filter(None, map(clean_text, map(get_leaf, find_values([record], path)))), None)


def _is_response(node: Node, code: str) -> bool:
    states: dict[str, EventState] = load_table("responses")["states"]
    return any(mark in node for mark in RESPONSE_MARKS) or (
        code.upper() in states and "contentpieces" not in node and "sendername" not in node
    )


def _find_state(node: Node, code: str) -> EventState:
    table = load_table("responses")
    state: EventState | None = table["states"].get(code.upper()) or table["decisions"].get(code)
    if state is not None:
        return state
    return "assessment_complete" if read_text(node, "clearancedt") else "received"


def _read_moment(node: Node) -> Any:
    names: dict[str, list[str]] = load_table("responses")["names"]
    return next(
        (moment for name in names["time"] if (moment := parse_time(clean_text(read_text(node, name))))), None
    )
