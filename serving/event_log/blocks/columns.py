"""Columns of a block: the values of one field of all its entries, in a short form that MessagePack can hold.

the same text for all                "postal-key"
different texts                      ["RB1", "RB2", None]
bytes of one length                  one text of bytes, which is divided by the number of entries
bytes of one length, or None         which of them are there, and these one after the other
bytes of different lengths           [b"...", None]
numbers                              little-endian int64 or float64, one after the other
None for all                         None
"""

import struct
from collections.abc import Sequence
from itertools import compress
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray


class SparseBytes(msgspec.Struct, gc=False):
    """Bytes of one length for some entries; `present` has a byte for each entry, which is 0 if it has none."""

    present: bytes
    joined: bytes


TextColumn = str | list[str | None] | None
BytesColumn = bytes | SparseBytes | list[bytes | None] | None
IntColumn = bytes | list[int | None] | None
FloatColumn = bytes | list[float | None] | None
NUMBER_BYTES = 8
T = TypeVar("T")
Flags = NDArray[np.bool_]
Matrix = NDArray[np.uint8]


def pack_texts(values: Sequence[str | None]) -> TextColumn:
    """Pack texts; at least one."""
    first = values[0]
    return first if values.count(first) == len(values) else list(values)


def unpack_texts(column: TextColumn, count: int) -> list[str | None]:
    """Unpack texts.

    Raises
    ------
    ValueError
        The column has another number of values.
    """
    if isinstance(column, list):
        return _require_count(column, count)
    return [column] * count


def pack_bytes(values: Sequence[bytes | None]) -> BytesColumn:
    """Pack bytes."""
    present = [value for value in values if value is not None] if None in values else values
    if not present:
        return None if values else b""
    if len(set(map(len, present))) > 1:  # type: ignore[arg-type]
        return list(values)
    joined = b"".join(present)  # type: ignore[arg-type]
    if len(present) == len(values):
        return joined
    return SparseBytes(bytes([value is not None for value in values]), joined)


def unpack_bytes(column: BytesColumn, count: int) -> list[bytes | None]:
    """Unpack bytes; raise `ValueError` if the column has another number of values."""
    if column is None:
        return [None] * count
    if isinstance(column, list):
        return _require_count(column, count)
    if isinstance(column, bytes):
        return _divide(column, count)
    if len(column.present) != count:
        raise ValueError("another number of values")
    values = iter(_divide(column.joined, count - column.present.count(0)))
    return [next(values) if there else None for there in column.present]


def _divide(joined: bytes, count: int) -> list[bytes | None]:
    width, rest = divmod(len(joined), count) if count else (0, len(joined))
    if rest:
        raise ValueError("bytes of another length")
    if not width:
        return [b""] * count
    return [joined[start : start + width] for start in range(0, len(joined), width)]


def pack_ints(values: Sequence[int | None]) -> IntColumn:
    """Pack whole numbers of 64 bits."""
    if None in values:
        return None if values.count(None) == len(values) else list(values)
    return struct.pack(f"<{len(values)}q", *values)


def unpack_ints(column: IntColumn, count: int) -> Sequence[int | None]:
    """Unpack whole numbers; raise `ValueError` if the column has another number of values."""
    if isinstance(column, bytes):
        return struct.unpack(f"<{_require_numbers(column, count)}q", column)
    return [None] * count if column is None else _require_count(column, count)


def pack_floats(values: Sequence[float | None]) -> FloatColumn:
    """Pack numbers."""
    if None in values:
        return None if values.count(None) == len(values) else list(values)
    return struct.pack(f"<{len(values)}d", *values)


def unpack_floats(column: FloatColumn, count: int) -> Sequence[float | None]:
    """Unpack numbers; raise `ValueError` if the column has another number of values."""
    if isinstance(column, bytes):
        return struct.unpack(f"<{_require_numbers(column, count)}d", column)
    return [None] * count if column is None else _require_count(column, count)


def unpack_matrix(column: BytesColumn, wanted: Flags, width: int) -> Matrix:
    """Unpack the first bytes of some entries without an object for each. Other entries may have bytes of another length.

    Parameters
    ----------
    column : BytesColumn
    wanted : bool array, (count,)
        At least one entry.
    width : int
        Number of bytes.

    Returns
    -------
    uint8 array, (n, width)

    Raises
    ------
    ValueError
        The column has another number of values, or a wanted entry has fewer bytes.
    """
    if isinstance(column, list):
        given = [value or b"" for value in compress(_require_count(column, len(wanted)), wanted)]
        if min(map(len, given)) < width:
            raise ValueError("an entry with fewer bytes")
        return np.frombuffer(b"".join(value[:width] for value in given), dtype=np.uint8).reshape(-1, width)
    if isinstance(column, SparseBytes):
        present, joined = np.frombuffer(column.present, dtype=np.uint8) != 0, column.joined
    else:
        present, joined = np.full(len(wanted), column is not None), column or b""
    if len(present) != len(wanted) or (wanted & ~present).any():
        raise ValueError("another number of values")
    matrix = np.frombuffer(joined, dtype=np.uint8).reshape(int(np.count_nonzero(present)), -1)
    if matrix.shape[1] < width:
        raise ValueError("an entry with fewer bytes")
    return matrix[wanted[present], :width]


def unpack_longs(column: IntColumn, count: int) -> NDArray[np.int64]:
    """Unpack whole numbers, none of them None, as an array; raise `ValueError` if the column has another number of values."""
    if isinstance(column, bytes):
        return np.frombuffer(column, dtype="<i8", count=_require_numbers(column, count))
    return np.array(unpack_ints(column, count), dtype=np.int64)


def pick_text(column: TextColumn, _count: int, place: int) -> str | None:
    """Return the text of one entry."""
    return column[place] if isinstance(column, list) else column


def pick_bytes(column: BytesColumn, count: int, place: int) -> bytes | None:
    """Return the bytes of one entry."""
    if isinstance(column, SparseBytes):
        if not column.present[place]:
            return None
        count -= column.present.count(0)
        place -= column.present[:place].count(0)
        column = column.joined
    if not isinstance(column, bytes):
        return None if column is None else column[place]
    width = len(column) // count
    return column[width * place : width * (place + 1)]


def pick_int(column: IntColumn, _count: int, place: int) -> int | None:
    """Return the whole number of one entry."""
    if not isinstance(column, bytes):
        return None if column is None else column[place]
    number: int = _INT.unpack_from(column, NUMBER_BYTES * place)[0]
    return number


def pick_float(column: FloatColumn, _count: int, place: int) -> float | None:
    """Return the number of one entry."""
    if not isinstance(column, bytes):
        return None if column is None else column[place]
    number: float = _FLOAT.unpack_from(column, NUMBER_BYTES * place)[0]
    return number


_INT, _FLOAT = struct.Struct("<q"), struct.Struct("<d")


def _require_count(values: list[T], count: int) -> list[T]:
    if len(values) != count:
        raise ValueError("another number of values")
    return values


def _require_numbers(column: bytes, count: int) -> int:
    if len(column) != count * NUMBER_BYTES:
        raise ValueError("numbers of another length")
    return count
