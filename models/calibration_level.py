"""The level of calibrated scores, anchored on random inspections: what was chosen was chosen for more than the columns show.

A calibration learnt from chosen inspections may promise several times the positives there are. A random inspection is chosen for
nothing, so its result says how far the promise is off. The shift of all scores, in log-odds, has a normal prior around none; the
results of the random inspections update it. With few positives among them the prior keeps the shift small and the interval wide.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.calibration import Calibration

SHIFT_PRIOR_SD = 1.5
"""Standard deviation of the shift before any random inspection, in log-odds: two in three within a factor of 4.5."""
MAX_SHIFT = 7.0
STEP = 0.01
SHIFT_DIGITS = 6
TAIL = 0.025
MIN_RANDOM_POSITIVES = 10
"""With fewer positives among random inspections the level rests on what was chosen."""

Floats = NDArray[np.float64]


class CalibrationLevel(NamedTuple):
    """How far the promise of scores may be off.

    Attributes
    ----------
    shift : float
        Added to the log-odds of every score.
    low, high : float
        True positives for one that the shifted scores promise: ends of the 95 % interval.
    inspected, positives : int
        Random inspections with a result, and the positives among them.
    """

    shift: float
    low: float
    high: float
    inspected: int
    positives: int

    @property
    def is_anchored(self) -> bool:
        """Whether random inspections found enough to know the level by themselves."""
        return self.positives >= MIN_RANDOM_POSITIVES

    def to_sentence(self) -> str:
        """Say how well the level of the scores is known."""
        found = f"{self.positives} positives among {self.inspected:,} random inspections"
        interval = (
            f"for one that the scores promise there are {self.low:.2g} to {self.high:.2g} (95 % interval)"
        )
        if self.is_anchored:
            return f"The level of the scores is anchored on {found}: {interval}."
        return f"The level of the scores is known from chosen inspections only, with {found}: {interval}."


def estimate_level(probability: Floats, positive: NDArray[np.bool_]) -> CalibrationLevel:
    """Estimate the shift of scores from random inspections.

    Parameters
    ----------
    probability : float64 array, (n,)
        Calibrated scores of random inspections of a later time than the model learnt from.
    positive : bool array, (n,)
        Their results.

    Notes
    -----
    The posterior of the shift s is proportional to exp(-s^2 / (2 sd^2)) times the product of the Bernoulli probabilities at
    logit(p) + s, on a grid. The shift is its median. The interval is that of the positives which the shifted scores promise.

    Examples
    --------
    >>> level = estimate_level(np.full(1000, 0.02), np.arange(1000) < 5)
    >>> level.positives, level.is_anchored, round(level.shift, 1)
    (5, False, -1.2)
    """
    grid = np.arange(-MAX_SHIFT, MAX_SHIFT + STEP / 2, STEP)
    if not len(probability):
        density = np.exp(-0.5 * (grid / SHIFT_PRIOR_SD) ** 2)
        low, middle, high = _compute_quantiles(grid, density)
        return CalibrationLevel(0.0, float(np.exp(low)), float(np.exp(high)), 0, 0)
    log_odds = np.log(probability / (1.0 - probability))
    promised = np.array([float(np.sum(_sigmoid(log_odds + shift))) for shift in grid])
    logs = np.array([_compute_log_likelihood(log_odds + shift, positive) for shift in grid])
    logs -= 0.5 * (grid / SHIFT_PRIOR_SD) ** 2
    low, middle, high = _compute_quantiles(grid, np.exp(logs - logs.max()))
    at_low, at_middle, at_high = np.interp((low, middle, high), grid, promised)
    return CalibrationLevel(
        round(middle, SHIFT_DIGITS),
        float(at_low / at_middle),
        float(at_high / at_middle),
        len(probability),
        int(positive.sum()),
    )


def shift_calibration(calibration: Calibration, shift: float) -> Calibration:
    """Return a calibration whose scores are shifted in log-odds."""
    channels = {name: intercept + shift for name, intercept in calibration.channels.items()}
    return Calibration(calibration.slope, calibration.intercept + shift, channels)


def anchor_calibration(
    calibration: Calibration, raw: Floats, channels: Sequence[str], positive: NDArray[np.bool_]
) -> tuple[Calibration, CalibrationLevel]:
    """Shift a calibration to the level that random inspections show.

    Parameters
    ----------
    calibration : Calibration
    raw : float64 array, (n,)
        Raw scores of random inspections.
    channels : sequence of str, (n,)
    positive : bool array, (n,)
    """
    level = estimate_level(calibration.calibrate(raw, channels), positive)
    return shift_calibration(calibration, level.shift), level


def _compute_log_likelihood(log_odds: Floats, positive: NDArray[np.bool_]) -> float:
    return -float(np.sum(np.logaddexp(0.0, np.where(positive, -log_odds, log_odds))))


def _compute_quantiles(grid: Floats, density: Floats) -> tuple[float, float, float]:
    cumulative = np.cumsum(density) / density.sum()
    low, middle, high = np.interp((TAIL, 0.5, 1.0 - TAIL), cumulative, grid)
    return float(low), float(middle), float(high)


def _sigmoid(log_odds: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-log_odds))
