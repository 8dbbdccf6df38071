"""Calibration: Platt scaling of the log-odds of the trees to a probability, with an intercept per channel shrunk to the pooled one."""

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numba import njit

from models.arrays import Floats
from models.formats import format_count, format_number

SLOPE_RANGE = (0.05, 20.0)
INTERCEPT_RANGE = (-50.0, 50.0)
SHIFT_RANGE = (-10.0, 10.0)
MAX_LOG_ODDS = 36.0  # limit of log-odds, so that the probability stays inside (0, 1)

LN2_HIGH, LN2_LOW = 0.693145751953125, 1.4286068203094172321e-6
"""The natural logarithm of 2 in two parts. Small multiples of the first part are exact (Cephes)."""
EXP_TERMS = tuple(1.0 / math.factorial(power) for power in range(13, -1, -1))
"""Taylor coefficients of the exponential. For |x| <= ln 2 / 2 the error is below the last bit."""

MIN_RANDOM_POSITIVES = 10  # with fewer among random inspections, the level depends on the selected ones

Intercept = Annotated[
    float, Meta(ge=INTERCEPT_RANGE[0] + SHIFT_RANGE[0], le=INTERCEPT_RANGE[1] + SHIFT_RANGE[1])
]


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The calibration of scores: probability = 1 / (1 + exp(-(slope * raw + intercept))), by channel if it has one."""

    slope: Annotated[float, Meta(ge=SLOPE_RANGE[0], le=SLOPE_RANGE[1])]
    intercept: Intercept
    channels: dict[str, Intercept]

    def calibrate(self, raw: Floats, channel: Sequence[str]) -> Floats:
        """Compute the probability of each row, above 0 and below 1, with the same bits for one row and for many."""
        intercepts = [self.channels.get(each, self.intercept) for each in channel]
        return np.asarray(compute_logistics(self.slope * raw + np.array(intercepts, dtype=np.float64)))


@njit(cache=True)
def _exp(x: float) -> float:
    """Compute e**x for |x| < 100 by sums, products and powers of two only, whose last bit is the same on all machines."""
    k = np.rint(x / (LN2_HIGH + LN2_LOW))
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    value = 0.0
    for term in EXP_TERMS:
        value = value * r + term
    return math.ldexp(value, int(k))


@njit(cache=True)
def compute_logistic(log_odds: float) -> float:
    """Compute 1 / (1 + exp(-x)), with x limited to `MAX_LOG_ODDS`."""
    return 1.0 / (1.0 + _exp(-min(max(log_odds, -MAX_LOG_ODDS), MAX_LOG_ODDS)))


@njit(cache=True)
def compute_logistics(log_odds: Floats) -> Floats:
    """Compute `compute_logistic` of each number."""
    found = np.empty(len(log_odds))
    for at in range(len(log_odds)):
        found[at] = compute_logistic(log_odds[at])
    return found


class CalibrationLevel(NamedTuple):
    """The shift of the scores in log-odds, and the 95 % interval of real positives per positive that the shifted scores predict."""

    shift: float
    low: float
    high: float
    inspected: int
    positives: int

    def to_sentence(self) -> str:
        """Describe the accuracy of the level of the scores."""
        found = f"{format_count(self.positives, 'positive')} among {self.inspected:,} random inspections of the tested weeks"
        if self.positives < MIN_RANDOM_POSITIVES:
            return f"The level of the scores rests on selected inspections. Random ones alone do not tell it ({found})."
        least, most = (format_number(1 / max(end, 1e-9)) for end in (self.high, self.low))
        interval = f"predicted positives are {least} to {most} times the real ones (95 % interval)"
        return f"The level of the scores is anchored on {found}: {interval}."
