"""Tables of consignments, outcomes, alerts and truth: reading, validation, and conversion to records and back.

An invalid file raises `FileFault`; an invalid row becomes a `Reject`, and the other rows are processed. All checks come from
`consignments.schema`, so tables and the HTTP interface accept the same values.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from msgspec import Meta

from consignments.code_lists import decode_codes
from consignments.column_doubts import count_doubts
from consignments.columns import TYPES, normalize_array
from consignments.errors import FileFault
from consignments.files.raw_tables import RawTable, wrap_frame
from consignments.files.table_files import read_files
from consignments.files.table_writers import write_chunks, write_table
from consignments.garbage_collection import pause_garbage_collection
from consignments.items import to_items
from consignments.records import Alert, Code, Consignment, Identifier, Outcome, Selector, Time
from consignments.rejects import Reject
from consignments.schema import Field, get_fields
from consignments.timestamps import EPOCH, NO_TIME, get_time_column_us
from consignments.validation import DTYPES, SEQUENCE, SEQUENCE_COLUMNS, check_table

__all__ = [
    "HistoryUse",
    "ReadReport",
    "Reject",
    "ScoreRow",
    "SelectionRow",
    "Table",
    "build_column",
    "build_frame",
    "check_frame",
    "read_scores",
    "read_table",
    "refuse_rejects",
    "refuse_total_rejection",
    "to_alerts",
    "to_arrow_rows",
    "to_consignments",
    "to_outcomes",
    "to_records",
    "write_chunks",
    "write_rejects",
    "write_table",
]

CHUNK_ROWS = 500
"""Rows converted at a time; few, so that they stay in the processor's cache."""
RECORD_ROWS = 1000
"""Rows of a checked table that are records at once."""
MAX_SHOWN_REASONS = 10
"""Maximum number of reasons in the text of a report."""

NEAR_NAME = 0.75
"""Minimum similarity of an unknown column to a missing one, for a suggestion."""
FIRST_REASONS = 3
"""Maximum number of reasons in one line of an error."""

RecordT = TypeVar("RecordT", bound=msgspec.Struct)
ConsignmentT = TypeVar("ConsignmentT", bound=Consignment)


HistoryUse = Literal["given", "none"]
"""Origin of the history of scores: `given` with past consignments, `none` with those of their own table only."""


class ScoreRow(msgspec.Struct, frozen=True):
    """One row of a score table; a column `reasons` with JSON text is kept unchecked."""

    consignment_id: Annotated[Identifier, Meta(description="identifier of the consignment")]
    score: Annotated[
        float, Meta(ge=0, le=1, description="calibrated probability that the consignment is positive")
    ]
    band: Annotated[Code, Meta(description="high, elevated or routine; the model holds the limits")]
    received_at: Annotated[Time, Meta(description="when the advance data reached customs")]
    model_version: Annotated[
        Code | None, Meta(description="number of the registered version, or unregistered")
    ] = None
    office: Annotated[Code | None, Meta(description="customs office of arrival")] = None
    history: Annotated[
        HistoryUse | None,
        Meta(description="none: scored without past consignments, so every sender looked new"),
    ] = None


class SelectionRow(msgspec.Struct, frozen=True):
    """One row of a selection table; reasons and columns of the goods are kept unchecked."""

    consignment_id: Annotated[Identifier, Meta(description="identifier of the consignment")]
    selected_by: Annotated[Selector, Meta(description="who selected it")]
    selection_probability: Annotated[
        float,
        Meta(gt=0, le=1, description="probability that the whole policy selects this consignment"),
    ]
    office: Annotated[Code | None, Meta(description="customs office that inspects it")] = None
    selected_at: Annotated[
        Time | None,
        Meta(description="last arrival of the office and day, which is when its list can be drawn first"),
    ] = None
    score: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None, Meta(description="score of the consignment")
    ] = None
    band: Annotated[Code | None, Meta(description="band of the score")] = None


@dataclass(frozen=True)
class ReadReport:
    """The report of reading a table.

    Attributes
    ----------
    name : str
    rows : int
        Number of rows in the table, including rejected and repeated ones.
    rejected : int
        Number of rejected rows.
    reasons : dict
        Number of rows by `column: reason`, most frequent first; a row with two errors counts for both.
    repeats : int
        Number of outcome rows that are identical to an earlier one; they were dropped.
    unknown_columns : tuple of str
        Columns that the record does not have; they were kept. `items.NAME`, an unknown field of items, was dropped.
    missing : dict
        Share of kept rows without a value, 0 to 1, by column of the record.
    warnings : dict
        Number of kept rows with a doubtful value, by `column: doubt`, most frequent first.
    examples : dict
        Some of these values by `column: doubt`: `China as CN` is a value and what it was read as.
    """

    name: str
    rows: int
    rejected: int
    reasons: dict[str, int]
    repeats: int
    unknown_columns: tuple[str, ...]
    missing: dict[str, float]
    warnings: dict[str, int]
    examples: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_notable(self) -> bool:
        """Return whether a person should see the report: it has rejects, unknown columns or warnings."""
        return bool(self.rejected or self.unknown_columns or self.warnings)

    @property
    def all_rejected(self) -> bool:
        """Return whether the table has rows and all were rejected."""
        return 0 < self.rows == self.rejected

    def to_text(self) -> str:
        """Format the report as text."""
        lines = [f"{self.name}: {self.rows:,} rows, {self.rejected:,} rejected"]
        lines += [f"  {rows:,} x {reason}" for reason, rows in list(self.reasons.items())[:MAX_SHOWN_REASONS]]
        hidden = len(self.reasons) - MAX_SHOWN_REASONS
        lines += [f"  and {hidden} more reasons"] if hidden > 0 else []
        lines += [f"  {self.repeats:,} repeated outcome rows ignored"] if self.repeats else []
        lines += [
            f"  warning: {rows:,} x {doubt}{self._show_examples(doubt)}"
            for doubt, rows in list(self.warnings.items())[:MAX_SHOWN_REASONS]
        ]
        lines += (
            [f"  unknown columns: {', '.join(map(self._suggest_name, self.unknown_columns))}"]
            if self.unknown_columns
            else []
        )
        never = [name for name, share in self.missing.items() if share == 1]
        some = sorted(
            ((name, share) for name, share in self.missing.items() if 0 < share < 1), key=_sort_by_share
        )
        lines += (
            [f"  partly missing: {', '.join(f'{name} {share:.0%}' for name, share in some)}"] if some else []
        )
        lines += [f"  always missing: {', '.join(never)}"] if never else []
        return "\n".join(lines)

    def _show_examples(self, doubt: str) -> str:
        shown = self.examples.get(doubt, ())
        return f" ({', '.join(shown)})" if shown else ""

    def _suggest_name(self, unknown: str) -> str:
        """Add the nearest column of the record that the table does not have, if there is one."""
        absent = [name for name, share in self.missing.items() if share == 1]
        near = get_close_matches(unknown, absent, n=1, cutoff=NEAR_NAME)
        return f"{unknown} (did you mean {near[0]}?)" if near else unknown

    def summarize_reasons(self) -> str:
        """Format the most frequent reasons as one line."""
        first = [f"{rows:,} x {reason}" for reason, rows in list(self.reasons.items())[:FIRST_REASONS]]
        hidden = len(self.reasons) - FIRST_REASONS
        return " | ".join([*first, f"{hidden} more reasons"] if hidden > 0 else first)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return asdict(self)


def _sort_by_share(gap: tuple[str, float]) -> float:
    return -gap[1]


@dataclass(frozen=True)
class Table:
    """A checked table.

    Attributes
    ----------
    frame : DataFrame
        All columns of the record in its order, then `sequence` (int64) and `cancelled_sequence` (missing if not
        cancelled) if the table has them, then unknown columns.
        Strings are `str`, times datetime64[us, UTC], dates date32, numbers float64, `items` JSON text.
    report : ReadReport
    rejects : tuple of Reject
    """

    frame: pd.DataFrame
    report: ReadReport
    rejects: tuple[Reject, ...]


def read_table(
    path: Path | str, record: type[msgspec.Struct], *, rejects: Path | None = None, strict: bool = False
) -> Table:
    """Read and check a table.

    Parameters
    ----------
    path : Path
        `.csv`, `.parquet` or `.jsonl`, or a directory of Parquet files.
    record : type
        Record type of the rows; a consignment type with declared columns reads those too.
    rejects : Path, optional
        File for the rejected rows with their reasons. It is replaced: a verb that reads several tables collects
        `Table.rejects` and calls `write_rejects` once.
    strict : bool
        Raise an error if any row is invalid.

    Raises
    ------
    FileFault
        The file cannot be used as a whole, or `strict` is set and a row is invalid.

    Examples
    --------
    >>> print(read_table("outcomes.csv", Outcome).report.to_text())  # doctest: +SKIP
    outcomes.csv: 1,200 rows, 1 rejected
      1 x known_at: before inspected_at
    """
    table = _check_table(read_files(Path(path)), record)
    if rejects is not None:
        write_rejects(table.rejects, rejects)
    if strict:
        refuse_rejects(table.rejects)
    return table


def check_frame(
    frame: pd.DataFrame, record: type[msgspec.Struct], *, strict: bool = False, name: str = "table"
) -> Table:
    """Check a frame in memory by the rules of `read_table`.

    Parameters
    ----------
    frame : DataFrame
        The table; its columns may have any dtype and mixed values, and its index is ignored.
    record : type
    strict : bool
        Raise an error if any row is invalid.
    name : str
        Name of the table in messages.
    """
    table = _check_table(wrap_frame(frame, name), record)
    if strict:
        refuse_rejects(table.rejects)
    return table


def read_scores(path: Path | str) -> pd.DataFrame:
    """Read a score table written by `npsrisk score`; raise an error if a row is invalid."""
    return read_table(path, ScoreRow, strict=True).frame


def write_rejects(rejects: Iterable[Reject], path: Path) -> None:
    """Write the rejects to a table: place, identifier, column, reason, and the original row.

    Parameters
    ----------
    rejects : iterable of Reject
        Without any reject, an empty table is written.
    path : Path
        `.csv`, `.jsonl` or `.parquet`.
    """
    rows = [asdict(reject) for reject in rejects]
    write_table(pd.DataFrame(rows, columns=list(Reject.__slots__), dtype="str"), path)


def _check_table(given: RawTable, record: type[msgspec.Struct]) -> Table:
    checked = check_table(given, record)
    frame = checked.frame
    warnings, examples = count_doubts(checked.doubts)
    report = ReadReport(
        name=given.name,
        rows=sum(len(part.table) for part in given.parts) + len(given.rejects),
        rejected=len(checked.rejects),
        reasons=checked.reasons,
        repeats=checked.repeats,
        unknown_columns=checked.unknown,
        missing={
            each.name: float(frame[each.name].isna().mean()) if len(frame) else 0.0
            for each in get_fields(record)
        },
        warnings=warnings,
        examples=examples,
    )
    return Table(frame, report, checked.rejects)


def refuse_rejects(rejects: Sequence[Reject]) -> None:
    """Raise `FileFault` if there is any reject."""
    if rejects:
        more = f" and {len(rejects) - 1} more" if len(rejects) > 1 else ""
        raise FileFault(
            f"invalid rows, and none is allowed here: {rejects[0]}{more}", todo="correct or drop these rows"
        )


def refuse_total_rejection(report: ReadReport, *, todo: str) -> None:
    """Raise `FileFault` if the table has rows and all were rejected.

    Parameters
    ----------
    report : ReadReport
    todo : str
        Next step: where the rejects are, or how to see them.

    Examples
    --------
    >>> report = ReadReport("new.csv", 2, 2, {"channel: 'sea'": 2}, 0, (), {}, {})
    >>> refuse_total_rejection(report, todo="the rejects are in rejects.csv")
    Traceback (most recent call last):
        ...
    consignments.errors.FileFault: new.csv: all rows were rejected; got 2 of 2 rows rejected (2 x channel: 'sea'); the rejects are in rejects.csv
    """
    if report.all_rejected:
        raise FileFault(
            "all rows were rejected",
            where=report.name,
            got=f"{report.rejected:,} of {report.rows:,} rows rejected ({report.summarize_reasons()})",
            todo=todo,
        )


# --- records ----------------------------------------------------------------------------------------------------------


def to_consignments(rows: pd.DataFrame | pa.Table, record: type[ConsignmentT]) -> list[ConsignmentT]:
    """Convert rows of a checked table to consignments.

    Parameters
    ----------
    rows : DataFrame or Arrow table
        Frame of `read_table`, or a slice of it to save memory; or rows in canonical form.
    record : type
        `Consignment`, or the type with declared columns.
    """
    return to_records(rows, record)


def iterate_consignments(table: pa.Table, record: type[ConsignmentT]) -> Iterator[ConsignmentT]:
    """Yield the rows of a checked table as consignments, of which some are in memory at a time."""
    for begin in range(0, len(table), RECORD_ROWS):
        yield from to_consignments(table.slice(begin, RECORD_ROWS), record)


def to_outcomes(frame: pd.DataFrame) -> list[Outcome]:
    """Convert rows of a checked frame to outcomes."""
    return to_records(frame, Outcome)


def to_alerts(frame: pd.DataFrame) -> list[Alert]:
    """Convert rows of a checked frame to alerts."""
    return to_records(frame, Alert)


def to_records(rows: pd.DataFrame | pa.Table, record: type[RecordT]) -> list[RecordT]:
    """Convert rows of a checked frame, or of an Arrow table in canonical form, to records.

    Missing values and missing columns become None.
    """
    table = rows if isinstance(rows, pa.Table) else to_arrow_rows(rows, record)
    records: list[RecordT] = []
    with pause_garbage_collection():
        columns = [(each, normalize_array(table.column(each.name))) for each in get_fields(record)]
        for start in range(0, len(table), CHUNK_ROWS):
            values = [_convert_values(column.slice(start, CHUNK_ROWS), each) for each, column in columns]
            records += map(record, *values)
    return records


def to_arrow_rows(frame: pd.DataFrame, record: type[msgspec.Struct]) -> pa.Table:
    """Convert rows of a checked frame to an Arrow table in canonical form, with all columns of the record and sequence numbers."""
    columns = {each.name: _build_arrow_column(frame, each) for each in get_fields(record)}
    columns |= {
        name: pa.array(frame[name], pa.int64(), from_pandas=True)
        for name in SEQUENCE_COLUMNS
        if name in frame
    }
    return pa.table(columns)


def _build_arrow_column(frame: pd.DataFrame, field: Field) -> Any:
    kind = TYPES[field.kind]
    if field.name not in frame:
        return pa.nulls(len(frame), kind)
    if field.kind == "time":
        times = get_time_column_us(frame, field.name)
        return pa.array(times, mask=times == NO_TIME).cast(kind)
    return normalize_array(pa.array(frame[field.name], from_pandas=True)).cast(kind)


def _convert_values(column: Any, field: Field) -> list[Any]:
    if field.kind == "time":
        since = column.cast(pa.int64()).cast(pa.duration("us")).to_numpy(zero_copy_only=False).tolist()
        return [None if delta is None else EPOCH + delta for delta in since]
    if field.kind == "date":
        days: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
        return days
    if field.kind == "items":
        return to_items(column)
    values: list[Any] = column.to_pylist()
    if field.kind == "codes":
        return [None if text is None else decode_codes(text) for text in values]
    return values


def build_frame(records: Sequence[msgspec.Struct], record: type[msgspec.Struct]) -> pd.DataFrame:
    """Convert records to a canonical frame.

    Parameters
    ----------
    records : sequence of record
    record : type
        Type of the records.

    Returns
    -------
    DataFrame
        Frame like that of `read_table`. If identifiers of consignments repeat, a later one amends an earlier one, and
        `sequence` gives their order.
    """
    columns = {each.name: build_column(records, each) for each in get_fields(record)}
    frame: pd.DataFrame = pa.table(columns).to_pandas(types_mapper=DTYPES.get)
    if issubclass(record, Consignment) and frame["consignment_id"].duplicated().any():
        frame[SEQUENCE] = np.arange(1, len(frame) + 1)
    return frame


def build_column(records: Sequence[msgspec.Struct], field: Field) -> Any:
    """Build an Arrow array of canonical type from one field of records."""
    values = [getattr(record, field.name) for record in records]
    if field.kind in ("items", "codes"):
        values = [None if items is None else msgspec.json.encode(items).decode() for items in values]
    return pa.array(values, type=TYPES[field.kind], from_pandas=True)
