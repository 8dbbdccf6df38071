"""Consignments that two versions rank differently, with what a reviewer needs to judge them: goods, route, reasons of both, result."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.streams import FeatureInputs
from training.data.training_set import Labels, TrafficSample
from training.promotion.version_scores import MAX_REASONS, FitScores, LoggedScores
from training.reporting.consignments import describe_consignments

TOP_SHARE = 0.01
"""Share of the traffic within which the two rankings are compared."""
MAX_EXAMPLES = 40
REASON_SEPARATOR = "\n"
"""Between reasons; a reason itself may hold semicolons."""
DISAGREEMENT_COLUMNS = (
    *("consignment_id", "channel", "goods", "route", "weight", "value"),
    *("rank_a", "rank_b", "score_a", "score_b", "reasons_a", "reasons_b", "result"),
)
RESULT_ORDER = ("positive", "negative", "not inspected")
Floats = NDArray[np.float64]


def list_disagreements(
    sides: Sequence[FitScores | LoggedScores],
    inputs: FeatureInputs,
    sample: TrafficSample,
    rows: pd.DataFrame,
    scores: Sequence[Floats],
    labels: Labels,
) -> list[dict[str, Any]]:
    """List the consignments that only one of two versions ranks in its top share: positives first, then negatives, without personal data.

    `rows`, `scores` of both and `labels` are those of the sample.
    """
    rank_a, rank_b = (compute_ranks(score, sample.stands_for) for score in scores)
    result = np.where(labels.positive, 0, np.where(labels.known, 1, 2))
    top = max(1, round(TOP_SHARE * float(sample.stands_for.sum())))
    apart = np.flatnonzero((rank_a < top) != (rank_b < top))
    order = np.lexsort((-np.abs(rank_a[apart] - rank_b[apart]), result[apart]))
    at = apart[order][:MAX_EXAMPLES]
    if not len(at):
        return []
    chosen = rows.iloc[at]
    columns = (
        chosen["consignment_id"].astype(str),
        chosen["channel"].astype(str),
        *zip(*describe_consignments(chosen), strict=True),
        (rank_a[at] + 1).tolist(),
        (rank_b[at] + 1).tolist(),
        *(score[at].tolist() for score in scores),
        *(map(_join_reasons, side.list_reasons(inputs, sample, at)) for side in sides),
        [RESULT_ORDER[row] for row in result[at]],
    )
    return [dict(zip(DISAGREEMENT_COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]


def _join_reasons(text: str) -> str:
    """Join the reasons of a score, given as JSON, each with the direction in which it moves the score."""
    reasons = msgspec.json.decode(text)[:MAX_REASONS]
    return REASON_SEPARATOR.join(f"{reason['text']} ({reason['direction']} the score)" for reason in reasons)


def compute_ranks(score: Floats, traffic: Floats) -> NDArray[np.int64]:
    """Return the rank of each score in the traffic that the rows stand for, 0 for the highest."""
    order = np.argsort(-score, kind="stable")
    ranks = np.empty(len(score), dtype=np.int64)
    ranks[order] = np.round(np.cumsum(traffic[order]) - traffic[order])
    return ranks
