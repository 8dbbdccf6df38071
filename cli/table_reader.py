"""Reads the tables of a verb, and reports the rows at fault."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

    from cli.options import TableOptions
    from consignments.records import Consignment
    from consignments.rejects import Reject
    from consignments.tables import ReadReport
    from features.batch import Progress, Tables
    from features.streams import FeatureInputs, TableSource


class TableReader:
    """Reads tables for a verb, reports what was at fault, and collects the rows at fault of all of them in one file.

    A table of which every row is at fault ends the verb.

    Parameters
    ----------
    tables : TableOptions
        Where the tables are, and what happens to rows at fault.
    """

    def __init__(self, tables: "TableOptions") -> None:
        self.tables = tables
        self.rejects: list[Reject] = []

    def read_table(self, path: Path | None, record: Any) -> "pd.DataFrame | None":
        """Read one table; None if no path is given."""
        if path is None:
            return None
        from consignments.tables import read_table

        table = read_table(path, record, strict=self.tables.strict)
        self._report(table.report, table.rejects)
        return table.frame

    def read_truth(self) -> "pd.DataFrame | None":
        """Read the truth of a simulated world; None if no path is given."""
        from consignments.records import Truth

        return self.read_table(self.tables.truth, Truth)

    def read_tables(self, record: "type[Consignment]") -> "Tables":
        """Read the tables of one world, with the columns of a record type."""
        from consignments.records import Alert, Outcome
        from features.batch import Tables

        first = self.read_table(self.tables.consignments, record)
        assert first is not None
        return Tables(
            first, self.read_table(self.tables.outcomes, Outcome), self.read_table(self.tables.alerts, Alert)
        )

    def open_source(
        self, path: Path | None, record: "type[Consignment]", progress: "Progress"
    ) -> "TableSource | None":
        """Open a consignment table: Parquet piece by piece, others whole; None if no path is given."""
        from consignments.parquet_files import is_parquet
        from consignments.parquet_stream import stream_table
        from features.streams import InMemoryTable

        if path is None or not path.exists() or not is_parquet(path):
            frame = self.read_table(path, record)
            return None if frame is None else InMemoryTable(frame)
        stream = stream_table(path, record, strict=self.tables.strict, progress=progress)
        self._report(stream.report, stream.rejects)
        return stream

    def open_sources(self, record: "type[Consignment]", progress: "Progress") -> "FeatureInputs":
        """Open the tables of one world, those of consignments piece by piece."""
        from consignments.records import Alert, Outcome
        from features.streams import FeatureInputs

        first = self.open_source(self.tables.consignments, record, progress)
        assert first is not None
        return FeatureInputs(
            consignments=first,
            outcomes=self.read_table(self.tables.outcomes, Outcome),
            alerts=self.read_table(self.tables.alerts, Alert),
            history=self.open_source(self.tables.history, record, progress),
        )

    def _report(self, report: "ReadReport", rejects: "tuple[Reject, ...]") -> None:
        from consignments.tables import refuse_total_rejection, write_rejects

        if report.rejected or report.unknown_columns:
            click.echo(report.to_text(), err=True)
        self.rejects += rejects
        if self.tables.rejects is not None and rejects:
            write_rejects(self.rejects, self.tables.rejects)
        refuse_total_rejection(report, todo=self._locate_rejects())

    def _locate_rejects(self) -> str:
        if self.tables.rejects is None:
            return "name a file with --rejects FILE to see each row with its reason"
        return f"each row with its reason is in {self.tables.rejects}"
