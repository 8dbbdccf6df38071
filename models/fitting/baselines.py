"""Baselines that a model must beat: random order, the rules, the best single feature, logistic regression."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.spec import Spec
from models.arrays import Floats, Rows
from models.fitting.linear import LogisticRegression
from models.rules import Rules

MAX_FLOAT32 = float(np.finfo(np.float32).max)
MISSING_RANK_VALUE = -1e39  # rank value of a missing value, below every float32


@dataclass(frozen=True)
class RandomOrder:
    """A random order by identifier."""

    seed: int
    name: str = "random"

    def compute_scores(self, X: Rows, consignment_ids: Sequence[str]) -> Floats:  # noqa: ARG002
        """Compute a number in [0, 1) per identifier. The same identifier always gets the same number."""
        texts = (f"{self.seed}\n{name}".encode() for name in consignment_ids)
        drawn = [int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") for text in texts]
        return np.array([(number >> 11) / 2**53 for number in drawn], dtype=np.float64)


@dataclass(frozen=True)
class BestFeature:
    """The single feature, ascending (`sign` 1) or descending (-1), that orders the training rows best."""

    feature: str
    column: int
    sign: float
    name: str = "best_feature"

    @classmethod
    def fit(cls, X: Rows, y: Floats, weight: Floats, spec: Spec) -> "BestFeature":
        """Select the feature by average precision. Of equal ones, select the first in the row, ascending before descending."""
        reached = []
        for column in range(X.shape[1]):
            values, group = np.unique(X[:, column], return_inverse=True)
            found, opened = (np.bincount(group, weights=each) for each in (weight * y, weight))
            lowest, present = np.arange(len(values)), np.count_nonzero(~np.isnan(values))
            highest = np.append(lowest[:present][::-1], lowest[present:])
            for sign, first in ((1.0, highest), (-1.0, lowest)):
                reached.append((_compute_average_precision(found[first], opened[first]), -column, sign))
        _, column, sign = max(reached)
        return cls(spec.names[-column], -column, sign)

    def compute_scores(self, X: Rows, consignment_ids: Sequence[str] = ()) -> Floats:  # noqa: ARG002
        """Return the values of the feature. Missing values rank last."""
        within = np.clip(self.sign * X[:, self.column].astype(np.float64), -MAX_FLOAT32, MAX_FLOAT32)
        return np.nan_to_num(within, nan=MISSING_RANK_VALUE)


def _compute_average_precision(found: NDArray[Any], opened: NDArray[Any]) -> float:
    """Compute the average precision of groups of equal values, given the weights of their positives and of all their rows."""
    so_far, whole = np.cumsum(found), np.cumsum(opened)
    precision = np.divide(so_far, whole, out=np.zeros(len(whole)), where=whole > 0)
    return float(np.sum(found * precision) / so_far[-1])


Baseline = RandomOrder | Rules | BestFeature | LogisticRegression
"""What orders consignments by risk: each has a name, and numbers that are higher for riskier rows and never NaN."""


def fit_baselines(
    X: Rows, y: Floats, weight: Floats, spec: Spec, *, seed: int, linear: LogisticRegression | None
) -> tuple[Baseline, ...]:
    """Fit all baselines on training rows with few enough negatives; a `linear` model of the same rows is not fitted again."""
    linear = linear or LogisticRegression.fit(X, y, weight)
    return RandomOrder(seed), Rules(spec), BestFeature.fit(X, y, weight, spec), linear
