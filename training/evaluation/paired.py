"""Two scores of the same traffic, compared on the same resampled days."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.config import EvaluationConfig
from training.evaluation.estimate import Estimate, compute_interval
from training.evaluation.metrics import Evaluation, estimate_difference, evaluate, iterate_slices
from training.evaluation.ranking import DailyRanking, compute_roc_auc, draw_days
from training.evaluation.traffic import ScoredPeriod

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
    gains = {name: estimate_difference(other, one, name) for name in one.resampled}
    return PairedEvaluation(one, other, gains, _compare_slices(a, b_scores, config))


def _compare_slices(
    traffic: ScoredPeriod, other: Floats, config: EvaluationConfig
) -> list[dict[str, float | str]]:
    """Compare the area under the ROC curve within each slice."""
    found: list[dict[str, float | str]] = []
    for kind, value, rows in iterate_slices(traffic, config):
        mine = traffic.select_rows(rows)
        one, two = (_resample_roc_auc(each, config) for each in (mine, mine.replace_score(other[rows])))
        gain = compute_interval(two - one)
        known = mine.traffic[mine.labelled].sum()
        counts = (round(float(mine.traffic.sum())), round(float(known)), int(mine.positive.sum()))
        areas = (float(one[0]), float(two[0]), gain.value, gain.low, gain.high)
        found.append(dict(zip(SLICE_COLUMNS, (kind, value or "missing", *counts, *areas), strict=True)))
    return found


def _resample_roc_auc(traffic: ScoredPeriod, config: EvaluationConfig) -> Floats:
    """Compute the area under the ROC curve of the data and of each resample, as `evaluate` does."""
    ranking = DailyRanking(traffic.score, traffic.day, traffic.traffic)
    draws = draw_days(len(ranking.days), config.resamples, config.seed)
    return compute_roc_auc(ranking, draws, traffic.positive, traffic.weights)
