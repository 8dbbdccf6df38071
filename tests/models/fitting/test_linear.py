"""Logistic regression on the features."""

import numpy as np
from support.small_model import make_rows

from models.fitting.linear import LogisticRegression

ROWS = make_rows(1)


def test_logistic_regression_bears_missing_constant_and_endless_columns() -> None:
    X = ROWS.X.copy()
    X[:, 3], X[:, 5], X[::7, 6] = np.nan, 1.0, np.inf
    model = LogisticRegression.fit(X, ROWS.y, ROWS.weight)
    scores = model.compute_scores(X)
    assert np.isfinite(scores).all()
    assert scores[ROWS.y == 1].mean() > scores[ROWS.y == 0].mean()


def test_scores_do_not_depend_on_the_rows_beside_them() -> None:
    X = np.tile(ROWS.X, (3, 1))
    model = LogisticRegression.fit(ROWS.X, ROWS.y, ROWS.weight)
    alone = np.concatenate([model.compute_scores(part) for part in np.array_split(X, 5)])
    assert np.allclose(model.compute_scores(X), alone, rtol=1e-5, atol=1e-5)
