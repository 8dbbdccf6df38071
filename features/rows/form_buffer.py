"""Normal forms of rows, as the kernel of rows copies them for Python."""

import numpy as np
from numpy.typing import NDArray

from features.rows.slots import FORMS

FIRST_BYTES, BYTES_PER_ROW = 1 << 12, 1 << 9
"""Usual room."""
MAX_ROW_BYTES = 1 << 20
"""Room for any valid text of a row, whose forms have at most half of it."""


class FormBuffer:
    """The normal forms of some rows, one after the other.

    Parameters
    ----------
    rows : int

    Attributes
    ----------
    data : uint8 array
        What kernels write into. It is another array after it grew.
    bounds : int64 array, (rows, FORMS + 1)
        Where the forms of a row begin, and the end of each; zeros if they were not copied.
    """

    def __init__(self, rows: int) -> None:
        self.data: NDArray[np.uint8] = np.empty(FIRST_BYTES + BYTES_PER_ROW * rows if rows else 0, np.uint8)
        self.bounds = np.zeros((rows, FORMS + 1), np.int64)

    def grow(self, used: int) -> bool:
        """Make room for another row after the bytes that are used. Return False if there was room for any."""
        if len(self.data) - used >= MAX_ROW_BYTES:
            return False
        larger = np.empty(len(self.data) + MAX_ROW_BYTES, np.uint8)
        larger[:used] = self.data[:used]
        self.data = larger
        return True

    def get_forms(self, row: int) -> list[str]:
        """Return the forms of a row in the order of `features.rows.slots.FORM_COLUMNS`, '' if missing."""
        first, *ends = self.bounds[row].tolist()
        text = self.data[first : ends[-1]].tobytes()
        pairs = zip([first, *ends], ends, strict=False)
        return [text[start - first : stop - first].decode("utf-8", "surrogatepass") for start, stop in pairs]


NO_FORMS = FormBuffer(0)
