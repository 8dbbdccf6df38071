"""Postal declarations without a mapping file: the flat schema of the Customs Declaration System, and interfaces of posts.

Each interface is a mapping in `mappings/`, chosen by the names in the message. Despatches (PREDES) of receptacles and answers of
customs in the same systems are read here too.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from datetime import datetime
from functools import cache, partial
from importlib.resources import files
from itertools import islice
from typing import Any

from consignments.errors import MessageFault
from consignments.messages.configuration import load_codes, load_table
from consignments.messages.content.paths import find_text, find_texts
from consignments.messages.content.trees import Node, decode_head, has_name, name_content, walk_nodes
from consignments.messages.content.values import parse_time
from consignments.messages.parsed import (
    EventState,
    Ignored,
    MasterDetails,
    MessageContext,
    Parsed,
    StateRow,
    build_mapping_fault,
)
from consignments.messages.post.declared_parts import RECEPTACLE_NAMES, RESPONSE_MARKS
from consignments.messages.post.element_names import read_place
from consignments.messages.post.mapped import build_receptacle_fields, list_records, measure_match
from consignments.messages.post.mapping import MessageMapping, parse_mapping
from consignments.messages.post.unread import GOODS_FACTS, describes_goods

MAPPING_NAMES = ("content_pieces", "sku_list", "flat_itmatt", "cds")
"""In the order in which they are tried."""
MEMBER_LISTS = ("item", "items", "mailitem", "mailitems")
"""Names of the list of items in a receptacle; in a declaration its receptacle is no more than a number."""
MEMBERS = "item/itemid | items/item/itemid | items/itemid | mailitem/itemid | itemid"
MAX_EVENTS = 100_001
TABLE: dict[str, Any] = load_table("post/responses")
STATES: dict[str, Any] = load_codes("post/responses", "states")


def looks_like_postal(head: bytes) -> bool:
    """Check whether a message begins like a postal declaration, a despatch or an answer in a form that is built in."""
    text = decode_head(head)
    return text[:1] in ("<", "{", "[") and (
        bool(list_built_in(head))
        or any(has_name(text, name) for name in (*RECEPTACLE_NAMES, *RESPONSE_MARKS))
    )


def list_built_in(content: bytes) -> list[MessageMapping]:
    """List the built-in mappings whose names stand in a message, in the order in which they are tried."""
    return [mapping for mapping in _load_built_in() if measure_match(content, mapping)]


@cache
def _load_built_in() -> tuple[MessageMapping, ...]:
    folder = files("consignments.messages.post").joinpath("mappings")
    texts = {name: folder.joinpath(f"{name}.toml").read_text(encoding="utf-8") for name in MAPPING_NAMES}
    return tuple(parse_mapping(text, f"{name}.toml") for name, text in texts.items())


_build_empty_mapping = cache(partial(parse_mapping, '[record]\nconsignment_id = "ItemId"\n', "postal"))


def read_postal(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read a postal message of a form that is built in."""
    mappings = list_built_in(content)
    tops: dict[int, Node] = {}
    inside: dict[int, set[int]] = defaultdict(set)
    found, declared = set[int](), set[int]()
    for record in list_records(content, context, mappings or [_build_empty_mapping()]):
        if isinstance(record, MessageFault):
            raise record
        top = id(record.root)
        tops[top] = record.root
        inside[top].add(id(record.scope))
        if mappings and record.describes():
            declared.add(top)
            yield record.read()
        for parsed in _read_others(record.scope, set()):
            found.add(top)
            yield parsed
    found |= declared
    for number, (top, root) in enumerate(tops.items(), start=1):
        for parsed in _read_others(root, inside[top]):
            found.add(top)
            yield parsed
        if found and top not in found:
            yield MessageFault("nothing in it that is known", where=f"message {number} of the list")
        elif found and top not in declared and describes_goods(root):
            yield build_mapping_fault("goods of items without a declaration")
    if not tops:
        raise MessageFault("no declaration in it", got=name_content(content))
    if not found and mappings:
        _refuse_unread(tops.values(), mappings)
    if not found:
        yield Ignored("postal message", "it holds no goods, no receptacle and no answer of customs")


def _refuse_unread(roots: Iterable[Node], mappings: list[MessageMapping]) -> None:
    """Refuse a message of which nothing was read if it names goods, or if what it is like stands in a text or comment of it."""
    names = {name.removeprefix("@") for root in roots for _, node in walk_nodes(root) for name in node}
    alike = [words.split() for mapping in mappings for words in mapping.detect]
    if not any(names.issuperset(words) for words in alike):
        todo = "send it by itself, without what stands around it"
        raise MessageFault("a message inside of a text", todo=todo)
    if not {read_place((name,)).fact for name in names}.isdisjoint(GOODS_FACTS):
        raise build_mapping_fault(f"names of {', '.join(mapping.name for mapping in mappings)} alone")


def _read_others(part: Node, read_already: Set[int]) -> Iterator[Parsed]:
    """Read receptacles and answers of customs in a part of a message, without the parts that were read."""
    nodes = [node for _, node in walk_nodes(part, read_already)]
    for node in nodes:
        if node.keys().isdisjoint(RECEPTACLE_NAMES) or node.keys().isdisjoint(MEMBER_LISTS):
            continue
        number = find_text([node], " | ".join(RECEPTACLE_NAMES))
        if number:
            members = tuple(find_texts([node], MEMBERS))
            yield MasterDetails(number, build_receptacle_fields(number), _read_moment(node), members=members)
    yield from read_responses(part, nodes)


def read_responses(record: Node, nodes: Iterable[Node]) -> Iterator[StateRow]:
    """Yield the answers of customs in the nodes of a record: those with a decision or a state that is known, and an item."""
    names: dict[str, str] = TABLE["names"]
    owner = find_text([record], f"//mailobject/id | {names['identifier']}")
    customs = find_text([record], f"{names['authority']} | //custorganizationcd")
    codes = names["code"].split(" | ")
    for node in islice(nodes, MAX_EVENTS):
        code = None if node.keys().isdisjoint(codes) else find_text([node], names["code"])
        if code is None:
            continue
        is_known = code.upper() in STATES and node.keys().isdisjoint(("contentpieces", "sendername"))
        if node.keys().isdisjoint(RESPONSE_MARKS) and not is_known:
            continue
        identifier = find_text([node], f"mailobject/id | {names['identifier']}") or owner
        if identifier is None:
            continue
        reason = find_text([node], names["reason_code"])
        state: EventState | None = STATES.get(code.upper()) or TABLE["decisions"].get(code)
        cleared: EventState = "assessment_complete" if find_text([node], "clearancedt") else "received"
        yield StateRow(
            identifier,
            find_text([node], names["authority"]) or customs,
            state or cleared,
            code if reason is None else f"{code}/{reason}",
            find_text([node], names["text"]),
            _read_moment(node),
            "postal response",
        )


def _read_moment(node: Node) -> datetime | None:
    names = TABLE["names"]["time"].split(" | ")
    return next(filter(None, (parse_time(find_text([node], name)) for name in names)), None)
