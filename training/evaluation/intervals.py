"""Intervals of 95 % from resampled whole days, since parcels of one day and one network are not independent.

A share that is based on few positives gets the exact form. Resampled days cannot show positives that happened not to be
detected: a share of 0 would get the interval from 0 to 0. Every array here is a metric of the data, then of each
resample.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri, stdtrit

Floats = NDArray[np.float64]

INTERVAL_QUANTILES = (0.025, 0.975)
MIN_RESAMPLE_SHARE = 0.5
"""Share of the resamples in which a metric must exist, so that they show its spread."""


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % interval; NaN if the data do not determine it.

    Attributes
    ----------
    value, low, high : float
    """

    value: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        """True if both ends are known."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    @property
    def sign(self) -> int:
        """Sign of a difference: 1 or -1 if its entire interval is above or below zero, 0 if it contains zero or is unknown.

        Examples
        --------
        >>> Estimate(0.1, 0.02, 0.2).sign, Estimate(0.1, -0.02, 0.2).sign, Estimate(0.1, np.nan, np.nan).sign
        (1, 0, 0)
        """
        return int(self.low > 0) - int(self.high < 0)


class ResampledMetric(NamedTuple):
    """A metric of the data and of each resample, before its interval is computed.

    Attributes
    ----------
    values : float64 array, (1 + resamples,)
    trials : float, optional
        For a share: the number of equally weighted results it is based on.
    lowest, highest : float64 array, (1 + resamples,), optional
        For a share: its lower and upper bound, if the data leave a range. The interval then reaches from the low end
        of the one to the high end of the other.
    """

    values: Floats
    trials: float | None = None
    lowest: Floats | None = None
    highest: Floats | None = None

    def estimate(self, days: int) -> Estimate:
        """Compute the 95 % interval; one day has no resamples, so it has none."""
        if self.trials is None:
            return compute_interval(self.values)
        found = compute_share_interval(self.values, self.trials, days)
        low = found if self.lowest is None else compute_share_interval(self.lowest, self.trials, days)
        high = found if self.highest is None else compute_share_interval(self.highest, self.trials, days)
        return Estimate(found.value, min(found.low, low.low), max(found.high, high.high))


def compute_interval(values: Floats) -> Estimate:
    """Compute the interval that contains 95 % of the resamples; NaN if half of them are unknown.

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
    """Compute the exact interval of a share, with the number of trials that its spread over days supports.

    Parameters
    ----------
    values : float64 array, (1 + resamples,)
        The share, 0 to 1.
    trials : float
        Equally weighted results that it is based on, an upper limit. With 0 nothing is known: 0 to 1.
    days : int
        Number of days resampled; one day shows no spread.

    Notes
    -----
    Korn and Graubard 1998, as official statistics use it. The effective number of trials is p (1 - p) over the variance
    of p, here from resampled whole days, reduced for few days by a ratio of quantiles of t. The interval is that of
    Clopper and Pearson 1934.

    Examples
    --------
    No positive in 30 trials is consistent with one in nine:

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
    """Return the resamples in which the metric exists; none if those are too few."""
    resampled: Floats = values[1:][np.isfinite(values[1:])]
    return resampled if len(resampled) > MIN_RESAMPLE_SHARE * len(values) else resampled[:0]
