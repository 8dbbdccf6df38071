"""Reading of the tables of a verb, with a report of invalid rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.stores import install_operation_keys

if TYPE_CHECKING:
    import pandas as pd

    from cli.options import TableOptions
    from consignments.records import Consignment
    from consignments.rejects import Reject
    from consignments.tables import ReadReport
    from features.batch import Progress, Tables
    from features.streams import FeatureInputs, TableSource


class TableReader:
    """A reader of a verb's tables that reports invalid rows and collects those of all tables in one file.

    A table in which every row is invalid ends the verb.

    Parameters
    ----------
    tables : TableOptions
        Paths of the tables, and the handling of invalid rows.
    jobs : int
        Number of processes that check a large Parquet table.
    """

    def __init__(self, tables: "TableOptions", jobs: int = 1) -> None:
        self.tables, self.jobs = tables, jobs
        self.rejects: list[Reject] = []

    def read_table(self, path: Path | None, record: Any) -> "pd.DataFrame | None":
        """Read one table; return None if no path is given."""
        if path is None:
            return None
        from consignments.tables import read_table

        table = read_table(path, record, strict=self.tables.strict)
        self._report(table.report, table.rejects)
        if "indicators" in table.frame and table.frame["indicators"].notna().any():
            install_operation_keys()
        return table.frame

    def read_truth(self) -> "pd.DataFrame | None":
        """Read the truth of a simulated world; return None if no path is given."""
        from consignments.records import Truth

        return self.read_table(self.tables.truth, Truth)

    def read_tables(self, record: "type[Consignment]") -> "Tables":
        """Read consignments, outcomes and alerts, with the columns of a record type."""
        from consignments.records import Alert, Outcome
        from features.batch import Tables

        first = self.read_table(self.tables.consignments, record)
        assert first is not None
        return Tables(
            first, self.read_table(self.tables.outcomes, Outcome), self.read_table(self.tables.alerts, Alert)
        ).unify_spellings()

    def open_source(
        self, path: Path | None, record: "type[Consignment]", progress: "Progress"
    ) -> "TableSource | None":
        """Open a consignment table, Parquet as a stream and others in memory; return None if no path is given."""
        from consignments.files.parquet_files import is_parquet
        from consignments.parquet_stream import stream_table
        from features.streams import InMemoryTable

        if path is None or not path.exists() or not is_parquet(path):
            frame = self.read_table(path, record)
            return None if frame is None else InMemoryTable(frame)
        stream = stream_table(path, record, strict=self.tables.strict, jobs=self.jobs, progress=progress)
        self._report(stream.report, stream.rejects)
        return stream

    def open_sources(self, record: "type[Consignment]", progress: "Progress") -> "FeatureInputs":
        """Open consignments, history, outcomes and alerts; consignments and history as streams if they are Parquet."""
        from consignments.records import Alert, Outcome
        from features.streams import FeatureInputs

        first = self.open_source(self.tables.consignments, record, progress)
        past = self.open_source(self.tables.history, record, progress)
        assert first is not None
        return FeatureInputs(
            consignments=first,
            outcomes=self.read_table(self.tables.outcomes, Outcome),
            alerts=self.read_table(self.tables.alerts, Alert),
            history=() if past is None else (past,),
        )

    def _report(self, report: "ReadReport", rejects: "tuple[Reject, ...]") -> None:
        from consignments.tables import refuse_total_rejection, write_rejects

        if report.is_notable:
            click.echo(report.to_text(), err=True)
        self.rejects += rejects
        if self.tables.rejects is not None and rejects:
            write_rejects(self.rejects, self.tables.rejects)
        refuse_total_rejection(report, todo=self._locate_rejects())

    def _locate_rejects(self) -> str:
        if self.tables.rejects is None:
            return "add --rejects FILE to see each invalid row with its reason"
        return f"see {self.tables.rejects} for each invalid row and its reason"
