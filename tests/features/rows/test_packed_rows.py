"""Rows that the kernel packs from Arrow columns are byte for byte those that Python packs."""

import math
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.rows.packed_rows import pack_columns

texts = st.none() | st.text(max_size=5) | st.sampled_from(("", "é" * 16, "x" * 31, "x" * 255, "한" * 30_000))
numbers = st.none() | st.floats(allow_nan=False)
integers = st.none() | st.one_of(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.sampled_from([sign * (1 << power) + more for sign in (1, -1) for power in (5, 7, 8, 15, 16, 31, 32) for more in (-1, 0, 1)]),
)  # fmt: skip
ITEM = pa.struct([("text", pa.large_string()), ("number", pa.float64()), ("count", pa.int64())])
TYPES = {
    pa.large_string(): texts,
    pa.string(): texts,
    pa.float64(): numbers,
    pa.int64(): integers,
    pa.null(): st.none(),
    pa.list_(pa.string()): st.none() | st.lists(texts, max_size=20),
    pa.list_(ITEM): st.none()
    | st.lists(st.fixed_dictionaries({"text": texts, "number": numbers, "count": integers}), max_size=17),
}


def pack_in_python(row: tuple[Any, ...]) -> bytes:
    def flatten(value: Any) -> Any:
        if isinstance(value, list):
            return [
                [each[field.name] for field in ITEM] if isinstance(each, dict) else each for each in value
            ]
        return value

    return msgspec.msgpack.encode(tuple(map(flatten, row)))


@given(st.data())
def test_rows_have_the_bytes_of_python(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(list(TYPES)), max_size=20))
    rows = data.draw(st.lists(st.tuples(*(TYPES[kind] for kind in kinds)), max_size=4))
    first = data.draw(st.integers(0, len(rows)))
    columns = [pa.array([row[place] for row in rows], kind)[first:] for place, kind in enumerate(kinds)]
    packed = pack_columns(columns, len(rows) - first)
    found = [
        packed.data[start:end].tobytes() for start, end in zip(packed.starts, packed.starts[1:], strict=False)
    ]
    assert found == [pack_in_python(row) for row in rows[first:]]
    assert len(packed) == len(rows) - first
    assert not packed.data.flags.writeable


def test_nan_is_missing_and_masked_values_are_not_read() -> None:
    hidden = pa.array(["secret", "a"], pa.large_string())
    masked = pa.Array.from_buffers(pa.large_string(), 2, [pa.py_buffer(b"\x02"), *hidden.buffers()[1:]])
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), hidden, mask=pa.array([True, False]))
    packed = pack_columns([masked, pa.array([math.nan, -0.0]), lists], 2)
    assert msgspec.msgpack.decode(packed.data[: packed.starts[1]].tobytes()) == [None, None, None]
    last = msgspec.msgpack.decode(packed.data[packed.starts[1] :].tobytes())
    assert last == ["a", -0.0, ["a"]]
    assert math.copysign(1, last[1]) == -1


def test_many_values_and_many_items_have_long_heads() -> None:
    many = pa.array([[f"c{n}" for n in range(70_000)], [], None])
    columns = [many, *(pa.array([n, n, n]) for n in range(20))]
    packed = pack_columns(columns, 3)
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    assert packed.data.tobytes() == b"".join(map(msgspec.msgpack.encode, rows))


@pytest.mark.parametrize("column", [pa.array([b"x"]), pa.array([1], pa.int32()), pa.array([True])])
def test_other_types_are_refused(column: Any) -> None:
    with pytest.raises(TypeError, match="cannot be packed"):
        pack_columns([column], 1)
    with pytest.raises(IndexError, match="a column has 1 values for 2 rows"):
        pack_columns([pa.array(["x"])], 2)


def test_the_largest_text_fits() -> None:
    packed = pack_columns([pa.array(["x" * 70_000, None]), pa.array(np.array([1.5, 2.5]))], 2)
    assert packed.starts.tolist() == [0, 1 + 5 + 70_000 + 9, 1 + 5 + 70_000 + 9 + 1 + 1 + 9]
