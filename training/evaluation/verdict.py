"""Verdict of a run in one word and a few sentences: is the model better than baselines that cost nothing?

The word is one of `better`, `unclear` and `worse`. It depends on the 95 % interval of the difference of the deciding metric
to the strongest baseline, on the same traffic and the same resampled days: above zero, containing zero, or below zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from consignments.records import TARGET_NAMES, Target
from models.formats import format_number, format_percent, format_points
from training.evaluation.estimate import Estimate
from training.evaluation.metrics import Evaluation, estimate_difference

DECIDING = ("recall_at_1pct", "average_precision", "roc_auc")
"""Metrics that decide about a model; see `choose_deciding_metric`."""
SIGN_NAMES: dict[int, Literal["better", "unclear", "worse"]] = {1: "better", 0: "unclear", -1: "worse"}
MIN_POSITIVES = 10
"""With fewer positives in the evaluated weeks no confident decision is possible."""
METRIC_NAMES = {
    "recall_at_1pct": "recall at 1 % of all traffic",
    "average_precision": "average precision",
    "roc_auc": "area under the ROC curve",
}


@dataclass(frozen=True)
class EvaluationVerdict:
    """The verdict of a run.

    Attributes
    ----------
    name : {"better", "unclear", "worse"}
    sentences : tuple of str
        What a reviewer should know first.
    rival : str
        Name of the strongest baseline.
    gain : Estimate
        Recall at 1 % of traffic minus that of `rival`; NaN if the data do not determine it.
    positives : int
        Known positives in the evaluated weeks.
    by_truth : bool
        True if the labels are the truth of a simulated world.
    """

    name: Literal["better", "unclear", "worse"]
    sentences: tuple[str, ...]
    rival: str
    gain: Estimate
    positives: int
    by_truth: bool


def judge_model(
    model: Evaluation, baselines: Mapping[str, Evaluation], *, target: Target, positives: int, by_truth: bool
) -> EvaluationVerdict:
    """Compare the model with its baselines and write the verdict.

    Parameters
    ----------
    model : Evaluation
    baselines : mapping
        Name to evaluation, of the same traffic.
    target : str
    positives : int
        Known positives in the evaluated weeks.
    by_truth : bool
        True if the labels are the truth of a simulated world.
    """
    metric = choose_deciding_metric(model.metrics)
    # Of equally good ones the last: the baselines are ordered by cost.
    rival = max(
        reversed(list(baselines)), key=lambda name: np.nan_to_num(baselines[name][metric].value, nan=-1.0)
    )
    gain = estimate_difference(model, baselines[rival], metric)
    name = SIGN_NAMES[gain.sign]
    title = METRIC_NAMES[metric][0].upper() + METRIC_NAMES[metric][1:]
    sentences = [
        _write_headline(model, target, by_truth),
        f"{title} is {format_percent(model[metric].value)}, {format_share_range(model[metric])}. The strongest "
        f"baseline ({rival}) reaches {format_percent(baselines[rival][metric].value)}. {_describe_gain(name, gain)}",
    ]
    if positives < MIN_POSITIVES:
        known = "1 positive is" if positives == 1 else f"{positives} positives are"
        sentences.append(f"Only {known} known in the evaluated weeks, too few for a decision.")
    if not by_truth and model["labelled_share_at_1pct"].value < 1:
        sentences.append(
            f"{format_percent(model['labelled_share_at_1pct'].value)} of the top 1 % was inspected and has a result. "
            "The rest is estimated from the inspection probabilities."
        )
    recall = estimate_difference(model, baselines[rival], DECIDING[0])
    return EvaluationVerdict(name, tuple(sentences), rival, recall, positives, by_truth)


def choose_deciding_metric(found: Mapping[str, Estimate]) -> str:
    """Return the first of the deciding metrics that has an interval; else the first that has a value, else the last.

    Parameters
    ----------
    found : mapping
        Name to the metric of a model, or to its difference from another model.
    """
    known = [name for name in DECIDING if found[name].has_interval]
    valued = [name for name in DECIDING if np.isfinite(found[name].value)]
    return (known or valued or [DECIDING[-1]])[0]


def format_share_range(estimate: Estimate) -> str:
    """Format the interval of a share in words.

    Examples
    --------
    >>> format_share_range(Estimate(0.42, 0.305, 0.5))
    'between 30.5 % and 50.0 % with 95 % confidence'
    """
    if not np.isfinite(estimate.low):
        return "without an interval, because too few results are known"
    return f"between {format_percent(estimate.low)} and {format_percent(estimate.high)} with 95 % confidence"


def format_percent_range(estimate: Estimate) -> str:
    """Format a difference of shares in percentage points, with its interval.

    Examples
    --------
    >>> format_percent_range(Estimate(0.01, -0.02, 0.04))
    '+1 points (-2 to +4)'
    >>> format_percent_range(Estimate(0.01, float("nan"), float("nan")))
    '+1 points, without an interval: one day or too few results show no spread'
    """
    value = format_points(estimate.value)
    if not estimate.has_interval:
        return f"{value}, without an interval: one day or too few results show no spread"
    return f"{value} ({format_number(100 * estimate.low, '+')} to {format_number(100 * estimate.high, '+')})"


def _write_headline(model: Evaluation, target: Target, by_truth: bool) -> str:
    precision = model["precision_at_1pct"]
    source = "According to the simulated truth" if by_truth else "According to the inspection results"
    if not np.isfinite(precision.value):
        return f"{source}, no consignment in the top 1 % of traffic has a known result."
    return (
        f"{source}, about {1000 * precision.value:,.0f} of 1,000 inspections in the top 1 % of traffic detect "
        f"{TARGET_NAMES[target]} ({1000 * precision.low:,.0f} to {1000 * precision.high:,.0f})."
    )


def _describe_gain(name: str, gain: Estimate) -> str:
    words = {
        "better": "The model is better",
        "unclear": "There is no significant difference",
        "worse": "The model is worse",
    }
    return f"{words[name]}: {format_percent_range(gain)}, paired by day."
