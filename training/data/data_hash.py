"""Hash of the data of a run, over every row and column in the order of the rows, whatever the order and storage of columns."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.streams import FeatureInputs

BLOCK_ROWS = 65_536
"""Rows hashed at a time. Part of the definition: another size gives other hashes."""


class TableHash:
    """The hash of a table that is read in chunks, and its number of rows so far."""

    def __init__(self) -> None:
        self.rows = 0
        self._columns: dict[str, Any] = {}
        self._waiting: list[pd.DataFrame] = []
        self._waiting_rows = 0

    def add(self, frame: pd.DataFrame) -> None:
        """Add the next rows of the table."""
        self.rows += len(frame)
        self._waiting.append(frame)
        self._waiting_rows += len(frame)
        if self._waiting_rows >= BLOCK_ROWS:
            whole = pd.concat(self._waiting, ignore_index=True)
            full = len(whole) - len(whole) % BLOCK_ROWS
            for start in range(0, full, BLOCK_ROWS):
                self._hash_block(whole.iloc[start : start + BLOCK_ROWS])
            self._waiting, self._waiting_rows = [whole.iloc[full:]], len(whole) - full

    def compute_digest(self) -> bytes:
        """Compute the SHA-256 of the table; no rows can be added after that."""
        if self._waiting:
            self._hash_block(pd.concat(self._waiting, ignore_index=True))
            self._waiting, self._waiting_rows = [], 0
        total = hashlib.sha256(f"rows {self.rows}\n".encode())
        for name in sorted(self._columns):
            total.update(f"column {name}\n".encode() + self._columns[name].digest())
        return total.digest()

    def _hash_block(self, block: pd.DataFrame) -> None:
        for name in block.columns:
            column = self._columns.setdefault(str(name), hashlib.sha256())
            for encoded in _encode_block(block[name]) if len(block) else ():
                column.update(encoded)


def hash_tables(tables: Mapping[str, "pd.DataFrame | TableHash | None"]) -> str:
    """Compute the SHA-256 of a set of tables by name, as hexadecimal digits; None is a table that is not there."""
    total = hashlib.sha256()
    for name in sorted(tables):
        table = tables[name]
        if isinstance(table, pd.DataFrame):
            frame, table = table, TableHash()
            table.add(frame)
        if table is not None:
            total.update(f"table {name}\n".encode() + table.compute_digest())
    return total.hexdigest()


def hash_training_tables(inputs: FeatureInputs, consignments: TableHash) -> str:
    """Hash the tables that a model is trained on; the model card in its bundle holds this hash."""
    return hash_tables({"consignments": consignments, "outcomes": inputs.outcomes, "alerts": inputs.alerts})


def _encode_block(block: "pd.Series") -> tuple[bytes, ...]:
    """Encode values so that equal values give equal bytes whatever their dtype; values that are no text become their `str`."""
    kind = block.dtype
    if isinstance(kind, pd.DatetimeTZDtype) or kind.kind == "M":
        moments = pd.DatetimeIndex(block).as_unit("us")
        return b"t", moments.asi8.tobytes()
    if kind.kind in "iufb" and not isinstance(kind, pd.CategoricalDtype):
        numbers = block.to_numpy(dtype=np.float64, na_value=np.nan)
        numbers = np.where(np.isnan(numbers), np.nan, numbers + 0.0)  # one NaN, and no negative zero
        return b"n", numbers.tobytes()
    if isinstance(kind, pd.StringDtype):
        texts = pa.array(block.array, type=pa.large_string(), from_pandas=True)
        texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    else:
        given = block.astype(object).where(block.notna(), None)
        values = [None if value is None else str(value) for value in given]
        texts = pa.array(values, type=pa.large_string())
    lengths = pc.binary_length(texts).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    present = pc.drop_null(texts)
    _, ends, data = present.buffers()
    if data is None:
        return b"s", lengths.tobytes(), b""
    # A block may be a part of a longer buffer.
    bounds = np.frombuffer(ends, dtype=np.int64)[present.offset : present.offset + len(present) + 1]
    return b"s", lengths.tobytes(), data[int(bounds[0]) : int(bounds[-1])].to_pybytes()
