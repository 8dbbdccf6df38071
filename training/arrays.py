"""Types of arrays and tables, and the digits of numbers: `Rows` are feature rows (n, features), other arrays (n,); a `Row` is one of a table of results."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.float32]
Texts = NDArray[np.object_]
Columns = dict[str, NDArray[Any]]
Row = dict[str, Any]
STORED_DIGITS = 9
"""Significant digits of numbers in a bundle or a run, so that the last bits of sums rarely change them. Equal bytes are promised on one kind of processor."""


def round_significant(value: float, digits: int = STORED_DIGITS) -> float:
    """Round a number to its significant digits."""
    return float(f"{float(value):.{digits}g}")
