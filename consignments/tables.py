"""Tables of consignments, outcomes, alerts and truth: reading, validation, and conversion to records and back.

An invalid file raises `FileFault`; an invalid row becomes a `Reject`, and the other rows are processed. All checks come from
`consignments.records`, so tables and the HTTP interface accept the same values.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from difflib import get_close_matches
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

from consignments.columns import TYPES, Finding, Mask, convert_frame, normalize_array, normalize_names
from consignments.errors import FileFault, Reject
from consignments.files.parquet_files import ParquetTable
from consignments.files.raw_tables import RawTable, TablePart, number_rows, refuse_bad_columns
from consignments.files.table_files import read_files
from consignments.files.table_writers import write_chunks, write_table
from consignments.lists import to_items, to_lists
from consignments.records import Alert, Consignment, Field, LogColumns, Outcome, ScoreRow, get_fields
from consignments.timestamps import EPOCH, NO_TIME, get_time_column_us
from consignments.validation import (
    NEAR_NAME,
    SEQUENCE,
    PartCheck,
    build_rejects,
    check_part,
    concat_rows,
    count_doubts,
    count_given,
    has_unique_identifiers,
    limit_rejects,
    refuse_missing_columns,
    refuse_rejects,
    to_frame,
    write_rejects,
)
from consignments.workers import pause_garbage_collection

__all__ = ["Reject", "write_chunks", "write_table"]

RECORD_ROWS = 1000
"""Rows of a checked table that are converted to records at a time."""
MAX_SHOWN_REASONS = 10
"""Maximum number of reasons in the text of a report."""

FIRST_REASONS = 3
"""Maximum number of reasons in one line of an error."""

RecordT = TypeVar("RecordT", bound=msgspec.Struct)
ConsignmentT = TypeVar("ConsignmentT", bound=Consignment)


@dataclass(frozen=True)
class ReadReport:
    """The report of reading a table: numbers of rows by `column: reason` and `column: doubt`, most frequent first.

    `rows` counts rejected and repeated rows too, and `missing` has the share of kept rows without a value by column. Unknown
    columns were kept, and `items.NAME`, an unknown field of items, was dropped. `examples` are values and what they were read as.
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

    def to_text(self) -> str:
        """Format the report as text."""
        lines = [f"{self.name}: {self.rows:,} rows, {self.rejected:,} rejected"]
        lines += [f"  {rows:,} x {reason}" for reason, rows in list(self.reasons.items())[:MAX_SHOWN_REASONS]]
        hidden = len(self.reasons) - MAX_SHOWN_REASONS
        if hidden > 0:
            lines.append(f"  and {hidden} more reasons")
        if self.repeats:
            lines.append(f"  {self.repeats:,} repeated outcome rows ignored")
        for doubt, rows in list(self.warnings.items())[:MAX_SHOWN_REASONS]:
            shown = ", ".join(self.examples.get(doubt, ()))
            lines.append(f"  warning: {rows:,} x {doubt}" + (f" ({shown})" if shown else ""))
        if self.unknown_columns:
            lines.append(f"  unknown columns: {', '.join(map(self._suggest_name, self.unknown_columns))}")
        ranked = sorted(self.missing.items(), key=itemgetter(1), reverse=True)
        if some := [f"{name} {share:.0%}" for name, share in ranked if 0 < share < 1]:
            lines.append(f"  partly missing: {', '.join(some)}")
        if self._absent:
            lines.append(f"  always missing: {', '.join(self._absent)}")
        return "\n".join(lines)

    @property
    def _absent(self) -> list[str]:
        return [name for name, share in self.missing.items() if share == 1]

    def _suggest_name(self, unknown: str) -> str:
        """Add the nearest column of the record that the table does not have, if there is one."""
        near = get_close_matches(unknown, self._absent, n=1, cutoff=NEAR_NAME)
        return f"{unknown} (did you mean {near[0]}?)" if near else unknown

    def summarize_reasons(self) -> str:
        """Format the most frequent reasons as one line."""
        first = [f"{rows:,} x {reason}" for reason, rows in list(self.reasons.items())[:FIRST_REASONS]]
        hidden = len(self.reasons) - FIRST_REASONS
        return " | ".join([*first, f"{hidden} more reasons"] if hidden > 0 else first)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Table:
    """A checked table. `rows` has all columns of the record in its order, then sequence numbers if the table has them, then unknown columns.

    The types are those of `consignments.columns.TYPES`.
    """

    rows: pa.Table
    report: ReadReport
    rejects: tuple[Reject, ...]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Return the rows as a frame: strings are `str`, times datetime64[us, UTC], dates date32, numbers float64, lists JSON text."""
        return to_frame(self.rows)


def read_table(
    path: Path | str, record: type[msgspec.Struct], *, rejects: Path | None = None, strict: bool = False
) -> Table:
    """Read and check a table: a `.csv`, `.parquet` or `.jsonl` file, or a directory of Parquet files.

    A consignment type with declared columns reads those too. The file `rejects` is replaced by the invalid rows with their
    reasons. Raise `FileFault` if the table cannot be used as a whole, or if it is read strictly and any row is invalid.
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
    given = convert_frame(frame)
    refuse_bad_columns(given.column_names, name)
    part = TablePart(given, name, "row", number_rows(len(given)))
    table = _check_table(RawTable(name, (part,)), record)
    if strict:
        refuse_rejects(table.rejects)
    return table


def read_scores(path: Path | str) -> pd.DataFrame:
    """Read a score table written by `npsrisk score`; raise an error if a row is invalid."""
    return read_table(path, ScoreRow, strict=True).frame


def _check_table(given: RawTable | ParquetTable, record: type[msgspec.Struct]) -> Table:
    refuse_missing_columns(given.columns, record, given.name)
    checks = [check_part(part, given.columns, record) for part in given.parts]
    repeats = _drop_repeated_outcomes(checks, record) if issubclass(record, Outcome) else 0
    report, rejects = finish_check(given, checks, given.parts, record)
    return Table(concat_rows([check.kept for check in checks]), replace(report, repeats=repeats), rejects)


def _drop_repeated_outcomes(checks: Sequence[PartCheck], record: type[Outcome]) -> int:
    """Drop outcome rows that are identical to an earlier one, and return their number."""
    columns = [*(each.name for each in get_fields(record)), SEQUENCE]
    kept = [
        check.kept.select([name for name in columns if name in check.kept.column_names]) for check in checks
    ]
    repeats = to_frame(pa.concat_tables(kept)).duplicated().to_numpy()
    for check, mine in _split_rows(checks, repeats):
        check.drop_rows(mine)
        check.given = count_given(check.kept, record)
    return int(repeats.sum())


def _split_rows(checks: Sequence[PartCheck], marked: Mask) -> Iterator[tuple[PartCheck, Mask]]:
    """Split the mask of some kept rows of a table into those of its parts that have any."""
    ends = np.cumsum([len(check.kept) for check in checks])
    pairs = zip(checks, np.split(marked, ends[:-1]), strict=True)
    return ((check, mine) for check, mine in pairs if mine.any())


def finish_check(
    given: RawTable | ParquetTable,
    checks: Sequence[PartCheck],
    parts: Iterable[TablePart],
    record: type[msgspec.Struct],
) -> tuple[ReadReport, tuple[Reject, ...]]:
    """Reject repeated identifiers, and report on all parts; they are read again only if they have invalid rows."""
    if has_unique_identifiers(record, given.columns):
        _reject_repeated_identifiers(checks, record)
    found = _build_all_rejects(given.columns, checks, parts, record)
    rejects = (*given.rejects, *limit_rejects(found, given.name))
    reasons = Counter(reject.reason for reject in given.rejects)
    for fault in (fault for check in checks for fault in check.faults):
        reasons[f"{fault.column}: {fault.text}"] += int(fault.rows.sum())
    warnings, examples = count_doubts(checks)
    kept = sum(len(check.kept) for check in checks)
    missing = (kept - np.sum([check.given for check in checks], axis=0)) / max(kept, 1)
    report = ReadReport(
        name=given.name,
        rows=sum(len(check.good) for check in checks) + len(given.rejects),
        rejected=len(rejects),
        reasons=dict(reasons.most_common()),
        repeats=0,
        unknown_columns=tuple(dict.fromkeys(name for check in checks for name in check.unknown)),
        missing=dict(zip((each.name for each in get_fields(record)), missing.tolist(), strict=True)),
        warnings=warnings,
        examples=examples,
    )
    return report, rejects


def _build_all_rejects(
    names: Sequence[str],
    checks: Sequence[PartCheck],
    parts: Iterable[TablePart],
    record: type[msgspec.Struct],
) -> Iterator[Reject]:
    """Build the rejects of all parts; after repeated identifiers the values of a part are counted again."""
    if not any(check.faults for check in checks):
        return
    for check, part in zip(checks, parts, strict=True):
        yield from build_rejects(part, check.faults, record)
        if check.given is None:
            check.given = check_part(part.select(check.good), names, record).given


def _reject_repeated_identifiers(checks: Sequence[PartCheck], record: type[msgspec.Struct]) -> None:
    """Drop the rows whose identifier occurs in an earlier valid row of any part, as a fault of theirs."""
    identifier = get_fields(record)[0].name
    columns = [normalize_array(check.kept.column(identifier)) for check in checks]
    names = normalize_array(pa.chunked_array(columns))
    # Dictionary codes are numbered in the order of first occurrence.
    unified = names if issubclass(record, Alert) else normalize_names(names)
    codes = unified.dictionary_encode().indices.to_numpy()
    repeats = codes <= np.maximum.accumulate(np.concatenate([[-1], codes]))[:-1]
    for check, mine in _split_rows(checks, repeats):
        check.faults.append(Finding(identifier, f"repeated {identifier}", check.drop_rows(mine)))


def refuse_total_rejection(report: ReadReport, *, todo: str) -> None:
    """Raise `FileFault` if the table has rows and all were rejected."""
    if 0 < report.rows == report.rejected:
        raise FileFault(
            "all rows were rejected",
            where=report.name,
            got=f"{report.rejected:,} of {report.rows:,} rows rejected ({report.summarize_reasons()})",
            todo=todo,
        )


# --- records ----------------------------------------------------------------------------------------------------------


def to_consignments(rows: pd.DataFrame | pa.Table, record: type[ConsignmentT]) -> list[ConsignmentT]:
    """Convert `Table.frame` or `Table.rows`, or a slice of it to save memory, to consignments."""
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
        for start in range(0, len(table), RECORD_ROWS):
            values = [_convert_values(column.slice(start, RECORD_ROWS), each) for each, column in columns]
            records += map(record, *values)
    return records


def to_arrow_rows(frame: pd.DataFrame, record: type[msgspec.Struct]) -> pa.Table:
    """Convert rows of a checked frame to an Arrow table in canonical form, with further columns."""
    fields = (*get_fields(record), *(each for each in get_fields(LogColumns) if each.name in frame))
    others = convert_frame(frame.drop(columns=[field.name for field in fields], errors="ignore"))
    own = {field.name: _build_arrow_column(frame, field) for field in fields}
    return pa.table(own | dict(zip(others.column_names, others.columns, strict=True)))


def _build_arrow_column(frame: pd.DataFrame, field: Field) -> Any:
    kind = TYPES[field.kind]
    if field.name not in frame:
        return pa.nulls(len(frame), kind)
    if field.kind == "time":
        times = get_time_column_us(frame, field.name)
        return pa.array(times, mask=times == NO_TIME).cast(kind)
    values = normalize_array(pa.array(frame[field.name], from_pandas=True))
    return to_lists(values, field.kind) if field.kind in ("items", "codes") else values.cast(kind)


def _convert_values(column: Any, field: Field) -> list[Any]:
    if field.kind == "items":
        return to_items(column)
    if field.kind == "time":
        since = column.cast(pa.int64()).cast(pa.duration("us")).to_numpy(zero_copy_only=False).tolist()
        return [None if delta is None else EPOCH + delta for delta in since]
    values: list[Any] = (
        column.to_numpy(zero_copy_only=False).tolist() if field.kind == "date" else column.to_pylist()
    )
    return [None if each is None else tuple(each) for each in values] if field.kind == "codes" else values


def build_frame(records: Sequence[msgspec.Struct], record: type[msgspec.Struct]) -> pd.DataFrame:
    """Convert records of one type to a frame like that of `read_table`.

    If identifiers of consignments repeat, a later one amends an earlier one, and `sequence` gives their order.
    """
    frame = to_frame(build_rows(records, get_fields(record)))
    if issubclass(record, Consignment) and frame["consignment_id"].duplicated().any():
        frame[SEQUENCE] = np.arange(1, len(frame) + 1)
    return frame


def build_rows(records: Sequence[msgspec.Struct], fields: Sequence[Field]) -> pa.Table:
    """Build an Arrow table in canonical form from some fields of records."""
    rows = msgspec.to_builtins(records, builtin_types=(datetime, date))
    return pa.Table.from_pylist(rows, pa.schema([(each.name, TYPES[each.kind]) for each in fields]))
