"""Drafts a mapping file from samples of an unknown declaration: by names of elements, forms of values and structure.

A guess that rests on one of these alone is marked as not sure, for the person who corrects the file.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import combinations, takewhile
from typing import Any, NamedTuple

from consignments.countries import find_country
from consignments.doubts import CURRENCIES
from consignments.errors import MessageFault
from consignments.goods.hs_headings import has_heading
from consignments.identifiers import parse_s10
from consignments.messages.configuration import load_codes
from consignments.messages.content.trees import TEXT, Node, decode_head
from consignments.messages.content.values import MAX_ITEM_KILOGRAMS, clean_text, get_unit_factor, parse_time
from consignments.messages.parsed import MessageContext
from consignments.messages.post import element_names as names
from consignments.messages.post.declared_parts import list_below
from consignments.messages.post.mapped import ROWS, find_format, list_records
from consignments.messages.post.mapping import parse_mapping
from consignments.messages.post.unread import AMOUNTS, FLAG, is_number, is_of_words
from consignments.records import SIDES

Place = tuple[str, ...]
"""Names that lead from the message to an element; a role is a condition, as in `party[role=sh]`."""
CUSTOMS_FACTS = {"hs_code", "origin_country"}
FACTS_IN_GOODS = {*CUSTOMS_FACTS, "description"}
FACTS_OF_ROWS = (*FACTS_IN_GOODS, "pieces")
AMOUNTS_OF_ROWS = ("declared_value", "gross_weight_kg")
"""Columns of a parcel that are facts of its goods if it has several rows; amounts only if they differ."""
WHOLE_PARTY = 3
"""So many facts of a party that is not named are a party of their own."""
ENOUGH_GOODS, MANY_GOODS = 2, 3
"""A group of goods has at least so many kinds of facts about them; what is in it is a group of its own if it has many."""
MIN_CENTS = 99
"""Amounts that are whole and larger may be in cents."""
MAX_SHOWN, MAX_PATH = 40, 300
HS_CODE = re.compile(r"\d[\d. ]{3,13}")
PLAIN_NAME = re.compile(r"@?\w(?:[\w.: \-()%&'?]{0,198}[\w()%?])?|" + re.escape(TEXT))
"""A name that a path can hold."""
WRITTEN_NAME = re.compile(r"""(?:<(?:[\w.\-]+:)?|["\s])([\w.\-]+)(?=[\s/>"=])""")
NUMBERS = (*names.VALUES, "quantity", "weight", "net_weight", "gross_weight", "postage")
SUBSTITUTES = ("contact", "reference", "suburb")
"""Facts that stand for another one only if that is missing."""
DOUBTS = {
    "consignment_id": "is it the parcel's identifier?",
    "declared_value": "is it the value of the goods?",
    "issued_at": "is it when the message was issued?",
}
HELP = "by hand (docs/formats_post.md)"


@dataclass(eq=False)
class Element:
    """An element of the samples: the place of its texts, those that are not empty, and the fact that it is, of which party."""

    place: Place
    values: list[str]
    fact: str | None
    side: str | None
    certain: bool
    is_in_items: bool = False

    @property
    def party(self) -> tuple[Place, str | None]:
        """Return the element that names its party, else the one just above it, and the side."""
        named = (at for at, part in enumerate(self.place[:-1], 1) if names.list_sides(part))
        return self.place[: max(named, default=-1)], self.side

    @property
    def part(self) -> str | None:
        """Return the column of a party, without its side, that it is."""
        return names.index_columns("party_columns").get(self.fact or "")

    @property
    def party_column(self) -> str | None:
        """Return the column of the sender or consignee that it is."""
        return f"{self.side}_{self.part}" if self.part and self.side in SIDES else None

    @property
    def column(self) -> str | None:
        """Return the column that it is, of a kind of goods if it stands in one."""
        columns = names.index_columns("item_columns" if self.is_in_items else "record_columns")
        if self.side in ("other", "declarant"):
            is_name = self.side == "declarant" and self.fact in ("declarant", "name", "company")
            return "declarant" if is_name else None
        return self.party_column or columns.get(self.fact or "")

    def has_form(self, fact: str | None) -> bool:
        """Check whether a value has the form of a fact; any text has that of a fact without one."""
        shape = SHAPES.get(fact or "")
        return shape is None or not self.values or any(map(shape, self.values))

    def read_as(self, fact: str | None, side: str | None = None) -> None:
        """Set what it is by something else than its name."""
        self.fact, self.side, self.certain = fact, side, False


class Guess(NamedTuple):
    """The elements that one column is read from, their first value, and why it is not sure, if it is not."""

    column: str
    elements: list[Element]
    value: str
    doubt: str


class Draft(NamedTuple):
    """A mapping file, its guesses about a declaration and about a kind of goods, and the elements that it leaves out."""

    text: str
    record: list[Guess]
    items: list[Guess]
    unused: list[tuple[str, str]]


@dataclass
class Samples:
    """The values of all elements of some messages by place, and how often a place repeats within the one above it."""

    written: dict[str, str]
    values: dict[Place, list[str]] = field(default_factory=lambda: defaultdict(list))
    repeats: Counter[Place] = field(default_factory=Counter)
    guessed_sides: dict[str, str] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)

    def add(self, node: Node, place: Place = ()) -> None:
        """Add a node and all below it, under the names as they are written."""
        for lower, values in node.items():
            if not PLAIN_NAME.fullmatch(lower):
                self.unreadable.add(lower)
                continue
            bare = lower.removeprefix("@")
            name = lower.removesuffix(bare) + self.written.get(bare, bare)
            nodes = [value for value in values if isinstance(value, dict)]
            for value in values:
                if isinstance(value, dict):
                    below = (*place, self._add_role(name, value, nodes))
                    if below[-1] == name:
                        self.repeats[below] = max(self.repeats[below], len(nodes))
                    self.add(value, below)
                else:
                    at = place if name == TEXT and place else (*place, name)
                    self.values[at].append(clean_text(value) or "")

    def _add_role(self, name: str, node: Node, nodes: list[Node]) -> str:
        """Return the name of a party with the condition of its role, if a code or its place in a pair says which party it is.

        A party has at least two facts of one in it, and no party that is named.
        """
        if any(map(names.list_sides, (name, *node))):
            return name
        keys = {*node, *(key for _, inner in list_below(node) for key in inner)}
        facts = {each.name for key in keys for each in names.read_name(key) if each.section == "party"}
        if len(facts & names.index_columns("party_columns").keys()) < 2:
            return name
        by_place = SIDES[[id(each) for each in nodes].index(id(node))] if len(nodes) == len(SIDES) else None
        for below, values in node.items():
            role = clean_text(next(iter(values), None))
            said = {each.section for each in names.read_name(role or "")} == {"sides"}
            is_role = said or names.read_name(below)[-1:] == (names.QUALIFIER,)
            if role and is_role and PLAIN_NAME.fullmatch(role):
                found, sides = f"{name}[{below}={role}]", [each.name for each in names.read_role(role)]
                is_told_apart = [clean_text(each.get(below, [None])[0]) for each in nodes].count(role) == 1
                side = next(iter(sides), by_place if is_told_apart else None)
                if side and not set(sides) & {each.name for each in names.read_name(role)}:
                    self.guessed_sides[found] = side
                if side:
                    return found
        return name

    def read_element(self, place: Place) -> Element:
        """Read what an element is by its name, which may be of a party that was guessed."""
        fact, side, certain = names.read_place(place)
        guessed = (each for part, each in self.guessed_sides.items() if part in place)
        return Element(place, [*filter(None, self.values[place])], fact, side or next(guessed, None), certain)

    def guess_sides(self) -> None:
        """Read two groups, or two sets of names with one first word or letter, that are alike as the parties if no name says which is one."""
        places, facts = list(self.values), names.index_columns("party_columns")
        sides = (*SIDES, *names.STOPS)
        if any(each.side in sides and each.fact in facts for each in map(self.read_element, places)):
            return
        groups: dict[Place, dict[str, str]] = defaultdict(dict)
        for *above, name in places:
            begin, *others = names.read_name(name) or [names.NAME]
            if above:
                groups[*above,][name] = above[-1]
            if any(each.section == "party" or each == names.NAME for each in others):
                groups[*above, begin.name][str(others)] = name
        roles = names.load_words()["roles"]
        for first, second in combinations(groups, 2):
            if first[:-1] == second[:-1] and len(groups[first].keys() & groups[second]) >= WHOLE_PARTY:
                is_turned = first[-1].lower() in roles["consignee"] or second[-1].lower() in roles["sender"]
                for group, side in zip((first, second), SIDES[::-1] if is_turned else SIDES, strict=True):
                    self.guessed_sides |= dict.fromkeys(groups[group].values(), side)
                return


def draft_mapping(samples: Iterable[tuple[str, bytes]]) -> Draft:
    """Draft a mapping file from the names and contents of samples of one interface: XML, JSON or CSV."""
    whole = parse_mapping('[record]\nconsignment_id = "."', "draft")
    nodes, written, formats = list[Node](), dict[str, str](), set[str]()
    for name, content in samples:
        formats.add(find_format(content))
        if "edifact" in formats:
            raise MessageFault("no draft for EDIFACT", where=name, todo=f"write its segment map {HELP}")
        for spelling in WRITTEN_NAME.findall(decode_head(content)):
            written.setdefault(spelling.lower(), spelling)
        for record in list_records(content, MessageContext(), (whole,)):
            if isinstance(record, MessageFault):
                raise record
            nodes.append(record.scope)
    draft = _draft_nodes(nodes, written)
    joined = _join_rows(nodes, draft) if formats == {"csv"} else []
    return _draft_nodes(joined, written) if joined else draft


def _draft_nodes(nodes: Iterable[Node], written: dict[str, str]) -> Draft:
    samples = Samples(written)
    for node in nodes:
        samples.add(node)
    return _Drafter(samples).draft()


def _join_rows(rows: Sequence[Node], draft: Draft) -> list[Node]:
    """Join successive rows of one identifier that differ in their goods, as reading does; none if no rows do, or names of parties differ."""
    names_of = {guess.column: {each.place[-1].lower() for each in guess.elements} for guess in draft.record}
    identifiers = names_of.get("consignment_id", set())
    groups: list[list[Node]] = []
    for row in rows:
        numbers = [row.get(name) for name in identifiers]
        if groups and numbers in ([[""]], [groups[-1][0].get(name) for name in identifiers]):
            groups[-1].append(row)  # a further row may leave out what the first one says
        else:
            groups.append([row])
    pairs = ((name, row[name], group[0].get(name)) for group in groups for row in group for name in row)
    differing = {name for name, values, first in pairs if values not in ([""], first)}
    parties, goods, amounts = (
        set().union(*(names_of.get(column, ()) for column in columns))
        for columns in ((f"{side}_name" for side in SIDES), FACTS_OF_ROWS, AMOUNTS_OF_ROWS)
    )
    if not identifiers or not differing & (goods | amounts) or differing & parties:
        return []
    goods |= differing

    def pick(row: Node, *, of_goods: bool) -> Node:
        return {name: values for name, values in row.items() if (name in goods) == of_goods}

    return [
        {**pick(group[0], of_goods=False), ROWS: [pick(row, of_goods=True) for row in group]}
        for group in groups
    ]


def _read_routes(elements: Iterable[Element]) -> None:
    """Read the country of a place such as the destination as that of the route, if its party stands elsewhere."""
    parts = [each for each in elements if each.part]
    for each in (each for each in parts if each.fact == "country" and each.side in SIDES):
        around = [other for other in parts if other is not each and other.party == each.party]
        sides = [names.STOPS.get(other.side or "", other.side) for other in parts if other is not each]
        if each.side in sides and not around and names.is_place(each.place, each.side):
            each.read_as("departure_country" if each.side == "sender" else "destination_country")


def _read_stops(elements: Sequence[Element]) -> None:
    """Read the party from which a parcel is fetched as the sender, in what the sender lacks, and that of its delivery as the consignee."""
    for stop, side in names.STOPS.items():
        known = {each.part for each in elements if each.side == side}
        for each in (each for each in elements if each.side == stop):
            is_lacking = (each.fact is None or each.part) and each.part not in known
            each.read_as(each.fact, side if is_lacking else "other")


def _read_values(elements: Sequence[Element], repeats: Mapping[Place, int]) -> None:
    """Read elements by the form of their values, if no name explains them, or the values have not the form of what it says."""
    known: dict[str | Place, set[str | None]] = defaultdict(set)
    streets = {each.place[:-1] for each in elements if each.fact == "address"}
    for each in elements:
        is_numbered = {*names.read_part(each.place[-1])} == {names.NUMBER}
        if is_numbered and each.side and each.place[:-1] in streets:
            each.read_as("house_number", each.side)
        if not each.has_form(each.fact):
            facts = SHAPES.keys() & {meaning.name for meaning in names.read_part(each.place[-1])}
            each.read_as(next(filter(each.has_form, sorted(facts)), None), each.side)
        known[each.side or each.place[:-1]] |= {each.fact, each.part}
    for fact, has_form in FORMS:
        for each in elements:
            here, is_listed = known[each.side or each.place[:-1]], repeats[each.place[:-1]] > 1
            if each.values and all(map(has_form, each.values)) and _may_be(fact, each, here, is_listed):
                here.add(fact)
                each.read_as(fact, each.side)


def _may_be(fact: str, element: Element, known: Set[str | None], is_listed: bool) -> bool:
    """Check whether an element may be a fact that its name does not say, and that is not known of its party or group."""
    is_named = element.fact not in (None, "ignored" if fact == "nature" else None)
    if is_named or fact in known or not element.has_form(fact):
        return False
    if fact in names.load_words()["party_columns"]:
        return element.side in SIDES
    return element.side is None and (fact != "description" or "hs_code" in known or is_listed)


def _complete_sides(elements: Sequence[Element]) -> None:
    """Read a party that is not named as the one that is missing, and single facts as those of the party that lacks them."""
    parties: dict[Place, list[Element]] = defaultdict(list)
    for each in elements:
        if not each.is_in_items and each.side is None and each.part:
            parties[_find_party(each, elements)].append(each)
    for members in parties.values():
        known = {s: {e.part for e in elements if e.side == s and e.part} for s in SIDES[::-1]}
        wanted = {each.part for each in members}
        sides = [side for side in known if known[side]]
        if len(wanted) >= WHOLE_PARTY:
            sides = [min(known, key=lambda side: len(wanted & known[side]))]
        for each in members:
            side = next((side for side in sides if each.part not in known[side]), None)
            if side is not None:
                each.read_as(each.fact, side)


def _find_party(element: Element, elements: Sequence[Element]) -> Place:
    """Find the widest group around an element without goods and named parties, else its level and the unknown word that begins its name."""
    others = [each.place for each in elements if each.side or each.is_in_items]
    for end in range(1, len(element.place)):
        if all(place[:end] != element.place[:end] for place in others):
            return element.place[:end]
    first = names.read_name(element.place[-1])[0]
    return (*element.place[:-1], first.name if first.section == names.UNKNOWN else "")


def _complete_goods(elements: Iterable[Element]) -> None:
    """Read a name as the description that the goods lack, and the only number that no name explains as the only amount."""
    inside = [each for each in elements if each.is_in_items]
    columns = {names.index_columns("item_columns").get(each.fact or "") for each in inside}
    named = [each for each in inside if each.fact == "name"]
    if "description" not in columns and named:
        named[0].read_as("description")
    lacking = [column for column in AMOUNTS if column not in columns]
    numbers = [e for e in inside if e.fact is None and e.values and all(map(is_number, e.values))]
    if len(lacking) == len(numbers) == 1:
        numbers[0].read_as(names.load_words()["item_columns"][lacking[0]][0])


class _Drafter:
    """Finds the place of a declaration and of its goods, guesses the columns of elements, and writes a mapping file of them."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        samples.guess_sides()
        self._elements = [samples.read_element(place) for place in samples.values]
        _read_routes(self._elements)
        _read_stops(self._elements)
        _read_values(self._elements, samples.repeats)
        self._items = self._find_items()
        for each in self._elements:
            each.is_in_items = self._items is not None and each.place[: len(self._items)] == self._items
        outside = [each for each in self._elements if not each.is_in_items]
        known = {each.fact for each in self._elements if each.is_in_items and each.values}
        for each in outside:
            if each.fact in FACTS_IN_GOODS & known and (each.fact != "description" or not each.certain):
                each.fact = None
        self._s10 = [each for each in outside if any(map(parse_s10, each.values))]
        _complete_sides(self._elements)
        _complete_goods(self._elements)
        self._each = self._find_each()
        self._record, self._goods = dict[str, Guess](), dict[str, Guess]()

    def draft(self) -> Draft:
        """Write the file."""
        self._guess_columns()
        if not self._record:
            raise MessageFault("no element looks like one of a declaration", todo=f"write the mapping {HELP}")
        record, goods = [*self._record.values()], [*self._goods.values()]
        used = {id(each) for guess in (*record, *goods) for each in guess.elements}
        unused = [(_quote(clean_text(name) or "?"), "") for name in sorted(self._samples.unreadable)]
        unused += [(_spell(e.place), next(iter(e.values), "")) for e in self._elements if id(e) not in used]
        return Draft("".join(self._write(unused)), record, goods, unused)

    def _find_items(self) -> Place | None:
        """Find the group of one kind of goods: nearly the most facts of goods, no party, not all elements, the deepest."""
        columns = names.index_columns("item_columns")
        facts: dict[Place, set[str]] = defaultdict(set)
        parties: set[Place] = set()
        for each in self._elements:
            above = [each.place[:length] for length in range(1, len(each.place))]
            if each.party_column:
                parties.update(above, [each.place])
            elif each.fact in columns and each.fact not in ("currency", "weight_unit", "country"):
                for place in above:
                    facts[place].add(columns[each.fact])
        parties |= {at for at in facts if all(each.place[: len(at)] == at for each in self._elements)}
        counts = {at: len(own) for at, own in facts.items() if at not in parties and self._has_goods(at, own)}
        most = max(counts.values(), default=0)
        best = [at for at, count in counts.items() if count >= max(most - 2, min(most, MANY_GOODS))]
        ranks = [(bool(facts[at] & CUSTOMS_FACTS), self._samples.repeats[at] > 1, len(at), at) for at in best]
        return max(ranks)[-1] if ranks else None

    def _has_goods(self, place: Place, known: set[str]) -> bool:
        """Check whether a group with some facts is one of goods: not a parcel with its description, or one of another name that stands alone."""
        if len(known) < ENOUGH_GOODS or not known & {"description", "hs_code"}:
            return False
        is_listed = self._samples.repeats[place] > 1 or names.GOODS in names.read_part(place[-1])
        return bool(known & {*CUSTOMS_FACTS, "quantity"}) or (is_listed and not names.is_parcel(place[-1]))

    def _find_each(self) -> Place:
        """Find the place of one declaration: the deepest that holds both parties, the goods and the identifier."""
        parties = [each for each in self._elements if each.party_column]
        consignees = [each.place[:-1] for each in parties if each.side == "consignee"]
        repeated = [at for at, count in self._samples.repeats.items() if count > 1 and at != self._items]
        goods = [self._items] if self._items else []
        holders = [*consignees, *goods] or [each.place[:-1] for each in self._elements if each.column]
        within = [place for place in repeated if all(each[: len(place)] == place for each in holders)]
        if within and (consignees or self._items is None):
            return max(within, key=len)
        around = [at for at in repeated if goods and goods[0][: len(at)] == at]
        if parcels := [*filter(self._is_numbered, around)]:
            return max(parcels, key=len)
        named = (each for each in self._elements if each.fact == "identifier" and not each.is_in_items)
        identifiers = [each.place[:-1] for each in (*self._s10, *named)]
        needed = [*(each.place[:-1] for each in parties), *(each[:-1] for each in goods), *identifiers[:1]]
        levels = takewhile(lambda parts: len(set(parts)) == 1, zip(*needed, strict=False))
        return tuple(parts[0] for parts in levels)

    def _is_numbered(self, place: Place) -> bool:
        """Check whether each of several groups has a number of its own, and not one in its goods."""
        inside = (e for e in self._elements if e.place[: len(place)] == place and not e.is_in_items)
        numbers = (e.values for e in inside if e.fact in ("identifier", "reference"))
        return any(len({*values}) == len(values) > 1 for values in numbers)

    def _guess_columns(self) -> None:
        """Guess the elements of each column: the one that ranks first, and further parts of the same; an S10 is the consignment's."""
        if all(each.column != "consignment_id" for each in self._s10):
            for each in self._s10[:1]:
                each.read_as("identifier")
        found: dict[tuple[bool, str], list[Element]] = defaultdict(list)
        for each in self._elements:
            column, is_short = each.column, len(_spell(each.place)) <= MAX_PATH
            if column and is_short and (each.has_form(each.fact) or each in self._s10):
                found[each.is_in_items, column].append(each)
        valued = found.get((True, "value"), [])
        amounts = [each for each in valued if "amount" in each.place[-1].lower()]
        if len(valued) > len(amounts) == 1 and (True, "quantity") not in found:
            # Of two values of goods, the one that is called an amount is their number.
            found[True, "quantity"] = amounts
            valued.remove(amounts[0])
            amounts[0].read_as("quantity")
        for (is_in_items, column), elements in found.items():
            best = max(elements, key=self._rank)
            parts = [each for each in elements if each is best or _is_joined(column, best, each)]
            others = [each for each in elements if each not in parts]
            value = next((value for each in parts for value in each.values), "")
            guesses = self._goods if is_in_items else self._record
            guesses[column] = Guess(column, parts, value, self._find_doubt(column, parts, others))

    def _is_read_from_message(self, column: str, element: Element) -> bool:
        """Check whether reading would take what stands deeper under the same name for another identifier."""
        is_alone = column == "consignment_id" and not self._each
        return is_alone and any(element.place[0] in place[1:] for place in self._samples.values)

    def _rank(self, element: Element) -> tuple[float, ...]:
        """Rank an element: one in the declaration, that is not empty or zero, by its own name, with more of its party, and near the top."""
        around = [each for each in self._elements if each.place[:-1] == element.place[:-1]]
        return (
            element in self._s10,
            element.fact != "date" or element.certain,
            element.place[: len(self._each)] == self._each,
            any(value.strip("0.,") for value in element.values),
            element.fact not in SUBSTITUTES and (element.side, element.fact) != ("declarant", "declarant"),
            element.fact != "quantity" or names.is_parcel(element.place[-1]) != element.is_in_items,
            element.certain,
            element.fact != "gross_weight" or not element.is_in_items,
            element.fact in ("gross_weight", "total_value", "net_weight"),
            sum(each.party_column is not None for each in around),
            -len(element.place),
        )

    def _find_doubt(self, column: str, parts: list[Element], others: list[Element]) -> str:
        """Find why a guess is not sure; empty if it is."""
        first, values = parts[0], {value for each in parts for value in each.values}
        if first in self._s10:
            return ""
        if self._is_read_from_message(column, first):
            return "right only if a message has one declaration"
        if others:
            return f"also {_spell(others[-1].place, self._each)}"
        if not values:
            return "no value in the samples"
        base = self._items if first.is_in_items and self._items else self._each
        above = (first.place[:end] for end in range(len(base) + 1, len(first.place)))
        if any(self._samples.repeats[at] > 1 for at in above):
            return "it stands several times, and the first is read"
        if column.endswith("country") and any(map(str.isdecimal, values)):
            return "is the number a code of ISO 3166?"
        if any(part in self._samples.guessed_sides for each in parts for part in each.place):
            return "which party is the sender?"
        if column in ("nature", "service", "payment"):
            strange = sorted(v for v in values if v.lower() not in load_codes("post/default_codes", column))
            if strange:
                return f"what does {strange[0]} mean? see [codes.{column}]"
        is_certain = all(each.certain and each.fact not in SUBSTITUTES for each in parts)
        return "" if is_certain else DOUBTS.get(column, "by its place, its value or a part of its name")

    def _write_units(self) -> list[str]:
        """Write the unit of weights and what amounts are per; what nothing shows is left out, with a question."""
        tables = ((self._record, "gross_weight_kg"), (self._goods, "net_weight_kg"))
        weights = [table[name] for table, name in tables if name in table and "weight_unit" not in table]
        named = {unit for guess in weights for each in guess.elements for unit in _read_units(each.place)}
        value = self._goods.get("value")
        lines: list[str] = []
        if weights and (len(named) == 1 or named == {"lb", "oz"}):
            lines.append(f"weight = {_quote('+'.join(sorted(named)))}\n")
        elif weights:
            heavy = [each for each in weights if max(_list_numbers(each), default=0) > MAX_ITEM_KILOGRAMS]
            kinds = ["weight"] if heavy == weights else [each.column.removesuffix("_kg") for each in heavy]
            lines += (f'{kind} = "g"  # unsure: too many to be kilograms\n' for kind in kinds)
            lines += ["# unsure: weight: kg, g, lb or oz?\n"] * (heavy != weights)
        if value and value.elements[0].fact == "unit_value":
            lines.append('value = "per unit"\n')
        elif value and "quantity" in self._goods:
            lines.append("# unsure: value: total or per unit?\n")
        if min(_list_numbers(value, self._record.get("declared_value")), default=0) > MIN_CENTS:
            lines.append("# unsure: amounts: in cents?\n")
        if "net_weight_kg" in self._goods:
            lines.append("# unsure: weight_basis: total or per unit?\n")
        return ["\n[units]\n", *lines] if lines else []

    def _write(self, unused: list[tuple[str, str]]) -> Iterator[str]:
        yield "# Drafted from samples: read each line, correct it, and remove what stands after `unsure`.\n"
        yield 'channel = "postal"\n\n[record]\n'
        if self._each:
            yield f"each = {_quote('/'.join(self._each))}\n"
        yield from (self._write_guess(guess, self._each) for guess in self._record.values())
        if self._items is not None and self._goods:
            yield f"\n[items]\neach = {_quote(_spell(self._items, self._each))}\n"
            yield from (self._write_guess(guess, self._items) for guess in self._goods.values())
        yield from self._write_units()
        if unused:
            yield "\n# Not used:\n"
            yield from (f"# {place}  {_show(value)}\n" for place, value in unused)

    def _write_guess(self, guess: Guess, base: Place) -> str:
        root = "/" if self._is_read_from_message(guess.column, guess.elements[0]) else ""
        paths = [_quote(root + _spell(each.place, base)) for each in guess.elements]
        companies = [at for at, each in enumerate(guess.elements) if each.fact == "company"]
        source = f"[{', '.join(paths)}]" if len(paths) > 1 else paths[0]
        if companies and len(paths) > 1:
            company = paths.pop(companies[-1])
            source = f"{{ first = [{company}, [{', '.join(paths)}]] }}"
        doubt = f"  unsure: {guess.doubt}" if guess.doubt else ""
        return f"{guess.column} = {source}  # {_show(guess.value)}{doubt}\n"


def _list_numbers(*guesses: Guess | None) -> list[int]:
    """List the values of guesses; none if one of them is no whole number."""
    values = [value for guess in guesses if guess for each in guess.elements for value in each.values]
    return [*map(int, values)] if all(map(str.isdecimal, values)) else []


def _spell(place: Place, base: Place = ()) -> str:
    """Write a place as a path, relative to another one if they begin alike."""
    pairs = zip(place, base, strict=False)
    shared = len([*takewhile(lambda pair: pair[0] == pair[1], pairs)])
    begin = "../" * (len(base) - shared) if shared else "/" * bool(base)
    return begin + "/".join(place[shared:]) or "."


def _is_joined(column: str, best: Element, element: Element) -> bool:
    """Check if an element is a further part of a column: a line of one address, a part of one name, or the ounces after the pounds."""
    if "contact" in (best.fact, element.fact):
        return False
    if column.endswith(("_name", "_address")):
        return best.party[0] == element.party[0]
    units = [*_read_units(best.place), *_read_units(element.place)]
    return column.endswith("weight_kg") and units == ["lb", "oz"]


def _read_units(place: Place) -> Iterator[str]:
    for part in place[-2:]:
        yield from (each.name for each in names.read_part(part) if each.section == "units_in_names")


SHAPES: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("country", "origin_country", "departure_country", "destination_country"), find_country),
    "hs_code": HS_CODE.fullmatch,
    "address": lambda text: not FLAG.fullmatch(text),
    "email": lambda text: "@" in text,
    "phone": re.compile(r"[+(]?\d[\d\s()./+-]{4,24}").fullmatch,
    "currency": lambda text: text.upper() in CURRENCIES,
    "weight_unit": get_unit_factor,
    "date": parse_time,
    **dict.fromkeys(("identifier", "reference"), re.compile(r"(?=.*\d)\S{2,}").fullmatch),
    **dict.fromkeys(NUMBERS, is_number),
}
"""Form of the values of a fact."""

FORMS: list[tuple[str, Callable[[str], Any]]] = [
    ("email", re.compile(r"\S+@\S+").fullmatch),
    ("country", re.compile(r"[A-Z]{2}").fullmatch),
    ("phone", re.compile(r"[+(]?(?:\d[\s()./+-]*){9,15}").fullmatch),
    ("postcode", re.compile(r"(?=.*\d)[A-Z\d][A-Z\d -]{2,9}").fullmatch),
    ("address", re.compile(r"(?=.*\d).*[^\W\d]{2}.*").fullmatch),
    ("name", is_of_words),
    ("city", is_of_words),
    ("weight_unit", get_unit_factor),
    ("currency", CURRENCIES.__contains__),
    ("date", re.compile(r"\d{4}-\d\d-\d\d(?:[T ].*)?").fullmatch),
    ("nature", lambda text: is_of_words(text) and text.lower() in load_codes("post/default_codes", "nature")),
    ("hs_code", lambda text: HS_CODE.fullmatch(text) and len(text) > 5 and has_heading(text)),
    ("origin_country", re.compile(r"[A-Z]{2}").fullmatch),
    ("description", is_of_words),
]
"""Form of the values of a fact whose name nobody knows, the plainest first; those of parties, of a declaration and of goods."""


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _show(value: str) -> str:
    return _quote(value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}…")
