"""The additive part: a linear model as stairs, as trees, beside grown trees."""

from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
from msgspec import structs
from numpy.typing import NDArray
from support.small_model import PARAMS, SPEC, fit_small, make_rows

from models.linear import LogisticRegression
from models.linear_trees import MAX_STEPS, blend_trees, build_step_functions, fit_linear_part
from models.risk_model import BandSample, FitOptions, LabelledRows, RiskModel, TreeParams
from models.trees import Trees

ROWS = make_rows(1)
LINEAR = LogisticRegression.fit(ROWS.X, ROWS.y, ROWS.weight)


def of_trees_alone() -> str:
    return fit_small(params=TreeParams(trees=20, linear_share=0.0)).trees.text


def blend(share: float) -> Trees:
    return Trees.from_text(blend_trees(of_trees_alone(), fit_linear_part(ROWS.X, ROWS.y, ROWS.weight), share))


def test_a_blend_of_the_linear_model_alone_is_that_model_but_for_the_steps() -> None:
    alone, line = blend(1.0).predict_raw(ROWS.X), LINEAR.compute_scores(ROWS.X)
    assert np.corrcoef(alone, line)[0, 1] > 0.99
    assert abs(float(alone.mean() - line.mean())) < 0.05


def test_a_blend_is_the_mean_of_its_two_parts() -> None:
    trees = Trees.from_text(of_trees_alone()).predict_raw(ROWS.X)
    linear = blend(1.0).predict_raw(ROWS.X)
    assert np.allclose(blend(0.3).predict_raw(ROWS.X), 0.7 * trees + 0.3 * linear, rtol=0, atol=1e-9)


def test_lightgbm_reads_a_blend_and_scores_and_explains_it_alike() -> None:
    model = blend(0.5)
    booster = lightgbm.Booster(model_str=model.text)
    X = make_rows(3, 300).X
    assert model.predict_raw(X).tobytes() == booster.predict(X, raw_score=True).tobytes()
    assert np.abs(model.compute_contributions(X) - booster.predict(X, pred_contrib=True)).max() < 1e-9


def test_whole_numbers_keep_a_step_each_and_others_at_most_sixteen() -> None:
    by_feature = {stair.feature: stair for stair in build_step_functions(LINEAR, ROWS.X)}
    whole = np.unique(ROWS.X[:, 2][~np.isnan(ROWS.X[:, 2])])
    assert len(by_feature[2].height) == len(whole)
    assert len(by_feature[0].height) <= MAX_STEPS
    assert all(np.all(stair.rows > 0) for stair in by_feature.values())


def test_a_stair_rises_or_falls_all_the_way() -> None:
    for stair in build_step_functions(LINEAR, ROWS.X):
        steps = np.diff(stair.height)
        assert (steps >= -1e-9).all() or (steps <= 1e-9).all()


def test_missing_values_stand_on_the_step_of_the_median() -> None:
    found = build_step_functions(LINEAR, ROWS.X)
    for stair in found:
        median = np.nanquantile(ROWS.X[:, stair.feature], 0.5, method="lower")
        assert abs(int(np.searchsorted(stair.threshold, median)) - stair.missing) <= 1
    nothing = np.full((1, len(SPEC)), np.nan, dtype=np.float32)
    expected = sum(stair.height[stair.missing] for stair in found)
    assert np.allclose(blend(1.0).predict_raw(nothing), expected, rtol=0, atol=1e-12)


def test_a_feature_without_spread_gets_no_stair() -> None:
    X = ROWS.X.copy()
    X[:, 3], X[:, 5] = np.nan, 1.0
    linear = LogisticRegression.fit(X, ROWS.y, ROWS.weight)
    assert {3, 5}.isdisjoint(stair.feature for stair in build_step_functions(linear, X))


def test_endless_values_stand_where_missing_ones_do() -> None:
    X = ROWS.X.copy()
    X[::7, 6] = np.inf
    linear = LogisticRegression.fit(X, ROWS.y, ROWS.weight)
    assert all(np.isfinite(stair.height).all() for stair in build_step_functions(linear, X))


def signs(rows: LabelledRows) -> NDArray[Any]:
    """Give the features with nothing missing."""
    return np.nan_to_num(rows.X)


def judged_by(rows: LabelledRows, shape: Callable[[LabelledRows], NDArray[Any]]) -> tuple[int, int]:
    """Give the number of trees of a model whose labels have some shape, and of the same without a linear part."""
    labels = shape(rows)
    later = make_rows(2)
    arguments = {
        "spec": SPEC,
        "validation": later._replace(y=shape(later)),
        "traffic": BandSample(later.X, later.channels),
    }
    models = (
        RiskModel.fit(
            rows._replace(y=labels),
            **arguments,
            options=FitOptions(TreeParams(trees=40, linear_share=share)),
        )
        for share in (0.5, 0.0)
    )
    with_line, without = (len(model.trees) for model in models)
    return with_line, without


def test_weak_signs_that_add_up_keep_the_linear_part() -> None:
    rows = make_rows(1, 400)
    with_line, without = judged_by(rows, lambda these: signs(these).sum(axis=1) > 3.0)
    assert with_line > without


def test_signs_that_count_only_together_do_without_it() -> None:
    with_line, without = judged_by(make_rows(1), lambda these: signs(these)[:, 0] * signs(these)[:, 1] > 0.0)
    assert with_line == without


def test_without_later_rows_the_linear_part_stays() -> None:
    nothing = make_rows(2, 0)
    model = fit_small(validation=nothing)
    assert len(model.trees) > len(
        fit_small(validation=nothing, params=structs.replace(PARAMS, linear_share=0.0)).trees
    )
