"""The model that the simulated operation comes to use: naive Bayes over what its rules see, learnt from its own openings.

It is what a first model is like: it learns from what others chose, believes `clear` where a test was wrong, and is frozen
between two fits. Opened on day 130, answered by the laboratory on day 150: it counts from the fit of day 168 on.
"""

from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from consignments.records import Outcome
from consignments.timestamps import US_PER_DAY, to_us
from training.simulation.shipments import Numbers, Values

TARGET = "nps"
REFIT_DAYS = 28
"""Days between two fits (assumed)."""
MAX_VALUES = 100
"""Values that a column may have: signs, places of countries and services, chapters of the HS."""
PRIOR_COUNT = 1.0
"""Added to each count."""


class IncumbentModel:
    """Counts, for each value that rules can see, how often NPS were found behind it."""

    def __init__(self) -> None:
        self._heard: list[tuple[int, bool, tuple[int, ...]]] = []
        self._counts: NDArray[np.float64] | None = None
        self._fitted_on = -REFIT_DAYS
        self._table: NDArray[np.float64] | None = None

    def record_outcomes(self, seen: Numbers, outcomes: Sequence[Outcome]) -> None:
        """Take what was found in one consignment; it counts from the first fit after it was known.

        Parameters
        ----------
        seen : int64 array, (columns,)
        outcomes : sequence of Outcome
            All that was reported of it; the first final result is learnt, as it was when it came.
        """
        for outcome in outcomes:
            if outcome.known_at is not None:
                found = outcome.result == TARGET
                heappush(self._heard, (to_us(outcome.known_at), found, tuple(seen.tolist())))
                return

    def score(self, seen: Numbers, day: int) -> Values:
        """Give the logarithm of how much likelier NPS are than among all that was opened.

        Parameters
        ----------
        seen : int64 array, (n, columns)
            From 0 to `MAX_VALUES` - 1.
        day : int
            UTC days since the epoch; what became known on it, or later, is not used.

        Returns
        -------
        float64 array, (n,)
        """
        if day - self._fitted_on >= REFIT_DAYS:
            self._fit(seen.shape[1], day)
        assert self._table is not None
        total: Values = self._table[np.arange(seen.shape[1]), seen].sum(axis=1)
        return total

    def _fit(self, columns: int, day: int) -> None:
        if self._counts is None:
            self._counts = np.full((2, columns, MAX_VALUES), PRIOR_COUNT)
        while self._heard and self._heard[0][0] < day * US_PER_DAY:
            _, found, seen = heappop(self._heard)
            self._counts[int(found), np.arange(columns), seen] += 1.0
        clear, nps = np.log(self._counts / self._counts.sum(axis=2, keepdims=True))
        self._table, self._fitted_on = nps - clear, day
