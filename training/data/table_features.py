"""Feature rows computed from whole tables, each row as of its own time of scoring."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.records import Consignment
from consignments.tables import to_consignments
from features.batch import (
    BATCH_KEY,
    ComputeOptions,
    FeatureMatrix,
    FeatureParameters,
    Progress,
    Tables,
    compute_feature_matrix,
)
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline

CHUNK_ROWS = 5_000
"""Consignments that are objects at a time."""


def replace_fitted(
    pipeline: Pipeline,
    matrix: FeatureMatrix,
    keep: NDArray[np.bool_],
    get_records: Callable[[NDArray[np.int64]], list[Consignment]],
) -> FeatureMatrix:
    """Copy the kept rows of a matrix and recompute the features that depend on fitted parameters.

    Parameters
    ----------
    pipeline : Pipeline
        Has the same configuration as the matrix, and the new fitted parameters.
    matrix : FeatureMatrix
    keep : bool array, (consignments,)
        Positions in the table.
    get_records : callable
        Returns the consignments at some positions.
    """
    mine = keep[matrix.rows]
    rows, X = matrix.rows[mine], matrix.X[mine]
    for start in range(0, len(rows), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        pipeline.fill_fitted(get_records(rows[part]), X[part])
    return FeatureMatrix(X, rows, pipeline.spec)


@dataclass(frozen=True)
class TableFeatures:
    """Feature computation for whole tables: one pass over all events in their order.

    Attributes
    ----------
    tables : Tables
        All consignments join the history.
    config : FeatureConfig
    as_of : datetime, optional
        Outcomes and alerts that became visible later are hidden.
    jobs : int
        Worker processes; they change the duration, not the result.
    progress : callable, optional
    """

    tables: Tables
    config: FeatureConfig
    as_of: datetime | None = None
    jobs: int = 1
    progress: Progress | None = None

    def refit(
        self, matrix: FeatureMatrix, fitted: FittedParameters, keep: NDArray[np.bool_]
    ) -> FeatureMatrix:
        """Return the feature rows of the kept consignments of a matrix under other fitted parameters."""
        pipeline = Pipeline(self.config, fitted, Pseudonyms(BATCH_KEY))
        return replace_fitted(pipeline, matrix, keep, self.get_records)

    def get_records(self, rows: NDArray[np.int64]) -> list[Consignment]:
        """Return the consignments at some positions of the table."""
        return to_consignments(self.tables.consignments.iloc[rows], self.config.build_record_type())

    def build_matrix(self, fitted: FittedParameters, keep: NDArray[np.bool_]) -> FeatureMatrix:
        """Compute the feature rows of the kept consignments."""
        return compute_feature_matrix(
            self.tables,
            FeatureParameters(self.config, fitted, Pseudonyms(BATCH_KEY)),
            keep=keep,
            as_of=None if self.as_of is None else pd.Timestamp(self.as_of),
            options=ComputeOptions(self.jobs, self.progress),
        )
