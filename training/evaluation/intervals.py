"""Intervals of 95 %: from whole days drawn anew, since parcels of one day and one network are not independent.

A share that rests on few finds gets the exact form: days drawn anew cannot show what did not happen to be found, so that a
share of nothing found would be 0, from 0 to 0. Every array here is a metric of the data, then of each resample.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri, stdtrit

Floats = NDArray[np.float64]

INTERVAL_QUANTILES = (0.025, 0.975)
MIN_RESAMPLE_SHARE = 0.5
"""Share of the resamples in which a metric must exist for them to tell its spread."""


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % interval; NaN where the data do not tell.

    Attributes
    ----------
    value, low, high : float
    """

    value: float
    low: float
    high: float


class ResampledMetric(NamedTuple):
    """A metric of the data and of each resample, before its interval is taken.

    Attributes
    ----------
    values : float64 array, (1 + resamples,)
    trials : float, optional
        Of a share: how many equally weighted results it rests on.
    lowest, highest : float64 array, (1 + resamples,), optional
        Of a share: its least and its most, where the data leave that open; the interval reaches from the low end of the
        one to the high end of the other.
    """

    values: Floats
    trials: float | None = None
    lowest: Floats | None = None
    highest: Floats | None = None

    def estimate(self, days: int) -> Estimate:
        """Take the 95 % interval; a single day tells nothing of the spread."""
        if self.trials is None:
            return compute_interval(self.values if days > 1 else self.values[:1])
        found = compute_share_interval(self.values, self.trials, days)
        low = found if self.lowest is None else compute_share_interval(self.lowest, self.trials, days)
        high = found if self.highest is None else compute_share_interval(self.highest, self.trials, days)
        return Estimate(found.value, min(found.low, low.low), max(found.high, high.high))


def compute_interval(values: Floats) -> Estimate:
    """Take the interval that holds 95 % of the resamples; none where half of them are unknown.

    Parameters
    ----------
    values : float64 array, (1 + resamples,)
    """
    resampled = _drop_unknown(values)
    if not len(resampled):
        return Estimate(float(values[0]), np.nan, np.nan)
    low, high = np.quantile(resampled, INTERVAL_QUANTILES)
    return Estimate(float(values[0]), float(low), float(high))


def compute_share_interval(values: Floats, trials: float, days: int) -> Estimate:
    """Take the exact interval of a share, for as many trials as its spread over days shows.

    Parameters
    ----------
    values : float64 array, (1 + resamples,)
        The share, 0 to 1.
    trials : float
        Equally weighted results that it rests on; it never counts for more. With 0 nothing is known: 0 to 1.
    days : int
        How many were drawn from; a single one tells nothing of its spread.

    Notes
    -----
    Korn and Graubard 1998, as official statistics use it: the effective number of trials is p (1 - p) over the variance
    of p, here from whole days drawn anew, reduced for the few days by a ratio of quantiles of t, and the interval is
    that of Clopper and Pearson 1934.

    Examples
    --------
    Nothing found in 30 trials leaves room for one in nine:

    >>> round(compute_share_interval(np.zeros(100), 30, days=10).high, 3)
    0.116
    """
    value = float(values[0])
    if not np.isfinite(value) or days < 2:
        return Estimate(value, np.nan, np.nan)
    spread = float(np.var(_drop_unknown(values))) if 0 < value < 1 and len(_drop_unknown(values)) else 0.0
    if spread > 0:
        shown = value * (1 - value) / spread
        trials = min(
            trials,
            shown * float(ndtri(INTERVAL_QUANTILES[1]) / stdtrit(days - 1, INTERVAL_QUANTILES[1])) ** 2,
        )
    hits = value * trials
    low = 0.0 if hits <= 0 else betaincinv(hits, trials - hits + 1, INTERVAL_QUANTILES[0])
    high = 1.0 if hits >= trials else betaincinv(hits + 1, trials - hits, INTERVAL_QUANTILES[1])
    return Estimate(value, float(low), float(high))


def _drop_unknown(values: Floats) -> Floats:
    """Give the resamples in which the metric exists; none where those are too few."""
    resampled: Floats = values[1:][np.isfinite(values[1:])]
    return resampled if len(resampled) > MIN_RESAMPLE_SHARE * len(values) else resampled[:0]
