"""Rows of tables as MessagePack: a kernel writes them straight from the buffers of Arrow columns.

A row is an array of values, the same bytes as `msgspec.msgpack` makes of them: texts, numbers, whole numbers, nil, arrays of texts, and
arrays of arrays for lists of structs.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from consignments.columns import normalize_array
from features.normalization.compiling import Array, Int, entry_point, kernel

NO_INTEGER = -(2**63)
"""A missing whole number in the buffer of a kernel."""
NOTHING, TEXT, NUMBER, INTEGER, LIST, ROWS = range(6)
"""Kinds of columns. LIST: of values; ROWS: of structs, each of which becomes an array."""
KIND, PLACE, FIRST_CHILD, CHILDREN = range(4)
"""Columns of the plan of a row: kind, position of the first value in the buffers of its kind, and the columns inside a list."""
MAX_HEAD, NUMBER_BYTES = 5, 9
"""Most bytes before a text or the values of an array, and of a number."""
NIL, FLOAT_64 = 0xC0, 0xCB
FIXED_ARRAY, ARRAY_16, ARRAY_32 = 0x90, 0xDC, 0xDD
FIXED_STRING, STRING_8, STRING_16, STRING_32 = 0xA0, 0xD9, 0xDA, 0xDB
UINT_8, INT_8 = 0xCC, 0xD0
BYTES_1, BYTES_2, BYTES_4, BYTES_8 = (np.int64(1 << power) for power in range(4))


class PackedRows(NamedTuple):
    """Rows in MessagePack, one after the other.

    Attributes
    ----------
    data : uint8 array
    starts : int64 array, (rows + 1,)
        Position of the first byte of each row, and of the end.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.starts) - 1


def pack_columns(columns: Sequence[Any], rows: int) -> PackedRows:
    """Pack the rows of some columns.

    Parameters
    ----------
    columns : sequence of Arrow arrays or chunked arrays, each of `rows` values
        Texts in UTF-8, float64 (NaN counts as missing), int64 above -2**63, lists of these, or lists of structs of these.
    rows : int

    Raises
    ------
    TypeError
        A column has another type.
    IndexError
        A column has another length.
    """
    buffers = _Buffers()
    for column in columns:
        if len(column) != rows:
            raise IndexError(f"a column has {len(column)} values for {rows} rows")
        buffers.add(normalize_array(column))
    return buffers.pack(len(columns), rows)


class _Buffers:
    """The values of columns in one buffer for each kind."""

    def __init__(self) -> None:
        self._plan: list[list[int]] = []
        self._inner: list[tuple[int, Any]] = []
        self._bytes: list[NDArray[np.uint8]] = [np.zeros(0, np.uint8)]
        self._starts, self._ends, self._integers = ([np.zeros(0, np.int64)] for _ in range(3))
        self._numbers: list[NDArray[np.float64]] = [np.zeros(0)]
        self._sizes = {TEXT: 0, NUMBER: 0, INTEGER: 0}
        self._text_bytes = self._elements = 0

    def add(self, column: Any) -> None:
        kind = column.type
        for fits, add in _KINDS:
            if fits(kind):
                self._plan.append([*add(self, column), 0, 0][: CHILDREN + 1])
                return
        raise TypeError(f"a column of {kind} cannot be packed")

    def add_nothing(self, column: Any) -> tuple[int, int]:  # noqa: ARG002
        return NOTHING, 0

    def add_numbers(self, column: Any) -> tuple[int, int]:
        self._numbers.append(column.to_numpy(zero_copy_only=False))
        return NUMBER, self._take_place(NUMBER, len(column))

    def add_integers(self, column: Any) -> tuple[int, int]:
        self._integers.append(pc.fill_null(column, NO_INTEGER).to_numpy())
        return INTEGER, self._take_place(INTEGER, len(column))

    def add_texts(self, column: Any) -> tuple[int, int]:
        _, offsets, data = column.buffers()
        places = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
        first, last = int(places[0]), int(places[-1])
        if last > first:
            self._bytes.append(np.frombuffer(data, np.uint8)[first:last])
        return TEXT, self._add_spans(column, places + (self._text_bytes - first), last - first)

    def add_lists(self, column: Any) -> tuple[int, int]:
        self._inner.append((len(self._plan), column.flatten()))
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        places = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self._elements += int(places[-1])
        kind = ROWS if pa.types.is_struct(column.type.value_type) else LIST
        return kind, self._add_spans(column, places, 0)

    def _add_spans(self, column: Any, places: NDArray[np.int64], size: int) -> int:
        """Add the begin and end of each value; the end is -1 if the value is missing."""
        known = column.is_valid().to_numpy(zero_copy_only=False)
        self._starts.append(places[:-1])
        self._ends.append(np.where(known, places[1:], -1) if column.null_count else places[1:])
        self._text_bytes += size
        return self._take_place(TEXT, len(column))

    def _take_place(self, kind: int, values: int) -> int:
        self._sizes[kind] += values
        return self._sizes[kind] - values

    def pack(self, fields: int, rows: int) -> PackedRows:
        self._add_inner()
        starts, ends, integers = (np.concatenate(each) for each in (self._starts, self._ends, self._integers))
        numbers = np.concatenate(self._numbers)
        heads = len(starts) + self._elements + rows
        most = self._text_bytes + MAX_HEAD * heads + NUMBER_BYTES * (len(numbers) + len(integers))
        # A list that is nil or of other values, and a column of no type, have one byte.
        data, found = np.empty(most + fields * rows, np.uint8), np.empty(rows + 1, np.int64)
        plan = np.array(self._plan, np.int64).reshape(-1, CHILDREN + 1)
        _write_rows(plan, fields, np.concatenate(self._bytes), starts, ends, numbers, integers, data, found)
        packed = data[: found[-1]]
        packed.flags.writeable = False
        return PackedRows(packed, found)

    def _add_inner(self) -> None:
        """Add the columns inside lists."""
        for place, values in self._inner:
            children = (
                [pc.struct_field(values, name) for name in range(values.type.num_fields)]
                if pa.types.is_struct(values.type)
                else [values]
            )
            self._plan[place][FIRST_CHILD:] = len(self._plan), len(children)
            for child in children:
                self.add(normalize_array(child))


_KINDS: tuple[tuple[Callable[[Any], bool], Callable[[_Buffers, Any], tuple[int, int]]], ...] = (
    (pa.types.is_large_string, _Buffers.add_texts),
    (pa.types.is_float64, _Buffers.add_numbers),
    (pa.types.is_int64, _Buffers.add_integers),
    (pa.types.is_null, _Buffers.add_nothing),
    (pa.types.is_list, _Buffers.add_lists),
)


@entry_point
def _write_rows(
    plan: Array,
    fields: Int,
    texts: Array,
    starts: Array,
    ends: Array,
    numbers: Array,
    integers: Array,
    data: Array,
    found: Array,
) -> Int:
    """Write all rows, and the position of each.

    Parameters
    ----------
    plan : int64 array, (columns, CHILDREN + 1)
        The fields of a row first, then the columns inside lists.
    fields : int
    texts : uint8 array
    starts, ends : int64 array
        Of each text in `texts`, and of each list in the values of its inner columns; the end is -1 if it is missing.
    numbers, integers : float64 and int64 array
    data : uint8 array
        Has room for the longest result.
    found : int64 array, (rows + 1,)
    """
    at = np.int64(0)
    for row in range(found.size - 1):
        found[row] = at
        at = _write_array_head(data, at, fields)
        for field in range(fields):
            kind, place = plan[field, KIND], plan[field, PLACE] + row
            if kind != LIST and kind != ROWS:
                at = _write_value(kind, place, texts, starts, ends, numbers, integers, data, at)
                continue
            if ends[place] < 0:
                data[at] = NIL
                at += 1
                continue
            at = _write_array_head(data, at, ends[place] - starts[place])
            first, children = plan[field, FIRST_CHILD], plan[field, CHILDREN]
            for element in range(starts[place], ends[place]):
                if kind == ROWS:
                    at = _write_array_head(data, at, children)
                for child in range(first, first + children):
                    inner = plan[child, PLACE] + element
                    at = _write_value(
                        plan[child, KIND], inner, texts, starts, ends, numbers, integers, data, at
                    )
    found[found.size - 1] = at
    return at


@kernel
def _write_value(
    kind: Int,
    place: Int,
    texts: Array,
    starts: Array,
    ends: Array,
    numbers: Array,
    integers: Array,
    data: Array,
    at: Int,
) -> Int:
    """Write a text, a number or nil, and return the position after it."""
    if kind == TEXT and ends[place] >= 0:
        start, size = starts[place], ends[place] - starts[place]
        at = _write_text_head(data, at, size)
        for letter in range(size):
            data[at + letter] = texts[start + letter]
        return at + size
    if kind == NUMBER and numbers[place] == numbers[place]:
        data[at] = FLOAT_64
        bits = numbers[place : place + 1].view(np.int64)[0]
        return _write_big_endian(data, at + 1, bits, BYTES_8)
    if kind == INTEGER and integers[place] != NO_INTEGER:
        return _write_integer(data, at, integers[place])
    data[at] = NIL
    return at + 1


@kernel
def _write_integer(data: Array, at: Int, number: Int) -> Int:
    """Write a whole number in the fewest bytes."""
    if -32 <= number < 128:
        data[at] = number & 0xFF
        return at + 1
    width, size = 0, BYTES_1
    if number >= 0:
        while size < BYTES_8 and number >> (8 * size) != 0:
            width, size = width + 1, size * 2
        data[at] = UINT_8 + width
    else:
        while size < BYTES_8 and number < -(np.int64(1) << (8 * size - 1)):
            width, size = width + 1, size * 2
        data[at] = INT_8 + width
    return _write_big_endian(data, at + 1, number, size)


@kernel
def _write_text_head(data: Array, at: Int, size: Int) -> Int:
    if size < 32:
        data[at] = FIXED_STRING + size
        return at + 1
    if size < 1 << 8:
        data[at] = STRING_8
        return _write_big_endian(data, at + 1, size, BYTES_1)
    if size < 1 << 16:
        data[at] = STRING_16
        return _write_big_endian(data, at + 1, size, BYTES_2)
    data[at] = STRING_32
    return _write_big_endian(data, at + 1, size, BYTES_4)


@kernel
def _write_array_head(data: Array, at: Int, count: Int) -> Int:
    if count < 16:
        data[at] = FIXED_ARRAY + count
        return at + 1
    if count < 1 << 16:
        data[at] = ARRAY_16
        return _write_big_endian(data, at + 1, count, BYTES_2)
    data[at] = ARRAY_32
    return _write_big_endian(data, at + 1, count, BYTES_4)


@kernel
def _write_big_endian(data: Array, at: Int, number: Int, size: Int) -> Int:
    for place in range(size):
        data[at + place] = (number >> (8 * (size - 1 - place))) & 0xFF
    return at + size
