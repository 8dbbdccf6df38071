"""Feature rows of the consignments that a training run keeps, computed part by part from tables of any length.

One pass over all events computes the rows as of their own times of scoring, without fitted parameters. The features that need those
are filled in later, from the kept consignments: once for each fit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from consignments.files.part_folder import PartFolder
from consignments.records import Consignment
from consignments.tables import to_arrow_rows, to_consignments
from features.batch import (
    BATCH_KEY,
    ComputeOptions,
    FeatureMatrix,
    FeatureParameters,
    Tables,
    report_progress,
)
from features.buckets.coordinator import stream_on_cluster
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from features.streams import FeatureChunk, FeatureInputs, TableSource, stream_features
from features.table_rows import fill_table_fitted
from training.data.data_hash import TableHash

CHUNK_ROWS = 5_000
"""Consignments that are refitted at a time."""
Bools = NDArray[np.bool_]
Rows = NDArray[np.float32]
Positions = NDArray[np.int64]


class FeaturePlace(NamedTuple):
    """The place at which the features of a training are computed and kept.

    Attributes
    ----------
    folder : PartFolder or None
        Keeps the computed rows in parts, so that an interrupted run continues after its last part.
    cluster : str or None
        Address of a Dask cluster whose workers compute the rows; they need the folder.
    """

    folder: PartFolder | None = None
    cluster: str | None = None


@dataclass(frozen=True)
class TableFeatures:
    """Feature rows of kept consignments under any fitted parameters.

    Attributes
    ----------
    frame : DataFrame
        The kept consignments, with all columns; positions are those of its rows.
    X : float32 array, (rows, features)
        Computed without fitted parameters.
    config : FeatureConfig
    table : TableHash
        Hash and number of rows of the whole table.
    """

    frame: pd.DataFrame
    X: Rows
    config: FeatureConfig
    table: TableHash

    @classmethod
    def compute(
        cls,
        inputs: FeatureInputs,
        config: FeatureConfig,
        rows: Positions,
        options: ComputeOptions | None = None,
        place: FeaturePlace | None = None,
    ) -> "TableFeatures":
        """Compute the features of some consignments, see `compute_kept_rows`, and read them with all their columns."""
        options, place = options or ComputeOptions(), place or FeaturePlace()
        X = compute_kept_rows(inputs, config, rows, options, place)
        with report_progress(options.progress, "reading rows"):
            table = TableHash()
            frame = read_kept_rows(inputs.consignments, config, rows, table)
        return cls(frame, X, config, table)

    @classmethod
    def from_tables(
        cls, tables: Tables, config: FeatureConfig, as_of: datetime | None = None
    ) -> "TableFeatures":
        """Compute the features of all consignments of tables in memory; later outcomes and alerts are hidden."""
        inputs = FeatureInputs.from_tables(tables, as_of=None if as_of is None else pd.Timestamp(as_of))
        return cls.compute(inputs, config, np.arange(len(tables.consignments)))

    def get_records(self, rows: Positions) -> list[Consignment]:
        """Return the consignments at some positions."""
        return to_consignments(self._rows.take(rows), self.config.build_record_type())

    def refit(self, matrix: FeatureMatrix, fitted: FittedParameters, keep: Bools) -> FeatureMatrix:
        """Return the feature rows of the kept consignments of a matrix under other fitted parameters."""
        copied = matrix.keep_rows(keep)
        self._fill_fitted(copied, fitted)
        return copied

    def build_matrix(self, fitted: FittedParameters, keep: Bools) -> FeatureMatrix:
        """Return the feature rows of some consignments. If all are wanted, they are `X` itself, which the next call changes."""
        spec = FeatureParameters(self.config).build_pipeline().spec
        matrix = FeatureMatrix(self.X, np.arange(len(self.X)), spec)
        if not keep.all():
            return self.refit(matrix, fitted, keep)
        self._fill_fitted(matrix, fitted)
        return matrix

    @cached_property
    def _rows(self) -> pa.Table:
        """The consignments as an Arrow table of one chunk: rows are taken from it several times as fast as from the frame."""
        return to_arrow_rows(self.frame, self.config.build_record_type()).combine_chunks()

    def _fill_fitted(self, matrix: FeatureMatrix, fitted: FittedParameters) -> None:
        """Recompute in place the features that depend on fitted parameters."""
        pipeline = Pipeline(self.config, fitted, Pseudonyms(BATCH_KEY))
        for start in range(0, len(matrix.rows), CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            fill_table_fitted(pipeline, self._rows.take(matrix.rows[part]), matrix.X[part])


def read_kept_rows(
    source: TableSource, config: FeatureConfig, rows: Positions, table: TableHash | None = None
) -> pd.DataFrame:
    """Read some consignments with all their columns. Their identifiers are spelled as in the order of the source.

    Parameters
    ----------
    source : TableSource
        One that can be read several times.
    config : FeatureConfig
    rows : int64 array
        Positions in the table, ascending.
    table : TableHash, optional
        Receives all rows of the table.
    """
    found, start = [], 0
    for chunk in source.read_chunks():
        frame = chunk.to_frame(config.build_record_type())
        if table is not None:
            table.add(frame)
        begin, end = np.searchsorted(rows, [start, start + len(frame)])
        found.append(frame.iloc[rows[begin:end] - start])
        start += len(frame)
    kept = pd.concat(found, ignore_index=True)
    return kept.assign(consignment_id=source.take_order()["consignment_id"].iloc[rows].array)


def compute_kept_rows(
    inputs: FeatureInputs,
    config: FeatureConfig,
    rows: Positions,
    options: ComputeOptions,
    place: FeaturePlace,
) -> Rows:
    """Compute the feature rows of some consignments, without fitted parameters.

    Parameters
    ----------
    inputs : FeatureInputs
        All consignments count for history.
    config : FeatureConfig
    rows : int64 array, (n,)
        Positions in the table, ascending.
    options : ComputeOptions
    place : FeaturePlace

    Returns
    -------
    float32 array, (n, features)
    """
    parameters, folder, cluster = FeatureParameters(config), place.folder, place.cluster

    def compute_from(first: int) -> Iterator[Rows]:
        wanted = np.zeros(len(inputs.consignments), dtype=bool)
        wanted[rows[first:]] = True
        if cluster is None or folder is None:
            return map(_get_rows, stream_features(inputs, parameters, options=options, wanted=wanted))
        return stream_on_cluster(
            cluster, folder.out, inputs, parameters, _get_rows, progress=options.progress, wanted=wanted
        )

    spec = parameters.build_pipeline().spec
    X = np.empty((len(rows), len(spec)), dtype=np.float32)
    if folder is None:
        _fill(X, compute_from(0))
        return X
    folder.write(lambda first: (_to_table(part, spec.names) for part in compute_from(first)))
    _fill(X, (_read_part(folder.out / part.name) for part in folder.manifest.parts))
    return X


def _fill(X: Rows, parts: Iterator[Rows]) -> None:
    done = 0
    for part in parts:
        X[done : done + len(part)] = part
        done += len(part)


def _get_rows(chunk: FeatureChunk) -> Rows:
    return np.asarray(chunk.X)


def _to_table(part: Rows, names: Sequence[str]) -> pa.Table:
    """Build the table of some rows. It has numbers only, and no identifier."""
    columns = np.ascontiguousarray(part.T)
    return pa.table(dict(zip(names, map(pa.array, columns), strict=True)))


def _read_part(path: Path) -> Rows:
    table = parquet.read_table(path)
    return np.stack([column.to_numpy() for column in table.columns], axis=1)
