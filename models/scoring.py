"""Batch scores of consignment tables: the same pipeline, trees and calibration as the service, in a loop.

The given consignments join the history in its order. Without outcomes the history has no results; without a history
table it has only the consignments given.
"""

import msgspec
import numpy as np
import pandas as pd

from consignments.errors import BadInput
from features.batch import Progress, Tables, feature_matrix
from features.fitted import Fitted
from features.pseudonyms import Pseudonyms
from models.bundle import Bundle


def joined(given: Tables, history: pd.DataFrame | None) -> tuple[Tables, np.ndarray]:
    """Put past consignments before the given ones.

    Returns
    -------
    tables : Tables
    keep : bool array
        True for the given consignments.

    Raises
    ------
    BadInput
        Where one of the two has `sequence` and the other has not.
    """
    if history is None:
        return given, np.ones(len(given.consignments), dtype=bool)
    ordered = "sequence" in given.consignments
    if ordered != ("sequence" in history):
        raise BadInput(
            "only one of the consignments and the history has a sequence",
            where="history",
            expected="both with `sequence` (the log's order), or neither (order of time)",
            todo="drop the column, or export both from the service",
        )
    past = history
    if not ordered:
        past = history[~history["consignment_id"].isin(given.consignments["consignment_id"])]
    both = pd.concat([past, given.consignments], ignore_index=True)
    return Tables(both, given.outcomes, given.alerts), np.arange(len(both)) >= len(past)


def score_table(
    bundle: Bundle,
    given: Tables,
    pseudonyms: Pseudonyms,
    *,
    history: pd.DataFrame | None = None,
    as_of: pd.Timestamp | None = None,
    reasons: int = 0,
    version: str = "unregistered",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Score the given consignments.

    Parameters
    ----------
    bundle : Bundle
        A loaded model.
    given : Tables
        What is scored, and the outcomes and alerts that history may show.
    pseudonyms : Pseudonyms
    history : DataFrame, optional
        Past consignments; a consignment that is also given counts once, as given.
    as_of : Timestamp, optional
        Outcomes and alerts that became visible later are hidden.
    version : str
        Number of the registered version.
    reasons : int
        How many reasons for each row, 0 to 10; as JSON text in the column `reasons`.

    Returns
    -------
    DataFrame
        `consignment_id`, `score` (probability), `band`, `model_version`, `office`, `received_at`, and `reasons`
        where asked for; one row for each given consignment, in their order.
    """
    tables, keep = joined(given, history)
    fitted = Fitted.from_plain(bundle.fitted, bundle.arrays)
    matrix = feature_matrix(
        tables, bundle.config, fitted, pseudonyms, keep=keep, as_of=as_of, progress=progress
    )
    matrix.spec.require(bundle.card.feature_spec_sha256)
    rows = tables.consignments.iloc[matrix.rows]
    score = bundle.model.score(matrix.X, rows["channel"].tolist())
    result = pd.DataFrame(
        {
            "consignment_id": rows["consignment_id"].to_numpy(),
            "score": score,
            "band": bundle.model.bands_of(score),
            "model_version": version,
            "office": rows["office"].to_numpy() if "office" in rows else None,
            "received_at": rows["received_at"].array,
        }
    )
    if reasons:
        told = [bundle.model.explain(row, reasons) for row in matrix.X]
        result["reasons"] = [msgspec.json.encode(each).decode() for each in told]
    return result
