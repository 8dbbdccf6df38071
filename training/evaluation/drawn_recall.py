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
from models.selection.selection import compute_selection_probabilities, read_score_columns
from training.data.training_set import find_last_visible_time, get_labels_as_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class DrawnRecall:
    """Recall at the capacity, and the numbers it is based on.

    Attributes
    ----------
    recall : RecallEstimate
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
        If a chosen consignment has no score, or there is no outcome.
    """
    ids, score, offices, days = read_score_columns(scores)
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
    within = compute_selection_probabilities(score, offices, days, capacity=capacity, explore=0.0)[rows]
    probability = selection["selection_probability"].to_numpy(dtype=np.float64)
    known = labels.known
    answered = probability * compute_answered_shares(within, probability, known)
    sample = InspectedSample(within[known], answered[known], labels.positive[known], score[rows][known])
    return DrawnRecall(estimate_recall(sample), len(rows), int(known.sum()), int(labels.positive.sum()))


def compute_answered_shares(within: Floats, probability: Floats, known: Bools) -> Floats:
    """Compute for each chosen consignment the weighted share of its side of the cut that has a final result."""
    shares = np.ones(len(known))
    for side in (within >= 0.5, within < 0.5):
        everything = np.sum(1.0 / probability[side])
        if everything > 0:
            shares[side] = np.sum(1.0 / probability[side & known]) / everything
    return shares
