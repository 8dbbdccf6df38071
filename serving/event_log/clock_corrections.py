"""Corrections of the clock: entries recorded by a clock that was ahead count from the time of the correction.

sequence 7, 8   recorded while the system clock was at 31 December 2027
sequence 9      records on 26 November 2026 that the times of 8 and before, back to 7, were wrong

The entries and their hashes stay as they are. A reader replaces their later times by the time of the correction, so that
history, the service's clock and retention use it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

AT, RECORDED = 3, 4
"""Positions of `at_us` and `recorded_us` in a row of all columns and in one of the columns that history needs."""


class ClockCorrection(msgspec.Struct, frozen=True):
    """The record of a correction.

    Attributes
    ----------
    after, up_to : int
        Range of sequence numbers whose times are corrected; `after` excluded, `up_to` included.
    clock_us : int
        Time of the correction; later times in these entries are replaced by it.
    approved_by, why : str
    """

    after: int
    up_to: int
    clock_us: int
    approved_by: str
    why: str

    def correct_row(self, row: Any) -> Any:
        """Return a row with its times corrected; return it unchanged if the correction does not concern it."""
        if not self.after < row[0] <= self.up_to:
            return row
        at_us, recorded_us = row[AT], row[RECORDED]
        recorded_us = None if recorded_us is None else min(recorded_us, self.clock_us)
        return (*row[:AT], min(at_us, self.clock_us), recorded_us, *row[RECORDED + 1 :])


class ClockCorrections:
    """The corrections of a log.

    Parameters
    ----------
    plain : sequence of bytes
        The records, in order.

    Attributes
    ----------
    all : list of ClockCorrection
    """

    def __init__(self, plain: Sequence[bytes]) -> None:
        decoder = msgspec.msgpack.Decoder(ClockCorrection)
        self.all = list(map(decoder.decode, plain))

    def correct_rows(self, rows: Sequence[Any]) -> Sequence[Any]:
        """Return rows, which begin with the columns of an entry in their order, with corrected times."""
        for correction in self.all:
            rows = [correction.correct_row(row) for row in rows]
        return rows

    def correct_times(self, sequences: NDArray[np.int64], at_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the corrected times of entries, int64, (n,)."""
        for each in self.all:
            concerned = (sequences > each.after) & (sequences <= each.up_to)
            at_us = np.where(concerned, np.minimum(at_us, each.clock_us), at_us)
        return at_us

    def find_uncertain_end(self, sequence: int) -> int:
        """Return the last entry recorded before a correction of `sequence` was; 0 if `sequence` was not corrected later.

        Until the correction is recorded, what is derived from the log uses the wrong times.
        """
        return max((each.up_to for each in self.all if each.after < sequence <= each.up_to), default=0)
