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
PRIMARY_TITLE = "Recall, averaged over capacities of 0.2 to 5 % of traffic"


@dataclass(frozen=True)
class EvaluationVerdict:
    """The verdict of a run."""

    name: Literal["better", "unclear", "worse"]
    sentences: tuple[str, ...]
    rival: str
    gain: Estimate


def judge_recipe(recipe: RecipeEvaluation, target: Target) -> EvaluationVerdict:
    """Compare the deployed recipe with its strongest baseline by inspection results, and write the verdict."""
    model, rival = recipe.model, recipe.rival
    gain = estimate_difference(model, recipe.baselines[rival], PRIMARY_MEASURE)
    name = SIGN_NAMES[gain.sign if gain.is_shown else 0]
    # The rules are what an operation would have without a model.
    known = {"the model": model.counts, "the fixed rules": recipe.baselines[RULES].counts}
    if rival != RULES:
        known[f"the strongest baseline ({rival.replace('_', ' ')})"] = recipe.baselines[rival].counts
    sentences = [
        describe_counts(known, target),
        f"{PRIMARY_TITLE}: {describe_estimate(model[PRIMARY_MEASURE])}. {_describe_gain(name, gain, rival)}",
        RULE_PRIOR_SENTENCE,
    ]
    return EvaluationVerdict(name, tuple(sentences), rival, gain)


def _describe_gain(name: str, gain: Estimate, rival: str) -> str:
    compared = f"the strongest baseline ({rival.replace('_', ' ')})"
    if not gain.is_shown:
        return f"It is not known whether the model is better than {compared}: {gain.explain_missing()}."
    words = {"better": "is better than", "unclear": "does not differ clearly from", "worse": "is worse than"}
    low, high = (format_number(100 * end, "+") for end in (gain.low, gain.high))
    return f"The model {words[name]} {compared}: {format_points(gain.value)} ({low} to {high})."
