"""Lists in tables: items of consignments and lists of codes, given as JSON text or as lists, and kept as Arrow lists."""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import astuple

from consignments.columns import (
    BAD_NUMBER,
    CODES_TYPE,
    ITEM_TYPE,
    TEXT,
    TYPES,
    ColumnFaults,
    Mask,
    ParsedColumn,
    combine_masks,
    format_named_value,
    format_value,
    mark_rows,
    read_column,
    to_mask,
)
from consignments.records import MAX_ITEMS, Item, get_fields
from consignments.workers import pause_garbage_collection

ITEM_FIELDS = {field.name: field for field in get_fields(Item)}
BAD_ITEMS = "not a list of items"
NOT_JSON = 'not JSON; expected a list of objects, for example [{"description": "t-shirt", "quantity": 2}]'
TOO_MANY = f"more than {MAX_ITEMS} items"
MAX_CODES, MAX_CODE_CHARACTERS = 50, 100
"""As `Consignment.quality` and `Alert.indicators` allow."""
BAD_CODES = "not a list of codes"

Items = tuple[Item, ...]
_items_decoder = msgspec.json.Decoder(Items)
_codes_decoder = msgspec.json.Decoder(list[str])


# --- items ------------------------------------------------------------------------------------------------------------


def decode_items(text: str) -> Items:
    """Read the JSON text of the items of one consignment."""
    return _items_decoder.decode(text)


@pause_garbage_collection()
def read_items(given: Any) -> ParsedColumn:
    """Convert an Arrow array of JSON text, or of lists of structs, to `ITEM_TYPE`; unknown fields of an item are reported and dropped."""
    kind = given.type
    if kind == TEXT:
        return _read_texts(given)
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if is_list and (pa.types.is_struct(kind.value_type) or pa.types.is_null(kind.value_type)):
        return _read_lists(given)
    return ParsedColumn(pa.nulls(len(given), ITEM_TYPE), [(BAD_ITEMS, to_mask(pc.is_valid(given)))])


def build_item_lists(rows: Sequence[Items], there: Mask) -> Any:
    """Build an Arrow array of `ITEM_TYPE` from the items of the consignments that have them; `there` marks these."""
    flat = [item for items in rows for item in items]
    values = zip(*map(astuple, flat), strict=True) if flat else [()] * len(ITEM_FIELDS)
    columns = [
        pa.array(column, TYPES[field.kind])
        for column, field in zip(values, ITEM_FIELDS.values(), strict=True)
    ]
    lengths = np.zeros(len(there), dtype=np.int64)
    lengths[there] = list(map(len, rows))
    return _build_lists(columns, lengths, ~there)


@pause_garbage_collection()
def to_item_lists(texts: Any) -> Any:
    """Convert canonical JSON text to lists of `ITEM_TYPE`."""
    return build_item_lists(list(map(decode_items, texts.drop_null().to_pylist())), to_mask(texts.is_valid()))


@pause_garbage_collection()
def to_item_texts(lists: Any) -> Any:
    """Convert lists of `ITEM_TYPE` to canonical JSON text; `to_item_lists` is the inverse."""
    encode = msgspec.json.Encoder().encode
    texts = [encode(items).decode() for items in _list_items(lists.drop_null())]
    return pc.replace_with_mask(pa.nulls(len(lists), TEXT), lists.is_valid(), pa.array(texts, TEXT))


def to_items(lists: Any) -> list[Items | None]:
    """Convert lists of `ITEM_TYPE` to the items of each consignment."""
    items = iter(_list_items(lists.drop_null()))
    return [next(items) if valid else None for valid in lists.is_valid().to_pylist()]


def _list_items(lists: Any) -> list[Items]:
    flat = lists.flatten()
    items = tuple(map(Item, *(pc.struct_field(flat, name).to_pylist() for name in ITEM_FIELDS)))
    ends = np.concatenate([[0], np.cumsum(count_items(lists))]).tolist()
    return [items[start:end] for start, end in pairwise(ends)]


def count_items(lists: Any) -> Any:
    """Count the items of each consignment."""
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0), dtype=np.int64)


def replace_item_field(lists: Any, name: str, values: Any) -> Any:
    """Replace one field of all items."""
    flat = lists.flatten()
    columns = [values if each == name else pc.struct_field(flat, each) for each in ITEM_FIELDS]
    return _build_lists(columns, count_items(lists), to_mask(lists.is_null()))


def _read_texts(texts: Any) -> ParsedColumn:
    rows: list[Items] = []
    reasons: dict[str, list[int]] = {}
    unknown: set[str] = set()
    there = to_mask(pc.not_equal(texts, ""))
    for place, text in zip(
        np.flatnonzero(there).tolist(), texts.filter(pa.array(there)).to_pylist(), strict=True
    ):
        items, reason = _parse_items(text, unknown)
        if len(items) > MAX_ITEMS:
            reason = TOO_MANY
        if reason:
            reasons.setdefault(reason, []).append(place)
        else:
            rows.append(items)
    faults = [(reason, mark_rows(places, len(texts))) for reason, places in reasons.items()]
    values = build_item_lists(rows, there & ~combine_masks((rows for _, rows in faults), len(texts)))
    return ParsedColumn(values, faults, tuple(sorted(unknown)))


def _parse_items(text: str, unknown: set[str]) -> tuple[Items, str]:
    """Read items, or return the reason why they cannot be read, which has no value; codes may be numbers, and numbers text."""
    try:
        return decode_items(text), ""
    except msgspec.MsgspecError:
        pass
    try:
        given = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return (), NOT_JSON
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        return (), BAD_ITEMS
    unknown.update(name for item in given for name in item if name not in ITEM_FIELDS)
    plain = [
        {name: _format_code(name, value) for name, value in item.items() if name in ITEM_FIELDS}
        for item in given
    ]
    try:
        items = msgspec.convert(plain, Items, strict=False)
    except msgspec.ValidationError as error:
        return (), str(error)
    for name in (name for name, field in ITEM_FIELDS.items() if field.kind == "number"):
        if not all(isfinite(getattr(item, name) or 0.0) for item in items):
            return (), f"{name}: {BAD_NUMBER}"
    return items, ""


def _format_code(name: str, value: Any) -> Any:
    """Format a code that was given as a number."""
    is_number = isinstance(value, int | float) and ITEM_FIELDS[name].kind == "string"
    return format_named_value(name, value) if is_number else value


def _read_lists(lists: Any) -> ParsedColumn:
    lengths = count_items(lists)
    rows_of_items = np.repeat(np.arange(len(lists)), lengths)
    faults: ColumnFaults = [(TOO_MANY, lengths > MAX_ITEMS)]
    flat = lists.flatten()
    given = set() if pa.types.is_null(flat.type) else {field.name for field in flat.type}
    columns = []
    for name, field in ITEM_FIELDS.items():
        read = read_column(pc.struct_field(flat, name) if name in given else pa.nulls(len(flat)), field)
        columns.append(read.values)
        faults += [
            (f"{name}: {reason}", mark_rows(rows_of_items[rows], len(lists))) for reason, rows in read.faults
        ]
    missing = to_mask(pc.is_null(lists)) | combine_masks((rows for _, rows in faults), len(lists))
    return ParsedColumn(
        _build_lists(columns, lengths, missing), faults, tuple(sorted(given - ITEM_FIELDS.keys()))
    )


def _build_lists(columns: Sequence[Any], lengths: Any, missing: Mask) -> Any:
    """Build lists of `ITEM_TYPE` from the columns of all items."""
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    structs = pa.StructArray.from_arrays(columns, fields=list(ITEM_TYPE.value_type))
    return pa.ListArray.from_arrays(ends, structs, type=ITEM_TYPE, mask=pa.array(missing))


# --- lists of codes ---------------------------------------------------------------------------------------------------


def read_codes(given: Any) -> ParsedColumn:
    """Convert an Arrow array of JSON text, or of lists of strings, to `CODES_TYPE`."""
    texts = [None if value is None else format_value(value) for value in given.to_pylist()]
    known = {text: None if text is None else _parse_codes(text) for text in set(texts)}
    bad = np.array([text is not None and known[text] is None for text in texts], dtype=bool)
    lists = pa.array([known[text] for text in texts], type=CODES_TYPE)
    return ParsedColumn(lists, [(BAD_CODES, bad)] if bad.any() else [])


def to_code_lists(texts: Any) -> Any:
    """Convert canonical JSON text to lists of codes."""
    return pa.array(
        [None if text is None else _codes_decoder.decode(text) for text in texts.to_pylist()], CODES_TYPE
    )


def to_code_texts(lists: Any) -> Any:
    """Convert lists of codes to canonical JSON text."""
    encode = msgspec.json.Encoder().encode
    return pa.array([None if codes is None else encode(codes).decode() for codes in lists.to_pylist()], TEXT)


def _parse_codes(text: str) -> list[str] | None:
    try:
        codes = _codes_decoder.decode(text)
    except msgspec.MsgspecError:
        return None
    return None if len(codes) > MAX_CODES or any(len(code) > MAX_CODE_CHARACTERS for code in codes) else codes
