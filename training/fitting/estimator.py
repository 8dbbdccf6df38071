"""The trainer of the risk model as a scikit-learn classifier over a matrix of numbers.

It is for pipelines, cross-validation and studies in notebooks. A matrix has no consignments, no time and no channel: it has no
history, no rules and no bands, and its result cannot be registered. Use `training.api.train` for a model that is deployed.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from features.spec import Feature, Spec
from models.risk_model import FitOptions, LabelledRows, RiskModel, TreeParams

CHANNEL = "all"
"""The only channel: a matrix has none."""
CALIBRATION_EVERY = 4
"""Each fourth row of a class calibrates, the others grow the trees."""

Floats = NDArray[np.float64]


class RiskClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A binary classifier: boosted trees blended with a ridge logistic regression, then calibrated.

    Parameters
    ----------
    trees, leaves, depth, rows_in_leaf : int
    learning_rate, linear_share : float
        As in `models.risk_model.TreeParams`; defaults are those of `[model]` of the configuration, with smaller leaves.
    random_state : int
    n_jobs : int
        Threads. The result does not depend on it.

    Attributes
    ----------
    classes_ : array, (2,)
        The second class is the positive.
    n_features_in_ : int
    model_ : RiskModel

    Examples
    --------
    >>> X = np.random.default_rng(1).normal(size=(200, 3)); y = X[:, 0] > 0
    >>> RiskClassifier(trees=10).fit(X, y).predict_proba(X).shape
    (200, 2)
    """

    def __init__(
        self,
        trees: int = 150,
        leaves: int = 12,
        depth: int = 5,
        rows_in_leaf: int = 5,
        learning_rate: float = 0.05,
        linear_share: float = 0.4,
        random_state: int = 1,
        n_jobs: int = 1,
    ) -> None:
        self.trees, self.leaves, self.depth, self.rows_in_leaf = trees, leaves, depth, rows_in_leaf
        self.learning_rate, self.linear_share = learning_rate, linear_share
        self.random_state, self.n_jobs = random_state, n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "RiskClassifier":
        """Fit on a matrix.

        Parameters
        ----------
        X : array, (n, features)
            Converted to float32. NaN is missing.
        y : array, (n,)
            Two classes.
        sample_weight : array, (n,), optional
            A row of weight 2 counts twice in the sums, but is one row for `rows_in_leaf` and for the choice of calibration rows. So it
            does not give the same fit as two rows.

        Raises
        ------
        ValueError
            If the input is no matrix of numbers, or there are not two classes.
        """
        X, y = validate_data(self, X, y, dtype=np.float32, ensure_all_finite="allow-nan")
        check_classification_targets(y)
        if type_of_target(y) == "multiclass":
            raise ValueError("Only binary classification is supported. The type of the target is multiclass.")
        self.classes_, codes = np.unique(y, return_inverse=True)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        totals = np.bincount(codes, weight, minlength=2)
        if len(self.classes_) < 2 or not (totals > 0).all():
            raise ValueError("the classifier needs rows with a weight of two classes; got one class")
        later = _choose_calibration_rows(codes)
        rows = LabelledRows(X, codes.astype(np.float64), weight, [CHANNEL] * len(X))
        names = [f"matrix.x{place}" for place in range(X.shape[1])]
        self.model_ = RiskModel.fit(
            _select(rows, ~later) if later.any() else rows,
            spec=Spec([Feature(name, "count", "matrix") for name in names]),
            later=_select(rows, later) if later.any() else rows,
            options=FitOptions(self._build_tree_params(), int(self.random_state), int(self.n_jobs)),
        )
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Compute the probabilities of both classes, float64 (n, 2)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, ensure_all_finite="allow-nan", reset=False)
        positive = self.model_.score(np.ascontiguousarray(X), [CHANNEL] * len(X))
        return np.column_stack([1.0 - positive, positive])

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the more probable class of each row, (n,)."""
        check_is_fitted(self)
        chosen: NDArray[Any] = self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(np.intp)]
        return chosen

    def _build_tree_params(self) -> TreeParams:
        return TreeParams(
            trees=self.trees,
            leaves=self.leaves,
            depth=self.depth,
            rows_in_leaf=self.rows_in_leaf,
            learning_rate=self.learning_rate,
            linear_share=self.linear_share,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.classifier_tags.multi_class = False
        return tags


def _choose_calibration_rows(codes: NDArray[Any]) -> NDArray[np.bool_]:
    """Choose each fourth row of each class, none if a class has fewer than four rows."""
    chosen = np.zeros(len(codes), dtype=bool)
    if np.bincount(codes, minlength=2).min() < CALIBRATION_EVERY:
        return chosen
    for code in (0, 1):
        places = np.flatnonzero(codes == code)
        chosen[places[CALIBRATION_EVERY - 1 :: CALIBRATION_EVERY]] = True
    return chosen


def _select(rows: LabelledRows, mine: NDArray[np.bool_]) -> LabelledRows:
    X, y, weight, _ = rows
    return LabelledRows(np.ascontiguousarray(X[mine]), y[mine], weight[mine], [CHANNEL] * int(mine.sum()))
