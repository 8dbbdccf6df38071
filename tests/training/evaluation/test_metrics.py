"""Metrics at capacity, on literal traffic."""

from dataclasses import replace

import numpy as np
import pytest
from support.cases import read_cases
from support.gate_evidence import make_evaluation
from support.training_judged import make_scored_period as traffic

from consignments.errors import BadInput, UnknownName
from training.config import EvaluationConfig
from training.evaluation.metrics import (
    LOGGED_METRICS,
    FindCounts,
    describe_counts,
    estimate_difference,
    evaluate,
)
from training.evaluation.traffic import compute_daily_capacity, index_office_days, select_at_capacity

QUICK = EvaluationConfig(smallest_slice=2)


def get_row(evaluation, capacity):
    return next(row for row in evaluation.capacity if row["capacity"] == capacity)


def falling(rows):
    return np.linspace(1.0, 0.1, rows)


@pytest.mark.parametrize(
    ("capacity", "taken", "found", "precision", "recall"),
    [
        ("0.1pct", 1, 1, 1.0, 1 / 3),
        ("1pct", 1, 1, 1.0, 1 / 3),
        ("5pct", 5, 2, 2 / 5, 2 / 3),
        ("10pct", 10, 2, 0.2, 2 / 3),
    ],
)
def test_finds_within_a_share_of_all_traffic_are_counted(capacity, taken, found, precision, recall):
    positive = np.isin(np.arange(100), (0, 2, 50))
    evaluation = evaluate(traffic(falling(100), positive), QUICK)
    assert get_row(evaluation, capacity)["consignments"] == taken
    assert evaluation.counts.known == 3
    assert evaluation.counts.found[capacity] == found == get_row(evaluation, capacity)["known_finds"]
    assert evaluation[f"precision_at_{capacity}"].value == pytest.approx(precision)
    assert evaluation[f"recall_at_{capacity}"].value == pytest.approx(recall)


def test_ties_at_the_cut_count_in_part_and_are_bounded_by_best_and_worst():
    score = [0.9] * 4 + [0.5] * 8 + [0.1] * 88
    evaluation = evaluate(traffic(score, [True] * 6 + [False] * 94), QUICK)
    row = get_row(evaluation, "10pct")
    assert row["known_finds"] == pytest.approx(4 + 2 * 6 / 8)
    assert (row["known_finds_worst_ties"], row["known_finds_best_ties"]) == (4, 6)


def test_the_table_says_what_share_of_the_top_has_a_result_and_what_the_finds_alone_prove():
    labelled = np.arange(100) % 2 == 0
    row = get_row(evaluate(traffic(falling(100), labelled & (np.arange(100) < 5), labelled), QUICK), "10pct")
    assert (row["known_finds"], row["precision_at_least"], row["labelled_share"]) == (3, 0.3, 0.5)
    assert row["naive_precision"] == pytest.approx(3 / 5)


@pytest.mark.parametrize(("finds", "shown"), [(6, False), (40, True)])
def test_rates_of_few_finds_are_not_shown_and_none_is_below_what_was_counted(finds, shown):
    labelled = np.isin(np.arange(4000), np.arange(finds) * 21)
    found = evaluate(traffic(falling(4000), labelled, labelled, 9.0 * labelled), QUICK)
    row = get_row(found, "10pct")
    at_least = row["precision_at_least"] if shown else np.nan
    assert row["precision_low"] == pytest.approx(at_least, nan_ok=True)
    rates = [each["rate"] for each in found.calibration if each["traffic_until"] > 0.01]
    assert np.isfinite(rates).tolist() == [shown] * len(rates)


def test_a_find_with_a_small_probability_counts_more_but_not_all():
    """The square root of 49 is 7: the find below the cut counts 7 of 5 + 7, and a sixth of all is ranked at random."""
    labelled = np.arange(100) < 10
    labelled[[20, 60]] = True
    positive = np.arange(100) < 5
    positive[60] = True
    weight = np.where(np.arange(100) < 10, 1.0, 49.0) * labelled
    found = evaluate(traffic(falling(100), positive, labelled, weight), QUICK)
    # The cap: twice the mean of five times 1 and itself.
    capped = 2 * (5 + 2.5) / 6
    assert found["recall_at_10pct"].value == pytest.approx(5 / 6 * 5 / (5 + capped) + 0.1 / 6)
    assert found.counts.largest == pytest.approx(capped / (5 + capped))
    assert get_row(found, "10pct")["naive_recall"] == pytest.approx(5 / 6)


def test_what_too_few_finds_carry_is_not_logged_and_the_counts_always_are():
    few = evaluate(traffic(falling(100), np.arange(100) < 4), QUICK)
    listed = few.list_metrics("deployed")
    assert listed["deployed/recall_at_1pct"] is None
    counts = {f"deployed/found_at_{name}" for name in ("0.1pct", "1pct", "5pct", "10pct", "capacity")}
    logged = {name for name, value in listed.items() if value is not None}
    assert logged == counts | {"deployed/effective_results"}
    many = evaluate(traffic(falling(2000), np.arange(2000) % 40 == 0), QUICK)
    flat = many.list_metrics("deployed")
    shown = [name for name in LOGGED_METRICS if flat[f"deployed/{name}"] is not None]
    assert {"roc_auc", "recall_averaged", "recall_at_1pct", "precision_at_10pct"} <= set(shown)
    assert "precision_at_0.1pct" not in shown
    for name in shown:
        assert flat[f"deployed/{name}_low"] <= flat[f"deployed/{name}"] <= flat[f"deployed/{name}_high"]
    assert flat["deployed/effective_results"] == pytest.approx(50)


def test_area_and_average_precision_compare_the_finds_with_all_traffic():
    first = evaluate(traffic(falling(1000), np.arange(1000) < 20), QUICK)
    assert first["roc_auc"].value == pytest.approx(0.99)
    assert first["average_precision"].value == pytest.approx(1.0)
    last = evaluate(traffic(falling(1000), np.arange(1000) >= 980), QUICK)
    assert last["roc_auc"].value == pytest.approx(0.01)
    assert first["recall_averaged"].value > 0.5 > last["recall_averaged"].value == 0


def test_slices_are_evaluated_at_the_cut_of_all_traffic():
    channel = ["postal"] * 2000 + ["air_cargo"] * 2000
    positive = np.isin(np.arange(4000), [*range(0, 80, 2), *range(2600, 3000, 10)])
    found = evaluate(traffic(falling(4000), positive, channel=channel), QUICK)
    rows = {row["value"]: row for row in found.slices}
    assert rows["postal"]["recall_at_1pct"] == pytest.approx(0.5)
    assert rows["air_cargo"]["recall_at_1pct"] == 0.0
    assert (rows["postal"]["found_at_1pct"], rows["postal"]["positive"]) == (20, 40)


def test_an_unknown_metric_names_the_nearest():
    found = evaluate(traffic(falling(100), np.arange(100) < 3), QUICK)
    with pytest.raises(UnknownName, match="precision_at_1pct"):
        found["precision_at_1pc"]
    with pytest.raises(UnknownName, match="metric"):
        estimate_difference(found, found, "calibration_ratio")


def test_scores_equal_to_the_rates_are_calibrated_and_doubled_ones_are_not():
    numbers = np.random.default_rng(3)
    score = np.round(numbers.random(20_000) * 0.4, 3)
    positive = numbers.random(20_000) < score
    day = np.arange(20_000) % 20
    periods = (traffic(each * score, positive, day=day) for each in (1, 2))
    good, bad = (evaluate(each, QUICK)["calibration_ratio"] for each in periods)
    assert good.low < 1 < good.high
    assert good.value == pytest.approx(1, abs=0.05)
    assert bad.value == pytest.approx(2 * good.value)
    assert bad.low > 1.5
    partly = traffic(score, positive, day=day)
    partly = replace(partly, probability=np.where(day < 6, np.nan, score))
    said = evaluate(partly, QUICK).describe_calibrated()
    assert said.endswith("(2 of the 2.9 weeks; the others could not be calibrated)")


@pytest.mark.parametrize("case", read_cases("count_sentences"))
def test_the_sentence_of_counts(case):
    """Each line has the known finds of each side, those in the top 1 % and within capacity, the target and the sentence."""
    sides = {}
    for name, (known, top, held) in case["sides"].items():
        counts = FindCounts(known, {"1pct": top, "capacity": held}, known, 1.0)
        sides[name] = replace(make_evaluation(), counts=counts)
    assert describe_counts(sides, case["target"]) == case["said"]


def test_each_office_takes_its_best_of_each_day_with_ties_by_lot():
    group = np.array([0, 1, 1, 2, 0, 5, 3])
    office = np.array(["A", "A", "A", "A", "B", "B", "A"], dtype=object)
    day = np.array([1, 1, 1, 1, 1, 1, 2])
    assert select_at_capacity(group, index_office_days(office, day), 2).tolist() == [1, 0.5, 0.5, 0, 1, 1, 1]


def test_capacity_is_what_was_opened_unless_configured():
    labelled = np.arange(40) % 5 == 0
    day = np.repeat([1, 2], 20)
    seen = traffic(np.linspace(1.0, 0.1, 40), labelled, labelled, day=day)
    assert compute_daily_capacity(seen, QUICK) == 4
    assert compute_daily_capacity(seen, EvaluationConfig(capacity=1)) == 1
    assert evaluate(seen, EvaluationConfig(capacity=1)).counts.found["capacity"] == 2


def test_scores_that_are_not_numbers_are_refused():
    with pytest.raises(BadInput, match=r"row 1 of 2 .*got nan; expected .*; score"):
        traffic([0.1, np.nan], [True, False])
