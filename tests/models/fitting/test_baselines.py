"""Baselines: what a model must beat."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from support.small_model import SPEC, make_rows

from models.fitting.baselines import BestFeature, RandomOrder
from models.fitting.linear import MAX_ROWS, sample_negatives

ROWS = make_rows(1)


def test_a_random_score_depends_on_the_identifier_and_the_seed_only() -> None:
    scores = RandomOrder(1).compute_scores(ROWS.X[:3], ["a", "b", "c"])
    assert RandomOrder(1).compute_scores(ROWS.X[5:8], ["c", "b", "a"]).tolist() == scores[::-1].tolist()
    assert (RandomOrder(2).compute_scores(ROWS.X[:3], ["a", "b", "c"]) != scores).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_missing_value_comes_last_in_either_direction(sign: float) -> None:
    X = np.array([[np.nan], [1.0], [-3e38], [np.inf]], dtype=np.float32)
    scores = BestFeature("made.f0", 0, sign).compute_scores(X)
    assert scores[0] <= scores.min() < scores[1]


def test_many_negatives_are_thinned_and_all_positives_kept() -> None:
    count = 3 * MAX_ROWS
    y = np.zeros(count)
    y[:10] = 1
    kept, weight = sample_negatives(y, np.ones(count))
    assert kept[:10].tolist() == list(range(10))
    assert 10 < len(kept) <= MAX_ROWS
    assert weight.sum() == pytest.approx(count, rel=0.001)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_no_feature_has_a_higher_average_precision(sign: float) -> None:
    rng, found = np.random.default_rng(1), {}
    X, y = rng.integers(0, 8, (200, 12)).astype(np.float32), rng.integers(0, 2, 200).astype(float)
    X[X == 3], weight = np.nan, rng.uniform(0.1, 5, 200)
    X *= sign
    for each in (BestFeature("", column, sign) for column in range(12) for sign in (1.0, -1.0)):
        scores = each.compute_scores(X)
        found[each.column, each.sign] = average_precision_score(y, scores, sample_weight=weight)
    best = BestFeature.fit(X, y, weight, SPEC)
    assert (best.column, best.sign) == max(found, key=found.__getitem__)
    assert best.feature == f"made.f{best.column}"
