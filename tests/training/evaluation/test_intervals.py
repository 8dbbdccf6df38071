"""Claims about intervals of few finds and of whole days."""

import numpy as np
import pytest

from training.evaluation.intervals import compute_interval, compute_share_interval
from training.evaluation.ranking import draw_days


def test_nothing_found_in_so_many_trials_leaves_room_for_some():
    found = compute_share_interval(np.zeros(50), 100, days=10)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 100))


def test_everything_found_is_no_certainty_either():
    found = compute_share_interval(np.ones(50), 3, days=10)
    assert found.low == pytest.approx(0.025 ** (1 / 3))
    assert found.high == 1.0


def test_with_no_trial_nothing_is_known():
    found = compute_share_interval(np.full(50, 0.3), 0, days=10)
    assert (found.low, found.high) == (0.0, 1.0)


def test_days_that_differ_make_the_interval_wider_than_that_of_the_trials():
    numbers = np.random.default_rng(1)
    alike = compute_share_interval(np.concatenate([[0.5], numbers.normal(0.5, 0.05, 300)]), 100, days=28)
    apart = compute_share_interval(np.concatenate([[0.5], numbers.normal(0.5, 0.15, 300)]), 100, days=28)
    assert apart.high - apart.low > 2 * (alike.high - alike.low)


def test_days_that_are_alike_make_it_no_narrower_than_the_trials_allow():
    exact = compute_share_interval(np.full(300, 0.2), 50, days=28)
    assert (exact.low, exact.high) == pytest.approx(
        (0.1003, 0.3372), abs=2e-4
    )  # tables of Clopper and Pearson


def test_a_single_day_and_an_unknown_share_have_no_interval():
    assert np.isnan(compute_share_interval(np.full(50, 0.3), 20, days=1).low)
    assert np.isnan(compute_share_interval(np.full(50, np.nan), 20, days=9).high)
    assert np.isnan(compute_interval(np.array([0.3, np.nan, np.nan, 0.2])).low)


def test_the_exact_interval_covers_where_resampled_days_alone_do_not():
    """A rate of 1 in 100 in 200 trials of twenty days: in one world of eight nothing is found."""
    numbers = np.random.default_rng(3)
    draws = draw_days(20, 200, seed=1)
    exact = resampled = 0
    for _ in range(400):
        finds = numbers.binomial(10, 0.01, 20).astype(float)
        values = (draws @ finds) / (draws @ np.full(20, 10.0))
        one, other = compute_share_interval(values, 200, days=20), compute_interval(values)
        exact += one.low <= 0.01 <= one.high
        resampled += other.low <= 0.01 <= other.high
    assert exact / 400 >= 0.95
    assert resampled / 400 < 0.9
