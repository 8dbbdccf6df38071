"""Consignments that two models rank differently, with what a reviewer needs to judge them: goods, route, reasons of both, result."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.batch import BATCH_KEY
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs
from models.batch_scoring import ScoreColumns, score_table
from models.bundle import Bundle
from training.data.training_set import Labels
from training.reporting.consignments import describe_consignments

TOP_SHARE = 0.01
"""Share of the traffic within which the two rankings are compared."""
MAX_EXAMPLES = 40
MAX_REASONS = 3
REASON_SEPARATOR = "\n"
"""Between reasons; a reason itself may hold semicolons."""
DISAGREEMENT_COLUMNS = (
    "consignment_id",
    "channel",
    "goods",
    "route",
    "weight",
    "value",
    "rank_a",
    "rank_b",
    "score_a",
    "score_b",
    "reasons_a",
    "reasons_b",
    "result",
)
Floats = NDArray[np.float64]
Row = dict[str, float | str]


def find_disagreements(score_a: Floats, score_b: Floats, traffic: Floats) -> NDArray[np.int64]:
    """Return the rows that only one of two scores ranks in its top share, largest rank differences first, at most `MAX_EXAMPLES`.

    Parameters
    ----------
    score_a, score_b : float64 arrays, (n,)
    traffic : float64 array, (n,)
        How many consignments each row stands for.
    """
    top = max(1, round(TOP_SHARE * float(traffic.sum())))
    rank_a, rank_b = compute_ranks(score_a, traffic), compute_ranks(score_b, traffic)
    apart = np.flatnonzero((rank_a < top) != (rank_b < top))
    return apart[np.argsort(-np.abs(rank_a[apart] - rank_b[apart]), kind="stable")][:MAX_EXAMPLES]


def describe_disagreements(
    rows: pd.DataFrame,
    scores: tuple[Floats, Floats],
    traffic: Floats,
    reasons: tuple[Sequence[str], Sequence[str]],
    labels: Labels,
    *,
    by_truth: bool,
) -> list[Row]:
    """Build a row for each disagreement, with `DISAGREEMENT_COLUMNS`; no personal data.

    Parameters
    ----------
    rows : DataFrame
        All compared consignments.
    scores : pair of float64 arrays, (n,) each
        Of both models.
    traffic : float64 array, (n,)
        How many consignments each row stands for.
    reasons : pair of sequences of str
        Of both models, for the rows of `find_disagreements`.
    labels : Labels
        Of all compared consignments.
    by_truth : bool
        True if the labels are the truth of a simulated world.
    """
    apart = find_disagreements(*scores, traffic)
    ranks = [compute_ranks(score, traffic) for score in scores]
    words = ("positive", "negative", "unknown") if by_truth else ("positive", "negative", "not inspected")
    found = np.where(labels.positive, words[0], np.where(labels.known, words[1], words[2]))
    frame = rows.iloc[apart]
    facts = describe_consignments(frame)
    return [
        {
            "consignment_id": str(frame["consignment_id"].iloc[place]),
            "channel": str(frame["channel"].iloc[place]),
            **facts[place]._asdict(),
            "rank_a": int(ranks[0][at]) + 1,
            "rank_b": int(ranks[1][at]) + 1,
            "score_a": float(scores[0][at]),
            "score_b": float(scores[1][at]),
            "reasons_a": reasons[0][place],
            "reasons_b": reasons[1][place],
            "result": str(found[at]),
        }
        for place, at in enumerate(apart.tolist())
    ]


def explain_rows(bundle: Bundle, inputs: FeatureInputs, chosen: NDArray[np.bool_]) -> list[str]:
    """Return the reasons of a model for some rows of a consignment table, whose other rows count for history.

    Parameters
    ----------
    bundle : Bundle
    inputs : FeatureInputs
    chosen : bool array, (n,)
        Which consignments to explain.

    Returns
    -------
    list of str
        One text for each chosen row, in the order of the table.
    """
    if not chosen.any():
        return []
    explained = score_table(
        bundle, inputs, Pseudonyms(BATCH_KEY), columns=ScoreColumns(reasons=MAX_REASONS), wanted=chosen
    )
    return [
        REASON_SEPARATOR.join(str(reason["text"]) for reason in msgspec.json.decode(text))
        for text in explained["reasons"]
    ]


def compute_ranks(score: Floats, traffic: Floats) -> NDArray[np.int64]:
    """Return the rank of each score in the traffic that the rows stand for, 0 for the highest."""
    order = np.argsort(-score, kind="stable")
    ranks = np.empty(len(score), dtype=np.int64)
    ranks[order] = np.round(np.cumsum(traffic[order]) - traffic[order])
    return ranks
