"""Consignments that two versions rank differently, with what a reviewer needs to judge them: goods, route, reasons of both, result."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.batch import BATCH_KEY
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs
from models.batch_scoring import ScoreColumns, score_table
from models.bundle import Bundle
from training.data.training_set import Labels, TrafficSample
from training.promotion.logged_scores import LoggedScores
from training.reporting.consignments import describe_consignments

TOP_SHARE = 0.01
"""Share of the traffic within which the two rankings are compared."""
MAX_EXAMPLES = 40
MAX_REASONS = 3
REASON_SEPARATOR = "\n"
"""Between reasons; a reason itself may hold semicolons."""
DISAGREEMENT_COLUMNS = (
    *("consignment_id", "channel", "goods", "route", "weight", "value"),
    *("rank_a", "rank_b", "score_a", "score_b", "reasons_a", "reasons_b", "result"),
)
RESULT_ORDER = ("positive", "negative", "not inspected")
Floats = NDArray[np.float64]


def list_disagreements(
    sides: tuple[Bundle | LoggedScores, Bundle],
    inputs: FeatureInputs,
    sample: TrafficSample,
    rows: pd.DataFrame,
    scores: Sequence[Floats],
    labels: Labels,
) -> list[dict[str, Any]]:
    """List the consignments that only one of two versions ranks in its top share, those with a result first.

    Parameters
    ----------
    sides : pair
        Version `a` and version `b`.
    inputs : FeatureInputs
    sample : TrafficSample
        The compared consignments.
    rows : DataFrame, (n,)
        Their columns.
    scores : pair of float64 arrays, (n,)
    labels : Labels
        Their results.

    Returns
    -------
    list of dict
        With `DISAGREEMENT_COLUMNS`, at most `MAX_EXAMPLES`; no personal data.
    """
    ranks = [compute_ranks(score, sample.stands_for) for score in scores]
    result = np.where(labels.positive, 0, np.where(labels.known, 1, 2))
    at = _find_disagreements(ranks[0], ranks[1], result, float(sample.stands_for.sum()))
    ids = rows["consignment_id"]
    reasons = [_explain(side, inputs, sample, ids, at) for side in sides]
    return [
        {
            "consignment_id": str(ids.iloc[row]),
            "channel": str(rows["channel"].iloc[row]),
            **facts._asdict(),
            "rank_a": int(ranks[0][row]) + 1,
            "rank_b": int(ranks[1][row]) + 1,
            "score_a": float(scores[0][row]),
            "score_b": float(scores[1][row]),
            "reasons_a": one,
            "reasons_b": other,
            "result": RESULT_ORDER[result[row]],
        }
        for row, facts, one, other in zip(
            at.tolist(), describe_consignments(rows.iloc[at]), *reasons, strict=True
        )
    ]


def _find_disagreements(
    rank_a: NDArray[np.int64], rank_b: NDArray[np.int64], result: NDArray[np.int64], traffic: float
) -> NDArray[np.int64]:
    """Return the rows that only one ranks in its top share: positives first, then negatives, by the distance of their ranks."""
    top = max(1, round(TOP_SHARE * traffic))
    apart = np.flatnonzero((rank_a < top) != (rank_b < top))
    order = np.lexsort((-np.abs(rank_a[apart] - rank_b[apart]), result[apart]))
    return apart[order][:MAX_EXAMPLES]


def _explain(
    side: Bundle | LoggedScores,
    inputs: FeatureInputs,
    sample: TrafficSample,
    ids: "pd.Series[str]",
    at: NDArray[np.int64],
) -> list[str]:
    """Return the reasons of one version for some of the compared rows, one text each."""
    if not len(at):
        return []
    if isinstance(side, Bundle):
        chosen = np.zeros(sample.of, dtype=bool)
        chosen[sample.rows[at]] = True
        columns = ScoreColumns(reasons=MAX_REASONS, lowering=True)
        explained = score_table(side, inputs, Pseudonyms(BATCH_KEY), columns=columns, wanted=chosen)
        # They come in the order of the table.
        texts = explained["reasons"].iloc[np.argsort(np.argsort(at))].tolist()
    else:
        texts = side.get_reasons(ids.iloc[at])
    return [
        REASON_SEPARATOR.join(map(_format_reason, msgspec.json.decode(text)[:MAX_REASONS])) for text in texts
    ]


def _format_reason(reason: Mapping[str, Any]) -> str:
    return f"{reason['text']} ({reason['direction']} the score)"


def compute_ranks(score: Floats, traffic: Floats) -> NDArray[np.int64]:
    """Return the rank of each score in the traffic that the rows stand for, 0 for the highest."""
    order = np.argsort(-score, kind="stable")
    ranks = np.empty(len(score), dtype=np.int64)
    ranks[order] = np.round(np.cumsum(traffic[order]) - traffic[order])
    return ranks
