"""The rows of a table that a training run keeps: those it learns from, and the traffic of the tested periods, or a sample of it.

A row of traffic that nobody inspected is drawn by a number that depends on its identifier and the seed alone. So the sample is the
same in any order of the rows, in any number of parts and processes. For example, of 3,000,000 such rows 500,000 are kept; in a
period with 900,000 of them, of which 150,000 are drawn, each stands for 6. An inspected row is always kept and stands for itself.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.baselines import RandomOrder

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

SEED_OFFSET = 1_000_003
"""Keeps the draw apart from the baseline with the random order of the same seed."""
NO_ROWS = np.empty((0, 0), dtype=np.float32)


class TrafficSample(NamedTuple):
    """The kept rows of a table (their positions, ascending), and what they stand for.

    `stands_for` is how many consignments of its period a row stands for, regardless of labels. `even` marks a uniform sample
    of the traffic of the periods, inspected or not. `of` is the number of rows of the table.
    """

    rows: Positions
    stands_for: Floats
    even: Bools
    of: int

    @classmethod
    def create_whole(cls, rows: int) -> "TrafficSample":
        """Create the sample that has all rows of a table."""
        return cls(np.arange(rows), np.ones(rows), np.ones(rows, dtype=bool), rows)

    @property
    def is_drawn(self) -> bool:
        """Return True if some traffic was left out."""
        return bool((self.stands_for > 1.0).any())


def sample_traffic(
    consignment_id: "pd.Series", learnt: Bools, periods: Sequence[Bools], limit: int, seed: int
) -> TrafficSample:
    """Keep all `learnt` rows, and of the other traffic of the tested periods at most `limit` rows; no row is in two periods."""
    traffic = np.logical_or.reduce([learnt & False, *periods])
    rest = np.flatnonzero(traffic & ~learnt)
    drawn = np.ones(len(learnt), dtype=bool)
    if len(rest) > limit:
        at = np.flatnonzero(traffic)
        number = np.ones(len(learnt))
        number[at] = RandomOrder(seed + SEED_OFFSET).compute_scores(NO_ROWS, consignment_id.iloc[at].tolist())
        drawn = number <= np.partition(number[rest], limit - 1)[limit - 1]
    stands_for = np.ones(len(learnt))
    for period in periods:
        mine = period & ~learnt
        stands_for[mine] = mine.sum() / max(int((mine & drawn).sum()), 1)
    rows = np.flatnonzero(learnt | (traffic & drawn))
    return TrafficSample(rows, stands_for[rows], drawn[rows], len(learnt))
