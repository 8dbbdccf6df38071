"""Batch scores of consignment tables: the same pipeline, trees and calibration as the service, in a loop.

The given consignments join the history in its order. Without outcomes the history has no results; without a history
table it has only the consignments given.
"""

from collections.abc import Iterator

import msgspec
import numpy as np
import pandas as pd

from features.batch import Progress, Tables
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from features.streams import FeatureChunk, FeatureInputs, InMemoryTable, stream_features
from models.bundle import Bundle
from models.risk_model import RiskModel

TEXT = pd.StringDtype(na_value=np.nan)


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
    world = FeatureInputs(
        InMemoryTable(given.consignments),
        None if history is None else InMemoryTable(history),
        given.outcomes,
        given.alerts,
    )
    scored = score_chunks(
        bundle, world, pseudonyms, as_of=as_of, reasons=reasons, version=version, progress=progress
    )
    return pd.concat(scored, ignore_index=True)


def score_chunks(
    bundle: Bundle,
    world: FeatureInputs,
    pseudonyms: Pseudonyms,
    *,
    as_of: pd.Timestamp | None = None,
    reasons: int = 0,
    version: str = "unregistered",
    jobs: int = 1,
    progress: Progress | None = None,
) -> Iterator[pd.DataFrame]:
    """Score consignments piece by piece, in memory that does not grow with the rows.

    Parameters
    ----------
    bundle, pseudonyms, as_of, reasons, version, progress
        As of `score_table`.
    world : World
    jobs : int
        Processes that compute features; changes nothing but time.

    Yields
    ------
    DataFrame
        Rows of the table that `score_table` gives; at least one piece.
    """
    fitted = FittedParameters.from_plain(bundle.fitted, bundle.arrays)
    model = bundle.model.replace_spec(Pipeline(bundle.config, fitted, pseudonyms).spec)
    pieces = stream_features(
        world, bundle.config, fitted, pseudonyms, as_of=as_of, jobs=jobs, progress=progress
    )
    for piece in pieces:
        yield _score_chunk(model, piece, reasons, version)


def _score_chunk(model: RiskModel, piece: FeatureChunk, reasons: int, version: str) -> pd.DataFrame:
    rows = piece.frame
    score = model.score(piece.X, rows["channel"].tolist())
    result = pd.DataFrame(
        {
            "consignment_id": rows["consignment_id"].array,
            "score": score,
            "band": pd.array(model.assign_bands(score), dtype=TEXT),
            "model_version": pd.array([version] * len(rows), dtype=TEXT),
            "office": rows["office"].array if "office" in rows else None,
            "received_at": rows["received_at"].array,
        }
    )
    if reasons:
        told = [model.explain(row, reasons) for row in piece.X]
        result["reasons"] = pd.array([msgspec.json.encode(each).decode() for each in told], dtype=TEXT)
    return result
