"""Estimates from known finds: one result cannot move them, and their intervals hold what they say."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import read_cases
from support.training_judged import make_scored_period as traffic

from training.config import EvaluationConfig
from training.evaluation.estimate import Estimate, attach_finds, describe_estimate
from training.evaluation.estimators import (
    GAIN_ENDS,
    MAX_MULTIPLE,
    SHARE_ENDS,
    estimate_mean,
    estimate_rate,
    weigh_finds,
)
from training.evaluation.metrics import RANKING_METRICS, estimate_difference, evaluate

CONFIG = EvaluationConfig(capacity=3)


def build_period(seed: int, rows: int = 400, finds: int = 16):
    numbers = np.random.default_rng(seed)
    positive = np.zeros(rows, dtype=bool)
    positive[numbers.choice(rows, finds, replace=False)] = True
    labelled = positive | (numbers.random(rows) < 0.2)
    weight = np.where(labelled, numbers.choice([1.0, 1.0, 5.0, 1000.0], rows), 0.0)
    return traffic(numbers.random(rows), positive, labelled, weight, day=np.arange(rows) % 10)


def add_clear_parcel(period, score: float, weight: float = 1000.0):
    parcel = {"score": score, "positive": False, "labelled": True, "weight": weight, "day": 0}
    return traffic(**{name: np.append(getattr(period, name), value) for name, value in parcel.items()})


@given(st.integers(0, 10_000), st.floats(0, 1, allow_nan=False))
def test_one_more_clear_random_parcel_moves_recall_by_at_most_the_find_at_the_cut(seed, score):
    period = build_period(seed)
    before, after = evaluate(period, CONFIG), evaluate(add_clear_parcel(period, score), CONFIG)
    for name in ("recall_at_1pct", "recall_at_5pct", "recall_at_10pct", "recall_at_capacity"):
        assert abs(after[name].value - before[name].value) <= before.counts.largest + 1e-9, name


def test_a_clear_random_parcel_within_capacity_does_not_reverse_a_comparison():
    """By count the new score ranks 6 of 16 finds within capacity and the old one 5; the parcel once moved 84 % to 13 %."""
    positive = np.zeros(160, dtype=bool)
    positive[np.arange(16) * 10] = True
    day = np.arange(160) // 10
    old, new = np.full(160, 0.3), np.full(160, 0.3)
    clear = np.arange(160) % 10 == 1
    old[clear], new[clear] = 0.5, 0.5
    old[np.flatnonzero(positive)[:5]], new[np.flatnonzero(positive)[:6]] = 0.9, 0.9
    old[np.flatnonzero(positive)[5:]], new[np.flatnonzero(positive)[6:]] = 0.1, 0.1
    labelled = positive | clear
    weight = np.where(clear, 1000.0, 1.0) * labelled
    period = traffic(old, positive, labelled, weight, day=day)
    config = EvaluationConfig(capacity=1)
    one, other = evaluate(period, config), evaluate(period.replace_score(new), config)
    assert (one.counts.found["capacity"], other.counts.found["capacity"]) == (5.0, 6.0)
    gain = estimate_difference(other, one, "recall_at_capacity")
    assert gain.value == pytest.approx(5 / 6 / 16)
    assert other["recall_at_capacity"].value == pytest.approx(5 / 6 * 6 / 16 + 0.1 / 6)


@given(st.lists(st.floats(1, 1e6), min_size=4, max_size=60))
def test_no_find_counts_more_than_a_multiple_of_the_mean(stands_for):
    weights = weigh_finds(np.array(stands_for))
    assert weights.max() <= MAX_MULTIPLE * weights.mean() * (1 + 1e-6)
    assert (weights <= np.sqrt(stands_for) + 1e-9).all()
    assert weights.max() == pytest.approx(weights[np.argmax(stands_for)])


def test_finds_of_one_day_count_together():
    values = np.repeat([0.0, 1.0], 10)
    apart = estimate_mean(np.ones(20), values, np.arange(20), SHARE_ENDS)
    together = estimate_mean(np.ones(20), values, np.repeat([0, 1, 2, 3], 5), SHARE_ENDS)
    assert together.high - together.low > 1.5 * (apart.high - apart.low)
    spread = estimate_rate(np.ones(20), np.arange(20), 20, 1000.0)
    heaped = estimate_rate(np.ones(20), np.repeat([0, 1], 10), 20, 1000.0)
    assert heaped.high > 1.5 * spread.high


def test_a_find_that_ties_at_the_cut_is_not_more_certain_than_none():
    parts = (np.array([part]) for part in (0.0, 0.2, 1.0))
    ends = [estimate_rate(part, np.zeros(1, np.int64), 28, 1000.0).high for part in parts]
    assert ends == sorted(ends)


@pytest.mark.parametrize("estimator", ["share", "rate", "gain"])
def test_intervals_hold_the_truth_about_as_often_as_they_say(estimator):
    numbers = np.random.default_rng(11)
    held = 0
    for _ in range(400):
        day = numbers.integers(0, 28, 40)
        if estimator == "share":
            values, true = (numbers.random(40) < 0.4) * 1.0, 0.4
            found = estimate_mean(np.ones(40), values, day, SHARE_ENDS)
        elif estimator == "rate":
            finds = numbers.poisson(40)
            found, true = estimate_rate(np.ones(finds), numbers.integers(0, 28, finds), 28, 1000.0), 0.04
        else:
            change = numbers.choice([-1.0, 0.0, 1.0], 40, p=[0.05, 0.75, 0.2])
            found, true = estimate_mean(np.ones(40), change, day, GAIN_ENDS), 0.15
        held += found.low <= true <= found.high
    assert 0.93 <= held / 400 <= 1.0


def test_only_finds_that_two_scores_place_differently_move_a_gain():
    period = build_period(3)
    one = evaluate(period, CONFIG)
    for name in RANKING_METRICS:
        same = estimate_difference(one, evaluate(period, CONFIG), name)
        assert same.value == 0.0, name
        assert same.low < 0 < same.high, name


def test_the_interval_of_a_recall_allows_for_what_the_selectors_saw():
    """The weights of finds are guesses between one each and the full inverse probability: here 50 % and 94 % of five sixths."""
    positive, weight = np.arange(200) < 20, np.where(np.arange(200) < 20, 1.0, 0.0)
    weight[:10] = 16.0
    score = np.where(np.arange(200) < 10, 0.9, 0.1 * (np.arange(200) < 20))
    period = traffic(score, positive, positive, weight, day=np.arange(200) % 10)
    sure = traffic(score, positive, np.ones(200, dtype=bool), np.ones(200), day=np.arange(200) % 10)
    found, exact = (evaluate(each, CONFIG)["recall_at_5pct"] for each in (period, sure))
    assert found.low < 5 / 6 * 0.5 < found.value < 5 / 6 * 0.94 <= found.high
    assert exact.value == 0.5
    assert exact.high - exact.low < found.high - found.low


def test_the_interval_of_a_recall_allows_for_positives_that_nobody_finds():
    """A report said 88 % (66 to 100) where 58 % was true: of all known finds, most were easy ones."""
    positive = np.arange(4000) < 40
    period = traffic(np.linspace(1, 0, 4000), positive, positive, positive * 1.0, day=np.arange(4000) % 50)
    found = evaluate(period, CONFIG)["recall_at_1pct"]
    assert found.low <= 2 / 3 < found.value < 0.85 < found.high


def test_a_random_order_has_the_precision_of_all_traffic():
    """With random clear parcels that stand for hundreds, a random order once had a precision of 16 % where .5 % were positive."""
    numbers = np.random.default_rng(5)
    positive = np.zeros(2000, dtype=bool)
    positive[numbers.choice(2000, 20, replace=False)] = True
    drawn = ~positive & (numbers.random(2000) < 0.02)
    labelled = positive | drawn
    period = traffic(numbers.random(2000), positive, labelled, np.where(drawn, 50.0, 1.0) * labelled)
    orders = (period.replace_score(numbers.random(2000)) for _ in range(60))
    found = [evaluate(each, CONFIG)["precision_at_5pct"].value for each in orders]
    assert np.mean(found) == pytest.approx(0.01, rel=0.2)
    assert max(found) < 0.05


@pytest.mark.parametrize("case", read_cases("shown_estimates"))
def test_an_estimate_is_shown_only_if_enough_results_carry_it(case: dict[str, Any]) -> None:
    """Each line has an estimate with the ends of its interval, what carries it, and how it is described."""
    given = {name: case[name] for name in ("effective", "known", "is_share") if name in case}
    estimate, is_shown = Estimate(*case["value"], **given), not case["said"].startswith("too few")
    assert describe_estimate(estimate).startswith(case["said"])
    assert estimate.is_shown == is_shown
    assert np.isnan(estimate.shown) != is_shown
    assert bool(estimate.to_row()["why"]) != is_shown


def test_one_large_weight_makes_few_effective_finds() -> None:
    found = attach_finds(Estimate(0.5, 0.4, 0.6), np.array([1000.0, *[1.0] * 99]))
    assert found.known == 100
    assert found.effective < 1.3
    assert found.largest > 0.9
    assert not found.is_shown
