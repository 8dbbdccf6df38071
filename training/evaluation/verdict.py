"""What to take from a run, in a word and a few sentences: is the model better than what costs nothing?

The word is one of `better`, `unclear` and `worse`: the difference of the deciding metric to the strongest baseline, on
the same traffic and the same resampled days, is above zero, not told from zero, or below it with 95 % confidence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from consignments.records import Target
from training.evaluation.intervals import Estimate
from training.evaluation.metrics import Evaluation, estimate_difference

DECIDING = ("recall_at_1pct", "average_precision", "roc_auc")
"""What decides: the first of these that the data tell."""
MIN_POSITIVES = 10
"""Below this many finds in the judged weeks nothing can be said with confidence."""
TARGET_NAMES: dict[Target, str] = {
    "nps": "new psychoactive substances",
    "controlled_drug": "controlled drugs",
    "any_offence": "offences of any kind",
}
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
    """

    name: Literal["better", "unclear", "worse"]
    sentences: tuple[str, ...]


def judge_model(
    model: Evaluation, baselines: Mapping[str, Evaluation], *, target: Target, positives: int, by_truth: bool
) -> EvaluationVerdict:
    """Put the model beside its baselines.

    Parameters
    ----------
    model : Evaluation
    baselines : mapping
        Name to evaluation, of the same traffic.
    target : str
    positives : int
        Known finds in the judged weeks.
    by_truth : bool
        Whether the evaluations are against the truth of a simulated world.
    """
    metric = next((name for name in DECIDING if np.isfinite(model[name].value)), DECIDING[-1])
    # Of equals the last: the baselines stand in the order of what they cost.
    rival = max(
        reversed(list(baselines)), key=lambda name: np.nan_to_num(baselines[name][metric].value, nan=-1.0)
    )
    gain = estimate_difference(model, baselines[rival], metric)
    name = _decide_name(gain)
    sentences = [
        _write_headline(model, target, by_truth),
        f"{METRIC_NAMES[metric].capitalize()} is {format_percent(model[metric].value)}, {format_share_range(model[metric])}; the strongest "
        f"baseline ({rival}) reaches {format_percent(baselines[rival][metric].value)}. {_describe_gain(name, gain)}",
    ]
    if positives < MIN_POSITIVES:
        known = "1 find is" if positives == 1 else f"{positives} finds are"
        sentences.append(f"Only {known} known in the judged weeks: too few to decide on.")
    if not by_truth and model["labelled_share_at_1pct"].value < 1:
        sentences.append(
            f"Of the best 1 % of traffic {format_percent(model['labelled_share_at_1pct'].value, '.0%')} was opened with a known result; "
            "the rest is estimated from how the opened ones were chosen."
        )
    return EvaluationVerdict(name, tuple(sentences))


def format_share_range(estimate: Estimate) -> str:
    """Give the interval of a share in words.

    Examples
    --------
    >>> format_share_range(Estimate(0.42, 0.305, 0.5))
    'between 30.5 % and 50.0 % with 95 % confidence'
    """
    if not np.isfinite(estimate.low):
        return "with no interval, too little is known"
    return f"between {format_percent(estimate.low)} and {format_percent(estimate.high)} with 95 % confidence"


def format_percent(value: float, form: str = ".1%") -> str:
    """Write a share for people.

    Examples
    --------
    >>> format_percent(0.305), format_percent(-0.02, "+.1%")
    ('30.5 %', '-2.0 %')
    """
    return f"{value:{form}}".replace("%", " %")


def format_percent_range(estimate: Estimate) -> str:
    """Write a difference of shares with its interval.

    Examples
    --------
    >>> format_percent_range(Estimate(0.01, -0.02, 0.04))
    '+1.0 % (-2.0 % to +4.0 %)'
    """
    value, low, high = (
        format_percent(each, "+.1%") for each in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low} to {high})"


def _decide_name(gain: Estimate) -> Literal["better", "unclear", "worse"]:
    if gain.low > 0:
        return "better"
    return "worse" if gain.high < 0 else "unclear"


def _write_headline(model: Evaluation, target: Target, by_truth: bool) -> str:
    precision = model["precision_at_1pct"]
    source = "By the truth of the simulated world" if by_truth else "By what was found"
    if not np.isfinite(precision.value):
        return f"{source} nothing in the best 1 % of traffic has a known result."
    return (
        f"{source}, of 1,000 inspections in the best 1 % of all traffic about {1000 * precision.value:,.0f} find "
        f"{TARGET_NAMES[target]} ({1000 * precision.low:,.0f} to {1000 * precision.high:,.0f})."
    )


def _describe_gain(name: str, gain: Estimate) -> str:
    words = {
        "better": "The model is better",
        "unclear": "No difference can be told",
        "worse": "The model is worse",
    }
    return f"{words[name]}: {format_percent_range(gain)}, compared day by day."
