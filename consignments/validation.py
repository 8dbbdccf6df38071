"""Validation of rows of tables: each column by its schema, then the rules between columns, then doubts; and the invalid rows.

Invalid rows and their reasons are found for all rows at once; only invalid rows are then processed one by one.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from consignments import columns
from consignments.columns import ColumnIssue, Mask
from consignments.doubts import list_rules
from consignments.errors import FileFault, Reject
from consignments.files.parquet_files import ParquetTable
from consignments.files.raw_tables import RawTable, TablePart
from consignments.files.table_writers import write_table
from consignments.records import Alert, Consignment, LogColumns, Outcome, Truth, get_fields
from consignments.timestamps import US_PER_DAY, get_time_column_us
from consignments.visibility import find_outcome_faults

SEQUENCE, CANCELLED_SEQUENCE = SEQUENCE_COLUMNS = LogColumns.__struct_fields__
"""Columns of sequence numbers in the service's log, of rows and of cancellations."""
ARRIVAL_TIME_COLUMNS = ("received_at", "known_at", "recorded_at")
"""Columns of times that advance the days of history."""
OUTCOME_COLUMNS = ["status", "result", "known_at", "inspected_at"]
"""Columns between which outcomes may have contradictions."""
AFTER_TOMORROW = "after tomorrow, in a table with sequence numbers"
DTYPES = {columns.TEXT: pd.StringDtype(na_value=np.nan), columns.DATE: pd.ArrowDtype(columns.DATE)}
"""Pandas dtypes of a canonical frame that differ from what Arrow would choose."""
NEAR_NAME = 0.75
"""Minimum similarity of an unknown column to a missing one, for a suggestion."""
MAX_LISTED_COLUMNS = 12
"""Columns that an error lists; it counts the others."""
MAX_SHOWN_REASONS = 10
"""Maximum number of reasons in the text of a report."""
FIRST_REASONS = 3
"""Maximum number of reasons in one line of an error."""
REJECT_ROWS = 1_000
"""Invalid rows that are converted at a time."""
MAX_REJECTED_BYTES = 1 << 30
"""Maximum size of the rejected rows of one table: a few million ordinary ones."""
ROW_OVERHEAD_BYTES = 300
"""Memory of a rejected row in addition to its text (measured)."""


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
    examples: dict[str, tuple[str, ...]]

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

    def refuse_total_rejection(self, *, todo: str) -> None:
        """Raise `FileFault` if the table has rows and all were rejected."""
        if 0 < self.rows == self.rejected:
            shown = [f"{rows:,} x {reason}" for reason, rows in list(self.reasons.items())[:FIRST_REASONS]]
            hidden = len(self.reasons) - FIRST_REASONS
            reasons = " | ".join([*shown, f"{hidden} more reasons"] if hidden > 0 else shown)
            raise FileFault(
                "all rows were rejected",
                where=self.name,
                got=f"{self.rejected:,} of {self.rows:,} rows rejected ({reasons})",
                todo=todo,
            )


@dataclass
class PartCheck:
    """The check of a part of a table: `kept` are its valid rows in canonical form, which `good` marks.

    `missing` says of each field of each of them if it has no value.
    """

    faults: list[ColumnIssue]
    unknown: tuple[str, ...]
    doubts: list[ColumnIssue]
    good: Mask
    kept: Any
    missing: Any


def list_declared_columns(record: type[msgspec.Struct]) -> tuple[str, ...]:
    """List the columns that a configuration declares in addition to those of `Consignment`, which come before them."""
    own = len(get_fields(Consignment)) if issubclass(record, Consignment) else None
    return () if own is None else tuple(field.name for field in get_fields(record)[own:])


def refuse_missing_columns(names: Sequence[str], record: type[msgspec.Struct], where: str) -> None:
    """Raise `FileFault` if a required or declared column of the record type is missing, and suggest which unknown column to rename."""
    fields = get_fields(record)
    known = {field.name for field in fields}
    unknown = [name for name in names if name not in known]
    missing = [field.name for field in fields if field.required and field.name not in names]
    if missing:
        raise FileFault(
            f"missing required column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            where=where,
            got=f"unknown columns {_list_columns(unknown)}" if unknown else f"columns {_list_columns(names)}",
            todo=_suggest_columns(names, missing, unknown),
        )
    declared = [name for name in list_declared_columns(record) if name not in names]
    if declared:
        near = get_close_matches(declared[0], unknown, n=1)
        raise FileFault(
            f"the table lacks the declared column{'s' if len(declared) > 1 else ''} {', '.join(declared)}",
            where=where,
            got=f"unknown columns {_list_columns(unknown)}" if unknown else "no unknown column",
            expected="each column of [columns]; its values may be missing",
            todo=f"did you mean {near[0]!r}?" if near else "add the column, or remove it from [columns]",
        )


def _suggest_columns(names: Sequence[str], missing: Sequence[str], unknown: Sequence[str]) -> str:
    if len(names) == 1 and any(mark in names[0] for mark in "|:"):
        return "separate columns by commas, semicolons or tabs"
    near = {name: get_close_matches(name, unknown, n=1, cutoff=NEAR_NAME) for name in missing}
    renames = [f"rename {found[0]!r} to {name!r}" for name, found in near.items() if found]
    return ", ".join(renames) or 'rename the column that has it; "npsrisk columns" describes each column'


def _list_columns(names: Sequence[str]) -> str:
    """List the first columns of a table in a text for people, and count the others."""
    more = len(names) - MAX_LISTED_COLUMNS
    listed = ", ".join(names[:MAX_LISTED_COLUMNS]) or "none"
    return f"{listed} and {more:,} more" if more > 0 else listed


def check_part(
    part: TablePart, names: Sequence[str], record: type[msgspec.Struct], wanted: Sequence[str] | None = None
) -> PartCheck:
    """Check the rows of a part independently of each other, and keep some or all columns of the valid ones.

    `names` are the columns of the whole table, which a part may lack.
    """
    fields = (*get_fields(record), *(each for each in get_fields(LogColumns) if each.name in names))
    rules, reads = list_rules(record), {}
    for field in fields:
        column = get_column(part.table, field.name, columns.TYPES[field.kind])
        reads[field.name] = columns.read_column(column, field, rules.get(field.name))
    others = [name for name in names if name not in {*reads, *SEQUENCE_COLUMNS}]
    table = pa.table(
        {name: read.values for name, read in reads.items()}
        | {name: columns.drop_broken_texts(get_column(part.table, name, pa.null()))[0] for name in others}
    )
    doubts = [doubt for read in reads.values() for doubt in read.doubts]
    faults = [fault for read in reads.values() for fault in read.faults]
    faults += _find_row_faults(table, record, columns.mark_faulty_rows(faults, len(table)))
    inside = [f"items.{name}" for read in reads.values() for name in read.unknown]
    good = ~columns.mark_faulty_rows(faults, len(table))
    kept = keep_rows(table, good)
    missing = pa.table({each.name: kept.column(each.name).is_null() for each in get_fields(record)})
    if wanted is not None:
        kept = kept.select([name for name in wanted if name in kept.column_names])
    return PartCheck(faults, (*others, *inside), doubts, good, kept, missing)


def get_column(table: Any, name: str, kind: Any) -> Any:
    """Return a column of a table, or nulls of a type if it has no such column."""
    return table.column(name) if name in table.column_names else pa.nulls(len(table), kind)


def to_frame(table: Any) -> pd.DataFrame:
    """Convert rows in canonical form to a canonical frame."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=DTYPES.get)
    if CANCELLED_SEQUENCE in frame:  # with missing values it would become a float, which is not exact
        frame[CANCELLED_SEQUENCE] = table.column(CANCELLED_SEQUENCE).to_pandas(
            types_mapper={columns.INTEGER: pd.Int64Dtype()}.get
        )
    return frame


def keep_rows(table: Any, rows: Mask) -> Any:
    """Return some rows of a table, or the table itself if all rows are kept."""
    return table if rows.all() else table.filter(pa.array(rows))


def concat_rows(tables: Sequence[Any]) -> Any:
    """Concatenate tables in canonical form; unknown columns may have any type in each of them."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        first = tables[0].schema
        mixed = [
            name for name in first.names if any(t.schema.field(name) != first.field(name) for t in tables)
        ]
        for name in mixed:
            place = first.get_field_index(name)
            tables = [
                each.set_column(place, name, columns.to_text_column(each.column(name))) for each in tables
            ]
        return pa.concat_tables(tables)


def _find_row_faults(table: Any, record: type[msgspec.Struct], bad: Mask) -> list[ColumnIssue]:
    """Find rows with contradictory values, and rows of a log dated after tomorrow, among those without a fault in a column.

    History keeps only the days before its latest event, so one row dated years ahead would expire all others. Without
    sequence numbers such a row comes last, which does no harm.
    """
    found: list[tuple[str, str, Mask]] = []
    if issubclass(record, Outcome):
        found = find_outcome_faults(to_frame(table.select(OUTCOME_COLUMNS)))
    if SEQUENCE in table.column_names:
        latest_us = time.time_ns() // 1000 + US_PER_DAY
        names = [name for name in ARRIVAL_TIME_COLUMNS if name in table.column_names]
        times = to_frame(table.select(names))
        found += [(name, AFTER_TOMORROW, get_time_column_us(times, name) > latest_us) for name in names]
    faults = [ColumnIssue(column, reason, rows & ~bad) for column, reason, rows in found]
    return [fault for fault in faults if fault.rows.any()]


def finish_check(
    given: RawTable | ParquetTable,
    checks: Sequence[PartCheck],
    parts: Iterable[TablePart],
    record: type[msgspec.Struct],
) -> tuple[ReadReport, tuple[Reject, ...]]:
    """Reject or drop repeated rows, and report on all parts, which are read again only if they have invalid rows."""
    repeats = 0
    if issubclass(record, Outcome):
        repeats = _drop_rows(checks, _mark_repeated_outcomes(checks, record))
    # In a log a row with the identifier of an earlier row amends or replaces that one.
    is_log = SEQUENCE in given.columns and not issubclass(record, Truth)
    if issubclass(record, Truth | Consignment | Alert) and not is_log:
        identifier = get_fields(record)[0].name
        _drop_rows(checks, _mark_repeated_identifiers(checks, identifier), identifier)
    pairs = zip(checks, parts, strict=True) if any(check.faults for check in checks) else ()
    found = chain.from_iterable(_build_rejects(part, check.faults, record) for check, part in pairs)
    rejects = (*given.rejects, *_limit_rejects(found, given.name))
    reasons = Counter(reject.reason for reject in given.rejects)
    for fault in (fault for check in checks for fault in check.faults):
        reasons[f"{fault.column}: {fault.text}"] += int(fault.rows.sum())
    warnings, examples = _count_doubts(checks)
    missing = pa.concat_tables([check.missing for check in checks])
    report = ReadReport(
        name=given.name,
        rows=sum(len(check.good) for check in checks) + len(given.rejects),
        rejected=len(rejects),
        reasons=dict(reasons.most_common()),
        repeats=repeats,
        unknown_columns=tuple(dict.fromkeys(name for check in checks for name in check.unknown)),
        missing={name: pc.mean(missing.column(name)).as_py() or 0.0 for name in missing.column_names},
        warnings=warnings,
        examples=examples,
    )
    return report, rejects


def refuse_rejects(rejects: Sequence[Reject], written: Path | None = None) -> None:
    """Raise `FileFault` if any row of a table that is read strictly is invalid; `written` is the file of its rejects."""
    if rejects:
        more = f" and {len(rejects) - 1} more" if len(rejects) > 1 else ""
        see = f"; see {written} for each invalid row and its reason" if written else ""
        what = f"invalid rows, and none is allowed here: {rejects[0]}{more}"
        raise FileFault(what, todo=f"correct or drop these rows{see}")


def _mark_repeated_outcomes(checks: Sequence[PartCheck], record: type[Outcome]) -> Mask:
    """Mark the kept outcome rows that are identical to an earlier one."""
    names = [*(each.name for each in get_fields(record)), SEQUENCE]
    kept = [each.kept.select([name for name in names if name in each.kept.column_names]) for each in checks]
    return to_frame(pa.concat_tables(kept)).duplicated().to_numpy()


def _mark_repeated_identifiers(checks: Sequence[PartCheck], identifier: str) -> Mask:
    """Mark the kept rows whose identifier occurs in an earlier kept row of any part."""
    parts = [columns.normalize_array(check.kept.column(identifier)) for check in checks]
    names = columns.normalize_array(pa.chunked_array(parts))
    names = columns.normalize_names(names) if identifier == columns.IDENTIFIER else names
    # Dictionary codes are numbered in the order of first occurrence.
    codes = names.dictionary_encode().indices.to_numpy()
    repeats: Mask = codes <= np.maximum.accumulate(np.concatenate([[-1], codes]))[:-1]
    return repeats


def _drop_rows(checks: Sequence[PartCheck], gone: Mask, repeated: str = "") -> int:
    """Drop some of the kept rows of all parts, and return their number; with a repeated column, as a fault of theirs."""
    ends = np.cumsum([len(check.kept) for check in checks])
    for check, mine in zip(checks, np.split(gone, ends[:-1]), strict=True):
        if not mine.any():
            continue
        dropped = columns.mark_rows(np.flatnonzero(check.good)[mine], len(check.good))
        check.good = check.good & ~dropped
        check.kept, check.missing = (keep_rows(rows, ~mine) for rows in (check.kept, check.missing))
        if repeated:
            check.faults.append(ColumnIssue(repeated, f"repeated {repeated}", dropped))
    return int(gone.sum())


def _count_doubts(checks: Iterable[PartCheck]) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Count the kept rows of each doubt, most frequent first, and list examples of each."""
    rows: Counter[str] = Counter()
    examples: dict[str, dict[str, None]] = {}
    for check in checks:
        for doubt in check.doubts:
            if count := int((doubt.rows & check.good).sum()):
                text = f"{doubt.column}: {doubt.text}"
                rows[text] += count
                examples.setdefault(text, {}).update(dict.fromkeys(doubt.examples))
    shown = {text: tuple(found)[: columns.MAX_EXAMPLES] for text, found in examples.items() if found}
    return dict(rows.most_common()), shown


def _build_rejects(
    part: TablePart, faults: Sequence[ColumnIssue], record: type[msgspec.Struct]
) -> Iterator[Reject]:
    """Build the rejects of the invalid rows of a part, in order."""
    fields = get_fields(record)
    hidden = {field.name for field in fields if field.personal or field.kind == "items"}
    bad = np.flatnonzero(columns.mark_faulty_rows(faults, len(part.table)))
    for begin in range(0, len(bad), REJECT_ROWS):
        taken = part.table.take(bad[begin : begin + REJECT_ROWS])
        shown = [[columns.get_value(value) for value in column] for column in taken.columns]
        for row, *values in zip(bad[begin : begin + REJECT_ROWS].tolist(), *shown, strict=True):
            given = dict(zip(taken.column_names, values, strict=True))
            mine = [fault for fault in faults if fault.rows[row]]
            reasons = [fault.text + _format_shown_value(given, fault.column, hidden) for fault in mine]
            original = {name: value for name, value in given.items() if value is not None}
            yield Reject(
                place=part.locate_row(row),
                identifier=columns.format_value(given.get(fields[0].name)) or "",
                column=", ".join(fault.column for fault in mine),
                reason="; ".join(reasons),
                row=msgspec.json.encode(original, enc_hook=str).decode(),
            )


def _limit_rejects(rejects: Iterable[Reject], where: str) -> Iterator[Reject]:
    """Yield rejects; raise `FileFault` if they become too many to keep them."""
    size = 0
    for count, reject in enumerate(rejects, start=1):
        size += len(reject.row) + ROW_OVERHEAD_BYTES
        if size > MAX_REJECTED_BYTES:
            raise FileFault(
                "too many rows are invalid to keep them",
                where=where,
                got=f"{count:,} invalid rows so far, the last because: {reject.reason}",
                expected=f"at most {MAX_REJECTED_BYTES >> 20} MB of them",
                todo="correct the cause, or split the table",
            )
        yield reject


def _format_shown_value(given: dict[str, Any], column: str, hidden: set[str]) -> str:
    value = None if column in hidden else columns.format_value(given.get(column))
    return f", got {value!r}" if value and columns.SHOWN_VALUE.fullmatch(value) else ""


def write_rejects(rejects: Iterable[Reject], path: Path) -> None:
    """Write the rejects to a table: place, identifier, column, reason, and the original row."""
    write_table(pd.DataFrame(list(rejects), columns=list(Reject.__slots__), dtype="str"), path)
