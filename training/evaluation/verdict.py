"""Verdict of a run in one word and a few sentences: is the model better than baselines that cost nothing?

The word is one of `better`, `unclear` and `worse`. It depends on the 95 % interval of the difference of the deciding metric
to the strongest baseline, on the same traffic and the same resampled days: above zero, containing zero, or below zero.
"""

from dataclasses import dataclass
from typing import Literal

from consignments.records import Target
from models.formats import format_number, format_points
from training.evaluation.estimate import Estimate, describe_estimate
from training.evaluation.metrics import PRIMARY_MEASURE, describe_counts, estimate_difference
from training.evaluation.stored_scores import RecipeEvaluation

SIGN_NAMES: dict[int, Literal["better", "unclear", "worse"]] = {1: "better", 0: "unclear", -1: "worse"}
RULES = "rules"
RULE_PRIOR_SENTENCE = "The trees start from the score of the fixed rules, so the model holds what the rules know and adds to it."
MIN_POSITIVES = 10
"""With fewer positives in the evaluated weeks no confident decision is possible."""
METRIC_NAMES = {
    "recall_averaged": "recall, averaged over capacities of 0.2 to 5 % of traffic",
    "recall_at_1pct": "recall at 1 % of all traffic",
    "average_precision": "average precision",
    "roc_auc": "area under the ROC curve",
}


@dataclass(frozen=True)
class EvaluationVerdict:
    """The verdict of a run."""

    name: Literal["better", "unclear", "worse"]
    sentences: tuple[str, ...]
    rival: str
    gain: Estimate


def judge_recipe(recipe: RecipeEvaluation, target: Target) -> EvaluationVerdict:
    """Compare the deployed recipe with its strongest baseline by inspection results, and write the verdict."""
    model, rival, metric = recipe.model, recipe.rival, PRIMARY_MEASURE
    gain = estimate_difference(model, recipe.baselines[rival], metric)
    name = SIGN_NAMES[gain.sign if gain.is_shown else 0]
    # The rules are what an operation would have without a model.
    known = {"the model": model.counts, "the fixed rules": recipe.baselines[RULES].counts}
    if rival != RULES:
        known[f"the strongest baseline ({rival.replace('_', ' ')})"] = recipe.baselines[rival].counts
    title = METRIC_NAMES[metric][0].upper() + METRIC_NAMES[metric][1:]
    sentences = [
        describe_counts(known, target),
        f"{title}: {describe_estimate(model[metric])}. {_describe_gain(name, gain, rival)}",
        RULE_PRIOR_SENTENCE,
    ]
    return EvaluationVerdict(name, tuple(sentences), rival, gain)


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


def _describe_gain(name: str, gain: Estimate, rival: str) -> str:
    compared = f"the strongest baseline ({rival.replace('_', ' ')})"
    if not gain.is_shown:
        return f"It is not known whether the model is better than {compared}: {gain.explain_missing()}."
    words = {"better": "is better than", "unclear": "does not differ clearly from", "worse": "is worse than"}
    return f"The model {words[name]} {compared}: {format_percent_range(gain)}."
