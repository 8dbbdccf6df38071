"""Logistic regression on the features with a strong ridge penalty: a baseline, and the linear part of a model."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]

MAX_ROWS = 20_000
"""Maximum number of rows for the fit: all positives, and evenly sampled negatives."""
LOGISTIC_C, LOGISTIC_MAX_ITERATIONS = 0.01, 200
"""Inverse of the ridge penalty, and maximum number of iterations of the fit."""


@dataclass(frozen=True)
class LogisticRegression:
    """A logistic regression with a ridge penalty on standardised logarithms. Missing values are set to the median."""

    fitted: Any
    name: str = "logistic"

    @classmethod
    def fit(cls, X: Rows, y: Floats, weight: Floats) -> "LogisticRegression":
        """Fit the model with scikit-learn, on one thread."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression as Linear
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from threadpoolctl import threadpool_limits

        linear = Linear(C=LOGISTIC_C, max_iter=LOGISTIC_MAX_ITERATIONS)
        steps = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), linear
        )
        with threadpool_limits(1), warnings.catch_warnings():
            # A solution near the optimum is sufficient.
            warnings.simplefilter("ignore", ConvergenceWarning)
            steps.fit(apply_signed_log(X), y, logisticregression__sample_weight=weight / weight.mean())
        return cls(steps)

    def compute_scores(self, X: Rows, consignment_ids: Sequence[str] = ()) -> Floats:  # noqa: ARG002
        """Compute the log-odds of each row."""
        return np.asarray(self.fitted.decision_function(apply_signed_log(X)), dtype=np.float64)


def apply_signed_log(X: NDArray[Any]) -> NDArray[Any]:
    """Compute the logarithm of one plus the absolute value, with its sign, because counts and amounts have long tails."""
    size = np.log1p(np.abs(np.where(np.isinf(X), np.nan, X)))
    return np.asarray(np.sign(X) * size)


def sample_negatives(y: Floats, weight: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Keep all positives and every k-th negative, with k times its weight.

    Parameters
    ----------
    y, weight : float64 array, (n,)

    Returns
    -------
    tuple
        Positions of the kept rows, ascending, and their weights. A sample of a sample is the same.
    """
    negatives = np.flatnonzero(y == 0)
    room = max(MAX_ROWS - int((y == 1).sum()), MAX_ROWS // 2)
    step = -(-len(negatives) // room) if len(negatives) else 1
    kept = np.sort(np.concatenate([np.flatnonzero(y == 1), negatives[::step]]))
    return kept, weight[kept] * np.where(y[kept] == 1, 1.0, float(step))
