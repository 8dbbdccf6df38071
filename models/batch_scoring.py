"""Batch scores of consignment tables: the same pipeline, trees and calibration as the service, in a loop.

The given consignments join the history in its order. Without outcomes the history has no results; without a history
table it has only the consignments given.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd

from consignments.tables import HistoryUse
from features.batch import ComputeOptions, FeatureParameters
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureChunk, FeatureInputs, list_goods_texts, stream_features
from models.bundle import Bundle
from models.risk_model import RiskModel

TEXT = pd.StringDtype(na_value=np.nan)


@dataclass(frozen=True)
class ScoreColumns:
    """What a score table says next to the scores.

    Attributes
    ----------
    reasons : int
        How many reasons for each row, 0 to 10; as JSON text in the column `reasons`.
    version : str
        Number of the registered version.
    """

    reasons: int = 0
    version: str = "unregistered"


def build_feature_parameters(bundle: Bundle, pseudonyms: Pseudonyms) -> FeatureParameters:
    """Return what the features of a bundle's model are computed with."""
    return FeatureParameters(
        bundle.config, FittedParameters.from_plain(bundle.fitted, bundle.arrays), pseudonyms
    )


def score_table(
    bundle: Bundle,
    inputs: FeatureInputs,
    pseudonyms: Pseudonyms,
    *,
    columns: ScoreColumns | None = None,
    options: ComputeOptions | None = None,
) -> pd.DataFrame:
    """Score the given consignments.

    Parameters
    ----------
    bundle, inputs, pseudonyms, columns, options
        As of `score_chunks`.

    Returns
    -------
    DataFrame
        `consignment_id`, `score` (probability), `band`, `model_version`, `office`, `received_at`, `history` (`given`
        or `none`), and `reasons` if asked for; one row for each given consignment, in their order.
    """
    scored = score_chunks(bundle, inputs, pseudonyms, columns=columns, options=options)
    return pd.concat(scored, ignore_index=True)


def score_chunks(
    bundle: Bundle,
    inputs: FeatureInputs,
    pseudonyms: Pseudonyms,
    *,
    columns: ScoreColumns | None = None,
    options: ComputeOptions | None = None,
) -> Iterator[pd.DataFrame]:
    """Score consignments piece by piece, in memory that does not grow with the rows.

    Parameters
    ----------
    bundle : Bundle
        A loaded model.
    inputs : FeatureInputs
        What is scored, past consignments, and the outcomes and alerts that history may show. Without past
        consignments every sender looks new, and the scores are other ones: the column `history` says so.
    pseudonyms : Pseudonyms
    columns : ScoreColumns, optional
    options : ComputeOptions, optional

    Yields
    ------
    DataFrame
        Rows of the table that `score_table` gives; at least one piece.
    """
    parameters = build_feature_parameters(bundle, pseudonyms)
    model = bundle.model.replace_spec(parameters.build_pipeline().spec)
    history: HistoryUse = "given" if inputs.has_history else "none"
    for piece in stream_features(inputs, parameters, options=options):
        yield _score_chunk(model, piece, columns or ScoreColumns(), history)


def _score_chunk(
    model: RiskModel, piece: FeatureChunk, columns: ScoreColumns, history: HistoryUse
) -> pd.DataFrame:
    rows = piece.frame
    score = model.score(piece.X, rows["channel"].tolist())
    result = pd.DataFrame(
        {
            "consignment_id": rows["consignment_id"].array,
            "score": score,
            "band": pd.array(model.assign_bands(score), dtype=TEXT),
            "model_version": pd.array([columns.version] * len(rows), dtype=TEXT),
            "office": rows["office"].array if "office" in rows else None,
            "received_at": rows["received_at"].array,
            "history": pd.array([history] * len(rows), dtype=TEXT),
        }
    )
    if columns.reasons:
        explained = [
            model.explain(row, columns.reasons, goods=goods)
            for row, goods in zip(piece.X, list_goods_texts(rows), strict=True)
        ]
        result["reasons"] = pd.array([msgspec.json.encode(each).decode() for each in explained], dtype=TEXT)
    return result
