"""The level of scores is that of random inspections, as far as they have found enough to say."""

import numpy as np
import pytest

from models.calibration import MIN_RANDOM_POSITIVES, Calibration
from models.fitting.calibration import anchor_calibration, estimate_level


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0])
def test_many_random_inspections_bring_the_promise_to_the_truth(factor: float) -> None:
    rng = np.random.default_rng(1)
    promised = rng.beta(0.3, 12.0, 12_000)
    positive = rng.random(12_000) < promised * factor
    level = estimate_level(promised, positive)
    shifted = 1 / (1 + np.exp(-(np.log(promised / (1 - promised)) + level.shift)))
    assert level.positives >= MIN_RANDOM_POSITIVES
    assert shifted.sum() == pytest.approx(positive.sum(), rel=0.04)
    assert level.low < 1.0 < level.high < 1.7 * level.low


@pytest.mark.slow
def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(2), 0
    for _ in range(200):
        factor = float(np.exp(rng.normal(0, 1.0)))
        promised = np.minimum(rng.beta(0.3, 25.0, 600), 0.3)
        chance = 1 / (1 + np.exp(-(np.log(promised / (1 - promised)) + np.log(factor))))
        level = estimate_level(promised, rng.random(600) < chance)
        shifted = 1 / (1 + np.exp(-(np.log(promised / (1 - promised)) + level.shift)))
        held += level.low <= chance.sum() / shifted.sum() <= level.high
    assert 0.9 <= held / 200 <= 1.0


def test_with_few_finds_the_sentence_says_that_the_level_rests_on_what_was_chosen() -> None:
    few = estimate_level(np.full(400, 0.02), np.arange(400) < MIN_RANDOM_POSITIVES - 1)
    many = estimate_level(np.full(400, 0.02), np.arange(400) < MIN_RANDOM_POSITIVES)
    assert (
        "from selected inspections only. Random ones alone do not tell it (9 positives among 400 random"
        in few.to_sentence()
    )
    assert "anchored on 10 positives" in many.to_sentence()
    assert f"are {1 / few.high:.3g} to {1 / few.low:.3g} times the real ones" in few.to_sentence()
    assert many.high / many.low < 6
    none = estimate_level(np.full(12, 0.02), np.zeros(12, dtype=bool))
    assert "12 random inspections of the latest weeks): by them, it is unknown." in none.to_sentence()


def test_without_random_inspections_nothing_is_shifted_and_the_interval_is_wide() -> None:
    level = estimate_level(np.zeros(0), np.zeros(0, dtype=bool))
    assert level.shift == 0
    assert level.low < 0.1
    assert level.high > 10


def test_a_calibration_that_promises_four_times_too_much_is_corrected() -> None:
    rng = np.random.default_rng(3)
    raw = rng.normal(-3.0, 1.0, 8_000)
    calibration = Calibration(1.0, np.log(4.0), {})
    positive = rng.random(8_000) < 1 / (1 + np.exp(-raw))
    anchored, level = anchor_calibration(calibration, raw, ["postal"] * 8_000, positive)
    assert anchored.calibrate(raw, ["postal"] * 8_000).sum() == pytest.approx(positive.sum(), rel=0.05)
    assert level.shift == pytest.approx(-np.log(4.0), abs=0.15)
    assert (anchored.slope, anchored.intercept) == (1.0, calibration.intercept + level.shift)
