"""Claims about estimates from opened consignments: by hand, and where one of their assumptions is broken on purpose."""

from dataclasses import replace

import numpy as np
import pytest

from models.selection.selection import SelectionRule, select
from training.config import EvaluationConfig
from training.evaluation.metrics import evaluate
from training.evaluation.off_policy import (
    COLUMNS,
    DOUBLY_ROBUST,
    INVERSE_PROPENSITY,
    LOGGED_PROBABILITIES,
    LoggedEvidence,
    OffPolicyEstimates,
    estimate_rows,
)
from training.evaluation.traffic import ScoredPeriod

QUICK = EvaluationConfig(resamples=20)


def traffic(score, positive, labelled, weight, days=5):
    rows = len(score)
    return ScoredPeriod(
        score=np.asarray(score, dtype=float),
        day=np.arange(rows) % days,
        office=np.full(rows, "Incheon", dtype=object),
        labelled=np.asarray(labelled, dtype=bool),
        positive=np.asarray(positive, dtype=bool) & np.asarray(labelled, dtype=bool),
        weight=np.asarray(weight, dtype=float),
    )


def at(rows, way, capacity="10pct"):
    return next(row for row in rows if (row["estimator"], row["capacity"]) == (way, capacity))


def hand_made():
    """Twenty consignments, of which the best two are above the cut; four have a result.

    place   expected   result   found   stands for   by lot
    0       .9         yes      yes     1            no
    1       .5         no
    5       .1         yes      no      4            1 in 10
    9       .1         yes      yes     2            1 in 10
    others  .1, but 0 from place 10 on; place 15 has a result, clear, stands for 4
    """
    expected = np.where(np.arange(20) < 10, 0.1, 0.0)
    expected[:2] = 0.9, 0.5
    labelled, positive, weight, lot = np.zeros((4, 20))
    labelled[[0, 5, 9, 15]] = 1
    positive[[0, 9]] = 1
    weight[[0, 5, 9, 15]] = 1, 4, 2, 4
    lot[[5, 9]] = 10
    return LoggedEvidence(traffic(np.linspace(0.99, 0.01, 20), positive, labelled, weight), lot, expected)


def test_the_doubly_robust_estimate_agrees_with_one_made_by_hand():
    row = at(estimate_rows(hand_made(), QUICK), DOUBLY_ROBUST)
    above = (0.9 + 0.5) + 2 * (1 - 0.9)
    below = 8 * 0.1 + 18 * (4 * (0 - 0.1) + 2 * (1 - 0.1) + 4 * 0) / (4 + 2 + 4)
    assert row["precision"] == pytest.approx(above / 2)
    assert row["hits_per_1000"] == pytest.approx(500 * above)
    assert row["recall"] == pytest.approx(above / (above + below))
    assert (row["results"], row["finds"], row["effective_results"]) == (1, 1, 1)


def test_the_inverse_propensity_estimate_is_the_metric_of_the_run():
    evidence = hand_made()
    row, metrics = at(estimate_rows(evidence, QUICK), INVERSE_PROPENSITY), evaluate(evidence.traffic, QUICK)
    assert row["recall"] == pytest.approx(2 / (2 + 18 * 2 / 10))
    for name in ("precision", "recall"):
        metric = metrics[f"{name}_at_10pct"]
        ends = (row[name], row[f"{name}_low"], row[f"{name}_high"])
        assert ends == pytest.approx((metric.value, metric.low, metric.high), nan_ok=True)


def test_random_inspections_speak_for_themselves_alone():
    row = at(estimate_rows(hand_made(), QUICK), LOGGED_PROBABILITIES)
    assert np.isnan(row["precision"])
    assert (row["precision_low"], row["precision_high"], row["results"]) == (0, 1, 0)
    below = at(estimate_rows(hand_made(), QUICK), LOGGED_PROBABILITIES, "5pct")
    assert np.isnan(below["recall"])


def test_every_result_with_a_logged_probability_stands_for_its_inverse():
    seen = traffic(np.full(4, 0.1), [0, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0])
    found = LoggedEvidence.from_scored_period(seen, np.array([0.1, np.nan, 1.0, 0.1]))
    assert found.lot.tolist() == [10, 0, 1, 0]
    assert found.certain.tolist() == [False, False, True, False]
    assert found.expected.tolist() == [0.1] * 4


def inspected_as_selected(seed, explore):
    """Estimate on ten days of a hundred consignments, ten of which `select` puts on the list; the truth is known."""
    numbers = np.random.default_rng(seed)
    day = np.repeat(np.arange(10), 100)
    score = np.round(numbers.random(1000) ** 3, 2)
    names, offices = [f"C{n}" for n in range(1000)], ["Incheon"] * 1000
    truth = numbers.random(1000) < 0.5 * score
    labelled, logged = np.zeros(1000, dtype=bool), np.full(1000, np.nan)
    for one in select(names, score, offices, day, SelectionRule(10, explore, seed)):
        labelled[one.place], logged[one.place] = True, one.selection_probability
    seen = replace(traffic(score, truth, labelled, np.where(labelled, 1.0, 0.0)), day=day)
    return estimate_rows(LoggedEvidence.from_scored_period(seen, logged), QUICK, truth)


@pytest.mark.parametrize("capacity", ["1pct", "5pct", "capacity"])
def test_by_the_products_own_selection_logged_probabilities_are_right_on_average(capacity):
    rows = [at(inspected_as_selected(seed, 0.3), LOGGED_PROBABILITIES, capacity) for seed in range(100)]
    for measure, tolerance in (("precision", 0.02), ("recall", 0.08)):
        # Few draws: a ratio such as recall is a little too high on average.
        assert abs(np.mean([row[f"{measure}_off"] for row in rows])) < tolerance
        held = [row[f"{measure}_low"] <= row[f"{measure}_true"] <= row[f"{measure}_high"] for row in rows]
        assert np.mean(held) >= 0.93


def test_without_a_draw_nothing_is_known_of_what_the_list_left_out():
    row = at(inspected_as_selected(1, 0.0), LOGGED_PROBABILITIES, "1pct")
    assert row["precision_off"] == pytest.approx(0.0)
    assert (row["recall_low"], row["recall_high"]) == (0.0, 1.0)


class World:
    """Consignments whose risk is known, opened by sign and by lot, over and over."""

    def __init__(self, seed):
        self.numbers = np.random.default_rng(seed)
        self.rows = 4000
        self.score = np.linspace(0.5, 0.001, self.rows)
        self.risk = 0.6 * self.score

    def estimates(self, *, chance, believed, expected, hidden=1.0):
        """Estimate once: opened with `chance`, but `hidden` times it where it holds something; believed otherwise."""
        truth = self.numbers.random(self.rows) < self.risk
        by_lot = self.numbers.random(self.rows) < 0.05
        real = np.where(truth, np.minimum(hidden * chance, 1.0), chance)
        opened = by_lot | (self.numbers.random(self.rows) < real)
        seen = traffic(self.score, truth, opened, np.where(opened, 1 / np.maximum(believed, 0.05), 0.0), 20)
        seen = replace(seen, guessed=opened & ~by_lot)
        return estimate_rows(LoggedEvidence(seen, np.where(by_lot, 20.0, 0.0), expected), QUICK, truth)

    def off(self, way, measure="precision", worlds=60, **assumed):
        """Give the mean distance from the truth in shares of it."""
        rows = [at(self.estimates(**assumed), way) for _ in range(worlds)]
        return np.mean([row[f"{measure}_off"] for row in rows]) / np.mean(
            [row[f"{measure}_true"] for row in rows]
        )


CHANCE = np.linspace(0.6, 0.02, 4000)


def test_with_right_probabilities_a_wrong_expectation_does_no_harm():
    given = {"chance": CHANCE, "believed": CHANCE + 0.05 - 0.05 * CHANCE, "expected": np.full(4000, 0.4)}
    assert abs(World(1).off(DOUBLY_ROBUST, **given)) < 0.03
    assert abs(World(1).off(DOUBLY_ROBUST, "recall", **given)) < 0.05


def test_with_a_right_expectation_wrong_probabilities_do_no_harm_and_alone_they_do():
    world = World(2)
    given = {"chance": CHANCE, "believed": np.full(4000, 0.3), "expected": world.risk}
    assert abs(world.off(DOUBLY_ROBUST, "recall", **given)) < 0.05
    assert world.off(INVERSE_PROPENSITY, "recall", **given) < -0.1


SAW_MORE = {"chance": CHANCE / 4, "believed": CHANCE / 4, "hidden": 3.0}


def test_where_those_who_chose_saw_more_only_the_lot_is_right():
    world = World(3)
    given = SAW_MORE | {"expected": world.risk}
    assert world.off(INVERSE_PROPENSITY, **given) > 0.2
    assert world.off(DOUBLY_ROBUST, **given) > 0.2
    assert abs(world.off(LOGGED_PROBABILITIES, worlds=150, **given)) < 0.06


def test_there_the_intervals_still_hold_the_truth_since_nobody_logged_a_probability():
    world = World(5)
    held = dict.fromkeys((INVERSE_PROPENSITY, DOUBLY_ROBUST), 0)
    for _ in range(60):
        rows = world.estimates(**SAW_MORE, expected=world.risk)
        for way in held:
            row = at(rows, way)
            held[way] += row["precision_low"] <= row["precision_true"] <= row["precision_high"]
    assert min(held.values()) >= 57


def test_intervals_cover_the_truth_where_the_assumptions_hold():
    world = World(4)
    given = {"chance": CHANCE, "believed": CHANCE + 0.05 - 0.05 * CHANCE, "expected": 1.5 * world.risk}
    covered = dict.fromkeys((INVERSE_PROPENSITY, DOUBLY_ROBUST, LOGGED_PROBABILITIES), 0)
    for _ in range(100):
        rows = world.estimates(**given)
        for way in covered:
            row = at(rows, way)
            covered[way] += row["recall_low"] <= row["recall_true"] <= row["recall_high"]
    assert min(covered.values()) >= 92


def test_without_truth_its_columns_are_there_and_empty():
    rows = estimate_rows(hand_made(), QUICK)
    assert {tuple(row) for row in rows} == {COLUMNS}
    assert all(np.isnan(row["recall_true"]) and np.isnan(row["precision_off"]) for row in rows)
    assert [row["capacity"] for row in rows[::3]] == ["0.1pct", "1pct", "5pct", "10pct", "capacity"]


def test_what_the_estimates_rest_on_is_said():
    said = " ".join(OffPolicyEstimates.from_evidence(hand_made(), QUICK).cautions)
    assert "2 of 4 results come from consignments without a logged probability" in said
    assert "Drawn results: 2, positives: 1." in said
    everything = traffic([0.2, 0.1], [1, 0], [1, 1], [1, 1])
    assert (
        "Nothing is estimated"
        in OffPolicyEstimates.from_evidence(
            LoggedEvidence(everything, np.ones(2), np.ones(2)), QUICK
        ).cautions[0]
    )
