"""The additive part: logistic regression on the features, as stairs, as trees, beside grown trees."""

import numpy as np
from support.small_model import fit_small, make_rows

from models.fitting.boosting import TreeParams
from models.fitting.linear import LogisticRegression
from models.fitting.linear_trees import blend_trees, build_step_functions, fit_linear_part
from models.trees import Trees

ROWS = make_rows(1)
LINEAR = LogisticRegression.fit(ROWS.X, ROWS.y, ROWS.weight)


def of_trees_alone() -> str:
    return fit_small(params=TreeParams(trees=20, linear_share=0.0)).trees.text


def blend(share: float) -> Trees:
    stairs = fit_linear_part(ROWS.X, ROWS.y, ROWS.weight)[1]
    return Trees.from_text(blend_trees([(of_trees_alone(), 1.0 - share)], [(each, share) for each in stairs]))


def test_logistic_regression_bears_missing_constant_and_endless_columns_and_its_stairs_too() -> None:
    X = ROWS.X.copy()
    X[:, 3], X[:, 5], X[::7, 6] = np.nan, 1.0, np.inf
    model = LogisticRegression.fit(X, ROWS.y, ROWS.weight)
    scores = model.compute_scores(X)
    assert np.isfinite(scores).all()
    assert scores[ROWS.y == 1].mean() > scores[ROWS.y == 0].mean()
    found = build_step_functions(model, X)
    assert {3, 5}.isdisjoint(stair.feature for stair in found), "they have no spread"
    assert all(np.isfinite(stair.height).all() for stair in found)


def test_scores_do_not_depend_on_the_rows_beside_them() -> None:
    X = np.tile(ROWS.X, (3, 1))
    model = LogisticRegression.fit(ROWS.X, ROWS.y, ROWS.weight)
    alone = np.concatenate([model.compute_scores(part) for part in np.array_split(X, 5)])
    assert np.allclose(model.compute_scores(X), alone, rtol=1e-5, atol=1e-5)


def test_a_blend_of_the_linear_model_alone_is_that_model_but_for_the_steps() -> None:
    alone, line = blend(1.0).predict_raw(ROWS.X), LINEAR.compute_scores(ROWS.X)
    assert np.corrcoef(alone, line)[0, 1] > 0.99
    assert abs(float(alone.mean() - line.mean())) < 0.05


def test_a_blend_is_the_mean_of_its_two_parts() -> None:
    trees = Trees.from_text(of_trees_alone()).predict_raw(ROWS.X)
    linear = blend(1.0).predict_raw(ROWS.X)
    assert np.allclose(blend(0.3).predict_raw(ROWS.X), 0.7 * trees + 0.3 * linear, rtol=0, atol=1e-9)
