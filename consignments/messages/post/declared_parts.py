"""Finds the parts of a message that declare a consignment of their own, whatever their elements are called.

A part is a declaration if it has an identifier and, in it or below it, a party or goods. Parts that only name identifiers are
references: the items of a receptacle, the subjects of an answer. A message whose structure and identifiers disagree is a fault.
"""

from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from consignments.errors import MessageFault
from consignments.identifiers import parse_awb, parse_s10
from consignments.messages.content.paths import Path, compile_path, follow_steps, get_leaf
from consignments.messages.content.trees import Node, walk_nodes
from consignments.messages.content.values import clean_text
from consignments.messages.parsed import build_count_fault, build_goods_fault
from consignments.messages.post.mapping import LITERAL, MessageMapping, Source

SENDER, CONSIGNEE, GOODS, ITEMS, AMOUNTS, WEAK = 1, 2, 4, 8, 16, 32
"""What stands in a part; `WEAK` is a name such as Id that may number anything."""
PARTIES = SENDER | CONSIGNEE
DECLARED = PARTIES | GOODS | ITEMS | AMOUNTS
MARKS = {
    "description": GOODS,
    "hs_code": GOODS,
    "nature": GOODS,
    "gross_weight_kg": AMOUNTS,
    "declared_value": AMOUNTS,
}
WEAK_NAMES = ("id", "@id")
RECEPTACLE_NAMES = ("receptacleid", "receptacle_id")
RESPONSE_MARKS = ("decisioncd", "responsecd", "responsecode", "eadstatus")
MAX_DEPTH = 200


class DeclaredPart(NamedTuple):
    """A part that declares a consignment, its name, and the widest part around it that declares no other."""

    name: str
    node: Node
    scope: Node
    identifiers: frozenset[str]
    marks: int = 0


@dataclass
class _Found:
    """Findings in a node: its declarations, what stands outside them, and all identifiers in and below it."""

    marks: int = 0
    seen: set[str] = field(default_factory=set)
    identifiers: set[str] = field(default_factory=set)
    parts: list[DeclaredPart] = field(default_factory=list)


class PartFinder:
    """Finds declarations by the names that the paths of mappings begin with."""

    def __init__(self, mappings: Iterable[MessageMapping]) -> None:
        self._marks: dict[str, int] = {}
        self._goods: set[str] = set()
        self._identifiers: list[Path] = []
        for mapping in mappings:
            for column, source in mapping.record.items():
                party = SENDER if column.startswith("sender_") else CONSIGNEE
                of_party = column.startswith(("sender_", "consignee_"))
                self._add_marks(_list_paths(source), party if of_party else MARKS.get(column, 0))
            goods = [path for text in mapping.items_each for path in compile_path(text)]
            self._add_marks(goods, ITEMS)
            self._goods.update(path.steps[0].name for path in goods if path.steps)
            identifiers = _list_paths(mapping.record.get("consignment_id"))
            self._identifiers += [path for path in identifiers if path.levels_up == 0 and path.steps]

    def _add_marks(self, paths: Iterable[Path], mark: int) -> None:
        for path in paths:
            if path.levels_up == 0 and path.steps and path.steps[0].name != "*":
                self._marks[path.steps[0].name] = self._marks.get(path.steps[0].name, 0) | mark

    def find(self, root: Node) -> list[DeclaredPart]:
        """Find the declarations in a tree that have an identifier, or stand in a list with others."""
        found = self._search("", root, in_goods=False, in_receptacle=False, depth=0)
        read = {identifier for part in found.parts for identifier in part.identifiers}
        if found.parts and found.seen - read:
            raise build_count_fault(len(found.seen), len(found.parts), found.seen - read)
        return found.parts

    def find_others(
        self, root: Node, names: Container[str], records: Collection[Node]
    ) -> tuple[set[str], bool]:
        """Find identifiers of declarations outside the records that a mapping selects or nested in one, and whether goods stand outside."""
        selected, extra, goods = {id(node) for node in records}, set[str](), False
        stack: list[tuple[str, Node, bool]] = [("", root, False)]
        while stack:
            name, node, inside = stack.pop()
            if id(node) in selected:
                inside = True
            else:
                own, _ = self._read_identifiers(node)
                described = any(self._marks.get(key, 0) & DECLARED for key in node)
                around = not inside and any(id(part) in selected for _, part in walk_nodes(node))
                is_record = name in names or (described and not around)
                extra |= {each for each in own if is_record or parse_s10(each)}
            for key, values in node.items():
                below = [value for value in values if isinstance(value, dict)]
                if key not in self._goods:
                    stack += [(key, value, inside) for value in below]
                elif not inside and not any(
                    id(part) in selected for value in below for _, part in walk_nodes(value)
                ):
                    goods = goods or bool(below)
                else:
                    stack += [] if inside else [(key, value, inside) for value in below]
        return extra, goods

    def is_declared(self, root: Node) -> bool:
        """Check whether a part describes a consignment at all; weights of a receptacle and remarks of an answer do not."""
        found = self._search("", root, in_goods=False, in_receptacle=False, depth=0)
        return bool(found.parts or found.marks & DECLARED)

    def read_identifiers(self, node: Node) -> set[str]:
        """Read the identifiers that stand in a node itself."""
        return self._read_identifiers(node)[0]

    def has_goods(self, node: Node) -> bool:
        """Check whether a node has kinds of goods."""
        return not self._goods.isdisjoint(node)

    def count_names(self, part: Node) -> int:
        """Count the different names in a part that the mapping knows."""
        return len({name for _, node in walk_nodes(part) for name in node if name in self._marks})

    def _search(self, name: str, node: Node, *, in_goods: bool, in_receptacle: bool, depth: int) -> _Found:
        found = _Found()
        if depth > MAX_DEPTH:
            raise MessageFault("nested too deep")
        own, weak = self._read_identifiers(node)
        in_receptacle = in_receptacle or not node.keys().isdisjoint(RECEPTACLE_NAMES)
        below: list[tuple[str, Node, _Found]] = []
        for key, values in node.items():
            inside = in_goods or key in self._goods
            below += [
                (
                    key,
                    value,
                    self._search(key, value, in_goods=inside, in_receptacle=in_receptacle, depth=depth + 1),
                )
                for value in values
                if isinstance(value, dict)
            ]
        if not in_goods and not in_receptacle:
            _name_references(below)
        if not in_goods:
            _name_siblings([each for each in below if each[0] not in self._goods])
        divided = {key for key, _, part in below if part.parts}
        for key, values in node.items():
            if key in self._marks and any(value not in (None, "") for value in values):
                found.marks |= self._marks[key] & (~ITEMS if key in divided else ~0)
        is_response = not node.keys().isdisjoint(RESPONSE_MARKS)
        if not (in_goods or in_receptacle or is_response):
            found.seen = own.union(*(part.seen for _, _, part in below))
        outer: set[str] = set()
        for _, _, part in below:
            if part.parts:
                found.parts += part.parts
            else:
                found.marks |= part.marks & ~WEAK
                outer |= part.identifiers
        if not found.marks & (PARTIES | ITEMS) and is_response:
            found.marks &= ~GOODS
        if in_receptacle:
            found.marks &= ~AMOUNTS
        found.identifiers = own or outer
        declared = found.marks & DECLARED
        if in_goods:
            declared = found.marks & PARTIES if own else 0
        if found.parts:
            self._widen(node, found, own, declared)
        elif declared and (found.identifiers or (weak and found.marks & (PARTIES | ITEMS))):
            if len(found.identifiers) > 1:
                raise build_count_fault(len(found.identifiers), 1, found.identifiers)
            found.parts = [DeclaredPart(name, node, node, frozenset(found.identifiers), found.marks)]
        return found

    def _widen(self, node: Node, found: _Found, own: set[str], declared: int) -> None:
        """Add to the only declaration below what stands around it; refuse what belongs to several, or to another."""
        identifiers = {identifier for part in found.parts for identifier in part.identifiers}
        if own - identifiers and declared and identifiers:
            raise build_count_fault(len(own | identifiers), len(found.parts), own | identifiers)
        if found.marks & ITEMS and (len(found.parts) > 1 or found.parts[0].marks & ITEMS):
            raise build_goods_fault()
        if len(found.parts) > 1:
            return
        (part,) = found.parts
        if not part.identifiers and len(found.identifiers) == 1:
            part = part._replace(node=node, identifiers=frozenset(found.identifiers))
        found.parts = [part._replace(scope=node, marks=part.marks | found.marks)]

    def _read_identifiers(self, node: Node) -> tuple[set[str], bool]:
        """Read the identifiers that stand in a node itself, and whether it has a name that may number anything."""
        found: set[str] = set()
        weak = False
        for path in self._identifiers:
            if path.steps[0].name not in node:
                continue
            for text in filter(None, map(clean_text, map(get_leaf, follow_steps(node, path.steps)))):
                if path.steps[0].name not in WEAK_NAMES or parse_s10(text) or parse_awb(text):
                    found.add(text)
                else:
                    weak = True
        return found, weak


def _name_references(below: list[tuple[str, Node, _Found]]) -> None:
    """Add parts with no more than an identifier to the declarations if they stand in a list with them; their reader rejects each."""
    keys = {key for key, _, part in below if part.parts}
    for key, node, part in below:
        if key in keys and not part.parts and len(part.seen) == 1:
            part.parts = [DeclaredPart(key, node, node, frozenset(part.seen), part.marks)]


def _name_siblings(below: list[tuple[str, Node, _Found]]) -> None:
    """Add parts without an identifier to the declarations if they stand next to others, or to each other."""
    if len(below) < 2:
        return
    keys = {key for key, _, part in below if part.parts}
    whole = [each for each in below if _count_kinds(each[2].marks) > 1]
    for key, node, part in below:
        if part.parts:
            continue
        repeated = key in keys and part.marks & (PARTIES | GOODS | ITEMS)
        if repeated or (_count_kinds(part.marks) > 1 and (keys or len(whole) > 1)):
            part.parts = [DeclaredPart(key, node, node, frozenset(part.identifiers), part.marks)]


def _count_kinds(marks: int) -> int:
    """Count sender, consignee and goods."""
    return sum(bool(marks & kind) for kind in (SENDER, CONSIGNEE, GOODS | ITEMS))


def _list_paths(source: Source | None) -> list[Path]:
    texts = [text for part in source.parts for text in part] if source is not None else []
    return [path for text in texts if not text.startswith(LITERAL) for path in compile_path(text)]


def count_identifiers(values: Iterable[Any]) -> int:
    """Count different identifiers."""
    return len({text for value in values if (text := clean_text(get_leaf(value)))})
