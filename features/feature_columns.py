"""Feature rows in memory, and their Arrow columns: one kernel splits the rows into columns and marks the missing values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.normalization.compiling import Array, Int, entry_point, kernel

ROWS_AT_ONCE, COLUMNS_AT_ONCE = 64, 16
"""Rows and columns of a block: its lines stay in the first cache of the processor until all its columns are written."""
BITS = 8


def allocate_rows(rows: int, columns: int) -> NDArray[np.float32]:
    """Allocate rows of features, without values.

    The memory is Arrow's, which uses it again for the next chunk. Memory of numpy goes back to the system, and fresh pages cost more
    than all that is written into them.
    """
    buffer = pa.allocate_buffer(rows * columns * np.dtype(np.float32).itemsize)
    return np.frombuffer(memoryview(buffer), np.float32).reshape(rows, columns)


def build_feature_columns(X: NDArray[np.float32], shown: Sequence[int]) -> list[Any]:
    """Build Arrow arrays of some columns of feature rows; NaN is null.

    Parameters
    ----------
    X : float32 array, (rows, features)
    shown : sequence of int
        The columns that are wanted.

    Examples
    --------
    >>> X = np.array([[1, np.nan], [2, 3]], np.float32)
    >>> [column.to_pylist() for column in build_feature_columns(X, [1, 0])]
    [[None, 3.0], [1.0, 2.0]]
    """
    rows = np.ascontiguousarray(X, np.float32)
    places = np.array(shown, np.int64)
    if len(places) and not 0 <= places.min() <= places.max() < rows.shape[1]:
        raise IndexError(f"columns {places.min()} to {places.max()} of {rows.shape[1]}")
    values = allocate_rows(len(places), len(rows))
    validity = np.zeros((len(places), -(-len(rows) // BITS)), np.uint8)
    missing = np.zeros(len(places), np.int64)
    _split_columns(rows, places, values, validity, missing)
    return [
        pa.Array.from_buffers(
            pa.float32(), len(column), [pa.py_buffer(bits) if nulls else None, pa.py_buffer(column)], nulls
        )
        for column, bits, nulls in zip(values, validity, missing.tolist(), strict=True)
    ]


@entry_point
def _split_columns(rows: Array, places: Array, values: Array, validity: Array, missing: Array) -> Int:
    """Write columns of rows, a bit for each value that is there, and the number of missing values.

    Parameters
    ----------
    rows : float32 array, (n, features)
    places : int64 array, (k,)
        Columns of `rows`.
    values : float32 array, (k, n)
    validity : uint8 array, (k, n / 8 rounded up)
        Zeros.
    missing : int64 array, (k,)
        Zeros.
    """
    count, columns = rows.shape[0], places.shape[0]
    for first in range(0, count, ROWS_AT_ONCE):
        last = min(first + ROWS_AT_ONCE, count)
        for begin in range(0, columns, COLUMNS_AT_ONCE):
            for column in range(begin, min(begin + COLUMNS_AT_ONCE, columns)):
                for row in range(first, last):
                    values[column, row] = rows[row, places[column]]
    for column in range(columns):
        missing[column] = _mark_values(values[column], validity[column])
    return 0


@kernel
def _mark_values(column: Array, validity: Array) -> Int:
    """Write a bit for each value that is there, and return the number of missing values."""
    missing = 0
    for row in range(column.size):
        missing += 0 if column[row] == column[row] else 1
    for place in range(column.size // BITS):
        bits = 0
        for bit in range(BITS):
            value = column[place * BITS + bit]
            bits |= (1 if value == value else 0) << bit
        validity[place] = bits
    for row in range(column.size // BITS * BITS, column.size):
        validity[row // BITS] |= (1 if column[row] == column[row] else 0) << (row % BITS)
    return missing
