"""Two scores of the same traffic, compared on the same known finds."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.config import EvaluationConfig
from training.evaluation.estimate import Estimate
from training.evaluation.metrics import (
    RANKING_METRICS,
    Evaluation,
    estimate_difference,
    evaluate,
    iterate_slices,
)
from training.evaluation.traffic import ScoredPeriod

SLICE_MEASURE = "roc_auc"
SLICE_COLUMNS = (
    *("kind", "value", "consignments", "labelled", "positive"),
    *("a", "b", "difference", "low", "high"),
)
"""Columns of the table of slices: counts, both areas under the ROC curve, and their difference with its interval."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairedEvaluation:
    """Two scores on the same traffic.

    Attributes
    ----------
    a, b : Evaluation
        Without slices.
    gains : dict
        Metric to the difference, `b` minus `a`, with its 95 % interval.
    slices : list of dict
        With `SLICE_COLUMNS`: the difference within each slice of the traffic.
    """

    a: Evaluation
    b: Evaluation
    gains: dict[str, Estimate]
    slices: list[dict[str, float | str]]


def evaluate_pair(
    a: ScoredPeriod,
    b_scores: Floats,
    config: EvaluationConfig,
    b_probability: Floats | None = None,
) -> PairedEvaluation:
    """Evaluate two scores on the same traffic.

    Parameters
    ----------
    a : ScoredPeriod
        The traffic with the first score.
    b_scores : float64 array, (n,)
        The second score.
    config : EvaluationConfig
    b_probability : float64 array, (n,), optional
        Its probabilities, if it is a rank. Default: the score itself.
    """
    whole = replace(a, slices={})
    one, other = evaluate(whole, config), evaluate(whole.replace_score(b_scores, b_probability), config)
    gains = {name: estimate_difference(other, one, name) for name in RANKING_METRICS}
    return PairedEvaluation(one, other, gains, _compare_slices(a, b_scores, config))


def _compare_slices(
    traffic: ScoredPeriod, other: Floats, config: EvaluationConfig
) -> list[dict[str, float | str]]:
    """Compare the area under the ROC curve within each slice."""
    found: list[dict[str, float | str]] = []
    for kind, value, rows in iterate_slices(traffic, config):
        mine = traffic.select_rows(rows)
        one, two = (evaluate(each, config) for each in (mine, mine.replace_score(other[rows])))
        gain = estimate_difference(two, one, SLICE_MEASURE)
        known = mine.traffic[mine.labelled].sum()
        counts = (round(float(mine.traffic.sum())), round(float(known)), int(mine.positive.sum()))
        areas = (one[SLICE_MEASURE].value, two[SLICE_MEASURE].value, gain.value, gain.low, gain.high)
        found.append(dict(zip(SLICE_COLUMNS, (kind, value or "missing", *counts, *areas), strict=True)))
    return found
