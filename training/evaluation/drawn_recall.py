"""Recall at the capacity of inspection lists with known probabilities, from the results of the inspections.

A chosen consignment without a final result counts as missing: those with one, on the same side of the capacity, stand for it.
Example: of 10 lower scores drawn with probability 1/20 eight have a result. Each of these counts with 1/20 * 8/10 = 1/25.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.records import Target
from models.selection.recall import InspectedSample, RecallEstimate, estimate_recall
from models.selection.selection import check_rows, compute_selection_probabilities, read_score_columns
from training.data.training_set import find_last_visible_time, get_labels_as_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NO_ESTIMATE = RecallEstimate(np.nan, 0.0, 1.0)


@dataclass(frozen=True)
class DrawnRecall:
    """Recall at the capacity, and the numbers it is based on.

    Attributes
    ----------
    recall : RecallEstimate
        NaN, 0 to 1, if no result stands for the rows that were not surely inspected.
    chosen, results, finds : int
        Numbers of consignments that were chosen, that have a final result, and that were positive.
    """

    recall: RecallEstimate
    chosen: int
    results: int
    finds: int


def estimate_drawn_recall(
    scores: pd.DataFrame, selection: pd.DataFrame, outcomes: pd.DataFrame, *, capacity: int, target: Target
) -> DrawnRecall:
    """Estimate recall at the capacity from the results of inspection lists.

    Parameters
    ----------
    scores : DataFrame
        Score table from which the lists were drawn.
    selection : DataFrame
        Selection table: `consignment_id`, `selection_probability`.
    outcomes : DataFrame
        Outcome table; the latest result of each consignment counts.
    capacity : int
        Inspections for each office and UTC day, as for the lists.
    target : str

    Raises
    ------
    BadInput
        If a chosen consignment has no score, a consignment has two, or there is no outcome.
    """
    ids, score, offices, days = read_score_columns(scores)
    check_rows(ids, score)
    rows = pd.Index(ids).get_indexer(pd.Index(selection["consignment_id"]))
    if (rows < 0).any():
        name = selection["consignment_id"].iloc[int(np.argmax(rows < 0))]
        raise BadInput(
            "a chosen consignment has no score",
            where="selection",
            got=repr(name),
            expected="consignments of the score table",
            todo="provide the scores from which the lists were drawn",
        )
    if outcomes.empty:
        raise BadInput(
            "no result to estimate recall from",
            where="outcomes",
            got="no rows",
            expected="results of the chosen consignments",
            todo="provide outcomes after the inspections",
        )
    moment = find_last_visible_time(outcomes)
    labels = get_labels_as_of(selection["consignment_id"], outcomes, moment, target)
    shares = compute_selection_probabilities(score, offices, days, capacity=capacity, explore=0.0)
    within = shares[rows]
    probability = selection["selection_probability"].to_numpy(dtype=np.float64)
    known = labels.known
    answered = probability * compute_answered_shares(within, probability, known)
    sample = InspectedSample(within[known], answered[known], labels.positive[known], score[rows][known])
    certain = np.zeros(len(score), dtype=bool)
    certain[rows[known]] = sample.probability == 1.0
    recall = estimate_recall(sample) if _has_results_for(shares[~certain], sample) else NO_ESTIMATE
    return DrawnRecall(recall, len(rows), int(known.sum()), int(labels.positive.sum()))


def _has_results_for(open_shares: Floats, sample: InspectedSample) -> bool:
    """Check that results stand for the rows without a certain one: any for the highest scores, a drawn one for the lower.

    Parameters
    ----------
    open_shares : float64 array
        Share of each row without a certain result that is within the capacity, 0 to 1.
    sample : InspectedSample
    """
    lower_drawn = (sample.within < 1) & (sample.probability < 1)
    highest, lower = (open_shares > 0).any(), (open_shares < 1).any()
    return not (highest and not (sample.within > 0).any()) and not (lower and not lower_drawn.any())


def compute_answered_shares(within: Floats, probability: Floats, known: Bools) -> Floats:
    """Compute for each chosen consignment the weighted share of its side of the cut that has a final result."""
    shares = np.ones(len(known))
    for side in (within >= 0.5, within < 0.5):
        everything = np.sum(1.0 / probability[side])
        if everything > 0:
            shares[side] = np.sum(1.0 / probability[side & known]) / everything
    return shares
