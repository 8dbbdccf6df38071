"""Claims about precision and recall from selected labels, by hand: ten consignments above a cut and ninety below."""

import numpy as np
import pytest

from training.evaluation.intervals import ResampledMetric
from training.evaluation.selected_labels import (
    add_expectations,
    build_row_values,
    compute_effective_size,
    compute_precision_recall,
    make_monotone,
)


def sums(values):
    return {name: np.array([value.sum()]) for name, value in values.items()}


def side(rows, *results, expected=0.0):
    """Give the sums of a side of so many rows, of which some have a result: (weight, sure, positive)."""
    weight, sure, positive = np.zeros((3, rows))
    for place, result in enumerate(results):
        weight[place], sure[place], positive[place] = result
    values = build_row_values(weight, sure, positive > 0, np.ones(rows))
    return sums(add_expectations(values, np.full(rows, expected)) if expected else values)


LOGGED = (side(10, (4, 4, 1), (4, 4, 0)), side(90, (10, 10, 1), (20, 20, 0)))
GUESSED = (side(10, (4, 1, 1), (4, 1, 0)), side(90, (10, 1, 1), (20, 1, 0)))


def test_a_side_has_the_rate_of_its_weighted_results():
    found = compute_precision_recall(*LOGGED)
    assert found["precision"].values == pytest.approx([0.5])
    assert found["recall"].values == pytest.approx([5 / (5 + 30)])


def test_with_logged_probabilities_nothing_is_left_open():
    found = compute_precision_recall(*LOGGED)
    assert found["precision"].lowest == found["precision"].values
    assert found["recall"].lowest == found["recall"].highest == found["recall"].values


def test_a_find_whose_weight_was_guessed_may_stand_for_itself_alone():
    found = compute_precision_recall(*GUESSED)
    assert found["precision"].values == pytest.approx([0.5])
    assert found["precision"].lowest == pytest.approx([0.5 / 4])
    assert found["recall"].lowest == pytest.approx([1.25 / (1.25 + 30)])
    assert found["recall"].highest == pytest.approx([5 / (5 + 3)])


def test_expectations_are_put_right_by_the_mean_surprise_of_the_results():
    top, rest = side(10, (4, 4, 1), (4, 4, 0), expected=0.2), side(90, (30, 30, 0), expected=0.01)
    found = compute_precision_recall(top, rest)
    assert found["precision"].values == pytest.approx([0.2 + (4 * 0.8 - 4 * 0.2) / 8])
    assert found["recall"].values == pytest.approx([1.0])


def test_a_side_without_a_result_is_unknown_and_an_empty_one_has_nothing():
    assert np.isnan(compute_precision_recall(side(10), LOGGED[1])["precision"].values)
    assert compute_precision_recall(LOGGED[0], side(0))["recall"].values == [1.0]


def test_as_many_results_count_as_equally_weighted_ones_would_tell():
    assert compute_precision_recall(*LOGGED)["precision"].trials == 2
    assert compute_precision_recall(*LOGGED)["recall"].trials == pytest.approx(14**2 / (16 + 100))
    assert compute_effective_size(np.array([0.0]), np.array([0.0])) == 0


def test_recall_never_falls_as_capacity_grows_and_unknown_stays_unknown():
    """Without it, the second resample would find fewer of all positives with more inspections."""
    small, middle, large = (
        np.array(each) for each in ([0.5, 0.9, np.nan], [0.6, 0.7, 0.4], [0.7, np.nan, 0.3])
    )
    found = make_monotone(
        [ResampledMetric(each, 5.0, lowest=each, highest=each) for each in (small, middle, large)]
    )
    assert found[1].values.tolist() == [0.6, 0.9, 0.4]
    np.testing.assert_array_equal(found[2].values, [0.7, np.nan, 0.4])
    np.testing.assert_array_equal(found[2].highest, found[2].values)
    assert found[2].trials == 5.0


def test_recall_of_selected_labels_would_fall_by_itself():
    """The same results, cut after 10 and after 20 rows: weights that do not add up to the traffic change the total."""
    near = side(10, (2, 1, 1))
    far = side(90, (60, 1, 1), (1, 1, 0), (1, 1, 0), (1, 1, 0))
    wider = side(20, (2, 1, 1), (1, 1, 0), (1, 1, 0), (1, 1, 0), (1, 1, 0), (1, 1, 0), (1, 1, 0), (1, 1, 0))
    rest = side(80, (60, 1, 1))
    recalls = [compute_precision_recall(*sides)["recall"] for sides in ((near, far), (wider, rest))]
    assert recalls[1].values[0] < recalls[0].values[0]
    assert make_monotone(recalls)[1].values[0] == recalls[0].values[0]
