"""Recall at a capacity, estimated from inspections whose selection probabilities are known.

Recall at a capacity is the share of all positives that are among the highest scores of each office and day, within the
capacity. Each detection stands for itself and for positives that were not drawn: 1 / probability in total
(Horvitz and Thompson 1952). Example: 8 detections among the highest scores, all inspected with certainty, and 1 detection among
the others with probability 1/3. The totals are 8 and 3, and recall is 8/11.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

QUANTILE_STEPS = 101
"""Number of quantiles of each total from which the distribution of their ratio is computed."""
INTERVAL = (0.025, 0.975)
PRIOR_FINDS = 0.5
"""Added to the detections of each total for its interval, as in Jeffreys' prior of a Poisson mean."""


class RecallEstimate(NamedTuple):
    """The estimate of recall with its 95 % interval, 0 to 1. The value is NaN without a detection.

    Attributes
    ----------
    value, low, high : float
    """

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Return half of the length of the interval."""
        return (self.high - self.low) / 2


class FindTotals(NamedTuple):
    """The positives on one side of the capacity: the detected ones, and an estimate of the others.

    Attributes
    ----------
    found : float
        Number of detections; expected detections in a plan.
    unseen : float
        Estimated positives that were not drawn: the sum of 1 / probability - 1 over the detections.
    variance : float
        Variance of `unseen` as an estimator.
    next_weight : float
        Number of undrawn positives that one more detection would stand for; 0 if every row was drawn with certainty.
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
        """Return the totals of `factor` times the traffic."""
        return FindTotals(self.found * factor, self.unseen * factor, self.variance * factor, self.next_weight)

    def compute_quantiles(self, shares: Floats) -> Floats:
        """Compute quantiles of the total: the detections, plus a gamma distribution for what was not drawn.

        A gamma distribution matches the first two moments of a weighted sum of rare events (Fay and Feuer 1997). Half a
        detection is added, which is between their lower and their upper limit.
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
    """The drawn and inspected consignments with a final result.

    Attributes
    ----------
    within : float64 array, (n,)
        1 if a consignment is among the highest scores within the capacity, else 0; for ties at the cut, the share of them that
        is. See `compute_selection_probabilities` with `explore` 0.
    probability : float64 array, (n,)
        Marginal probability of being inspected, in (0, 1].
    positive : bool array, (n,)
    expected : float64 array, (n,)
        Calibrated score. It only affects the weight that a further detection would have.
    """

    within: Floats
    probability: Floats
    positive: NDArray[np.bool_]
    expected: Floats


def sum_finds(rows: Floats, probability: Floats, finds: Floats, expected: Floats) -> FindTotals:
    """Compute the totals of one side of the capacity.

    Parameters
    ----------
    rows : float64 array, (n,)
        Share of each row that was drawn from this side, 0 to 1; the expected share in a plan.
    probability : float64 array, (n,)
        Inspection probability in (0, 1].
    finds : float64 array, (n,)
        Detections of a drawn row; expected detections in a plan.
    expected : float64 array, (n,)
        Calibrated score. Half of the prior of a further detection follows it. The other half is equal for all rows, because the
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
        Leave out selected consignments without a final result, and multiply the probabilities of the others by the share
        that has one.

    Returns
    -------
    RecallEstimate
        Recall on the consignments from which the sample was drawn, not on later ones.
    """
    within, probability, positive, expected = sample
    finds = positive.astype(np.float64)
    top, rest = (sum_finds(share, probability, finds, expected) for share in (within, 1.0 - within))
    return compute_recall(top, rest)


def compute_recall(within: FindTotals, beyond: FindTotals) -> RecallEstimate:
    """Compute recall with its interval from two totals.

    Parameters
    ----------
    within, beyond : FindTotals
        Totals of the highest scores within the capacity, and of all others.
    """
    total = within.total + beyond.total
    shares = (np.arange(QUANTILE_STEPS) + 0.5) / QUANTILE_STEPS
    top, rest = (side.compute_quantiles(shares) for side in (within, beyond))
    sums = top[:, None] + rest[None, :]
    if total <= 0 or not (sums > 0).all():
        return RecallEstimate(np.nan if total <= 0 else within.total / total, 0.0, 1.0)
    low, high = np.quantile(top[:, None] / sums, INTERVAL)
    return RecallEstimate(within.total / total, float(low), float(high))
