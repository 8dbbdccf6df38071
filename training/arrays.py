"""Types of arrays: `Rows` are feature rows (n, features), the others (n,); `Columns` are those of a table by name."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.float32]
Texts = NDArray[np.object_]
Columns = dict[str, NDArray[Any]]
