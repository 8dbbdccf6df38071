"""Names the elements of a message that no path read, although they may describe goods or a party.

The name of an element says what it is, as in drafts of mappings. One with a name that nobody knows may describe goods if its text is of
words, or a tariff code.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Set
from typing import NamedTuple

from consignments.countries import find_country
from consignments.doubts import CURRENCIES, Doubt
from consignments.goods.hs_headings import has_heading
from consignments.identifiers import parse_awb, parse_s10
from consignments.messages.content.paths import PathTrace
from consignments.messages.content.trees import TEXT, Node, walk_nodes
from consignments.messages.content.values import (
    Doubts,
    clean_text,
    get_unit_factor,
    parse_decimal,
    parse_time,
)
from consignments.messages.post.declared_parts import RESPONSE_MARKS
from consignments.messages.post.element_names import NO_STOPS, index_columns, read_place
from consignments.records import SIDES

GOODS_FACTS = ("description", "hs_code")
ITEM_FACTS = {"value", "unit_value", "origin_country"}
AMOUNTS = ("value", "net_weight_kg", "quantity")
WORDS = re.compile(r"[A-Za-z]{2}|[^\W\d_A-Za-z]")
"""Two letters, or one of another alphabet."""
FLAG = re.compile(r"true|false|[01YN]", re.IGNORECASE)
NO_WORDS = re.compile(r"true|false|\S*\d\S*|\S*(?:@|://)\S*", re.IGNORECASE)
"""Flags, codes with digits, and addresses of mail and web."""
MAX_LEVELS = 8
"""So many of the last names that lead to an element say what it is."""
MAX_NAMED, MAX_NAME_CHARACTERS = 8, 80


class Leaf(NamedTuple):
    """A text of a message: the names that lead to it, the `id` of the node that has the last, and whether it stands in goods."""

    place: tuple[str, ...]
    node: int
    text: str
    in_goods: bool

    def is_read(self, trace: PathTrace, *, around: bool) -> bool:
        """Check whether a path looked for its name in its node, or at any depth, which is not `around` the record."""
        name = self.place[-1]
        places = [(self.node, name), (self.node, "*"), *([] if around else [(None, name)])]
        return not trace.sought.isdisjoint(places)

    def is_lost(self, known: Set[str]) -> bool:
        """Check whether it describes goods, or gives what is not among the columns that are known."""
        if self.place[-1].isdecimal():  # the elements of an EDIFACT segment have no names
            return False
        fact, side, _ = read_place(self.place[-MAX_LEVELS:])
        if side in NO_STOPS:
            side = "other" if NO_STOPS[side].section == "sides" else None
        if side not in (None, *SIDES):
            return False
        party = index_columns("party_columns").get(fact or "")
        if side is not None and party:
            return f"{side}_{party}" not in known
        is_of_side = side is not None and not FLAG.fullmatch(self.text)
        if fact in GOODS_FACTS or (fact in (None, "name") and (is_of_side or is_of_words(self.text))):
            return True
        if fact is None and len(self.text) > 5 and has_heading(self.text):
            return "hs_code" not in known
        if fact is None and self.in_goods and is_number(self.text):
            return not known >= set(AMOUNTS)
        enough = index_columns("enough").get(fact or "")
        return enough is not None and known.isdisjoint(enough.split())


def list_leaves(
    root: Node, left_out: Set[int] = frozenset(), goods: Set[int] = frozenset()
) -> Iterator[Leaf]:
    """List the texts of a tree, but not of nodes that are left out, or of answers of customs."""
    stack: list[tuple[tuple[str, ...], Node, int, bool]] = [((), root, 0, False)]
    while stack:
        place, node, above, in_goods = stack.pop()
        if id(node) in left_out or not node.keys().isdisjoint(RESPONSE_MARKS):
            continue
        in_goods = in_goods or id(node) in goods
        for name, values in node.items():
            at, holder = (place, above) if name == TEXT else ((*place, name), id(node))
            for value in values:
                if isinstance(value, dict):
                    stack.append((at, value, id(node), in_goods))
                elif at and (text := clean_text(value)):
                    yield Leaf(at, holder, text, in_goods)


def select_lost(leaves: Iterable[Leaf], known: Set[str], limit: int) -> list[Leaf]:
    """Select the first leaves of so many different places that give what is not known."""
    found: dict[tuple[str, ...], Leaf] = {}
    for leaf in leaves:
        if leaf.place not in found and leaf.is_lost(known):
            found[leaf.place] = leaf
        if len(found) == limit:
            break
    return [*found.values()]


def build_unread_doubt(places: Collection[tuple[str, ...]]) -> Doubt:
    """Build the doubt that names elements which were not read."""
    names = ["/".join(place)[-MAX_NAME_CHARACTERS:] for place in places]
    shown = ", ".join(names[:MAX_NAMED]) + ", …" * (len(names) > MAX_NAMED)
    return Doubt("element_unread", f"not read, though it may describe goods or a party: {shown}")


def describes_goods(root: Node) -> bool:
    """Check whether a part of a message has a tariff code, or a description with a value or an origin; not in answers of customs."""
    for _, node in walk_nodes(root):
        facts = {read_place((name,)).fact for name in node if node.keys().isdisjoint(RESPONSE_MARKS)}
        if "hs_code" in facts or ("description" in facts and facts & ITEM_FACTS):
            return True
    return False


def is_number(text: str) -> bool:
    """Check whether a text is a number, as values of messages are read."""
    return parse_decimal(text, Doubts()) is not None


def is_of_words(text: str) -> bool:
    """Check whether a text is of words, and not a code, a number, a moment or an address."""
    if WORDS.search(text) is None or NO_WORDS.fullmatch(text) or get_unit_factor(text) is not None:
        return False
    is_code = text.isupper() and (text in CURRENCIES or (len(text) < 4 and find_country(text) is not None))
    return not (is_code or parse_time(text) or parse_s10(text) or parse_awb(text))
