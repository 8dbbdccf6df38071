"""The statement of a difference between two scores of the same traffic: one word and one sentence, by which the gate decides too."""

import math
from dataclasses import replace
from typing import Literal

from models.formats import format_number, format_points
from training.evaluation.estimate import Estimate, describe_estimate
from training.evaluation.metrics import AREA_METRICS, PRIMARY_MEASURE

MEASURE_TITLES = {
    PRIMARY_MEASURE: "recall averaged over capacities",
    "recall_at_1pct": "recall at 1 % of traffic",
    "recall_at_capacity": "recall at capacity",
}
MEASURES = tuple(MEASURE_TITLES)
"""Measures of ranking; the first decides whether a version is better. Precision at a share of traffic differs as recall does."""
MARGIN = 0.02
"""Loss of the primary measure that the lower end of its one-sided 95 % interval must exclude (docs/estimates.md)."""
ONE_SIDED, TWO_SIDED = 1.645, 1.96  # quantiles of the normal distribution, of both kinds of 95 % intervals

Verdict = Literal["better", "worse", "no clear difference", "too few results"]
SENTENCES: dict[Verdict, str] = {
    "better": "{b} is better than {a}: {found}.",
    "worse": "{b} is worse than {a}: {found}.",
    "no clear difference": "{b} is neither clearly better nor clearly worse than {a}: {found}.",
    "too few results": "Whether {b} is better than {a} is not known{basis}: {found}.",
}
FROM_COMPARED = " from the compared arrivals"
"""What leaves a difference open that the reports of both versions, on other weeks, may show."""


def judge_difference(gain: Estimate) -> Verdict:
    """Return the word for a difference of the primary measure, by which the gate decides."""
    if not gain.is_shown:
        return "too few results"
    if gain.value > 0 and compute_one_sided_low(gain) > -MARGIN:
        return "better"
    return "worse" if gain.sign < 0 else "no clear difference"


def state_difference(gain: Estimate, a: str, b: str, basis: str = "") -> str:
    """Return in one sentence how `b` differs from `a` in the primary measure; `basis` says from what it is not known."""
    verdict = judge_difference(gain)
    # How many more are needed is said by the advice, for the difference that is to be shown.
    found = f"too few results, {gain.known or 0:,} known"
    if gain.is_shown:
        low = format_points(compute_one_sided_low(gain))
        found = f"{describe_gain(PRIMARY_MEASURE, gain)}, with 95 % certainty at least {low}"
    sentence = SENTENCES[verdict].format(a=a, b=b, found=found, basis=basis)
    return sentence[0].upper() + sentence[1:]


def describe_gain(name: str, gain: Estimate) -> str:
    """Describe the difference of a measure with its interval."""
    return f"{MEASURE_TITLES[name]} {describe_estimate(round_gain(gain), format_points)}"


def round_gain(gain: Estimate) -> Estimate:
    """Round a difference of less than a tenth of its interval to the digits that this allows."""
    width = gain.high - gain.low
    digits = 2 - math.floor(math.log10(width)) if abs(gain.value) < width / 10 else 15
    return replace(gain, value=round(gain.value, digits))


def format_gain(value: float, metric: str) -> str:
    """Format the difference of a metric: areas as decimals, shares in percentage points; a dash if it is unknown."""
    return format_number(value, "+") if metric in AREA_METRICS else format_points(value)


def compute_one_sided_low(gain: Estimate) -> float:
    """Compute the lower end of the one-sided 95 % interval."""
    return (gain.low + gain.high) / 2 - ONE_SIDED / TWO_SIDED * (gain.high - gain.low) / 2
