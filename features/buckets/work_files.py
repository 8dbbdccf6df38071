"""Files of the working folder of tasks. Each appears when it is whole, because two workers may compute the same task."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BUCKET_BITS = 64
COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


def compute_bucket(keys: NDArray[np.uint64], buckets: int) -> NDArray[np.int64]:
    """Compute the bucket of each key from its highest bits, so that buckets follow each other in the order of the keys."""
    high = (keys >> np.uint64(BUCKET_BITS // 2)).astype(np.uint64)
    numbers: NDArray[np.int64] = ((high * np.uint64(buckets)) >> np.uint64(BUCKET_BITS // 2)).astype(np.int64)
    return numbers


def to_column(values: NDArray[np.float32]) -> pa.Array:
    """Return rows of numbers as a column of bytes, one value for each row, so that they are copied whole."""
    rows, width = values.shape
    kind = pa.binary(width * values.itemsize)
    return pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(np.ascontiguousarray(values))])


def from_column(column: pa.Array) -> NDArray[np.float32]:
    """Return the rows of numbers of `to_column`."""
    width = column.type.byte_width // np.dtype(np.float32).itemsize
    if not len(column):
        return np.empty((0, width), np.float32)
    values = np.frombuffer(column.buffers()[1], np.float32).reshape(-1, width)
    return values[column.offset : column.offset + len(column)]


class PackedTable(NamedTuple):
    """A table as the compressed bytes of an Arrow stream."""

    data: pa.Buffer

    @classmethod
    def pack(cls, table: pa.Table) -> "PackedTable":
        """Compress a table."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema, options=COMPRESSED) as writer:
            writer.write_table(table)
        return cls(sink.getvalue())

    def unpack(self) -> pa.Table:
        """Return the table."""
        return pa.ipc.open_stream(self.data).read_all()


def write_arrow(path: Path, schema: Any, batches: Iterable[Any]) -> None:
    """Write batches to an Arrow file."""
    draft = _name_draft(path)
    with pa.OSFile(str(draft), "wb") as sink, pa.ipc.new_file(sink, schema, options=COMPRESSED) as writer:
        for batch in batches:
            writer.write_batch(batch)
    draft.replace(path)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array."""
    draft = _name_draft(path)
    with draft.open("wb") as file:
        np.save(file, array)
    draft.replace(path)


def _name_draft(path: Path) -> Path:
    """Return the name under which a file is written."""
    return path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
