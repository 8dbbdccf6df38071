"""The tables that a verb reads, with a report of invalid rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.stores import install_operation_keys
from cli.verb import OptionGroup, Progress
from consignments.errors import Reject
from consignments.records import Alert, Consignment, Outcome

if TYPE_CHECKING:
    import pandas as pd

    from consignments.validation import ReadReport
    from features.batch import Tables
    from features.streams import FeatureInputs, TableSource


@dataclass
class GivenTables:
    """The paths of a verb's tables. It reads them, reports invalid rows, and collects those of all tables in one file.

    A table of which every row is invalid ends the verb. With `strict` any invalid row does.
    """

    consignments: options.Table | None = None
    history: options.Table | None = None
    outcomes: options.Table | None = None
    alerts: options.Table | None = None
    truth: options.Table | None = None
    rejects: Path | None = None
    strict: bool = False
    found: "list[Reject]" = field(default_factory=list)

    def list_sources(self) -> dict[str, str]:
        """List the given tables with their absolute paths."""
        names = ("consignments", "history", "outcomes", "alerts", "truth")
        return {name: str(path.absolute()) for name in names if (path := getattr(self, name)) is not None}

    def read_table(self, path: Path | None, record: Any) -> "pd.DataFrame | None":
        """Read one table; return None if no path is given."""
        if path is None:
            return None
        from consignments.tables import read_table

        table = read_table(path, record)
        self._report(table.report, table.rejects)
        if "indicators" in table.frame and table.frame["indicators"].notna().any():
            install_operation_keys()
        return table.frame

    def read_tables(self, record: type[Consignment]) -> "Tables":
        """Read consignments, outcomes and alerts, with the columns of a record type."""
        from features.batch import Tables

        first = self.read_table(self.consignments, record)
        assert first is not None
        found = (self.read_table(self.outcomes, Outcome), self.read_table(self.alerts, Alert))
        return Tables(first, *found).unify_spellings()

    def open_source(
        self, path: Path | None, record: type[Consignment], progress: Progress
    ) -> "TableSource | None":
        """Open a consignment table, Parquet as a stream and others in memory; return None if no path is given."""
        from consignments.files.parquet_files import is_parquet
        from consignments.tables import stream_table
        from features.streams import InMemoryTable

        if path is None or not path.exists() or not is_parquet(path):
            frame = self.read_table(path, record)
            return None if frame is None else InMemoryTable(frame)
        stream = stream_table(path, record, progress=progress)
        self._report(stream.report, stream.rejects)
        return stream

    def open_sources(self, record: type[Consignment], progress: Progress) -> "FeatureInputs":
        """Open consignments, history, outcomes and alerts; consignments and history as streams if they are Parquet."""
        from features.streams import FeatureInputs

        first = self.open_source(self.consignments, record, progress)
        past = self.open_source(self.history, record, progress)
        assert first is not None
        outcomes, alerts = self.read_table(self.outcomes, Outcome), self.read_table(self.alerts, Alert)
        return FeatureInputs(first, () if past is None else (past,), outcomes, alerts)

    def _report(self, report: "ReadReport", rejects: "tuple[Reject, ...]") -> None:
        from consignments.validation import refuse_rejects, write_rejects

        if report.is_notable:
            click.echo(report.to_text(), err=True)
        self.found += rejects
        if self.rejects is not None and rejects:
            write_rejects(self.found, self.rejects)
        if self.strict:
            refuse_rejects(rejects, self.rejects)
        see = "add --rejects FILE to see" if self.rejects is None else f"see {self.rejects} for"
        report.refuse_total_rejection(todo=f"{see} each invalid row and its reason")


def table_options(shared: Mapping[str, Any] | None = None, **own: Any) -> Any:
    """Define the options of a verb for its tables, and for their invalid rows."""
    rows = {"rejects": options.REJECTS, "strict": options.STRICT}
    return OptionGroup(GivenTables, {**(shared or {}), **own, **rows})


EVENTS = {"outcomes": options.OUTCOMES, "alerts": options.ALERTS}
PAST = {"consignments": options.CONSIGNMENTS, **EVENTS}
RESULTS = PAST | {"outcomes": options.REQUIRED_OUTCOMES}
HISTORY_TABLES = table_options({"consignments": options.CONSIGNMENTS, "history": options.HISTORY, **EVENTS})
RESULT_TABLES = table_options(RESULTS)


def to_bound_us(time: datetime | None) -> int | None:
    """Convert a bound of a period to microseconds since 1970 (UTC)."""
    from consignments.timestamps import to_us

    return None if time is None else to_us(time)
