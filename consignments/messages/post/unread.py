"""Names the elements of a message that no path read, although they may describe goods or a party.

The name of an element says what it is, as in drafts of mappings. One with a name that nobody knows may describe goods if its text is of
words, or a tariff code.
"""

import re
from collections.abc import Collection, Iterator, Set
from typing import NamedTuple

from consignments.countries import find_country
from consignments.doubts import CURRENCIES, Doubt
from consignments.goods.hs_headings import has_heading
from consignments.identifiers import parse_awb, parse_s10
from consignments.messages.content.paths import ReadMarks
from consignments.messages.content.trees import TEXT, Node, walk_nodes
from consignments.messages.content.values import clean_text, get_unit_factor, parse_time
from consignments.messages.post.element_names import index_columns, read_place

GOODS_FACTS = ("description", "hs_code")
CUSTOMS_FACTS = {"value", "unit_value", "origin_country"}
WORDS = re.compile(r"[A-Za-z]{2}|[^\W\d_A-Za-z]")
"""Two letters, or one of another alphabet."""
NO_WORDS = re.compile(r"true|false|\S*\d\S*|\S*(?:@|://)\S*", re.IGNORECASE)
"""Flags, codes with digits, and addresses of mail and web."""
MAX_NAMED, MAX_NAME_CHARACTERS = 5, 80


class Leaf(NamedTuple):
    """A text of a message: the names that lead to it, the `id` of its node, and the columns that it may be of."""

    place: tuple[str, ...]
    node: int
    columns: tuple[str, ...]


def list_leaves(
    root: Node, marks: ReadMarks, names: Set[str], left_out: Set[int], answers: Collection[str]
) -> Iterator[Leaf]:
    """List the texts of a tree that may be of goods or a party and were not read.

    In a node of which something was read, the other `names` of a mapping are alternatives. Nodes that are left out, and answers of
    customs with one of some names, are passed over.
    """
    touched = {node for node, _ in marks}
    stack: list[tuple[tuple[str, ...], Node]] = [((), root)]
    while stack:
        place, node = stack.pop()
        if id(node) in left_out or not node.keys().isdisjoint(answers):
            continue
        for name, values in node.items():
            below = (*place, name)
            stack.extend((below, value) for value in values if isinstance(value, dict))
            is_alternative = name in names and id(node) in touched
            if is_alternative or not marks.isdisjoint(((id(node), name), (id(node), "*"), (0, name))):
                continue
            at = place if name == TEXT else below
            texts = filter(None, map(clean_text, values))
            columns = {column for text in texts for column in _find_columns(at, text)}
            if columns:
                yield Leaf(at, id(node), tuple(columns))


def describes_goods(root: Node, answers: Collection[str]) -> bool:
    """Check whether a part of a message has a tariff code, or a description with a value or an origin; not in answers of customs."""
    for _, node in walk_nodes(root):
        facts = {read_place((name,)).fact for name in node if node.keys().isdisjoint(answers)}
        if "hs_code" in facts or ("description" in facts and facts & CUSTOMS_FACTS):
            return True
    return False


def build_unread_doubt(leaves: Collection[Leaf]) -> Doubt:
    """Build the doubt that names elements which were not read."""
    names = sorted({"/".join(leaf.place)[-MAX_NAME_CHARACTERS:] for leaf in leaves})
    shown = ", ".join(names[:MAX_NAMED]) + ", …" * (len(names) > MAX_NAMED)
    return Doubt("element_unread", f"not read, though it may describe goods or a party: {shown}")


def _find_columns(place: tuple[str, ...], text: str) -> tuple[str, ...]:
    """Find the columns that a text may be of; it is lost if one of them is missing, or if it describes goods."""
    if not place or place[-1].isdecimal():  # the elements of an EDIFACT segment have no names
        return ()
    meaning = read_place(place)
    if meaning.side == "other":
        return ()
    if meaning.fact in GOODS_FACTS:
        return ("description",)
    party = index_columns("party_columns").get(meaning.fact or "")
    if meaning.side is not None and party:
        return (f"{meaning.side}_{party}",)
    if meaning.fact in (None, "name") and _is_of_words(text):
        return ("description",)
    is_tariff_code = meaning.fact is None and len(text) > 5 and has_heading(text)
    return ("hs_code",) if is_tariff_code else ()


def _is_of_words(text: str) -> bool:
    """Check whether a text is of words, and not a code, a number, a moment or an address."""
    if WORDS.search(text) is None or NO_WORDS.fullmatch(text) or get_unit_factor(text) is not None:
        return False
    is_code = text.isupper() and (text in CURRENCIES or (len(text) < 4 and find_country(text) is not None))
    return not (is_code or parse_time(text) or parse_s10(text) or parse_awb(text))
