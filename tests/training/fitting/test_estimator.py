"""The classifier over a matrix behaves as scikit-learn expects, and learns."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from training.config import ModelConfig
from training.fitting.estimator import RiskClassifier

UNMET = {
    "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 is one row for the smallest leaf, not two"
}
SMALL = RiskClassifier(trees=10)


def make_rows(count: int = 400) -> tuple[Any, Any]:
    X = np.random.default_rng(1).normal(size=(count, 4))
    return X, np.where(X[:, 0] + X[:, 1] > 0.5, "find", "clear")


def test_it_passes_the_checks_of_scikit_learn_but_the_one_that_is_named() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a check that is skipped or expected to fail warns
        results = check_estimator(SMALL, expected_failed_checks=UNMET, on_fail=None)
    status = {each["check_name"]: each["status"] for each in results}
    assert {name for name, each in status.items() if each == "failed"} == set()
    assert {name for name, each in status.items() if each == "xfail"} == set(UNMET)
    assert len(status) > 40


def test_it_works_in_a_pipeline_with_cross_validation_and_keeps_its_classes() -> None:
    X, y = make_rows()
    model = make_pipeline(StandardScaler(), clone(SMALL))
    assert cross_val_score(model, X, y, cv=3, scoring="roc_auc").min() > 0.9
    assert list(model.fit(X, y).classes_) == ["clear", "find"]


def test_missing_values_are_missing_and_more_threads_change_nothing() -> None:
    X, y = make_rows()
    X[::3, 1] = np.nan
    one = RiskClassifier(trees=10).fit(X, y).predict_proba(X)
    two = RiskClassifier(trees=10, n_jobs=2).fit(X, y).predict_proba(X)
    assert (one == two).all()
    assert np.isfinite(one).all()


def test_probabilities_are_calibrated_on_rows_that_grew_no_tree() -> None:
    X, y = make_rows(2000)
    late, later = make_rows(2000)
    promised = RiskClassifier(trees=30).fit(X, y).predict_proba(late)[:, 1]
    assert promised.mean() == pytest.approx((later == "find").mean(), rel=0.1)


def test_its_defaults_are_those_of_the_configuration() -> None:
    ours, model = RiskClassifier().get_params(), ModelConfig()
    for name in ("trees", "leaves", "depth", "learning_rate", "linear_share"):
        assert ours[name] == getattr(model, name)


def test_three_classes_and_a_single_one_are_refused() -> None:
    X, _ = make_rows(9)
    with pytest.raises(ValueError, match="Only binary classification"):
        RiskClassifier().fit(X, [0, 1, 2] * 3)
    with pytest.raises(ValueError, match="two classes; got one class"):
        RiskClassifier().fit(X, [1] * 9)
