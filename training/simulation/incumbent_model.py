"""Model of the simulated operation: naive Bayes over the inputs of its rules, learnt from its own inspections.

It resembles a typical first model: it learns from what others chose, trusts `clear` results of wrong tests, and is fixed
between two fits. An inspection on day 130 with a laboratory result on day 150 is used from the fit of day 168 on.
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
"""Maximum number of values of a column: signs, positions of countries and services, chapters of the HS."""
PRIOR_COUNT = 1.0
"""Pseudo-count added to each count."""


class IncumbentModel:
    """Naive Bayes model: counts for each value of the rules' inputs how often NPS were detected."""

    def __init__(self) -> None:
        self._heard: list[tuple[int, bool, tuple[int, ...]]] = []
        self._counts: NDArray[np.float64] | None = None
        self._fitted_on = -REFIT_DAYS
        self._table: NDArray[np.float64] | None = None

    def record_outcomes(self, seen: Numbers, outcomes: Sequence[Outcome]) -> None:
        """Record the result of one consignment; it is used from the first fit after it was known.

        Parameters
        ----------
        seen : int64 array, (columns,)
        outcomes : sequence of Outcome
            All its outcomes; the first final result is learnt, even if it is corrected later.
        """
        for outcome in outcomes:
            if outcome.known_at is not None:
                found = outcome.result == TARGET
                heappush(self._heard, (to_us(outcome.known_at), found, tuple(seen.tolist())))
                return

    def score(self, seen: Numbers, day: int) -> Values:
        """Compute the log likelihood ratio of NPS to all other inspected consignments.

        Parameters
        ----------
        seen : int64 array, (n, columns)
            From 0 to `MAX_VALUES` - 1.
        day : int
            UTC days since the epoch; results that became known on that day or later are not used.

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
