"""Feature rows of fits, which share the features that no fit changes; each has its own columns of the others."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from consignments.records import Consignment
from features.batch import FeatureMatrix, FeatureParameters
from features.spec import Spec
from models.arrays import Bools, Ints, Rows

CHUNK_ROWS = 5_000  # consignments whose fitted features are computed at a time


class FeatureSource(Protocol):
    """Source of the features of a data set: computed from tables, or kept as they were at the time."""

    @property
    def unfitted(self) -> FeatureMatrix:
        """Feature rows of all consignments, computed without fitted parameters."""

    def get_records(self, rows: Ints) -> list[Consignment]:
        """Return the consignments at some positions of the table."""


@dataclass(frozen=True, repr=False)
class FitRows:
    """Feature rows under the parameters of a fit, and their positions in the table; `own` are the fitted columns."""

    shared: FeatureMatrix
    rows: Ints
    own: Rows

    @property
    def spec(self) -> Spec:
        """The spec of the features."""
        return self.shared.spec

    def locate(self, rows: Ints) -> Ints:
        """Return the places of the rows with some positions in the table."""
        return np.searchsorted(self.rows, rows)

    def take(self, at: Bools | Ints | slice) -> Rows:
        """Return a copy of some of the rows."""
        X = np.asarray(self.shared.X[np.searchsorted(self.shared.rows, self.rows[at])])
        X[:, self.spec.fitted] = self.own[at]
        return X

    def look_up(self, rows: Ints) -> Rows:
        """Return a copy of the rows with some positions in the table."""
        return self.take(self.locate(rows))

    def keep_rows(self, keep: Bools) -> FeatureMatrix:
        """Copy the rows of the kept consignments; `keep` has one value for each consignment of the table."""
        mine = keep[self.rows]
        return FeatureMatrix(self.take(mine), self.rows[mine], self.spec)

    def replace_values(self, at: Bools, feature: str, values: Rows) -> None:
        """Replace the values of a fitted feature in some of the rows."""
        self.own[at, self.spec.fitted.index(self.spec.get_column(feature))] = values


def compute_fit_rows(source: FeatureSource, parameters: FeatureParameters, keep: Bools) -> FitRows:
    """Compute the fitted features of the kept consignments."""
    pipeline, rows = parameters.build_pipeline(), np.flatnonzero(keep)
    own = np.empty((len(rows), len(pipeline.spec.fitted)), dtype=np.float32)
    for start in range(0, len(rows), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        own[part] = pipeline.compute_fitted(source.get_records(rows[part]))
    return FitRows(source.unfitted, rows, own)
