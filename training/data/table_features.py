"""Feature rows of the consignments that a training run keeps, computed part by part from tables of any length.

One pass over all events computes the rows as of their own times of scoring, without fitted parameters. The features that need those
are computed later, from the kept consignments: once for each fit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet

from consignments.files.part_folder import PartFolder
from consignments.records import Consignment
from consignments.tables import to_arrow_rows, to_records
from consignments.validation import to_frame
from features.batch import ComputeOptions, FeatureMatrix, FeatureParameters, Tables, report_progress
from features.cluster import open_runner
from features.config import FeatureConfig
from features.streams import FeatureInputs, TableSource, stream_features
from models.arrays import Ints, Rows
from training.data.data_hash import TableHash


@dataclass(frozen=True, repr=False)
class TableFeatures:
    """Kept consignments, their feature rows without fitted parameters, and the hash of the whole table; positions are those in `frame`."""

    frame: pd.DataFrame
    unfitted: FeatureMatrix
    config: FeatureConfig
    table: TableHash

    @classmethod
    def compute(
        cls,
        inputs: FeatureInputs,
        config: FeatureConfig,
        rows: Ints,
        options: ComputeOptions | None = None,
        folder: PartFolder | None = None,
        cluster: str | None = None,
    ) -> "TableFeatures":
        """Compute the features of the consignments at some ascending positions of the table; all consignments count for history."""
        options, parameters = options or ComputeOptions(), FeatureParameters(config)

        def compute_from(first: int) -> Iterator[Rows]:
            wanted = np.zeros(len(inputs.consignments), dtype=bool)
            wanted[rows[first:]] = True
            with open_runner(cluster) as runner:
                given = replace(options, runner=runner)
                for chunk in stream_features(inputs, parameters, options=given, wanted=wanted):
                    yield np.asarray(chunk.X)

        spec, done = parameters.build_pipeline().spec, 0
        X = np.empty((len(rows), len(spec)), dtype=np.float32)
        if folder is None:
            parts = compute_from(0)
        else:
            # The tables have numbers only, and no identifier.
            folder.write(
                lambda first: (
                    pa.table(dict(zip(spec.names, part.T.copy(), strict=True)))
                    for part in compute_from(first)
                )
            )
            tables = (parquet.read_table(folder.out / part.name) for part in folder.manifest.parts)
            parts = (np.stack([column.to_numpy() for column in table.columns], axis=1) for table in tables)
        for part in parts:
            X[done : done + len(part)] = part
            done += len(part)
        with report_progress(options.progress, "reading rows"):
            table = TableHash()
            frame = read_kept_rows(inputs.consignments, config, rows, table)
        unfitted = FeatureMatrix(parameters.fitted.mark_rows(X), np.arange(len(rows)), spec)
        return cls(frame, unfitted, config, table)

    @classmethod
    def from_tables(
        cls, tables: Tables, config: FeatureConfig, as_of: datetime | None = None
    ) -> "TableFeatures":
        """Compute the features of all consignments of tables in memory; later outcomes and alerts are hidden."""
        inputs = FeatureInputs.from_tables(tables, as_of=None if as_of is None else pd.Timestamp(as_of))
        return cls.compute(inputs, config, np.arange(len(tables.consignments)))

    def get_records(self, rows: Ints) -> list[Consignment]:
        """Return the consignments at some positions."""
        return to_records(self._rows.take(rows), self.config.build_record_type())

    @cached_property
    def _rows(self) -> pa.Table:
        """The consignments as an Arrow table of one chunk: rows are taken from it several times as fast as from the frame."""
        return to_arrow_rows(self.frame, self.config.build_record_type()).combine_chunks()


def read_kept_rows(
    source: TableSource, config: FeatureConfig, rows: Ints, table: TableHash | None = None
) -> pd.DataFrame:
    """Read the consignments at some ascending positions, spelled as in the order of the source, and add all rows to a hash."""
    found, start = [], 0
    for chunk in source.read_chunks(config.build_record_type()):
        frame = to_frame(chunk)
        if table is not None:
            table.add(frame)
        begin, end = np.searchsorted(rows, [start, start + len(frame)])
        found.append(frame.iloc[rows[begin:end] - start])
        start += len(frame)
    kept = pd.concat(found, ignore_index=True)
    return kept.assign(consignment_id=source.take_order()["consignment_id"].iloc[rows].array)
