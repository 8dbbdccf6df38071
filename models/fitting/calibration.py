"""Fit of the calibration and of its level: a shift of all scores with a normal prior around zero, which random inspections update.

Others do not anchor the level, because they are selected for more reasons than the columns show.
"""

import math
from collections.abc import Sequence

import numpy as np

from models.arrays import Bools, Floats, Ints
from models.calibration import INTERCEPT_RANGE, SHIFT_RANGE, SLOPE_RANGE, Calibration, CalibrationLevel

MIN_SLOPE_POSITIVES = 20  # with fewer positives the slope stays 1, and the channels share one intercept
SLOPE_PRIOR_SD = 0.1  # of the logarithm of the slope; narrow, because selected finds show too low a slope
CHANNEL_PRIOR_SD = 0.5  # standard deviation of a channel's intercept around the pooled one, in log-odds
TOLERANCE, TAIL = 1e-10, 0.025
SHIFT_PRIOR_SD = 1.5  # of the shift, in log-odds: two in three are within a factor of 4.5
MAX_LEVEL_SHIFT, LEVEL_STEP, LEVEL_DIGITS = 7.0, 0.01, 6
SCALE_DIGITS, MAX_RATIO = 9, 4.0


def fit_calibration(raw: Floats, y: Floats, weight: Floats, channel: Sequence[str]) -> Calibration:
    """Fit the calibration on later rows than those of the trees: the posterior mode under the priors of slope and intercepts."""
    positives = int(((y == 1) & (weight > 0)).sum())
    scaled = weight * _compute_weight_scale(y, weight)
    if not scaled.any():
        return Calibration(1.0, 0.0, {})
    if positives < MIN_SLOPE_POSITIVES:
        return Calibration(1.0, _fit_intercept(raw, y, scaled), {})
    names = sorted(set(channel))
    member = np.array([names.index(name) for name in channel])
    slope, pooled, shifts = _fit_posterior_mode(raw, y, scaled, member, len(names))
    channels = {name: pooled + shift for name, shift in zip(names, shifts, strict=True)}
    return Calibration(slope, pooled, channels)


def _compute_weight_scale(y: Floats, weight: Floats) -> float:
    """Compute the factor that gives the positives the weight of their effective number (Kish); of all rows if there are none."""
    counted = weight[y == 1] if weight[y == 1].any() else weight
    squares = float(np.sum(counted * counted))
    return float(np.sum(counted)) / squares if squares else 0.0


def _fit_intercept(raw: Floats, y: Floats, weight: Floats) -> float:
    """Find by bisection the shift at which the mean probability is the share of positives plus half a positive."""
    share = (float(np.sum(weight * y)) + 0.5) / (float(np.sum(weight)) + 1.0)
    low, high = INTERCEPT_RANGE
    while high - low > TOLERANCE:
        middle = (low + high) / 2
        mean = float(np.sum(weight * _sigmoid(raw + middle)) / np.sum(weight))
        low, high = (middle, high) if mean < share else (low, middle)
    return (low + high) / 2


def _fit_posterior_mode(
    raw: Floats, y: Floats, weight: Floats, member: Ints, channels: int
) -> tuple[float, float, list[float]]:
    """Find slope, pooled intercept and the shifts of the channels from it."""
    from scipy.optimize import minimize

    start = np.array([0.0, _fit_intercept(raw, y, weight), *([0.0] * channels)])
    spread = np.array([SLOPE_PRIOR_SD, np.inf, *([CHANNEL_PRIOR_SD] * channels)])
    limits = [tuple(map(math.log, SLOPE_RANGE)), INTERCEPT_RANGE, *([SHIFT_RANGE] * channels)]

    def compute_loss(at: Floats) -> tuple[float, Floats]:
        """Compute the negative log posterior and its gradient, by sums whose last bit does not change with the number of threads."""
        slope, shifts = math.exp(at[0]), at[2:]
        margin = slope * raw + at[1] + shifts[member]
        fit = float(np.sum(weight * np.logaddexp(0.0, np.where(y == 1, -margin, margin))))
        error = weight * (_sigmoid(margin) - y)
        by_channel = np.bincount(member, weights=error, minlength=len(shifts))
        gradient = np.array([np.sum(error * raw) * slope, np.sum(error), *by_channel])
        prior = at / spread
        return fit + float(np.sum(prior * prior)) / 2, gradient + prior / spread

    options = {"ftol": TOLERANCE, "gtol": TOLERANCE}
    found = minimize(compute_loss, start, jac=True, method="L-BFGS-B", bounds=limits, options=options)
    log_slope, pooled, *shifts = found.x.tolist()
    return min(max(math.exp(log_slope), SLOPE_RANGE[0]), SLOPE_RANGE[1]), pooled, shifts


def _sigmoid(margin: Floats) -> Floats:
    """Compute the logistic function, for fitting only. Scores use `compute_logistic`."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -margin)))


def estimate_level(probability: Floats, positive: Bools) -> CalibrationLevel:
    """Estimate the shift of scores as the median of its posterior, on a grid, given the results of random inspections."""
    grid = np.arange(-MAX_LEVEL_SHIFT, MAX_LEVEL_SHIFT + LEVEL_STEP / 2, LEVEL_STEP)
    if not len(probability):
        density = np.exp(-0.5 * (grid / SHIFT_PRIOR_SD) ** 2)
        low, middle, high = _compute_quantiles(grid, density)
        return CalibrationLevel(0.0, float(np.exp(low)), float(np.exp(high)), 0, 0)
    log_odds = np.log(probability / (1.0 - probability))
    promised = np.array([float(np.sum(_sigmoid(log_odds + shift))) for shift in grid])
    sign = np.where(positive, -1.0, 1.0)
    logs = np.array([-np.sum(np.logaddexp(0.0, sign * (log_odds + shift))) for shift in grid])
    logs -= 0.5 * (grid / SHIFT_PRIOR_SD) ** 2
    low, middle, high = _compute_quantiles(grid, np.exp(logs - logs.max()))
    at_low, at_middle, at_high = np.interp((low, middle, high), grid, promised)
    least, most = float(at_low / at_middle), float(at_high / at_middle)
    return CalibrationLevel(round(middle, LEVEL_DIGITS), least, most, len(probability), int(positive.sum()))


MATCHED_QUANTILES = np.linspace(0.5, 0.995, 100)  # from the median to the riskiest 0.5 %


def fit_raw_scale(raw: Floats, reference: Floats) -> tuple[float, float]:
    """Fit the line `ratio * raw + offset` through the quantiles of two fits' raw scores of consignments that neither has seen."""
    if not len(raw):
        return 1.0, 0.0
    mine, theirs = np.quantile(raw, MATCHED_QUANTILES), np.quantile(reference, MATCHED_QUANTILES)
    spread = mine - mine.mean()
    squares = float(np.sum(spread * spread))
    ratio = float(np.sum(spread * (theirs - theirs.mean()))) / squares if squares else 1.0
    ratio = round(min(max(ratio, 1.0 / MAX_RATIO), MAX_RATIO), SCALE_DIGITS)
    return ratio, round(float(theirs.mean()) - ratio * float(mine.mean()), SCALE_DIGITS)


def anchor_calibration(
    calibration: Calibration, raw: Floats, channels: Sequence[str], positive: Bools
) -> tuple[Calibration, CalibrationLevel]:
    """Shift a calibration, in log-odds, to the level that random inspections show."""
    level = estimate_level(calibration.calibrate(raw, channels), positive)
    shifted = {name: intercept + level.shift for name, intercept in calibration.channels.items()}
    return Calibration(calibration.slope, calibration.intercept + level.shift, shifted), level


def _compute_quantiles(grid: Floats, density: Floats) -> tuple[float, float, float]:
    cumulative = np.cumsum(density) / density.sum()
    low, middle, high = np.interp((TAIL, 0.5, 1.0 - TAIL), cumulative, grid)
    return float(low), float(middle), float(high)
