"""Calibration: from log-odds to probabilities that hold, at the level of random inspections as far as they have found enough to say."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.calibration import MAX_LOG_ODDS, MIN_RANDOM_POSITIVES, Calibration, compute_logistic
from models.fitting import calibration

TRUE_SLOPE, TRUE_INTERCEPTS = 1.5, {"postal": 0.5, "air_cargo": -0.5}


def made(count: int, seed: int = 1) -> tuple[Any, Any, list[str]]:
    """Draw raw scores, labels and channels from a known calibration."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(-3.0, 2.0, count)
    channel = rng.choice(list(TRUE_INTERCEPTS), count).tolist()
    margin = TRUE_SLOPE * raw + np.array([TRUE_INTERCEPTS[name] for name in channel])
    return raw, (rng.random(count) < 1 / (1 + np.exp(-margin))).astype(float), channel


def test_slope_and_intercepts_are_found_again_where_there_are_many_rows() -> None:
    raw, y, channel = made(60_000)
    found = calibration.fit_calibration(raw, y, np.ones(len(raw)), channel)
    assert found.slope == pytest.approx(TRUE_SLOPE, abs=0.05)
    assert found.channels == pytest.approx(TRUE_INTERCEPTS, abs=0.1)


def test_some_tens_of_finds_move_the_slope_less_than_half_as_far_as_they_show() -> None:
    rng = np.random.default_rng(4)
    raw = rng.normal(-5.0, 2.0, 4000)
    y = (rng.random(len(raw)) < 1 / (1 + np.exp(-(0.5 * raw - 2.5)))).astype(float)
    assert 20 < y.sum() < 100
    assert 0.75 < calibration.fit_calibration(raw, y, np.ones(len(raw)), ["postal"] * len(raw)).slope < 1.0


def test_a_channel_with_few_finds_stays_near_the_pooled_intercept() -> None:
    raw, y, channel = made(8000)
    few = [i for i, name in enumerate(channel) if name == "air_cargo"][40:]
    kept = np.setdiff1d(np.arange(len(raw)), few)
    names = [channel[i] for i in kept]
    found = calibration.fit_calibration(raw[kept], y[kept], np.ones(len(kept)), names)
    gap_of = {name: abs(value - found.intercept) for name, value in found.channels.items()}
    assert gap_of["air_cargo"] < abs(TRUE_INTERCEPTS["air_cargo"] - TRUE_INTERCEPTS["postal"]) / 2


def test_with_few_positives_only_the_intercept_is_fitted() -> None:
    raw, _, channel = made(2000)
    y = np.zeros(len(raw))
    y[: calibration.MIN_SLOPE_POSITIVES - 1] = 1
    found = calibration.fit_calibration(raw, y, np.ones(len(raw)), channel)
    assert (found.slope, found.channels) == (1.0, {})
    expected = (calibration.MIN_SLOPE_POSITIVES - 0.5) / (len(raw) + 1)
    assert found.calibrate(raw, channel).mean() == pytest.approx(expected, rel=1e-6)
    without = calibration.fit_calibration(raw, 0 * y, np.ones(len(raw)), channel).calibrate(raw, channel)
    assert 0 < without.mean() < 1e-3


def test_without_rows_or_weight_the_raw_score_is_taken_as_it_is() -> None:
    as_it_is = Calibration(1.0, 0.0, {})
    assert calibration.fit_calibration(np.zeros(0), np.zeros(0), np.zeros(0), []) == as_it_is
    assert calibration.fit_calibration(np.ones(3), np.ones(3), np.zeros(3), ["postal"] * 3) == as_it_is


@pytest.mark.parametrize("separation", [-1.0, 1.0])
def test_raw_scores_that_part_or_invert_the_labels_give_a_slope_in_bounds(separation: float) -> None:
    y = np.array([0.0] * 500 + [1.0] * 50)
    raw = separation * np.where(y == 1, 3.0, -3.0) + np.linspace(0, 0.1, len(y))
    found = calibration.fit_calibration(raw, y, np.ones(len(y)), ["postal"] * len(y))
    assert 0 < found.slope <= 20
    assert np.isfinite(found.intercept)


@given(st.floats(-1e300, 1e300), st.sampled_from(["postal", "air_cargo", "another"]))
def test_a_probability_is_inside_zero_and_one(raw: float, channel: str) -> None:
    p = Calibration(2.0, -3.0, {"postal": -5.0, "air_cargo": 1.0}).calibrate(np.array([raw]), [channel])[0]
    assert 0 < p < 1


@given(st.floats(-MAX_LOG_ODDS, MAX_LOG_ODDS))
def test_the_own_exponential_agrees_with_the_library_to_the_last_digits(log_odds: float) -> None:
    assert compute_logistic(log_odds) == pytest.approx(1 / (1 + math.exp(-log_odds)), rel=1e-15)


@pytest.mark.slow
def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(2), 0
    for _ in range(200):
        factor = float(np.exp(rng.normal(0, 1.0)))
        promised = np.minimum(rng.beta(0.3, 25.0, 600), 0.3)
        chance = 1 / (1 + np.exp(-(np.log(promised / (1 - promised)) + np.log(factor))))
        level = calibration.estimate_level(promised, rng.random(600) < chance)
        shifted = 1 / (1 + np.exp(-(np.log(promised / (1 - promised)) + level.shift)))
        held += level.low <= chance.sum() / shifted.sum() <= level.high
    assert 0.9 <= held / 200 <= 1.0


def test_with_few_finds_the_sentence_says_that_the_level_rests_on_what_was_chosen() -> None:
    few = calibration.estimate_level(np.full(400, 0.02), np.arange(400) < MIN_RANDOM_POSITIVES - 1)
    many = calibration.estimate_level(np.full(400, 0.02), np.arange(400) < MIN_RANDOM_POSITIVES)
    told = "rests on selected inspections. Random ones alone do not tell it (9 positives among 400 random"
    assert told in few.to_sentence()
    assert "times the real ones" not in few.to_sentence()
    assert "anchored on 10 positives" in many.to_sentence()
    assert f"are {1 / many.high:.3g} to {1 / many.low:.3g} times the real ones" in many.to_sentence()
    assert many.high / many.low < 6


def test_without_random_inspections_nothing_is_shifted_and_the_interval_is_wide() -> None:
    level = calibration.estimate_level(np.zeros(0), np.zeros(0, dtype=bool))
    assert level.shift == 0
    assert level.low < 0.1
    assert level.high > 10


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0])
def test_many_random_inspections_bring_the_promise_to_the_truth(factor: float) -> None:
    rng = np.random.default_rng(3)
    raw = rng.normal(-3.0, 1.0, 8_000)
    promising = Calibration(1.0, -np.log(factor), {})
    positive = rng.random(8_000) < 1 / (1 + np.exp(-raw))
    anchored, level = calibration.anchor_calibration(promising, raw, ["postal"] * 8_000, positive)
    assert anchored.calibrate(raw, ["postal"] * 8_000).sum() == pytest.approx(positive.sum(), rel=0.05)
    assert level.shift == pytest.approx(np.log(factor), abs=0.15)
    assert level.positives >= MIN_RANDOM_POSITIVES
    assert level.low < 1.0 < level.high < 1.7 * level.low
    assert (anchored.slope, anchored.intercept) == (1.0, promising.intercept + level.shift)
