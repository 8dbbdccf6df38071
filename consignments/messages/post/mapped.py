"""Declarations read by a mapping: XML, JSON, CSV or EDIFACT of any feed, with the built-in mappings or a file."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, islice
from typing import Any, get_args

from consignments.errors import MessageFault
from consignments.messages.air.waybills import identify_by_content
from consignments.messages.configuration import load_codes
from consignments.messages.content import trees
from consignments.messages.content.paths import (
    PathTrace,
    compile_path,
    convert_text,
    find_texts,
    find_values,
    list_texts,
)
from consignments.messages.content.trees import TEXT, Node
from consignments.messages.content.values import (
    OUNCE,
    POUND,
    Doubts,
    Fields,
    add_goods,
    convert_weight,
    find_unit_doubts,
    get_unit_factor,
    join_lines,
    parse_decimal,
    parse_time,
    settle_basis,
)
from consignments.messages.parsed import Declaration, MessageContext, Parsed, Purpose, build_count_fault
from consignments.messages.post import unread
from consignments.messages.post.csv_rows import read_names, read_rows
from consignments.messages.post.declared_parts import (
    DeclaredPart,
    find_s10_texts,
    get_finder,
    list_below,
    list_first_names,
)
from consignments.messages.post.edifact import find_message_type, looks_like_edifact, read_interchange
from consignments.messages.post.mapping import COLUMNS, LITERAL, POUNDS_AND_OUNCES, MessageMapping, Source
from consignments.records import SIDES, Consignment, get_fields

S9_FORM = re.compile(r"([A-Z]{6})([A-Z]{6})([A-Z])([A-Z]{2})([0-9A-Z]{14})", re.ASCII)


def build_receptacle_fields(number: str) -> dict[str, Any]:
    """Return route and countries of a receptacle: six characters for each of two offices of exchange, of which two are the country."""
    found = S9_FORM.fullmatch(number.replace(" ", "").upper())
    if found is None:
        return {}
    origin, destination = found[1], found[2]
    countries = {"departure_country": origin[:2], "destination_country": destination[:2]}
    return {"route": f"{origin}>{destination}"} | countries


KINDS = {field.name: field.kind for field in get_fields(Consignment)}
MAX_PRECISE_BYTES = 4_000_000
"""Up to this size the path of `each` is followed exactly; in a larger message its last name finds the records."""
SEARCHED_BYTES = 1_000_000
"""Of a larger message so much is looked through for the element of its records."""
ADDRESSES = ("sender_address", "consignee_address")
"""Columns that take all values of a path."""
READ_ONCE = ("description", "pieces", "gross_weight_kg", "declared_value")
"""Columns of which a further, different value of one path is named in a warning."""
MONEY = ("value", "declared_value", "postage")
SEPARATORS = {
    **dict.fromkeys(ADDRESSES, ", "),
    **dict.fromkeys(("consignment_id", "master_id", "account_id", "hs_code"), ""),
    "route": ">",
}
"""Separators of joined texts, if it is not a space."""
NUMBERED = re.compile(r"(?!0)\d")
MIN_SHARE_OF_NAMES = 0.5
"""A mapping without `detect` is for messages that have at least this share of the names its paths end in."""
GOODS_COLUMNS = ("description", "hs_code", "quantity", "value", "net_weight_kg", "origin_country", "currency")
"""In the order in which a declaration without an identifier is named by its content."""
_DECLARED_NAMES = "items description hs_code nature sender_name sender_country consignee_name consignee_country gross_weight_kg declared_value"
DECLARED_COLUMNS = tuple(_DECLARED_NAMES.split())
"""Columns of which a declaration has at least one."""
ROWS, MAX_JOINED_ROWS = "row", 50_000
FAULTY_ROW, SHORT_ROW = "a row at fault next to its own", "a row with fewer values than columns"
MAX_HOLDERS = 10
"""Parts around a record that are looked through for its goods."""
MAX_AROUND = 30
"""Elements outside of all declarations that a warning of each of them may name."""
Levels = list[Any]
MappedParts = list[tuple[DeclaredPart, MessageMapping]]


@dataclass(eq=False)
class Record:
    """One record of a message, read by a mapping; it is `declared` if it was found as a part that declares a consignment."""

    levels: Levels
    root: Node
    scope: Node
    mapping: MessageMapping
    declared: bool = False
    around: Sequence[unread.Leaf] = ()
    doubts: Doubts = field(default_factory=Doubts)
    trace: PathTrace = field(default_factory=PathTrace)
    goods: set[int] = field(default_factory=set)
    places: dict[int, list[Node]] = field(default_factory=dict)
    cut: list[tuple[str, ...]] = field(default_factory=list)

    def describes(self) -> bool:
        """Check whether it describes a consignment, and is not only a list of references or an answer."""
        mapping = self.mapping
        return self.declared or not mapping.is_searched or get_finder((mapping,)).describes(self.levels[-1])

    def read(self) -> Declaration | MessageFault:
        """Read it; an identifier without goods or parties is a fault, unless it is deleted."""
        if len(identifiers := self._list_identifiers()) > 1:  # no path parts its declarations
            return build_count_fault(len(identifiers), 1, identifiers)
        columns = [column for column in self.mapping.record if column in COLUMNS]
        fields = {"channel": self.mapping.channel} | {column: self._read_own(column) for column in columns}
        items = self._read_items()
        self._complete(fields, items)
        purpose = self._read_own("purpose")
        known = {name: value for name, value in fields.items() if value is not None}
        identifier = known.pop("consignment_id", None)
        if not identifier or not NUMBERED.search(identifier):  # nothing, or what stands for it: TBA, N/A, 0
            identifier = self._find_identifier(known)
        if purpose != "delete" and known.keys().isdisjoint(DECLARED_COLUMNS):
            return build_count_fault(1, 0, [identifier])
        filled = {name for item in items for name in item if item[name] is not None}
        self._warn_of_unread(known.keys() | filled)
        return Declaration(
            {"consignment_id": identifier, **known},
            self._read_own("issued_at"),
            self.mapping.level,
            purpose if purpose in get_args(Purpose) else "create",
            self.doubts,
        )

    def _list_identifiers(self) -> set[str]:
        """List the identifiers that one path gives, the most of any path."""
        source = self.mapping.record.get("consignment_id")
        for paths in source.parts if source else ():
            if found := max(({*self._list_texts(path, self.levels)} for path in paths), key=len):
                return found
        return set()

    def _find_identifier(self, known: Fields) -> str:
        """Find the one text of the form of a postal identifier in a record that is searched, else name it by its content."""
        nodes = trees.walk_nodes(self.levels[-1]) if self.mapping.is_searched else ()
        found = {text for _, node in nodes for text in find_s10_texts(node)}
        return found.pop() if len(found) == 1 else identify_by_content(known)

    def _warn_of_unread(self, known: Set[str]) -> None:
        """Warn of what nothing read in the record or around it, if it may be of goods or of what the record lacks."""
        parts = (unread.list_leaves(self.scope, goods=self.goods), False), (self.around, True)
        missed = (
            leaf for part, around in parts for leaf in part if not leaf.is_read(self.trace, around=around)
        )
        lost = unread.select_lost(missed, known, unread.MAX_NAMED + 1)
        places = [*self.cut, *(leaf.place for leaf in lost)]
        if places:
            self.doubts.warnings[unread.build_unread_doubt(places)] = None

    def _read_own(self, column: str) -> Any:
        """Read a column of the declaration itself."""
        return self._read_column(column, self.mapping.record, self.levels)

    def _read_column(self, column: str, table: Mapping[str, Source], levels: Levels, of: str = "") -> Any:
        """Read a column of a table; `of` begins the fields of items in warnings."""
        if column.endswith("weight_kg"):
            return self._read_weight(column, table, levels, of)
        text, kind = self._read_text(column, table, levels), KINDS.get(column)
        if kind in ("time", "date"):
            moment = parse_time(text)
            return moment.date() if moment and kind == "date" else moment
        if text and not of:
            text = self._decode(column, text)
        value = convert_text(column, text, self.doubts, of, parse_decimal)
        is_cents = value and column in MONEY and "amounts" in self.mapping.units
        return round(value / 100, 9) if is_cents else value

    def _read_text(self, column: str, table: Mapping[str, Source], levels: Levels) -> str | None:
        source = table.get(column)
        parts = source.parts if source else ()
        given = [[self._list_texts(path, levels) for path in paths] for paths in parts]
        for paths, found in zip(parts, given, strict=True):
            texts = [text for each in found for text in (each if column in ADDRESSES else each[:1])]
            if column in READ_ONCE and any(len({*each}) > 1 for each in found):
                self.cut.append((*paths, "2"))
            if texts:
                join = source.join if source else None
                return join_lines(*texts, separator=SEPARATORS.get(column, " ") if join is None else join)
        return None

    def _list_texts(self, path: str, levels: Levels) -> list[str]:
        """List the texts of a path; what the record lacks is read from below it or around it."""
        if path.startswith(LITERAL):
            return list_texts([path[len(LITERAL) :]])
        values = find_values(levels, path, self.trace)
        if not values and levels is self.levels:
            values = self._find_elsewhere(path)
        return list_texts(values)

    def _find_elsewhere(self, path: str) -> list[Any]:
        """Find the values of a path below the record or around it; of several at any depth nobody knows whose they are, so they stay unread."""
        kinds = get_finder((self.mapping,)).read_kinds(path) if self.mapping.is_searched else 0
        deep = {step.name for each in compile_path(path) for step in each.steps if step.any_depth}
        for node in self._list_places(kinds):
            found = find_values([node], path, self.trace)
            if deep and len(found) > 1:
                self.trace.sought -= {(None, name) for name in deep}
            elif found:
                return found
        return []

    def _list_places(self, kinds: int) -> list[Node]:
        """List where else paths of such parties or goods may begin: below the record, around it, and below what is around it."""
        if kinds not in self.places:
            own, around = self.levels[-1], self.levels[0] if self.scope is self.root else self.scope
            find = get_finder((self.mapping,)).find_holder
            outer = [] if around is own else [around, *find(self.scope, kinds)]
            self.places[kinds] = [*find(own, kinds), *outer]
        return self.places[kinds]

    def _decode(self, column: str, text: str) -> str | None:
        """Translate a code; one that nobody knows stays as it is."""
        code = text.strip().lower()
        defaults = load_codes("post/default_codes", column)
        return self.mapping.codes.get(column, {}).get(code, defaults.get(code, text)) or None

    def _read_weight(self, column: str, table: Mapping[str, Source], levels: Levels, of: str) -> float | None:
        """Read a weight in kilograms: unit of the message, else of the mapping, else kilograms in doubt."""
        source, units = table.get(column), self.mapping.units
        unit = units.get("net_weight" if of else "gross_weight", units.get("weight"))
        if source is not None and unit == POUNDS_AND_OUNCES:
            texts = [next(iter(self._list_texts(path, levels)), None) for path in source.parts[0]]
            found = [parse_decimal(text, self.doubts, of + column) for text in texts]
            known = [(number or 0.0) * factor for number, factor in zip(found, (POUND, OUNCE), strict=False)]
            return None if found.count(None) == len(found) else round(sum(known), 9)
        weight = parse_decimal(self._read_text(column, table, levels), self.doubts, of + column)
        own = table if "weight_unit" in table else self.mapping.record
        named = self._read_text("weight_unit", own, levels)
        return convert_weight(weight, named if get_unit_factor(named) else unit, self.doubts, of + column)

    def _read_items(self) -> list[Fields]:
        """Read the kinds of goods in the record, else around it; if it is searched, under names that the mapping does not know, too."""
        for nodes in self._list_goods():
            items = map(self._read_item, nodes)
            if given := [item for item in items if any(value is not None for value in item.values())]:
                return given
        return []

    def _list_goods(self) -> Iterator[Iterable[Node]]:
        """List groups of goods, the most certain first."""
        finder, own = get_finder((self.mapping,)), self.levels[-1]
        known = self._find_goods(own)
        yield known
        if self.mapping.is_searched:
            yield (node for holder in known or [own] for node in finder.list_goods(holder))
        holders = (node for _, node in trees.walk_nodes(self.scope) if finder.holds_goods(node))
        yield from map(self._find_goods, islice(holders, MAX_HOLDERS))
        if self.mapping.is_searched:
            yield finder.list_goods(self.scope)

    def _find_goods(self, holder: Node) -> list[Node]:
        levels = [*self.levels[:-1], holder]
        found = (find_values(levels, each) for each in self.mapping.items_each)
        given = ([node for node in values if isinstance(node, dict)] for values in found)
        return next(filter(None, given), [])

    def _read_item(self, node: Node) -> Fields:
        levels = [*self.levels, node]
        self.goods.add(id(node))
        return {name: self._read_column(name, self.mapping.items, levels, "items.") for name in GOODS_COLUMNS}

    def _complete(self, fields: Fields, items: list[Fields]) -> None:
        """Fill what the record leaves to its items, to its receptacle and to the countries of its parties."""
        mapping, units, declared = self.mapping, self.mapping.units, fields.get("declared_value")
        settle_basis(items, "value", units.get("value"), declared, self.doubts)
        settle_basis(items, "net_weight_kg", units.get("weight_basis"), None, self.doubts)
        add_goods(fields, items, self._read_own("postage_currency"), self.doubts)
        fields["currency"] = fields["currency"] and fields["currency"].upper()
        written = parse_decimal(self._read_text("gross_weight_kg", mapping.record, self.levels), Doubts())
        if written and written in (fields["declared_value"], fields.get("postage")):
            self.doubts.add("price_equals_weight")
        self.doubts |= find_unit_doubts(fields.get("gross_weight_kg"), items, mapping.channel)
        postal, number = mapping.channel == "postal", fields.get("master_id") or ""
        receptacle = build_receptacle_fields(number) if postal else {}
        fields["route"] = fields.get("route") or receptacle.get("route")
        for column, party in (("departure_country", "sender"), ("destination_country", "consignee")):
            given = fields.get(column) or receptacle.get(column)
            fields[column] = given or fields.get(f"{party}_country")
        if items:
            fields["items"] = [{name: item[name] for name in item if name != "currency"} for item in items]


def read_mapped(content: bytes, context: MessageContext, mapping: MessageMapping) -> Iterator[Parsed]:
    """Read a message by a mapping."""
    found = False
    for record in list_records(content, context, (mapping,)):
        found = True
        yield record if isinstance(record, MessageFault) else record.read()
    if not found:
        raise MessageFault(
            "no declaration where the mapping says",
            where=f"mapping {mapping.name}, record.each",
            got=trees.name_content(content),
            expected=" or ".join(mapping.each),
            todo="correct the mapping, or leave the message out",
        )


def find_format(content: bytes) -> str:
    """Find the format of a message by its first characters."""
    written = {"<": "xml", "{": "json", "[": "json"}.get(trees.decode_head(content)[:1])
    return written or ("edifact" if looks_like_edifact(content) else "csv")


def list_records(
    content: bytes, context: MessageContext, mappings: Sequence[MessageMapping]
) -> Iterator[Record | MessageFault]:
    """Yield each record of a message, or the fault of a row of CSV."""
    mapping, kind = mappings[0], mappings[0].format or find_format(content)
    if kind == "csv":
        rows = read_rows(content, mapping.names)
        if ROWS in mapping.items_each:
            yield from _join_rows(rows, mapping)
        else:
            for row in rows:
                if isinstance(row, MessageFault):
                    yield row
                else:
                    yield _read_row(row, mapping, _find_cut(row, mapping))
    elif kind == "edifact":
        for message in read_interchange(content, mapping.segments):
            if isinstance(message, MessageFault):
                yield message
            else:
                yield from _select_records(message, message, (mapping,), searched=False)
    elif kind == "json":
        tree = trees.parse_json_tree(content)
        for whole in tree[TEXT] if set(tree) == {TEXT} else [tree]:
            if isinstance(whole, dict):
                yield from _select_records(whole, whole, mappings)
    else:
        content = trees.prepare_xml(content, context.notes)
        if len(content) > MAX_PRECISE_BYTES:
            yield from _stream_records(content, context, mappings)
        else:
            name, root = trees.parse_xml_tree(content, context.notes)
            yield from _select_records({**root, name.lower(): [root]}, root, mappings)


def _read_row(row: Node, mapping: MessageMapping, cut: Sequence[str]) -> Record:
    return Record([row, row], row, row, mapping, cut=[(each,) for each in cut])


def _find_cut(row: Node, mapping: MessageMapping) -> list[str]:
    """Return what warns of a row that has fewer values than the columns that are read."""
    columns = [*row.items(), *(each for _, part in list_below(row) for each in part.items())]
    return [SHORT_ROW] * any(values == [None] and name in mapping.names for name, values in columns)


def _join_rows(
    rows: Iterator[Node | MessageFault], mapping: MessageMapping
) -> Iterator[Record | MessageFault]:
    """Join successive rows of one identifier that differ in the kinds of goods only; the goods are the values of `row`.

    Such a row may leave out what the one before says. One at fault may be of the declaration before or behind it, so both get a warning.
    """
    sources = mapping.record.items()
    parties = [(column, source) for column, source in sources if column.startswith(SIDES)]
    own, in_goods, of_parties = (
        list_first_names(path for _, source in table for path in source.list_paths())
        for table in (sources, mapping.items.items(), parties or sources)
    )
    paths = mapping.record["consignment_id"].parts[0] if "consignment_id" in mapping.record else ()
    last: tuple[Node, object] = {}, None

    def read_own(row: Node | MessageFault) -> tuple[Node, object]:
        nonlocal last
        if isinstance(row, MessageFault):
            return last
        found = {name: row[name] for name in row.keys() & own}
        given = {name for name, values in found.items() if list_texts(values)}
        is_numbered = any(find_texts([found], path) for path in paths)
        is_alike = last[1] is None and all(found[name] == last[0].get(name) for name in given)
        if not is_alike or not (is_numbered or given.isdisjoint(of_parties)):
            last = found, None if is_numbered else object()
        return last

    beside: list[str] = []
    for (record, _), group in groupby(rows, read_own):
        members = list(islice(group, MAX_JOINED_ROWS + 1))
        faults = [row for row in members if isinstance(row, MessageFault)]
        yield from faults
        nodes = [row for row in members if not isinstance(row, MessageFault)]
        goods = [{k: v for k, v in row.items() if k in in_goods or k not in own} for row in nodes]
        cut = [
            *beside,
            *([FAULTY_ROW] * bool(faults)),
            *(each for row in nodes for each in _find_cut(row, mapping)),
        ]
        if len(members) > MAX_JOINED_ROWS:
            yield MessageFault("one consignment is too large", expected=f"at most {MAX_JOINED_ROWS:,} rows")
        elif goods:
            yield _read_row(record | {ROWS: goods}, mapping, [*dict.fromkeys(cut)])
        beside = [FAULTY_ROW] if members[-1] in faults else []


def _stream_records(
    content: bytes, context: MessageContext, mappings: Sequence[MessageMapping]
) -> Iterator[Record]:
    """Yield the records of XML too large for one tree: the elements of one name, and what is declared outside of them.

    The name is that of most declarations in the beginning, else one that the mapping gives.
    """
    mapping, searched = mappings[0], mappings[0].is_searched
    parts = _find_parts(trees.read_beginning(content, SEARCHED_BYTES), mappings)
    names = [Counter(part.name for part, _ in parts).most_common(1)[0][0]] if len(parts) > 1 else None
    tag = trees.find_tag(content, names or mapping.each_names)
    if tag is None:
        got, expected = f"{len(content):,} bytes", "an element that is repeated for each declaration"
        raise MessageFault("too large", got=got, expected=expected)
    content, frame = trees.read_frame(content, tag, context.notes)
    if not searched:
        get_finder((mapping,)).refuse_others(frame, mapping.each_names, [])
    in_frame = [(part._replace(scope=part.node), own) for part, own in _find_parts(frame, mappings)]
    around = _list_around(frame, [part.node for part, _ in in_frame])
    for record in trees.stream_records(content, tag):
        parts = _find_parts(record, mappings)
        yield from _declare(parts, frame, frame, around)
        if not parts:
            yield Record([frame, record], frame, record, mapping, around=around)
    yield from _declare(in_frame, frame, frame, around)


def _find_parts(root: Node, mappings: Sequence[MessageMapping]) -> MappedParts:
    """Find the declarations of mappings that leave open where they stand, each with the mapping that knows most of its names."""
    parts = get_finder(tuple(mappings)).find(root) if mappings[0].is_searched else []
    if len(mappings) == 1:
        return [(part, mappings[0]) for part in parts]
    names = [{name for _, node in trees.walk_nodes(part.node) for name in node} for part in parts]
    own = [max(mappings, key=lambda each: len(get_finder((each,)).names & known)) for known in names]
    return list(zip(parts, own, strict=True))


def _declare(parts: MappedParts, top: Node, root: Node, around: Sequence[unread.Leaf]) -> Iterator[Record]:
    return (Record([top, part.node], root, part.scope, own, True, around) for part, own in parts)


def _select_records(
    top: Node, root: Node, mappings: Sequence[MessageMapping], *, searched: bool = True
) -> Iterator[Record]:
    mapping = mappings[0]
    parts = _find_parts(root, mappings) if searched else []
    yield from _declare(parts, top, root, _list_around(root, [part.scope for part, _ in parts]))
    for each in () if parts else mapping.each:
        if each == ".":
            if searched:
                get_finder(tuple(mappings)).refuse_groups(root)
            yield Record([top, root], root, root, mapping)
            return
        values = find_values([root], each) or find_values([top], each)
        found = [node for node in values if isinstance(node, dict)]
        if found and searched:
            get_finder((mapping,)).refuse_others(root, mapping.each_names, found)
        scopes = [root] if len(found) == 1 else found
        around, parents = _list_around(root, scopes), _find_parents(top, root)
        for node, scope in zip(found, scopes, strict=True):
            levels = [node]
            while above := parents.get(id(levels[0])):
                levels.insert(0, above)
            yield Record(levels, root, scope, mapping, around=around)
        if found:
            return


def _find_parents(top: Node, root: Node) -> dict[int, Node]:
    """Find the node around each node of a message, by its `id`."""
    found = {id(below): node for _, node in trees.walk_nodes(root) for _, below in list_below(node)}
    return found if top is root else {id(root): top, **found}


def _list_around(root: Node, scopes: Sequence[Node]) -> list[unread.Leaf]:
    """List some of what may be of goods or a party and stands outside of all declarations."""
    return unread.select_lost(unread.list_leaves(root, {*map(id, scopes)}), frozenset(), MAX_AROUND)


def measure_match(head: bytes, mapping: MessageMapping) -> float:
    """Return the share of the names of a mapping's paths that a message has, 2 if it has those of `detect`, and 0 if it is for another mapping."""
    text, written = trees.decode_head(head), find_format(head)
    if "edifact" in (mapping.format, written):
        types = mapping.segments.get("types")
        return float(mapping.format == written and (not types or find_message_type(head) in types))
    if mapping.format not in ("", "csv", written):
        return 0.0
    has_name: Callable[[str], bool] = partial(trees.has_name, text)
    if is_csv := "csv" in (mapping.format, written):
        columns = read_names(text, mapping.names)
        has_name = "\n".join(columns).__contains__
    if mapping.detect:
        return 2.0 * any(all(map(has_name, names.split())) for names in mapping.detect)
    if is_csv:
        has_name = columns.__contains__
    share = sum(any(map(has_name, names)) for names in mapping.ends) / max(len(mapping.ends), 1)
    return share if share >= MIN_SHARE_OF_NAMES else 0.0
