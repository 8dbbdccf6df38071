"""Lists in tables: items of consignments and lists of codes, given as JSON text or as lists, and kept as Arrow lists.

JSON text becomes a list of structs first. Then the fields of items are checked like the columns of a table.
"""

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consignments.columns import (
    ITEM_TYPE,
    TEXT,
    ColumnFaults,
    Finding,
    Mask,
    ParsedColumn,
    combine_masks,
    convert_column,
    mark_rows,
    normalize_array,
    read_column,
    to_arrow,
    to_mask,
)
from consignments.doubts import list_rules
from consignments.records import MAX_ITEMS, Item, get_fields
from consignments.workers import pause_garbage_collection

ITEM_FIELDS = {field.name: field for field in get_fields(Item)}
ITEM_RULES = list_rules(Item)
NESTED = (list, dict)
BAD_ITEMS = "not a list of items"
NOT_JSON = 'not JSON; expected a list of objects, for example [{"description": "t-shirt", "quantity": 2}]'
TOO_MANY = f"more than {MAX_ITEMS} items"

Items = tuple[Item, ...]
decode_items = msgspec.json.Decoder(Items).decode
"""Reads the canonical JSON text of the items of one consignment."""


@pause_garbage_collection()
def read_items(given: Any) -> ParsedColumn:
    """Convert an Arrow array of JSON text, or of lists of structs, to `ITEM_TYPE`; unknown fields of an item are reported and dropped."""
    lists, faults = _decode_items(given) if given.type == TEXT else (given, [])
    is_list = pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)
    if not (
        is_list and (pa.types.is_struct(lists.type.value_type) or pa.types.is_null(lists.type.value_type))
    ):
        return ParsedColumn(pa.nulls(len(lists), ITEM_TYPE), [(BAD_ITEMS, to_mask(lists.is_valid()))])
    lengths, flat = count_items(lists), lists.flatten()
    rows_of_items, first_items = np.repeat(np.arange(len(lists)), lengths), np.cumsum(lengths) - lengths
    names = set() if pa.types.is_null(flat.type) else {field.name for field in flat.type}
    faults.append((TOO_MANY, lengths > MAX_ITEMS))
    columns, doubts = list[Any](), list[Finding]()
    for name, field in ITEM_FIELDS.items():
        given_field = pc.struct_field(flat, name) if name in names else pa.nulls(len(flat))
        read = read_column(given_field, field, ITEM_RULES.get(name))
        columns.append(read.values)
        for doubt in read.doubts:
            doubtful = mark_rows(rows_of_items[doubt.rows], len(lists))
            doubts.append(doubt._replace(column=f"items.{name}", rows=doubtful))
        for reason, wrong in read.faults:
            places = np.flatnonzero(wrong)
            rows = rows_of_items[places]
            numbers = np.minimum(places - first_items[rows], MAX_ITEMS) + 1
            for number in np.unique(numbers).tolist():
                mine = mark_rows(rows[numbers == number], len(lists))
                faults.append((f"item {number}, {name}: {reason}", mine))
    missing = to_mask(pc.is_null(lists)) | combine_masks((rows for _, rows in faults), len(lists))
    unknown = tuple(sorted(names - ITEM_FIELDS.keys()))
    return ParsedColumn(_build_lists(columns, lengths, missing), faults, tuple(doubts), unknown)


def _decode_items(texts: Any) -> tuple[Any, ColumnFaults]:
    """Convert JSON texts to lists of structs, whose fields may have any type; an unknown field is there without its values."""
    decode = msgspec.json.Decoder().decode
    rows: list[list[dict[str, Any]]] = []
    reasons: list[str] = []
    for text in texts.to_pylist():
        reason = ""
        try:
            items = decode(text) if text else []
            if isinstance(items, list) and len(items) > MAX_ITEMS:
                reason = TOO_MANY
            elif not isinstance(items, list) or not all(map(_is_item, items)):
                reason = BAD_ITEMS
        except (msgspec.DecodeError, RecursionError):
            reason = NOT_JSON
        reasons.append(reason)
        rows.append([] if reason else items)
    flat = list(chain.from_iterable(rows))
    names = list(dict.fromkeys(chain(ITEM_FIELDS, chain.from_iterable(flat))))
    columns = [
        to_arrow([item.get(name) for item in flat], name) if name in ITEM_FIELDS else pa.nulls(len(flat))
        for name in names
    ]
    absent = ~to_mask(pc.not_equal(texts, ""))
    faults = [
        (reason, np.array([each == reason for each in reasons], bool))
        for reason in (NOT_JSON, BAD_ITEMS, TOO_MANY)
    ]
    return _build_lists(columns, [len(items) for items in rows], absent, names), faults


def _is_item(given: Any) -> bool:
    if not isinstance(given, dict):
        return False
    return not any(isinstance(value, NESTED) and name in ITEM_FIELDS for name, value in given.items())


def _build_lists(columns: Sequence[Any], lengths: Any, missing: Mask, names: Sequence[str] = ()) -> Any:
    """Build lists of structs from the columns of all items, which are the fields of items unless they are named."""
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    structs = pa.StructArray.from_arrays(columns, names or list(ITEM_FIELDS))
    return pa.ListArray.from_arrays(ends, structs, mask=pa.array(missing))


def to_items(lists: Any) -> list[Items | None]:
    """Convert lists of `ITEM_TYPE` to the items of each consignment."""
    flat = lists.flatten()
    items = tuple(map(Item, *(pc.struct_field(flat, name).to_pylist() for name in ITEM_FIELDS)))
    ends = np.concatenate([[0], np.cumsum(count_items(lists))]).tolist()
    parts = zip(pairwise(ends), lists.is_valid().to_pylist(), strict=True)
    return [items[start:end] if valid else None for (start, end), valid in parts]


def count_items(lists: Any) -> Any:
    """Count the items of each consignment."""
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0), dtype=np.int64)


@pause_garbage_collection()
def to_list_texts(lists: Any) -> Any:
    """Convert lists of items or of codes to canonical JSON text; `to_lists` is the inverse."""
    encode = msgspec.json.Encoder().encode
    return pa.array([None if each is None else encode(each).decode() for each in lists.to_pylist()], TEXT)


LIST_COLUMNS = {"items": "items", "quality": "codes", "indicators": "codes"}
"""Columns of the records that hold lists, with their kind."""


def to_lists(texts: Any, kind: str) -> Any:
    """Convert canonical JSON text to lists of items or of codes."""
    given = normalize_array(texts)
    read = read_items(given) if kind == "items" else convert_column(given, kind)
    if reasons := [reason for reason, rows in read.faults if rows.any()]:
        raise ValueError(f"not the canonical text of a list: {reasons[0]}")
    return read.values
