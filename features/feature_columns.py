"""Feature rows in memory, and their Arrow columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def allocate_rows(rows: int, columns: int) -> NDArray[np.float32]:
    """Allocate rows of features in memory of Arrow, which it uses again: fresh pages of numpy cost more than all that is written into them."""
    buffer = pa.allocate_buffer(rows * columns * np.dtype(np.float32).itemsize)
    return np.frombuffer(memoryview(buffer), np.float32).reshape(rows, columns)


def build_feature_columns(X: NDArray[np.float32], shown: Sequence[int]) -> list[Any]:
    """Build Arrow arrays of some columns of feature rows; NaN is null."""
    if shown and not 0 <= min(shown) <= max(shown) < X.shape[1]:
        raise IndexError(f"columns {min(shown)} to {max(shown)} of {X.shape[1]}")
    columns = np.ascontiguousarray(X.T[list(shown)], np.float32)
    return [pa.array(column, from_pandas=True) for column in columns]
