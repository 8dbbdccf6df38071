"""Claims about metrics at capacity, on literal traffic."""

import numpy as np
import pytest
from support.training_judged import make_scored_period as traffic

from consignments.errors import UnknownName
from training.config import EvaluationConfig
from training.evaluation.metrics import (
    compute_capacity_curve,
    escape_metric_name,
    estimate_difference,
    evaluate,
)

QUICK = EvaluationConfig(resamples=20, smallest_slice=2)


def row(evaluation, capacity):
    return next(row for row in evaluation.capacity if row["capacity"] == capacity)


def falling(rows):
    return np.linspace(1.0, 0.1, rows)


def test_precision_and_recall_at_a_share_of_all_traffic():
    positive = np.zeros(100, dtype=bool)
    positive[[0, 2, 50]] = True
    found = evaluate(traffic(falling(100), positive), QUICK)
    assert found["precision_at_1pct"].value == 1.0
    assert found["recall_at_1pct"].value == pytest.approx(1 / 3)
    assert found["precision_at_5pct"].value == pytest.approx(2 / 5)
    assert found["recall_at_5pct"].value == pytest.approx(2 / 3)
    assert row(found, "5pct")["hits_per_1000"] == pytest.approx(400)


def test_at_least_one_consignment_is_taken():
    found = evaluate(traffic(falling(100), [True] + [False] * 99), QUICK)
    assert row(found, "0.1pct")["consignments"] == 1
    assert found["precision_at_0.1pct"].value == 1.0


def test_ties_at_the_cut_count_by_lot_and_are_bounded_by_best_and_worst():
    score = [0.9] * 4 + [0.5] * 8 + [0.1] * 88
    positive = [True] * 4 + [True] * 2 + [False] * 94
    ten = row(evaluate(traffic(score, positive), QUICK), "10pct")
    assert ten["precision"] == pytest.approx((4 + 2 * 6 / 8) / 10)
    assert ten["precision_best_ties"] == pytest.approx(0.6)
    assert ten["precision_worst_ties"] == pytest.approx(0.4)


def test_without_ties_the_bounds_meet():
    ten = row(evaluate(traffic(falling(100), np.arange(100) < 7), QUICK), "10pct")
    assert ten["precision_best_ties"] == ten["precision_worst_ties"] == ten["precision"]


def test_the_labelled_share_of_the_top_is_told():
    labelled = np.zeros(100, dtype=bool)
    labelled[[0, 1, 2, 60, 70]] = True
    found = evaluate(traffic(falling(100), labelled & (np.arange(100) % 2 == 0), labelled), QUICK)
    assert found["labelled_share_at_5pct"].value == pytest.approx(3 / 5)


def test_a_row_drawn_with_a_small_probability_stands_for_those_that_were_not():
    labelled = np.zeros(100, dtype=bool)
    labelled[:10] = True
    labelled[[20, 60]] = True
    positive = np.zeros(100, dtype=bool)
    positive[:5] = True
    positive[60] = True
    weight = np.where(np.arange(100) < 10, 1.0, 45.0) * labelled
    found = evaluate(traffic(falling(100), positive, labelled, weight), QUICK)
    assert found["precision_at_10pct"].value == pytest.approx(0.5)
    assert found["recall_at_10pct"].value == pytest.approx(5 / (5 + 45))
    assert row(found, "10pct")["naive_recall"] == pytest.approx(5 / 6)


def test_were_all_unopened_ones_clear_the_known_finds_would_be_all_there_is():
    labelled = np.arange(100) % 2 == 0
    ten = row(evaluate(traffic(falling(100), labelled & (np.arange(100) < 5), labelled), QUICK), "10pct")
    assert (ten["known_finds"], ten["precision_at_least"]) == (3, 0.3)


def test_the_estimate_from_selected_labels_is_right_on_average():
    """400 worlds opened at random with known probability; the naive figure is far off in each."""
    numbers = np.random.default_rng(7)
    rows = 2000
    score = falling(rows)
    truth = numbers.random(rows) < np.where(np.arange(rows) < 200, 0.3, 0.03)
    chance = np.where(np.arange(rows) < 100, 1.0, 0.1)
    exact = evaluate(traffic(score, truth), QUICK)["recall_at_10pct"].value
    estimates, naive = [], []
    for _ in range(400):
        opened = numbers.random(rows) < chance
        world = evaluate(traffic(score, truth, opened, opened / chance), EvaluationConfig(resamples=20))
        estimates.append(world["recall_at_10pct"].value)
        naive.append(row(world, "10pct")["naive_recall"])
    assert np.mean(estimates) == pytest.approx(exact, abs=0.02)
    assert np.mean(naive) > exact + 0.2


def test_where_nothing_above_the_cut_is_labelled_the_metric_is_not_logged():
    labelled = np.arange(100) >= 50
    found = evaluate(traffic(falling(100), np.arange(100) % 2 == 0, labelled), QUICK)
    assert np.isnan(found["precision_at_1pct"].value)
    assert "test/precision_at_1pct" not in found.flatten_metrics("test")


def test_logged_names_carry_the_interval():
    flat = evaluate(traffic(falling(100), np.arange(100) % 9 == 0), QUICK).flatten_metrics("test")
    for name in (
        "roc_auc",
        "average_precision",
        "precision_at_0.1pct",
        "recall_at_10pct",
        "calibration_error",
    ):
        assert flat[f"test/{name}_low"] <= flat[f"test/{name}"] <= flat[f"test/{name}_high"]


def test_slices_are_judged_at_the_cut_of_all_traffic():
    channel = ["postal"] * 50 + ["air_cargo"] * 50
    positive = np.zeros(100, dtype=bool)
    positive[[0, 3, 60, 80]] = True
    found = evaluate(traffic(falling(100), positive, channel=channel), QUICK)
    assert found["channel:postal/recall_at_1pct"].value == pytest.approx(0.5)
    assert found["channel:air_cargo/recall_at_1pct"].value == 0.0
    assert {row["value"] for row in found.slices} == {"postal", "air_cargo"}


def test_small_slices_are_left_out():
    service = ["ems"] * 1 + ["letter"] * 99
    found = evaluate(traffic(falling(100), [True, True] + [False] * 98, service=service), QUICK)
    assert [row["value"] for row in found.slices] == ["letter"]


def test_an_unknown_metric_names_the_nearest():
    found = evaluate(traffic(falling(100), np.arange(100) < 3), QUICK)
    with pytest.raises(UnknownName, match="precision_at_1pct"):
        found["precision_at_1pc"]


def test_a_metric_name_holds_only_what_mlflow_allows():
    assert escape_metric_name("Incheon (post) / 인천") == "Incheon _post_ _ __"


def test_scores_equal_to_the_rates_are_calibrated_and_doubled_ones_are_not():
    numbers = np.random.default_rng(3)
    score = np.round(numbers.random(20_000) * 0.4, 3)
    positive = numbers.random(20_000) < score
    good = evaluate(traffic(score, positive, day=np.arange(20_000) % 20), QUICK)["calibration_error"].value
    bad = evaluate(traffic(2 * score, positive, day=np.arange(20_000) % 20), QUICK)["calibration_error"].value
    assert good < 0.01
    assert bad == pytest.approx(0.2, abs=0.02)


def test_the_calibration_table_counts_every_consignment_once():
    found = evaluate(traffic(falling(200), np.arange(200) < 9), QUICK)
    assert sum(row["consignments"] for row in found.calibration) == 200
    assert sum(row["positive"] for row in found.calibration) == 9


def test_one_day_gives_no_interval():
    found = evaluate(traffic(falling(50), np.arange(50) < 5, day=np.zeros(50, dtype=int)), QUICK)
    assert found["roc_auc"].value == 1.0
    assert np.isnan(found["roc_auc"].low)


def test_intervals_are_wider_where_days_differ_than_where_they_are_alike():
    positive = np.zeros(1000, dtype=bool)
    positive[:50] = True
    alike = evaluate(
        traffic(falling(1000), positive, day=np.arange(1000) % 10), EvaluationConfig(resamples=200)
    )
    lumpy_day = np.where(positive & (np.arange(1000) < 40), 0, np.arange(1000) % 10)
    lumpy = evaluate(traffic(falling(1000), positive, day=lumpy_day), EvaluationConfig(resamples=200))
    width = [e["precision_at_10pct"].high - e["precision_at_10pct"].low for e in (alike, lumpy)]
    assert width[1] > 3 * width[0]


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    numbers = np.random.default_rng(11)
    covered = 0
    for _ in range(200):
        day = np.repeat(np.arange(28), 40)
        positive = numbers.random(len(day)) < 0.2
        estimate = evaluate(
            traffic(numbers.random(len(day)), positive, day=day), EvaluationConfig(resamples=100)
        )["precision_at_10pct"]
        covered += estimate.low <= 0.2 <= estimate.high
    assert 0.85 <= covered / 200 <= 0.99


def test_the_curve_agrees_with_the_metric():
    positive = np.arange(100) < 7
    seen = traffic(falling(100), positive)
    curve = compute_capacity_curve(seen, np.array([0.01, 0.05]), QUICK)
    found = evaluate(seen, QUICK)
    assert curve["recall"] == [found["recall_at_1pct"], found["recall_at_5pct"]]


def test_a_score_does_not_differ_from_itself_and_clearly_from_its_reverse():
    positive = np.arange(200) < 12
    seen = traffic(falling(200), positive)
    mine, reverse = evaluate(seen, QUICK), evaluate(seen.replace_score(-seen.score), QUICK)
    same = estimate_difference(mine, evaluate(seen, QUICK), "recall_at_5pct")
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert estimate_difference(mine, reverse, "recall_at_5pct").low > 0.5


def test_one_day_gives_no_interval_of_a_difference():
    seen = traffic(falling(50), np.arange(50) < 5, day=np.zeros(50, dtype=int))
    mine, reverse = evaluate(seen, QUICK), evaluate(seen.replace_score(-seen.score), QUICK)
    found = estimate_difference(mine, reverse, "recall_at_10pct")
    assert found.value == 1.0
    assert np.isnan([found.low, found.high]).all()
