"""Claims about recall estimated from drawn inspections."""

import numpy as np
import pytest

from models.selection.recall import FindTotals, InspectedSample, compute_recall, estimate_recall

DRAWS = 4000


def build_sample(within: list[float], probability: list[float], positive: list[bool]) -> InspectedSample:
    return InspectedSample(
        np.array(within), np.array(probability), np.array(positive), np.full(len(within), 0.1)
    )


def test_the_worked_example() -> None:
    sample = build_sample([1.0] * 8 + [0.0], [1.0] * 8 + [1 / 3], [True] * 9)
    assert estimate_recall(sample).value == pytest.approx(8 / 11)


def test_if_all_were_inspected_the_interval_has_no_width() -> None:
    sample = build_sample([1.0, 1.0, 0.0], [1.0] * 3, [True, False, True])
    assert estimate_recall(sample) == pytest.approx((0.5, 0.5, 0.5))


def test_no_find_says_nothing_of_recall() -> None:
    value, low, high = estimate_recall(build_sample([1.0, 0.0], [1.0, 0.1], [False, False]))
    assert np.isnan(value)
    assert (low, high) == (0.0, 1.0)


def test_no_find_among_the_lower_scores_does_not_make_recall_sure() -> None:
    sample = build_sample([1.0] * 20 + [0.0] * 20, [1.0] * 20 + [0.1] * 20, [True] * 20 + [False] * 20)
    found = estimate_recall(sample)
    assert found.value == 1.0
    assert 0.3 < found.low < 0.6


def test_more_of_the_same_finds_make_the_interval_narrower() -> None:
    within, beyond = FindTotals(8, 2, 3, 4), FindTotals(3, 27, 270, 9)
    once = compute_recall(within, beyond)
    often = compute_recall(within.scale(10), beyond.scale(10))
    assert once.value == pytest.approx(often.value)
    assert often.half_width < once.half_width / 2.5
    assert once.low < once.value < once.high


def test_the_totals_are_unbiased_over_the_draws() -> None:
    rng = np.random.default_rng(1)
    probability = np.tile([0.9, 0.3, 0.1], 20)
    positive = rng.random(60) < 0.4
    drawn = rng.random((DRAWS, 60)) < probability
    totals = (drawn * positive / probability).sum(axis=1)
    noise = totals.std() / DRAWS**0.5
    assert totals.mean() == pytest.approx(positive.sum(), abs=4 * noise)
