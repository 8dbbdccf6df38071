"""Finds the parts of a message that declare a consignment of their own, whatever their elements are called.

A part is a declaration if it has an identifier and, in it or below it, a party or goods. Parts that only name identifiers are
references: the items of a receptacle, the subjects of an answer. A message whose structure and identifiers disagree is a fault.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from itertools import product
from operator import or_
from typing import NamedTuple

from consignments.errors import MessageFault
from consignments.identifiers import parse_awb, parse_s10
from consignments.messages.content.paths import Path, compile_path, follow_path, list_texts
from consignments.messages.content.trees import KEY, Node, walk_nodes
from consignments.messages.parsed import GOODS_OUTSIDE, build_count_fault, build_goods_fault
from consignments.messages.post.element_names import read_name, read_place
from consignments.messages.post.mapping import LITERAL, MessageMapping

SENDER, CONSIGNEE, GOODS, ITEMS, AMOUNTS = 1, 2, 4, 8, 16
"""What stands in a part."""
PARTIES = SENDER | CONSIGNEE
DECLARED = PARTIES | GOODS | ITEMS | AMOUNTS
MARKS = dict.fromkeys(("description", "hs_code", "nature"), GOODS)
MARKS |= dict.fromkeys(("gross_weight_kg", "declared_value"), AMOUNTS)
FLAT_GOODS = ("description", "hs_code", "origin_country", "pieces", "declared_value", "gross_weight_kg")
"""Facts of goods of a mapping without items."""
WEAK_NAMES = ("id", "@id")
"""Names that may number anything: what they hold is an identifier only if it has the form of one."""
RECEPTACLE_NAMES = ("receptacleid", "receptacle_id")
RESPONSE_MARKS = ("decisioncd", "responsecd", "responsecode", "eadstatus")
MAX_DEPTH = 200


class DeclaredPart(NamedTuple):
    """A part that declares a consignment, its name, and the widest part around it that declares no other."""

    name: str
    node: Node
    scope: Node
    identifiers: frozenset[str]
    marks: int


@dataclass
class _Found:
    """Findings in a node: its declarations, what stands outside them, and all identifiers in and below it."""

    name: str
    node: Node
    is_goods: bool
    marks: int = 0
    weak: bool = False
    seen: set[str] = field(default_factory=set)
    identifiers: set[str] = field(default_factory=set)
    parts: list[DeclaredPart] = field(default_factory=list)
    groups: int = 0

    def declare(self, identifiers: set[str]) -> None:
        """Make the node itself a declaration."""
        self.parts = [DeclaredPart(self.name, self.node, self.node, frozenset(identifiers), self.marks)]

    def has_identifiers(self) -> bool:
        """Check whether an identifier stands in the node or below it."""
        return bool(self.identifiers) or any(part.identifiers for part in self.parts)

    def has_several_kinds(self) -> bool:
        """Check whether two of sender, consignee and goods stand in the node or below it."""
        return sum(bool(self.marks & kind) for kind in (SENDER, CONSIGNEE, GOODS | ITEMS)) > 1


class PartFinder:
    """Finds declarations by the names that the paths of mappings begin with; `by_form` finds identifiers by their form alone."""

    def __init__(self, mappings: tuple[MessageMapping, ...], by_form: bool = False) -> None:
        self._mappings, self._by_form = mappings, by_form
        self._marks: dict[str, int] = {}
        self._kinds: dict[str, int] = {}
        self._goods: set[str] = set()
        self._facts: list[dict[str, set[str]]] = []
        self._identifiers: list[list[Path]] = []
        for mapping in mappings:
            for column, source in mapping.record.items():
                side = column.partition("_")[0]
                mark = {"sender": SENDER, "consignee": CONSIGNEE}.get(side, MARKS.get(column, 0))
                self._add_marks(source.list_paths(), mark)
            identifier = mapping.record.get("consignment_id")
            for part in identifier.parts if identifier is not None else ():
                paths = [compile_path(text) for text in part if not text.startswith(LITERAL)]
                for joined in product(*paths):
                    here = [path.steps for path in joined if path.levels_up == 0 and path.steps]
                    plain = [Path(0, tuple(step._replace(any_depth=False) for step in path)) for path in here]
                    self._identifiers += [plain] if plain else []
            self._goods |= self._add_marks(map(compile_path, mapping.items_each), ITEMS)
            flat = {column: source for column, source in mapping.record.items() if column in FLAT_GOODS}
            columns = (mapping.items or flat).items()
            self._facts += [{column: list_first_names(source.list_paths()) for column, source in columns}]
        names = (each for facts in self._facts for each in facts.values())
        self.names = self._marks.keys() | set().union(*names)

    def _add_marks(self, paths: Iterable[Sequence[Path]], mark: int) -> set[str]:
        """Mark the first names of paths that begin in the record, and return those of all."""
        given = [*paths]
        for name in list_first_names([path for path in each if path.levels_up == 0] for each in given):
            if name != "*":
                self._marks[name] = self._marks.get(name, 0) | mark
        return list_first_names(given)

    def find(self, root: Node) -> list[DeclaredPart]:
        """Find the declarations in a tree that have an identifier, or stand in a list with others."""
        found = self._search(root)
        if not (found.has_identifiers() or found.weak) and (found.parts or found.marks & ITEMS):
            try:
                by_form = get_finder(self._mappings, True)._search(root)
                found = by_form if by_form.has_identifiers() else found
            except MessageFault as fault:
                if fault.what == GOODS_OUTSIDE or not (found.parts or found.marks & PARTIES):
                    raise
        read = {identifier for part in found.parts for identifier in part.identifiers}
        if found.parts and found.seen - read:
            raise build_count_fault(len(found.seen | read), len(found.parts), found.seen - read)
        _refuse_divided(found.parts)
        return found.parts

    def refuse_groups(self, root: Node) -> None:
        """Refuse goods in several places of a message that has neither a party nor an identifier: they may be of several declarations."""
        found = self._search(root)
        if found.groups > 1 and not found.identifiers and not found.marks & PARTIES:
            raise MessageFault(
                f"{found.groups} groups of goods, and no identifier that is known",
                todo="send each declaration as a message, or describe the message with a mapping",
            )

    def refuse_others(self, root: Node, names: Container[str], records: Sequence[Node]) -> None:
        """Refuse a message with declarations or goods outside the records that a mapping selects, or with one nested in another."""
        selected, extra, goods = {id(node) for node in records}, set[str](), False

        def holds_record(node: Node) -> bool:
            return any(id(part) in selected for _, part in walk_nodes(node))

        stack: list[tuple[str, Node, bool]] = [("", root, False)]
        while stack:
            name, node, inside = stack.pop()
            if id(node) in selected:
                inside = True
            else:
                described = any(self._marks.get(key, 0) & DECLARED for key in node)
                is_record = name in names or (described and (inside or not holds_record(node)))
                extra |= {each for each in self._read_own(node)[0] if is_record or parse_s10(each)}
            for key, value in list_below(node):
                is_goods = self._is_goods(key, value)
                if not is_goods or (not inside and holds_record(value)):
                    stack.append((key, value, inside))
                is_goods = is_goods or (id(value) not in selected and self._has_facts_of_goods(key, value))
                goods = goods or (is_goods and not inside and not holds_record(value))
        known = {name for record in records for name in self._read_own(record)[0]}
        if extra - known:
            raise build_count_fault(len(extra | known), len(records), extra - known)
        own = [self.holds_goods(each) or self._has_facts_of_goods("", each) for each in records]
        if goods and (len(records) != 1 or own[0]):
            raise build_goods_fault()

    def describes(self, root: Node) -> bool:
        """Check whether a part describes a consignment at all; weights of a receptacle and remarks of an answer do not."""
        found = self._search(root)
        return bool(found.parts or found.marks & DECLARED)

    def holds_goods(self, node: Node) -> bool:
        """Check whether goods stand in a node itself, under a name that a mapping knows."""
        return not self._goods.isdisjoint(node)

    def read_kinds(self, path: str) -> int:
        """Read of which parties a path is, and whether of goods: all if no name says it, none if it does not begin in the part itself."""
        if path not in self._kinds:
            steps = [each.steps[0] for each in compile_path(path) if each.steps and each.levels_up == 0]
            names = [step.name for step in steps if not step.any_depth]
            self._kinds[path] = self._combine_kinds(names) or (PARTIES | ITEMS if names else 0)
        return self._kinds[path]

    def find_holder(self, part: Node, kinds: int) -> list[Node]:
        """Find the only node below a part with names of such parties or goods; none if there are several, or the part has some."""
        if not kinds or self._combine_kinds(part) & kinds:
            return []
        found = [node for node in self._walk_outside_goods(part) if self._combine_kinds(node) & kinds]
        return found if len(found) == 1 else []

    def _combine_kinds(self, names: Iterable[str]) -> int:
        return reduce(or_, (self._marks.get(name, 0) for name in names), 0) & (PARTIES | ITEMS)

    def _walk_outside_goods(self, node: Node) -> Iterator[Node]:
        """Yield a node and those below it, except goods and parties in other roles, such as a broker."""
        yield node
        for name, below in list_below(node):
            roles = read_place((name,))[:2]
            if not ("other" in roles or "declarant" in roles or self._is_goods(name, below)):
                yield from self._walk_outside_goods(below)

    def list_goods(self, holder: Node) -> Iterator[Node]:
        """List the kinds of goods below a node under any name."""
        return (node for name, node in walk_nodes(holder) if name and self._looks_like_goods(name, node))

    def _has_facts_of_goods(self, name: str, node: Node) -> bool:
        """Check whether a node has the names of a description or tariff code of goods and of one fact more.

        A number and an amount are facts of an invoice, too.
        """
        weak = {"value", "currency", "quantity"} if _names_document(name) else {"quantity"}
        for facts in self._facts:
            found = {column for column, names in facts.items() if not names.isdisjoint(node)} - weak
            if len(found) > 1 and not {"description", "hs_code"}.isdisjoint(found):
                return True
        return False

    def _is_goods(self, name: str, node: Node) -> bool:
        """Check whether a part is a kind of goods: by its name, else by what stands in it."""
        return name in self._goods or self._looks_like_goods(name, node)

    def _looks_like_goods(self, name: str, node: Node) -> bool:
        """Check whether facts of goods stand in a part, and nothing of a declaration."""
        parties = any(self._marks.get(key, 0) & PARTIES for key in node)
        return not parties and self._has_facts_of_goods(name, node) and not any(self._read_own(node))

    def _search(
        self,
        node: Node,
        name: str = "",
        is_goods: bool = False,
        in_goods: bool = False,
        in_receptacle: bool = False,
        depth: int = 0,
    ) -> _Found:
        if depth > MAX_DEPTH:
            raise MessageFault("nested too deep")
        found = _Found(name, node, is_goods)
        own, weak = self._read_own(node)
        in_goods = in_goods or is_goods
        in_receptacle = in_receptacle or not node.keys().isdisjoint(RECEPTACLE_NAMES)
        below = [
            self._search(value, key, self._is_goods(key, value), in_goods, in_receptacle, depth + 1)
            for key, value in list_below(node)
        ]
        if not in_goods:
            _declare_neighbours(below, references=not in_receptacle)
        divided = {part.name for part in below if part.parts}
        found.groups = sum(part.groups for part in below if not part.is_goods)
        found.groups += any(part.is_goods for part in below)
        if any(part.is_goods and not part.parts for part in below):
            found.marks |= ITEMS
        for key, values in node.items():
            if key in self._marks and any(value not in (None, "") for value in values):
                found.marks |= self._marks[key] & (~ITEMS if key in divided else ~0)
        is_response = not node.keys().isdisjoint(RESPONSE_MARKS)
        if not (in_goods or in_receptacle or is_response):
            found.seen = own.union(*(part.seen for part in below))
        outer: set[str] = set()
        for part in below:
            found.parts += part.parts
            if not part.parts:
                found.marks |= part.marks
                outer |= part.identifiers
        if not found.marks & (PARTIES | ITEMS) and is_response:
            found.marks &= ~GOODS
        if in_receptacle:
            found.marks &= ~AMOUNTS
        found.identifiers = own or outer
        found.weak = weak or any(part.weak for part in below)
        declared = found.marks & DECLARED
        if in_goods:
            declared = found.marks & (PARTIES | ITEMS) if own else 0
        if found.parts:
            _widen(found, own, declared)
        elif declared and (found.identifiers or (weak and found.marks & (PARTIES | ITEMS))):
            if len(found.identifiers) > 1:
                raise build_count_fault(len(found.identifiers), 1, found.identifiers)
            found.declare(found.identifiers)
        return found

    def _read_own(self, node: Node) -> tuple[set[str], bool]:
        """Read the identifiers that stand in a node itself, and whether it has another value under a weak name."""
        if self._by_form:
            return find_s10_texts(node), False
        found: set[str] = {*node.get(KEY, ())}
        weak = False
        for joined in self._identifiers:
            here = [path for path in joined if path.steps[0].name in node]
            texts = [list_texts(follow_path([node], path)) for path in here]
            for text in map("".join, zip(*filter(None, texts), strict=False)):
                if joined[0].steps[0].name not in WEAK_NAMES or parse_s10(text) or parse_awb(text):
                    found.add(text)
                else:
                    weak = True
        return found, weak


get_finder = lru_cache(maxsize=64)(PartFinder)
"""Returns the finder of some mappings."""


@lru_cache(maxsize=4096)
def _names_document(name: str) -> bool:
    """Check whether a name is that of documents, an insurance and the like, and not of goods."""
    meanings = {(each.section, each.name) for each in read_name(name)}
    return ("record", "ignored") in meanings and ("weak", "goods") not in meanings


def list_first_names(paths: Iterable[Sequence[Path]]) -> set[str]:
    """List the names that the alternatives of paths begin with."""
    return {path.steps[0].name for alternatives in paths for path in alternatives if path.steps}


def list_below(node: Node) -> Iterator[tuple[str, Node]]:
    """List the nodes in a node, with their names."""
    return ((key, value) for key, values in node.items() for value in values if isinstance(value, dict))


def find_s10_texts(node: Node) -> set[str]:
    """Find the texts of the form of a postal identifier that stand in a node itself, under any name."""
    texts = (text for values in node.values() for text in list_texts(values))
    return {text for text in texts if parse_s10(text)}


def _refuse_divided(parts: Sequence[DeclaredPart]) -> None:
    """Refuse parts of one identifier of which one has the goods and another the parties: each would stand for the whole."""
    first: dict[frozenset[str], DeclaredPart] = {}
    for part in parts:
        both = (first.setdefault(part.identifiers, part), part)
        kinds = {(bool(each.marks & (GOODS | ITEMS)), bool(each.marks & PARTIES)) for each in both}
        if part.identifiers and kinds == {(True, False), (False, True)}:
            raise MessageFault(
                "goods and parties of one identifier stand in different parts",
                got=", ".join(sorted(part.identifiers)),
                expected="each declaration in an element of its own",
                todo="put the goods of each declaration into it",
            )


def _widen(found: _Found, own: set[str], declared: int) -> None:
    """Add to the only declaration below what stands around it; refuse what belongs to several, or to another."""
    identifiers = {identifier for part in found.parts for identifier in part.identifiers}
    if own - identifiers and declared and identifiers:
        raise build_count_fault(len(own | identifiers), len(found.parts), own | identifiers)
    if found.marks & ITEMS and (len(found.parts) > 1 or found.parts[0].marks & ITEMS):
        raise build_goods_fault()
    if len(found.parts) == 1:
        (part,) = found.parts
        if not part.identifiers and len(found.identifiers) == 1:
            part = part._replace(node=found.node, identifiers=frozenset(found.identifiers))
        found.parts = [part._replace(scope=found.node, marks=part.marks | found.marks)]


def _declare_neighbours(below: list[_Found], *, references: bool) -> None:
    """Add parts that stand next to declarations, or to each other, to the declarations.

    A part with no more than an identifier, in a list with declarations, is a reference: its reader rejects it.
    """
    names = {part.name for part in below if part.parts}
    for part in below if references else ():
        if part.name in names and not part.parts and len(part.seen) == 1:
            part.declare(part.seen)
    others = [part for part in below if not part.is_goods]
    names = {part.name for part in others if part.parts}
    several = sum(part.has_several_kinds() for part in others) > 1
    for part in others if len(others) > 1 else ():
        repeated = part.name in names and part.marks & (PARTIES | GOODS | ITEMS)
        if not part.parts and (repeated or (part.has_several_kinds() and (names or several))):
            part.declare(part.identifiers)
