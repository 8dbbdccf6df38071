"""Columns of a block: the values of one field of all its entries, in a short form that MessagePack can hold.

    the same text for all                "postal-key"
    different texts                      ["RB1", "RB2", None]
    bytes of one length                  one text of bytes, which is divided by the number of entries
    bytes of different lengths           [b"...", None]
    numbers                              little-endian int64 or float64, one after the other
    None for all                         None
"""

import struct
from collections.abc import Sequence
from typing import TypeVar

TextColumn = str | list[str | None] | None
BytesColumn = bytes | list[bytes | None] | None
IntColumn = bytes | list[int | None] | None
FloatColumn = bytes | list[float | None] | None
NUMBER_BYTES = 8
T = TypeVar("T")


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
    if None in values:
        return None if values.count(None) == len(values) else list(values)
    lengths = set(map(len, values))  # type: ignore[arg-type]
    return b"".join(values) if len(lengths) == 1 else list(values)  # type: ignore[arg-type]


def unpack_bytes(column: BytesColumn, count: int) -> list[bytes | None]:
    """Unpack bytes; raise `ValueError` if the column has another number of values."""
    if column is None:
        return [None] * count
    if isinstance(column, list):
        return _require_count(column, count)
    width, rest = divmod(len(column), count)
    if rest:
        raise ValueError("bytes of another length")
    if not width:
        return [b""] * count
    return [column[start : start + width] for start in range(0, len(column), width)]


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


def _require_count(values: list[T], count: int) -> list[T]:
    if len(values) != count:
        raise ValueError("another number of values")
    return values


def _require_numbers(column: bytes, count: int) -> int:
    if len(column) != count * NUMBER_BYTES:
        raise ValueError("numbers of another length")
    return count
