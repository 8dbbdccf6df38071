"""Logistic regression on the features with a strong ridge penalty: a baseline, and the linear part of a model."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import Floats, Rows

MAX_ROWS = 20_000  # maximum number of rows for the fit: all positives, and evenly sampled negatives
LOGISTIC_C, LOGISTIC_MAX_ITERATIONS = 0.01, 200  # inverse of the ridge penalty, and iterations of the fit
BLOCK_ROWS = 4096  # rows that are scored at a time: their logarithms stay in the cache of the processor
_FITTING = Lock()


@dataclass(frozen=True)
class LogisticRegression:
    """A logistic regression on standardised logarithms, whose `median` replaces missing values; parts are scikit-learn's."""

    median: Rows
    scaler: Any
    regression: Any
    name: str = "logistic"

    @classmethod
    def fit(cls, X: Rows, y: Floats, weight: Floats) -> "LogisticRegression":
        """Fit the model with scikit-learn, on one thread, and one model at a time."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression as Linear
        from sklearn.preprocessing import StandardScaler
        from threadpoolctl import threadpool_limits

        logs = apply_signed_log(X)
        scaler, regression = StandardScaler(), Linear(C=LOGISTIC_C, max_iter=LOGISTIC_MAX_ITERATIONS)
        median = _compute_medians(logs)
        # Both limits and filters hold for the whole process.
        with _FITTING, threadpool_limits(1), warnings.catch_warnings():
            # A solution near the optimum is sufficient.
            warnings.simplefilter("ignore", ConvergenceWarning)
            scaled = scaler.fit_transform(np.where(np.isnan(logs), median, logs))
            regression.fit(scaled, y, sample_weight=weight / weight.mean())
        return cls(median, scaler, regression)

    def compute_scores(self, X: Rows, consignment_ids: Sequence[str] = ()) -> Floats:  # noqa: ARG002
        """Compute the log-odds of each row."""
        scores = np.empty(len(X))
        for begin in range(0, len(X), BLOCK_ROWS):
            block = slice(begin, begin + BLOCK_ROWS)
            logs = apply_signed_log(X[block])
            scaled = self.scaler.transform(np.where(np.isnan(logs), self.median, logs))
            scores[block] = self.regression.decision_function(scaled)
        return scores


def _compute_medians(logs: Rows) -> Rows:
    """Compute the median of the values of each column, 0 if it has none."""
    ordered, given = np.sort(logs, axis=0), np.count_nonzero(~np.isnan(logs), axis=0)
    middle = np.stack([np.maximum(given - 1, 0) // 2, np.minimum(given // 2, len(logs) - 1)])
    return np.asarray(np.nan_to_num(np.take_along_axis(ordered, middle, axis=0).mean(axis=0)))


def apply_signed_log(X: NDArray[Any]) -> NDArray[Any]:
    """Compute the logarithm of one plus the absolute value, with its sign, because counts and amounts have long tails."""
    size = np.log1p(np.abs(np.where(np.isinf(X), np.nan, X)))
    return np.asarray(np.sign(X) * size)


def sample_negatives(y: Floats, weight: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Return the places of all positives and of every k-th negative, and their weights, k times as much for negatives."""
    negatives = np.flatnonzero(y == 0)
    room = max(MAX_ROWS - int((y == 1).sum()), MAX_ROWS // 2)
    step = -(-len(negatives) // room) if len(negatives) else 1
    kept = np.sort(np.concatenate([np.flatnonzero(y == 1), negatives[::step]]))
    return kept, weight[kept] * np.where(y[kept] == 1, 1.0, float(step))
