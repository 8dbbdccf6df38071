"""Recall at a capacity, estimated from inspections whose selection probabilities are known.

Recall at a capacity is the share of all positives that are among the highest scores of each office and day, as many as
can be inspected. Each find stands for itself and for the positives that were not drawn: 1 / probability in all
(Horvitz and Thompson 1952). Example: 8 finds among the highest scores, all surely inspected, and 1 find of the others
with probability 1/3. The totals are 8 and 3, and recall is 8/11.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

QUANTILE_STEPS = 101
"""Points at which each of the two totals is taken to get the distribution of their ratio."""
INTERVAL = (0.025, 0.975)
PRIOR_FINDS = 0.5
"""Added to the finds of either total for its interval, as Jeffreys' prior does for a Poisson mean."""


class RecallEstimate(NamedTuple):
    """Recall with its 95 % interval, 0 to 1; the value is NaN if no find tells of it.

    Attributes
    ----------
    value, low, high : float
    """

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Return half of the interval's length."""
        return (self.high - self.low) / 2


class FindTotals(NamedTuple):
    """Positives on one side of the capacity: those found, and those that the finds stand for.

    Attributes
    ----------
    found : float
        Finds; expected finds in a plan.
    unseen : float
        Estimated positives that were not drawn: the sum of 1 / probability - 1 over the finds.
    variance : float
        Of `unseen`, as an estimator of what was not drawn.
    next_weight : float
        How many undrawn positives one more find would stand for; 0 if every row was surely drawn.
    """

    found: float
    unseen: float
    variance: float
    next_weight: float

    @property
    def total(self) -> float:
        """Return the Horvitz-Thompson estimate of all positives of the side."""
        return self.found + self.unseen

    def scale(self, factor: float) -> "FindTotals":
        """Return the totals of so many times the traffic."""
        return FindTotals(self.found * factor, self.unseen * factor, self.variance * factor, self.next_weight)

    def compute_quantiles(self, shares: Floats) -> Floats:
        """Return quantiles of the total: the finds, and a gamma distribution for what was not drawn.

        A weighted sum of rare events is matched by its first two moments with a gamma distribution (Fay and Feuer
        1997), with half a find more, between their lower and their upper limit.
        """
        from scipy.special import gammaincinv

        weight = self.next_weight
        mean = self.unseen + PRIOR_FINDS * weight
        variance = self.variance + PRIOR_FINDS * weight * (1 + weight)
        if variance <= 0:
            return np.full(len(shares), self.found)
        quantiles: Floats = self.found + gammaincinv(mean**2 / variance, shares) * variance / mean
        return quantiles


class InspectedSample(NamedTuple):
    """The consignments that were drawn, inspected and have a final result.

    Attributes
    ----------
    within : float64 array, (n,)
        Whether a consignment is among the highest scores within the capacity, 1 or 0; the share of ties at the cut that
        are, for those. `compute_selection_probabilities` with `explore` 0 gives it.
    probability : float64 array, (n,)
        Marginal probability of being inspected, in (0, 1].
    positive : bool array, (n,)
    expected : float64 array, (n,)
        Calibrated score. It says only which weight a further find would have.
    """

    within: Floats
    probability: Floats
    positive: NDArray[np.bool_]
    expected: Floats


def sum_finds(rows: Floats, probability: Floats, finds: Floats, expected: Floats) -> FindTotals:
    """Return the totals of one side.

    Parameters
    ----------
    rows : float64 array, (n,)
        How much of each row was drawn from this side, 0 to 1; in a plan, how much of it is expected to be.
    probability : float64 array, (n,)
        In (0, 1].
    finds : float64 array, (n,)
        Finds of a drawn row; expected ones in a plan.
    expected : float64 array, (n,)
        Calibrated score. Half of the belief in a further find follows it, and half takes every row for alike, since the
        score may be wrong.
    """
    unseen = 1.0 / probability - 1.0
    uncertain = rows * (unseen > 0)
    count = uncertain.sum()
    belief = uncertain * (expected + (np.sum(uncertain * expected) / count if count else 0.0))
    found = rows * finds
    return FindTotals(
        float(found.sum()),
        float(np.sum(found * unseen)),
        float(np.sum(found * unseen * (1.0 + unseen))),
        float(np.sum(belief * unseen) / belief.sum()) if belief.sum() > 0 else 0.0,
    )


def estimate_recall(sample: InspectedSample) -> RecallEstimate:
    """Estimate recall at the capacity with its 95 % interval.

    Parameters
    ----------
    sample : InspectedSample
        Chosen consignments without a final result are left out; multiply the probabilities of the others by the share
        that has one.

    Returns
    -------
    RecallEstimate
        Of the consignments that the sample was drawn from, not of later ones.
    """
    within, probability, positive, expected = sample
    finds = positive.astype(np.float64)
    top, rest = (sum_finds(share, probability, finds, expected) for share in (within, 1.0 - within))
    return compute_recall(top, rest)


def compute_recall(within: FindTotals, beyond: FindTotals) -> RecallEstimate:
    """Return the recall that two totals say, with its interval.

    Parameters
    ----------
    within, beyond : FindTotals
        Of the highest scores within the capacity, and of all others.
    """
    total = within.total + beyond.total
    shares = (np.arange(QUANTILE_STEPS) + 0.5) / QUANTILE_STEPS
    top, rest = (side.compute_quantiles(shares) for side in (within, beyond))
    sums = top[:, None] + rest[None, :]
    if total <= 0 or not (sums > 0).all():
        return RecallEstimate(np.nan if total <= 0 else within.total / total, 0.0, 1.0)
    low, high = np.quantile(top[:, None] / sums, INTERVAL)
    return RecallEstimate(within.total / total, float(low), float(high))
