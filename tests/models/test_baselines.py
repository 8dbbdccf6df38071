"""Baselines: what a model must beat."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from small_model import SPEC, make_rows

from features.config import FeatureConfig
from features.fitted import Fitted
from features.pipeline import Pipeline
from features.pseudonyms import Pseudonyms
from features.spec import Spec
from models.baselines import (
    RULES,
    STRUCK_OFF_BEYOND,
    BestFeature,
    RandomOrder,
    Rule,
    Rules,
    average_precision,
    fit_baselines,
    matching,
)
from models.linear import MOST_ROWS

ROWS = make_rows(1)
IDS = [f"RB{i}" for i in range(len(ROWS.X))]
REAL = Pipeline(FeatureConfig(), Fitted.nothing(), Pseudonyms(bytes(32))).spec


def row_with(**values: float) -> np.ndarray:
    """Give a row of the real features, all missing but these; a double underscore stands for a point."""
    row = np.full(len(REAL), np.nan, dtype=np.float32)
    for name, value in values.items():
        row[REAL.place(name.replace("__", "."))] = value
    return row


def test_each_baseline_scores_every_row_with_a_number() -> None:
    baselines = fit_baselines(ROWS.X, ROWS.y, ROWS.weight, SPEC)
    assert [baseline.name for baseline in baselines] == ["random", "rules", "best_feature", "logistic"]
    for baseline in baselines:
        scores = baseline.scores(ROWS.X, IDS)
        assert scores.shape == (len(ROWS.X),)
        assert np.isfinite(scores).all()


def test_fitting_twice_gives_the_same_scores() -> None:
    once, again = (fit_baselines(ROWS.X, ROWS.y, ROWS.weight, SPEC) for _ in range(2))
    for left, right in zip(once, again, strict=True):
        assert left.scores(ROWS.X, IDS).tobytes() == right.scores(ROWS.X, IDS).tobytes()


def test_a_random_score_depends_on_the_identifier_and_the_seed_only() -> None:
    scores = RandomOrder(1).scores(ROWS.X[:3], ["a", "b", "c"])
    assert RandomOrder(1).scores(ROWS.X[5:8], ["c", "b", "a"]).tolist() == scores[::-1].tolist()
    assert (RandomOrder(2).scores(ROWS.X[:3], ["a", "b", "c"]) != scores).all()


def test_random_scores_are_even() -> None:
    scores = RandomOrder(1).scores(ROWS.X, IDS)
    assert np.histogram(scores, 4, (0, 1))[0] == pytest.approx([750] * 4, abs=100)


@pytest.mark.parametrize("rule", RULES, ids=[rule.features for rule in RULES])
def test_every_rule_names_features_that_exist(rule: Rule) -> None:
    assert matching(REAL, rule)


def test_points_add_up_and_a_pattern_counts_once() -> None:
    rules = Rules(REAL)
    row = row_with(
        history__sender__nps_ever=2, history__sender_phone__nps_ever=1, goods__vague_whole=1, alerts__goods=0
    )
    assert rules.scores(row[None]).tolist() == [5 + 1]


def test_who_would_fire_on_everything_is_struck_off() -> None:
    rules = Rules(REAL)
    watched, busy = (
        row_with(history__sender__nps_ever=2, history__sender__arrivals_ever=arrivals)
        for arrivals in (2 * STRUCK_OFF_BEYOND, 2 * STRUCK_OFF_BEYOND + 1)
    )
    assert rules.scores(np.stack([watched, busy])).tolist() == [5, 0]
    assert [reason.code for reason in rules.explain(watched)] == ["sender_finds"]
    assert rules.explain(busy) == []


def test_missing_features_and_missing_values_give_no_points() -> None:
    assert Rules(REAL).scores(row_with()[None]).tolist() == [0]
    assert Rules(SPEC).scores(ROWS.X).tolist() == [0] * len(ROWS.X)
    assert Rules(Spec([])).score(np.zeros((2, 0), dtype=np.float32), ["postal"] * 2).shape == (2,)


def test_rules_give_scores_bands_and_reasons_where_there_is_no_model() -> None:
    rules = Rules(REAL)
    X = np.stack(
        [
            row_with(),
            row_with(goods__names_disguised=1),
            row_with(goods__names_specific=1, parties__consignee_post_box=1, value__zero_or_one=0),
        ]
    )
    score = rules.score(X, ["postal"] * 3)
    assert (0 < score[0] < score[1] < score[2] < 1).all()
    assert rules.bands_of(score) == ["routine", "elevated", "high"]
    assert [reason.text for reason in rules.explain(X[2])] == [
        "The text names 1 known new psychoactive substance(s)",
        "Consignee's address is a post box",
    ]
    assert rules.explain(X[0]) == []


def test_rules_of_one_meaning_are_one_reason() -> None:
    reasons = Rules(REAL).explain(row_with(goods__names_specific=1, goods__names_class=2), 9)
    assert [reason.code for reason in reasons] == ["substance_named"]
    assert reasons[0].contribution == pytest.approx(0.8 * (5 + 4))


def test_the_rules_score_a_row_alone_as_among_others() -> None:
    rules = Rules(REAL)
    X = np.random.default_rng(1).integers(0, 3, (50, len(REAL))).astype(np.float32)
    singly = [rules.score(X[i : i + 1], ["postal"])[0] for i in range(50)]
    assert np.array(singly).tobytes() == rules.score(X, ["postal"] * 50).tobytes()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_best_feature_is_found_with_its_direction(sign: float) -> None:
    X = np.random.default_rng(2).normal(size=(500, 12)).astype(np.float32)
    y = (sign * X[:, 7] > 1.5).astype(float)
    best = BestFeature.fit(X, y, np.ones(500), SPEC)
    assert (best.feature, best.sign) == ("made.f7", sign)
    assert average_precision(best.scores(X), y, np.ones(500)) == 1.0


def test_a_missing_value_comes_last_in_either_direction() -> None:
    X = np.array([[np.nan], [1.0], [-3e38], [np.inf]], dtype=np.float32)
    for sign in (1.0, -1.0):
        scores = BestFeature("made.f0", 0, sign).scores(X)
        assert scores[0] <= scores.min()
        assert scores[0] < scores[1]


def test_many_negatives_are_thinned_and_all_positives_kept() -> None:
    count = 3 * MOST_ROWS
    X = np.zeros((count, 2), dtype=np.float32)
    y = np.zeros(count)
    y[:10] = 1
    X[:10, 1] = 1
    baselines = fit_baselines(X, y, np.ones(count), Spec(SPEC.features[:2]))
    best = baselines[2]
    assert isinstance(best, BestFeature)
    assert best.feature == "made.f1"


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_that_of_scikit_learn_ties_and_weights_included(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score, y = rng.integers(0, 8, 200).astype(float), rng.integers(0, 2, 200).astype(float)
    weight = rng.uniform(0.1, 5, 200)
    expected = average_precision_score(y, score, sample_weight=weight)
    assert average_precision(score, y, weight) == pytest.approx(expected)
