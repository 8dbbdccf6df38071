"""Declarations read by a mapping: XML, JSON, CSV or EDIFACT of any feed, with the built-in mappings or a file."""

import csv
from collections.abc import Iterator, Mapping
from datetime import datetime
from io import BytesIO, TextIOWrapper
from typing import Any, NamedTuple

from consignments.countries import parse_country
from consignments.errors import MessageFault
from consignments.messages.air.waybill_numbers import identify_by_content
from consignments.messages.content.amounts import (
    find_unit_doubts,
    has_several_units,
    infer_per_unit,
    multiply_units,
    sum_values,
)
from consignments.messages.content.paths import DeepIndex, compile_path, find_values, get_leaf
from consignments.messages.content.trees import (
    HEAD_BYTES,
    TEXT,
    Node,
    convert_json,
    decode_head,
    decode_json,
    find_tag,
    name_content,
    parse_xml_tree,
    prepare_xml,
    read_frame,
    stream_records,
)
from consignments.messages.content.values import (
    Fields,
    clean_text,
    get_first,
    get_unit_factor,
    join_lines,
    parse_any_number,
    parse_time,
)
from consignments.messages.parsed import Declaration, Level, MessageContext, Parsed, Purpose
from consignments.messages.post.configuration import load_table
from consignments.messages.post.edifact import looks_like_edifact, read_interchange
from consignments.messages.post.mapping import (
    LITERAL,
    NOT_FROM_MESSAGE,
    POUNDS_AND_OUNCES,
    MessageMapping,
    Source,
)
from consignments.messages.post.receptacles import build_receptacle_fields
from consignments.messages.quantities import Doubts
from consignments.records import Consignment
from consignments.schema import get_fields

KINDS = {field.name: field.kind for field in get_fields(Consignment)}
COUNTRY_ENDING = "country"
MAX_PRECISE_BYTES = 4_000_000
"""Up to this size the path of `each` is followed exactly; in a larger message its last name finds the records."""
JOINED_BY_COMMA = ("sender_address", "consignee_address")
JOINED_WITHOUT_SPACE = ("consignment_id", "master_id", "account_id", "hs_code")
OUNCES_IN_A_POUND = 16.0
ITEM_TEXTS = ("description", "hs_code")
Levels = list[Any]


class Record(NamedTuple):
    """One record of a message.

    Attributes
    ----------
    levels : list of nodes
        The message, and the record.
    alone : bool
        Whether the message has no other record.
    scope : Node
        The whole message if the record is alone in it, else the record.
    """

    levels: Levels
    alone: bool
    scope: Node


def read_mapped(content: bytes, context: MessageContext, mapping: MessageMapping) -> Iterator[Parsed]:
    """Read a message by a mapping.

    Yields
    ------
    Declaration
        One for each record.

    Raises
    ------
    MessageFault
        If the message cannot be read, or has no record where the mapping says.
    """
    found = 0
    for found, record in enumerate(list_records(content, context, mapping), start=1):
        yield read_record(mapping, record, f"item {found}")
    if not found:
        raise MessageFault(
            "no declaration where the mapping says",
            where=f"mapping {mapping.name}, record.each",
            got=name_content(content),
            expected=" or ".join(mapping.each),
            todo="correct the mapping, or leave the message out",
        )


def find_format(content: bytes, mapping: MessageMapping) -> str:
    """Find the format of a message: the mapping's, else by its first character."""
    if mapping.format:
        return mapping.format
    text = decode_head(content)
    if text.startswith("<"):
        return "xml"
    if text[:1] in ("{", "["):
        return "json"
    return "edifact" if looks_like_edifact(content[:64]) else "csv"


def list_records(content: bytes, context: MessageContext, mapping: MessageMapping) -> Iterator[Record]:
    """Yield each record of a message."""
    kind = find_format(content, mapping)
    if kind == "xml":
        yield from _list_xml_records(prepare_xml(content, context.notes), context, mapping)
    elif kind == "json":
        tree = convert_json(decode_json(content))
        wholes = tree[TEXT] if set(tree) == {TEXT} else [tree]
        for whole in wholes:
            if isinstance(whole, dict):
                yield from _select_records(whole, whole, mapping)
    elif kind == "edifact":
        for message in read_interchange(content, mapping.segments):
            yield from _select_records(message, message, mapping)
    else:
        yield from _list_rows(content)


def _list_xml_records(content: bytes, context: MessageContext, mapping: MessageMapping) -> Iterator[Record]:
    if len(content) <= MAX_PRECISE_BYTES:
        name, root = parse_xml_tree(content, context.notes)
        yield from _select_records({**root, name.lower(): [root]}, root, mapping)
        return
    names = [path.steps[-1].name for each in mapping.each for path in compile_path(each) if path.steps]
    tag = find_tag(content, names)
    if tag is None:
        raise MessageFault(
            "too large", got=f"{len(content):,} bytes", expected="an element that `each` names"
        )
    content, frame = read_frame(content, tag, context.notes)
    for record in stream_records(content, tag):
        yield Record([frame, record], alone=False, scope=record)


def _select_records(top: Node, root: Node, mapping: MessageMapping) -> Iterator[Record]:
    for each in mapping.each:
        if each == ".":
            yield Record([top, root], alone=True, scope=root)
            return
        found = [
            node for node in find_values([root], each) or find_values([top], each) if isinstance(node, dict)
        ]
        if found:
            for record in found:
                yield Record([top, record], alone=len(found) == 1, scope=root if len(found) == 1 else record)
            return


def _list_rows(content: bytes) -> Iterator[Record]:
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    head = content[:HEAD_BYTES].decode(encoding, "replace").partition("\n")[0]
    lines = (
        line.replace("\0", "") for line in TextIOWrapper(BytesIO(content), encoding, "replace", newline="")
    )
    try:
        for row in csv.DictReader(lines, delimiter=max(",;\t|", key=head.count)):
            node: Node = {
                name.strip().lower(): [value] for name, value in row.items() if isinstance(name, str)
            }
            yield Record([node, node], alone=False, scope=node)
    except csv.Error as error:
        raise MessageFault("not CSV", got=str(error)) from error


# --- one record -------------------------------------------------------------------------------------------------------


def read_record(mapping: MessageMapping, record: Record, place: str) -> Declaration:
    """Read one record; a value that cannot be used is left out with a code."""
    reader = _RecordReader(mapping, record.levels, alone=record.alone)
    fields = reader.read_fields()
    purpose = reader.read_purpose()
    issued_at = reader.read_moment("issued_at")
    known = {name: value for name, value in fields.items() if value is not None}
    identifier = known.pop("consignment_id", None) or identify_by_content(known)
    level: Level = mapping.level  # type: ignore[assignment]
    return Declaration(
        {"consignment_id": identifier, **known},
        issued_at,
        level,
        purpose,
        tuple(sorted(reader.doubts)),
        place,
    )


class _RecordReader:
    """Reads the columns of one record.

    Parameters
    ----------
    mapping : MessageMapping
    levels : list of nodes
        The message, and the record.
    alone : bool
        Whether it is the only record of the message: what it lacks may then stand anywhere in the message.
    """

    def __init__(self, mapping: MessageMapping, levels: Levels, *, alone: bool) -> None:
        self.mapping, self.levels, self.alone = mapping, levels, alone
        self.doubts: Doubts = set()
        self.index = DeepIndex()
        self.raw_weight: float | None = None

    def read_fields(self) -> Fields:
        """Read all columns, items and what follows from them."""
        fields: Fields = {"channel": self.mapping.channel}
        for column, source in self.mapping.record.items():
            if column in KINDS and column not in NOT_FROM_MESSAGE:
                fields[column] = self._read_column(column, source)
        items = self._read_items()
        self._complete(fields, items)
        return fields

    def read_purpose(self) -> Purpose:
        """Read whether the message creates, updates or deletes."""
        text = self._read_text(self.mapping.record.get("purpose"))
        found = self._decode("purpose", text) if text else None
        return found if found in ("create", "update", "delete") else "create"  # type: ignore[return-value]

    def read_moment(self, column: str) -> datetime | None:
        """Read a moment; None if there is none or it cannot be read."""
        return parse_time(self._read_text(self.mapping.record.get(column)))

    # --- columns

    def _read_column(self, column: str, source: Source) -> Any:
        kind = KINDS[column]
        if column == "gross_weight_kg":
            weight = self._read_weight(
                self.levels, source, self.mapping.units.gross_weight, self.mapping.record
            )
            self.raw_weight = parse_any_number(self._read_text(source), set())
            return weight
        if kind == "number":
            return parse_any_number(self._read_text(source), self.doubts)
        if kind in ("time", "date"):
            moment = self.read_moment(column)
            return moment.date() if moment and kind == "date" else moment
        text = self._read_text(source, column=column)
        if text is None:
            return None
        if column in ("nature", "service", "payment") or column in self.mapping.codes:
            text = self._decode(column, text)
        return parse_country(text) if column.endswith(COUNTRY_ENDING) else text

    def _read_text(
        self, source: Source | None, *, column: str = "", levels: Levels | None = None
    ) -> str | None:
        """Read the first alternative that gives a text."""
        if source is None:
            return None
        for paths in source.parts:
            all_values = column in JOINED_BY_COMMA
            texts = [
                text
                for path in paths
                for text in self._list_texts(path, levels or self.levels, all_values=all_values)
            ]
            if texts:
                return join_lines(*texts, separator=_get_separator(column, source))
        return None

    def _list_texts(self, path: str, levels: Levels, *, all_values: bool) -> list[str]:
        if path.startswith(LITERAL):
            return [path[len(LITERAL) :]]
        values = find_values(levels, path, self.index)
        if not values and self.alone and levels is self.levels:
            values = find_values(self.levels[:1], path, self.index)
        texts = [text for text in (clean_text(get_leaf(value)) for value in values) if text]
        return texts if all_values else texts[:1]

    def _decode(self, column: str, text: str) -> str | None:
        """Translate a code; one that nobody knows stays as it is."""
        code = text.strip().lower()
        own = self.mapping.codes.get(column, {})
        defaults: Mapping[str, str] = load_table("default_codes").get(column, {})
        meaning = own.get(code, defaults.get(code, text))
        return meaning or None

    def _read_weight(
        self, levels: Levels, source: Source, unit: str | None, table: Mapping[str, Source]
    ) -> float | None:
        """Read a weight in kilograms: unit of the message, else of the mapping, else kilograms in doubt."""
        if unit == POUNDS_AND_OUNCES:
            return self._read_pounds(levels, source)
        weight = parse_any_number(self._read_text(source, levels=levels), self.doubts)
        if weight is None:
            return None
        given = self._read_text(
            table.get("weight_unit") or self.mapping.record.get("weight_unit"), levels=levels
        )
        factor = get_unit_factor(given) or get_unit_factor(unit)
        if factor is None:
            self.doubts.add("unit_doubtful")
            factor = 1.0
        return weight if factor == 1.0 else round(weight * factor, 9)

    def _read_pounds(self, levels: Levels, source: Source) -> float | None:
        paths = source.parts[0]
        found = [
            parse_any_number(next(iter(self._list_texts(path, levels, all_values=False)), None), self.doubts)
            for path in paths[:2]
        ]
        if all(number is None for number in found):
            return None
        pounds, ounces = found[0] or 0.0, (found[1] if len(found) > 1 else None) or 0.0
        factor = get_unit_factor("lb") or 0.0
        return round((pounds + ounces / OUNCES_IN_A_POUND) * factor, 9)

    # --- items

    def _read_items(self) -> list[Fields]:
        for each in self.mapping.items_each:
            nodes = [node for node in find_values(self.levels, each, self.index) if isinstance(node, dict)]
            if nodes:
                items = [self._read_item(node) for node in nodes]
                return [item for item in items if any(value is not None for value in item.values())]
        return []

    def _read_item(self, node: Node) -> Fields:
        levels, sources = [*self.levels, node], self.mapping.items
        item: Fields = {name: self._read_text(sources.get(name), levels=levels) for name in ITEM_TEXTS}
        for name in ("quantity", "value"):
            item[name] = parse_any_number(self._read_text(sources.get(name), levels=levels), self.doubts)
        weight = sources.get("net_weight_kg")
        item["net_weight_kg"] = (
            self._read_weight(levels, weight, self.mapping.units.net_weight, sources) if weight else None
        )
        item["origin_country"] = parse_country(self._read_text(sources.get("origin_country"), levels=levels))
        item["currency"] = self._read_text(sources.get("currency"), levels=levels)
        return item

    def _complete(self, fields: Fields, items: list[Fields]) -> None:
        """Fill what the record leaves to its items, and what the units of the mapping leave open."""
        units = self.mapping.units
        gross, declared = fields.get("gross_weight_kg"), fields.get("declared_value")
        self._settle_basis(items, "value", units.value_per_unit, declared)
        self._settle_basis(items, "net_weight_kg", units.net_weight_per_unit, None)
        total, currency = sum_values(items, self.doubts)
        for name in ("description", "hs_code", "origin_country"):
            fields[name] = fields.get(name) or get_first(items, name)
        fields["declared_value"] = declared if declared is not None else total
        fields["currency"] = self._settle_currency(fields, currency)
        counts = [item["quantity"] for item in items]
        if fields.get("pieces") is None and counts and None not in counts:
            fields["pieces"] = sum(counts)
        if self.raw_weight and self.raw_weight in (fields["declared_value"], fields.get("postage")):
            self.doubts.add("price_equals_weight")
        self._complete_journey(fields)
        self.doubts |= find_unit_doubts(gross, items, self.mapping.channel)
        if items:
            fields["items"] = [{name: item[name] for name in item if name != "currency"} for item in items]

    def _complete_journey(self, fields: Fields) -> None:
        """Fill route and countries from the receptacle, else countries from the parties."""
        postal = self.mapping.channel == "postal"
        receptacle = build_receptacle_fields(fields.get("master_id") or "") if postal else {}
        ends = {"departure_country": "sender_country", "destination_country": "consignee_country"}
        fields["route"] = fields.get("route") or receptacle.get("route")
        for column, of_party in ends.items():
            fields[column] = fields.get(column) or receptacle.get(column) or fields.get(of_party)

    def _settle_basis(
        self, items: list[Fields], column: str, per_unit: bool | None, total: float | None
    ) -> None:
        if per_unit is None and has_several_units(items):
            per_unit = infer_per_unit(items, column, total)
            if per_unit is None and any(item.get(column) is not None for item in items):
                self.doubts.add("unit_doubtful")
        if per_unit:
            multiply_units(items, column)

    def _settle_currency(self, fields: Fields, of_items: str | None) -> str | None:
        """Choose the currency of the record; postage in another one is left out."""
        own = fields.get("currency")
        postage = self._read_text(self.mapping.record.get("postage_currency"))
        currency = own or of_items or postage
        if own and of_items and own != of_items:
            self.doubts.add("currency_mixed")
        if fields.get("postage") is not None and postage not in (None, currency):
            self.doubts.add("currency_mixed")
            fields["postage"] = None
        return currency.upper() if currency else None


def _get_separator(column: str, source: Source) -> str:
    if source.join is not None:
        return source.join
    if column in JOINED_BY_COMMA:
        return ", "
    if column in JOINED_WITHOUT_SPACE:
        return ""
    return ">" if column == "route" else " "
