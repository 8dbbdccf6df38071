"""Types of arrays and tables: `Rows` are feature rows (n, features), or one of them, other arrays (n,); a `Row` is one of a table of results."""

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
