"""Types of arrays: `Rows` are feature rows (n, features), or one of them, and other arrays (n,)."""

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.float32]
