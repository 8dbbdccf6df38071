"""Feature rows computed from whole tables, each as of its own moment of scoring."""

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


@dataclass(frozen=True)
class TableFeatures:
    """Computes features of whole tables: one pass over all events in their order.

    Attributes
    ----------
    tables : Tables
        All consignments join the history.
    config : FeatureConfig
    as_of : datetime, optional
        Outcomes and alerts that became visible later are hidden.
    jobs : int
        Processes that describe consignments; changes nothing but time.
    progress : callable, optional
    """

    tables: Tables
    config: FeatureConfig
    as_of: datetime | None = None
    jobs: int = 1
    progress: Progress | None = None

    def get_records(self, rows: NDArray[np.int64]) -> list[Consignment]:
        """Give the consignments at some positions of the table."""
        return to_consignments(self.tables.consignments.iloc[rows], self.config.build_record_type())

    def build_matrix(self, fitted: FittedParameters, keep: NDArray[np.bool_]) -> FeatureMatrix:
        """Give the feature rows of the kept consignments."""
        return compute_feature_matrix(
            self.tables,
            FeatureParameters(self.config, fitted, Pseudonyms(BATCH_KEY)),
            keep=keep,
            as_of=None if self.as_of is None else pd.Timestamp(self.as_of),
            options=ComputeOptions(self.jobs, self.progress),
        )
