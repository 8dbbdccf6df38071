"""Baselines that a model must beat: random order, the rules, the best single feature, logistic regression."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
        reached = [
            (compute_average_precision(_to_rank_values(X[:, column], sign), y, weight), -column, sign)
            for column in range(X.shape[1])
            for sign in (1.0, -1.0)
        ]
        _, column, sign = max(reached)
        return cls(spec.names[-column], -column, sign)

    def compute_scores(self, X: Rows, consignment_ids: Sequence[str] = ()) -> Floats:  # noqa: ARG002
        """Return the values of the feature. Missing values rank last."""
        return _to_rank_values(X[:, self.column], self.sign)


def compute_average_precision(score: Floats, y: Floats, weight: Floats) -> float:
    """Compute the weighted average precision. Rows with equal scores count together."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    found, opened = np.cumsum((weight * y)[order])[ends], np.cumsum(weight[order])[ends]
    precision = np.divide(found, opened, out=np.zeros(len(ends)), where=opened > 0)
    return float(np.sum(np.diff(found, prepend=0.0) * precision) / found[-1])


def _to_rank_values(values: Rows, sign: float) -> Floats:
    within = np.clip(sign * values.astype(np.float64), -MAX_FLOAT32, MAX_FLOAT32)
    return np.nan_to_num(within, nan=MISSING_RANK_VALUE)


Baseline = RandomOrder | Rules | BestFeature | LogisticRegression
"""What orders consignments by risk: each has a name, and numbers that are higher for riskier rows and never NaN."""


def fit_baselines(
    X: Rows, y: Floats, weight: Floats, spec: Spec, *, seed: int, linear: LogisticRegression | None
) -> tuple[Baseline, ...]:
    """Fit all baselines on training rows with few enough negatives; a `linear` model of the same rows is not fitted again."""
    linear = linear or LogisticRegression.fit(X, y, weight)
    return RandomOrder(seed), Rules(spec), BestFeature.fit(X, y, weight, spec), linear
