"""Stratified selection: the probabilities are true, the width is reached, and the interval covers the true recall."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consignments.errors import BadInput
from models.selection.recall import InspectedSample, estimate_recall
from models.selection.selection import compute_selection_probabilities
from models.selection.stratified import (
    ScoredArrivals,
    StratifiedPlan,
    StratifiedRule,
    StratifiedSelector,
    build_stratified_table,
    select_stratified,
)

SEEDS = 600
# Four standard errors of a share over so many seeds.
NOISE = 4 * 0.5 / SEEDS**0.5
WORLD_SEEDS = 150


def build_arrivals(
    scores: Any, offices: list[str] | None = None, days: Any = None, ids: list[str] | None = None
) -> ScoredArrivals:
    given, count = np.array(scores, dtype=np.float64), len(scores)
    return ScoredArrivals(
        ids or [f"RB{row}" for row in range(count)],
        given,
        offices or ["ICN"] * count,
        np.zeros(count, dtype=np.int64) if days is None else np.array(days, dtype=np.int64),
        given,
    )


def build_world(days: int = 20, per_day: int = 100) -> ScoredArrivals:
    """Build calibrated scores of which few are high, at two offices."""
    rng = np.random.default_rng(7)
    count = 2 * days * per_day
    scores = 1 / (1 + np.exp(4.5 - 1.6 * rng.standard_normal(count)))
    return build_arrivals(scores, ["ICN", "PUS"] * (count // 2), np.repeat(np.arange(days), 2 * per_day))


def compute_within(arrivals: ScoredArrivals, capacity: int) -> Any:
    return compute_selection_probabilities(
        arrivals.scores, arrivals.offices, arrivals.received_days, capacity=capacity, explore=0.0
    )


FALLING = np.linspace(0.6, 0.01, 30).tolist()
TIED = [0.5] * 4 + [0.2] * 12 + [0.01] * 14


@pytest.mark.parametrize(
    ("scores", "capacity", "width"),
    [(FALLING, 1, 0.1), (FALLING, 4, 0.2), (TIED, 9, 0.3), (TIED, 4, 0.2), ([0.0] * 12, 5, 0.1)],
    ids=["one place", "falling", "tied", "few of the tied", "nothing expected"],
)
def test_over_many_seeds_each_row_is_chosen_as_often_as_is_stated(
    scores: list[float], capacity: int, width: float
) -> None:
    arrivals, chosen = build_arrivals(scores), np.zeros(len(scores))
    selector = StratifiedSelector(arrivals, StratifiedRule(capacity, width, 30, 0))
    for seed in range(SEEDS):
        chosen[[row.place for row in selector.draw(seed)]] += 1
    assert (chosen / SEEDS).tolist() == pytest.approx(selector.plan.probability.tolist(), abs=NOISE)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.001, 0.02, 0.02, 0.3, 0.9]), min_size=1, max_size=60),
    st.integers(1, 70),
    st.sampled_from([0.01, 0.1, 0.3, 0.9]),
    st.integers(0, 2**31),
)
def test_the_capacity_is_filled_and_every_row_has_a_probability(
    scores: list[float], capacity: int, width: float, seed: int
) -> None:
    rows, plan = select_stratified(build_arrivals(scores), StratifiedRule(capacity, width, 28, seed))
    assert len(rows) == len({row.place for row in rows}) == min(capacity, len(scores))
    assert plan.probability.sum() == pytest.approx(min(capacity, len(scores)))
    assert ((plan.probability > 0) & (plan.probability <= 1)).all()
    assert [row.selection_probability for row in rows] == [plan.probability[row.place] for row in rows]


def test_the_highest_scores_are_surely_inspected_and_lower_ones_by_strata() -> None:
    arrivals = build_world()
    plan = StratifiedSelector(arrivals, StratifiedRule(20, 0.2, None, 1)).plan
    one = np.flatnonzero((arrivals.received_days == 0) & (np.array(arrivals.offices) == "ICN"))
    falling = plan.probability[one[np.argsort(-arrivals.scores[one])]]
    assert (falling[:10] == 1.0).all()
    assert (falling[20:] < 0.2).all()
    assert (np.diff(falling[20:]) <= 1e-12).all()
    assert 4 < len(set(falling.round(9))) <= 8


@pytest.mark.parametrize("width", [0.15, 0.25])
def test_the_width_is_reached_and_the_interval_covers_the_true_recall(width: float) -> None:
    arrivals, capacity = build_world(), 20
    within, rng = compute_within(arrivals, capacity), np.random.default_rng(2)
    selector = StratifiedSelector(arrivals, StratifiedRule(capacity, width, None, 0))
    plan = selector.plan
    covered, widths, recalls, true = [], [], [], []
    for seed in range(WORLD_SEEDS):
        positive = rng.random(len(arrivals.scores)) < arrivals.expected
        drawn = np.array([row.place for row in selector.draw(seed)])
        found = estimate_recall(
            InspectedSample(within[drawn], plan.probability[drawn], positive[drawn], arrivals.expected[drawn])
        )
        true.append(float((positive * within).sum() / positive.sum()))
        covered.append(found.low <= true[-1] <= found.high)
        widths.append(found.half_width)
        recalls.append(found.value)
    assert plan.reached
    assert plan.recall.half_width <= width
    assert np.mean(widths) == pytest.approx(width, rel=0.1)
    assert 0.9 <= np.mean(covered) <= 0.995
    # A ratio of two unbiased totals is off by a part of its width, which goes as the finds grow.
    assert np.mean(recalls) == pytest.approx(np.mean(true), abs=width / 4)


@pytest.mark.parametrize("seed", [5, 6])
def test_with_rare_positives_the_plan_promises_no_width_and_the_interval_covers(seed: int) -> None:
    rng, days, per_day, capacity = np.random.default_rng(seed), 20, 200, 2
    positive = rng.random(days * per_day) < 0.002
    falling = np.log(0.002 / 0.998) + 2.5 * (rng.standard_normal(len(positive)) + 2.5 * positive) - 2.5**2 / 2
    arrivals = build_arrivals(1 / (1 + np.exp(-falling)), days=np.repeat(np.arange(days), per_day))
    selector = StratifiedSelector(arrivals, StratifiedRule(capacity, 0.2, None, 0))
    within, covered = compute_within(arrivals, capacity), []
    for draw in range(20):
        positive = rng.random(len(arrivals.scores)) < arrivals.expected
        drawn = np.array([row.place for row in selector.draw(draw)])
        sample = InspectedSample(
            within[drawn], selector.plan.probability[drawn], positive[drawn], arrivals.expected[drawn]
        )
        found = estimate_recall(sample)
        covered.append(found.low <= (positive * within).sum() / max(positive.sum(), 1) <= found.high)
    assert not selector.plan.reached
    assert selector.plan.recall.half_width > 0.4
    assert np.mean(covered) >= 0.85


def test_a_small_office_with_low_scores_changes_nothing_for_a_large_one() -> None:
    rng, days, per_day, capacity = np.random.default_rng(3), 5, 1500, 150
    large = 1 / (1 + np.exp(5.5 - 2 * rng.standard_normal(days * per_day)))
    small = 1e-6 * rng.uniform(0.5, 1.0, days * (capacity + 1))
    both = build_arrivals(
        np.concatenate([large, small]),
        ["ICN"] * len(large) + ["PUS"] * len(small),
        np.concatenate([np.repeat(np.arange(days), per_day), np.repeat(np.arange(days), capacity + 1)]),
    )
    alone = build_arrivals(large, days=np.repeat(np.arange(days), per_day))
    rule = StratifiedRule(capacity, 0.3, None, 0)
    lower = compute_within(alone, capacity) == 0
    first, second = (
        float(StratifiedSelector(each, rule).plan.probability[: len(large)][lower].sum())
        for each in (alone, both)
    )
    assert second == pytest.approx(first, rel=0.1)


def test_the_weighted_finds_are_unbiased_over_the_draws() -> None:
    arrivals = build_world(days=4)
    positive = np.random.default_rng(3).random(len(arrivals.scores)) < arrivals.expected
    selector = StratifiedSelector(arrivals, StratifiedRule(20, 0.2, 20, 0))
    totals = []
    for seed in range(SEEDS):
        drawn = [row.place for row in selector.draw(seed)]
        totals.append(float(np.sum(positive[drawn] / selector.plan.probability[drawn])))
    assert np.mean(totals) == pytest.approx(positive.sum(), abs=4 * np.std(totals) / len(totals) ** 0.5)


def plan_world(**change: Any) -> StratifiedPlan:
    rule = {"capacity": 20, "width": 0.2, "days": None, "seed": 1} | change
    return StratifiedSelector(build_world(), StratifiedRule(**rule)).plan


def test_a_narrower_interval_costs_more_finds_and_none_costs_less_than_nothing() -> None:
    costs = [
        plan.greedy_finds - plan.expected_finds
        for plan in (plan_world(width=width) for width in (0.15, 0.2, 0.4))
    ]
    assert costs[0] > costs[1] > costs[2] > 0


def test_pooled_over_more_days_the_same_width_costs_fewer_finds() -> None:
    assert plan_world(days=80).expected_finds > plan_world(days=20).expected_finds
    assert plan_world(days=20).expected_finds == plan_world().expected_finds


def test_a_width_that_cannot_be_had_gives_the_width_that_can_and_a_warning() -> None:
    plan = plan_world(width=0.01)
    assert not plan.reached
    said = plan.describe(StratifiedRule(20, 0.01, None, 1))
    assert said.startswith(
        f"warning: ±0.01 cannot be reached with a capacity of 20; expected accuracy of recall ±{plan.recall.half_width:.3g};"
    )
    assert plan_world(width=plan.recall.half_width * 1.001).reached


def test_the_list_does_not_depend_on_the_order_of_the_rows_and_the_seed_decides_it() -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 5, 60) / 100
    ids = np.array([f"RB{row}" for row in range(60)])
    lists = []
    for order, seed in ((np.arange(60), 4), (rng.permutation(60), 4), (np.arange(60), 5)):
        rows, _ = select_stratified(
            build_arrivals(scores[order], ids=ids[order].tolist()), StratifiedRule(9, 0.2, 28, seed)
        )
        lists.append([(row.consignment_id, row.selected_by) for row in rows])
    assert sorted(lists[0]) == sorted(lists[1])
    assert sorted(lists[0]) != sorted(lists[2])


def test_if_fewer_arrive_than_can_be_inspected_all_are_surely_chosen() -> None:
    rows, plan = select_stratified(build_arrivals([0.1, 0.2]), StratifiedRule(3, 0.1, None, 1))
    assert [(row.place, row.selected_by, row.selection_probability) for row in rows] == [
        (1, "model", 1.0),
        (0, "model", 1.0),
    ]
    assert plan.reached


BAD = [
    ({"scores": [0.1, float("nan")]}, {}, "scores row 1: a score is not a number"),
    ({"scores": [0.1, 1.5]}, {}, "scores row 1: a score is not a probability.*got 1.5"),
    ({"ids": ["a", "a"]}, {}, "an identifier repeats; got 'a'"),
    ({}, {"capacity": 0}, "capacity 0"),
    ({}, {"width": 0.0}, "width 0.0"),
    ({}, {"days": 0}, "days 0"),
]


@pytest.mark.parametrize(("rows", "change", "said"), BAD, ids=[said for _, _, said in BAD])
def test_what_cannot_be_planned_is_named(rows: Any, change: Any, said: str) -> None:
    rule = {"capacity": 1, "width": 0.1, "days": None, "seed": 1} | change
    with pytest.raises(BadInput, match=said):
        select_stratified(build_arrivals(**{"scores": [0.1, 0.2]} | rows), StratifiedRule(**rule))


def test_a_score_table_becomes_a_selection_table_even_if_it_is_empty() -> None:
    scores = pd.DataFrame(
        {
            "consignment_id": list("abc"),
            "score": [0.1, 0.9, 0.3],
            "office": ["ICN", "ICN", None],
            "received_at": pd.to_datetime(["2024-03-04T01:00Z"] * 3).as_unit("us"),
        }
    )
    table, plan = build_stratified_table(scores, StratifiedRule(2, 0.1, None, 1))
    assert table["consignment_id"].tolist() == ["c", "b", "a"]
    assert plan.expected_finds == pytest.approx(1.3)
    assert len(build_stratified_table(scores[:0], StratifiedRule(2, 0.1, None, 1))[0]) == 0
