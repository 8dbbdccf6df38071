"""Hash of the data of a run, over every row and every column, in the order of the rows.

It does not depend on the order of the columns, nor on how pandas stores a column: numbers as int or float, strings as
objects, Arrow or categories, times in nanoseconds or microseconds. It changes with any value, row or column.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.batch import Tables

BLOCK_ROWS = 65_536
"""Rows hashed at a time. Part of the definition: another size gives other hashes."""


def hash_tables(tables: Mapping[str, pd.DataFrame | None]) -> str:
    """Compute the SHA-256 of a set of tables.

    Parameters
    ----------
    tables : mapping
        Name to table, hashed in the order of the names; None is a table that is not there.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> ints = pd.DataFrame({"pieces": [1, 2]})
    >>> hash_tables({"consignments": ints}) == hash_tables({"consignments": ints.astype(float)})
    True
    """
    total = hashlib.sha256()
    for name in sorted(tables):
        frame = tables[name]
        if frame is not None:
            total.update(f"table {name} {len(frame)}\n".encode())
            for column in sorted(frame.columns):
                total.update(f"column {column}\n".encode())
                for block in _iterate_blocks(frame[column]):
                    total.update(block)
    return total.hexdigest()


def hash_training_tables(tables: Tables) -> str:
    """Hash the tables that a model is trained on; the model card in its bundle holds this hash."""
    return hash_tables(
        {"consignments": tables.consignments, "outcomes": tables.outcomes, "alerts": tables.alerts}
    )


def _iterate_blocks(column: "pd.Series") -> Iterator[bytes]:
    for start in range(0, len(column), BLOCK_ROWS):
        yield from _encode_block(column.iloc[start : start + BLOCK_ROWS])


def _encode_block(block: "pd.Series") -> tuple[bytes, ...]:
    """Encode values so that equal values give equal bytes whatever their dtype."""
    kind = block.dtype
    if isinstance(kind, pd.DatetimeTZDtype) or kind.kind == "M":
        moments = pd.DatetimeIndex(block).as_unit("us")
        return b"t", moments.asi8.tobytes()
    if kind.kind in "iufb" and not isinstance(kind, pd.CategoricalDtype):
        numbers = block.to_numpy(dtype=np.float64, na_value=np.nan)
        numbers = np.where(np.isnan(numbers), np.nan, numbers + 0.0)  # one NaN, and no negative zero
        return b"n", numbers.tobytes()
    return _encode_texts(block)


def _encode_texts(block: "pd.Series") -> tuple[bytes, ...]:
    texts = _to_large_strings(block)
    lengths = pc.binary_length(texts).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    present = pc.drop_null(texts)
    _, ends, data = present.buffers()
    if data is None:
        return b"s", lengths.tobytes(), b""
    # A block may be a part of a longer buffer.
    bounds = np.frombuffer(ends, dtype=np.int64)[present.offset : present.offset + len(present) + 1]
    return b"s", lengths.tobytes(), data[int(bounds[0]) : int(bounds[-1])].to_pybytes()


def _to_large_strings(block: "pd.Series") -> Any:
    """Convert a block to large strings; values that are not text become their `str`."""
    if isinstance(block.dtype, pd.StringDtype):
        texts = pa.array(block.array, type=pa.large_string(), from_pandas=True)
        return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    values = block.astype(object).where(block.notna(), None)
    return pa.array([None if value is None else str(value) for value in values], type=pa.large_string())
