"""Items of consignments in tables: JSON text in the canonical frame, lists of structs in Parquet and JSON Lines.

A column that was read has the form in which it was given: JSON text or lists of structs, both checked.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consignments.columns import (
    BAD_NUMBER,
    TEXT,
    TYPES,
    ColumnFaults,
    Mask,
    ParsedColumn,
    combine_faults,
    format_named_value,
    read_column,
    to_mask,
)
from consignments.records import MAX_ITEMS, Item
from consignments.schema import get_fields

ITEM_FIELDS = get_fields(Item)
NUMBERS = tuple(field.name for field in ITEM_FIELDS if field.kind == "number")
ITEM_TYPE = pa.list_(pa.struct([(field.name, TYPES[field.kind]) for field in ITEM_FIELDS]))
"""Arrow type of items in Parquet."""
BAD_ITEMS = "not a list of items"
NOT_JSON = 'not JSON; expected a list of objects, for example [{"description": "t-shirt", "quantity": 2}]'
TOO_MANY = f"more than {MAX_ITEMS} items"

Items = tuple[Item, ...]
_decoder = msgspec.json.Decoder(Items)


def decode_items(text: str) -> Items:
    """Read the JSON text of the items of one consignment."""
    return _decoder.decode(text)


def read_items(given: Any) -> ParsedColumn:
    """Convert a column of items to canonical JSON text, or to lists of `ITEM_TYPE` if it has lists.

    Parameters
    ----------
    given : Arrow array
        JSON text, or lists of structs. Unknown fields of an item are reported and dropped.
    """
    kind = given.type
    if kind == TEXT:
        return _read_texts(given)
    if pa.types.is_null(kind):
        return ParsedColumn(given.cast(TEXT), [])
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if is_list and (pa.types.is_struct(kind.value_type) or pa.types.is_null(kind.value_type)):
        return _read_lists(given)
    return ParsedColumn(pa.nulls(len(given), type=TEXT), [(BAD_ITEMS, ~np.asarray(given.is_null()))])


def to_item_lists(texts: Any) -> Any:
    """Convert canonical JSON text to lists of structs, for Parquet.

    Parameters
    ----------
    texts : Arrow array of text

    Returns
    -------
    Arrow array of `ITEM_TYPE`
    """
    rows = to_items(texts)
    flat = [item for items in rows if items for item in items]
    columns = [
        pa.array([getattr(item, field.name) for item in flat], type=TYPES[field.kind])
        for field in ITEM_FIELDS
    ]
    lengths = np.array([len(items or ()) for items in rows], dtype=np.int64)
    return _build_lists(columns, lengths, np.array([items is None for items in rows], dtype=bool))


def to_item_texts(lists: Any) -> Any:
    """Convert lists of `ITEM_TYPE` to canonical JSON text; `to_item_lists` is the inverse."""
    encode = msgspec.json.Encoder().encode
    rows = to_items(lists)
    return pa.array([None if items is None else encode(items).decode() for items in rows], type=TEXT)


def to_items(values: Any) -> list[Items | None]:
    """Convert canonical JSON text, or lists of `ITEM_TYPE`, to the items of each consignment."""
    if values.type == TEXT:
        return [None if text is None else decode_items(text) for text in values.to_pylist()]
    if not len(values) - values.null_count:
        return [None] * len(values)
    flat = values.flatten()
    items = tuple(map(Item, *(pc.struct_field(flat, field.name).to_pylist() for field in ITEM_FIELDS)))
    ends = np.concatenate([[0], np.cumsum(_count_items(values))]).tolist()
    return [
        items[start:end] if there else None
        for there, (start, end) in zip(values.is_valid().to_pylist(), pairwise(ends), strict=True)
    ]


def _count_items(lists: Any) -> Any:
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0), dtype=np.int64)


def _read_texts(texts: Any) -> ParsedColumn:
    values = texts.to_pylist()
    reasons: dict[str, list[int]] = {}
    unknown: set[str] = set()
    for place, text in enumerate(values):
        if not text:
            values[place] = None
            continue
        try:
            items = decode_items(text)
        except msgspec.MsgspecError:
            values[place], items, reason = _coerce_items(text, unknown)
        else:
            reason = ""
        if len(items) > MAX_ITEMS:
            reason = TOO_MANY
        if reason:
            values[place] = None
            reasons.setdefault(reason, []).append(place)
    faults = [(reason, _mask_at(places, len(values))) for reason, places in reasons.items()]
    return ParsedColumn(pa.array(values, type=TEXT), faults, tuple(sorted(unknown)))


def _mask_at(places: list[int], rows: int) -> Mask:
    mask = np.zeros(rows, dtype=bool)
    mask[places] = True
    return mask


def _coerce_items(text: str, unknown: set[str]) -> tuple[str | None, Items, str]:
    """Convert items that are not strictly valid: codes as numbers, numbers as text, unknown fields.

    Returns
    -------
    text, items, reason
        The canonical text and the items, or None, no items, and the reason why they cannot be read (without any value).
    """
    try:
        given = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None, (), NOT_JSON
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        return None, (), BAD_ITEMS
    known = {field.name: field for field in ITEM_FIELDS}
    unknown.update(name for item in given for name in item if name not in known)
    plain = [
        {
            name: format_named_value(name, value)
            if known[name].kind == "string" and isinstance(value, int | float)
            else value
            for name, value in item.items()
            if name in known
        }
        for item in given
    ]
    try:
        items = msgspec.convert(plain, Items, strict=False)
    except msgspec.ValidationError as error:
        return None, (), str(error)
    infinite = next((name for item in items for name in NUMBERS if _is_infinite(getattr(item, name))), "")
    if infinite:
        return None, (), f"{infinite}: {BAD_NUMBER}"
    return msgspec.json.encode(items).decode(), items, ""


def _is_infinite(number: float | None) -> bool:
    return number is not None and not isfinite(number)


def _read_lists(lists: Any) -> ParsedColumn:
    lengths = _count_items(lists)
    rows_of_items = np.repeat(np.arange(len(lists)), lengths)
    faults: ColumnFaults = [(TOO_MANY, lengths > MAX_ITEMS)]
    flat = lists.flatten()
    given = set() if pa.types.is_null(flat.type) else {field.name for field in flat.type}
    columns = []
    for field in ITEM_FIELDS:
        child = pc.struct_field(flat, field.name) if field.name in given else pa.nulls(len(flat))
        read = read_column(child, field)
        columns.append(read.values)
        faults += [
            (f"{field.name}: {reason}", _mask_at(list(np.unique(rows_of_items[rows])), len(lists)))
            for reason, rows in read.faults
        ]
    missing = to_mask(pc.is_null(lists)) | combine_faults(faults, len(lists))
    unknown = tuple(sorted(given - {field.name for field in ITEM_FIELDS}))
    return ParsedColumn(_build_lists(columns, lengths, missing), faults, unknown)


def _build_lists(columns: Sequence[Any], lengths: Any, missing: Mask) -> Any:
    """Build lists of `ITEM_TYPE` from the columns of all items."""
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    structs = pa.StructArray.from_arrays(columns, fields=list(ITEM_TYPE.value_type))
    return pa.ListArray.from_arrays(ends, structs, type=ITEM_TYPE, mask=pa.array(missing))
