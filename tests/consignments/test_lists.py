"""Lists of items and of codes: JSON text or lists, the same to everyone who reads them."""

import json
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from support.table_examples import read_kind

from consignments import columns
from consignments.records import MAX_ITEMS, Item

ITEM_OF_TEXT = pa.struct([("description", pa.string())])
SHIRT = Item("shirt", 2.0, 0.4, 20.0, "061091", "NA")


def decode(read: columns.ParsedColumn) -> list[tuple[Item, ...] | None]:
    return [None if text is None else columns.decode_items(text) for text in read.values.to_pylist()]


@pytest.mark.parametrize(
    "given_items",
    [
        [msgspec.structs.asdict(SHIRT)],
        np.array([msgspec.structs.asdict(SHIRT)], dtype=object),
        [msgspec.structs.asdict(SHIRT) | {"quantity": 2, "net_weight_kg": "0.4"}],
    ],
)
def test_lists_of_structs_are_read_as_parquet_and_frames_hold_them(given_items: Any) -> None:
    read = read_kind(columns.to_arrow(pd.Series([given_items, None])))
    assert decode(read) == [(SHIRT,), None]


def test_a_part_of_a_column_of_lists_gives_its_own_items() -> None:
    lists = pa.array([[{"description": "a"}, {"description": "b"}], None, [], [{"description": "c"}]])
    assert decode(read_kind(lists.slice(1))) == [None, (), (Item("c"),)]


def test_lists_of_a_fixed_size_and_bytes_in_items_are_read() -> None:
    fixed = pa.array([[{"description": "a"}], [{"description": "b"}]], pa.list_(ITEM_OF_TEXT, 1))
    assert decode(read_kind(fixed)) == [(Item("a"),), (Item("b"),)]
    binary = pa.struct([("description", pa.binary())])
    read = read_kind(pa.array([[{"description": b"tea"}], [{"description": b"\xff"}]], pa.list_(binary)))
    assert decode(read) == [(Item("tea"),), None]
    assert [(each.text, each.rows.tolist()) for each in read.faults] == [
        ("item 1, description: not text", [False, True])
    ]


def test_a_bad_item_in_a_list_is_a_fault_of_its_row() -> None:
    read = read_kind(pa.array([[{"value": 1.0}, {"value": -1.0}], [{"value": 2.0}]]))
    faults = [(each.text, each.rows.tolist()) for each in read.faults]
    assert faults == [("item 2, value: below 0", [True, False])]
    assert read.values.to_pylist()[0] is None


@pytest.mark.parametrize(("code", "text"), [(610910, "610910"), (9024000, "09024000")])
def test_codes_given_as_numbers_become_texts_with_their_zeros(code: int, text: str) -> None:
    read = read_kind(pa.array([f'[{{"hs_code": {code}, "value": "3.5"}}]']))
    assert decode(read) == [(Item(hs_code=text, value=3.5),)]
    of_lists = read_kind(pa.array([[{"hs_code": code}]]))
    assert decode(of_lists) == [(Item(hs_code=text),)]


@pytest.mark.parametrize(
    "column",
    [pa.array(['[{"sku": "x", "description": "a"}]']), pa.array([[{"sku": "x", "description": "a"}]])],
)
def test_an_unknown_field_of_an_item_is_named_and_dropped(column: Any) -> None:
    read = read_kind(column)
    assert read.unknown == ["sku"]
    assert decode(read) == [(Item("a"),)]


def test_the_items_of_a_row_with_too_many_are_not_kept_in_memory() -> None:
    many = "[" + ",".join(['{"sku": 1}'] * (MAX_ITEMS + 1)) + "]"
    read = read_kind(pa.array([many, '[{"colour": 1}]']))
    assert read.unknown == ["colour"]


def test_what_is_neither_text_nor_list_is_a_fault() -> None:
    assert read_kind(pa.array([1, None])).faults[0].rows.tolist() == [True, False]
    assert read_kind(pa.array([["a"], None])).faults[0].rows.tolist() == [True, False]
    assert read_kind(pa.nulls(2)).values.to_pylist() == [None, None]


CODE_TEXTS = ['["a","b"]', None, "[1]", "a", json.dumps(["x"] * 51), json.dumps(["x" * 101])]
CODE_LISTS = [["a", "b"], None, ["a", None], ["x"] * 51, ["x" * 101], ["x" * 200]]


@pytest.mark.parametrize("codes", [pa.array(CODE_TEXTS, pa.large_string()), pa.array(CODE_LISTS)])
def test_codes_are_lists_of_texts_within_their_limits(codes: Any) -> None:
    read = read_kind(codes, "codes")
    assert read.values.to_pylist() == ['["a","b"]', *[None] * 5]
    faults = [(each.text, each.rows.tolist()) for each in read.faults]
    assert faults == [(columns.BAD_CODES, [False, False, *[True] * 4])]
