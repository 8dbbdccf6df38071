"""Baselines: what a model must beat."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from support.small_model import SPEC, make_rows

from models.fitting.baselines import BestFeature, RandomOrder, compute_average_precision
from models.fitting.linear import MAX_ROWS, sample_negatives

ROWS = make_rows(1)


def test_a_random_score_depends_on_the_identifier_and_the_seed_only() -> None:
    scores = RandomOrder(1).compute_scores(ROWS.X[:3], ["a", "b", "c"])
    assert RandomOrder(1).compute_scores(ROWS.X[5:8], ["c", "b", "a"]).tolist() == scores[::-1].tolist()
    assert (RandomOrder(2).compute_scores(ROWS.X[:3], ["a", "b", "c"]) != scores).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_best_feature_is_found_with_its_direction(sign: float) -> None:
    X = np.random.default_rng(2).normal(size=(500, 12)).astype(np.float32)
    y = (sign * X[:, 7] > 1.5).astype(float)
    best = BestFeature.fit(X, y, np.ones(500), SPEC)
    assert (best.feature, best.sign) == ("made.f7", sign)
    assert compute_average_precision(best.compute_scores(X), y, np.ones(500)) == 1.0


def test_a_missing_value_comes_last_in_either_direction() -> None:
    X = np.array([[np.nan], [1.0], [-3e38], [np.inf]], dtype=np.float32)
    for sign in (1.0, -1.0):
        scores = BestFeature("made.f0", 0, sign).compute_scores(X)
        assert scores[0] <= scores.min()
        assert scores[0] < scores[1]


def test_many_negatives_are_thinned_and_all_positives_kept() -> None:
    count = 3 * MAX_ROWS
    y = np.zeros(count)
    y[:10] = 1
    kept, weight = sample_negatives(y, np.ones(count))
    assert kept[:10].tolist() == list(range(10))
    assert 10 < len(kept) <= MAX_ROWS
    assert weight.sum() == pytest.approx(count, rel=0.001)


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_that_of_scikit_learn_ties_and_weights_included(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score, y = rng.integers(0, 8, 200).astype(float), rng.integers(0, 2, 200).astype(float)
    weight = rng.uniform(0.1, 5, 200)
    expected = average_precision_score(y, score, sample_weight=weight)
    assert compute_average_precision(score, y, weight) == pytest.approx(expected)
