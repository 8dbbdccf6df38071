"""Validation of tables: each column by its schema, then the rules between columns and between rows.

Invalid rows and their reasons are found for all rows at once; only invalid rows are then processed one by one.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

from consignments.code_lists import read_codes
from consignments.column_doubts import ColumnDoubt, correct_table, select_doubts
from consignments.columns import (
    BAD_TEXT,
    DATE,
    INTEGER,
    SHOWN_VALUE,
    TEXT,
    TYPES,
    Mask,
    ParsedColumn,
    format_value,
    get_type_family,
    normalize_array,
    normalize_names,
    read_column,
    read_sequence,
    to_text_column,
)
from consignments.errors import FileFault
from consignments.files.raw_tables import RawTable, TablePart, list_columns, refuse_missing
from consignments.items import ITEM_TYPE, read_items, to_item_texts
from consignments.records import Alert, Consignment, Outcome, Truth
from consignments.rejects import Reject, RejectLimit
from consignments.schema import Field, get_fields
from consignments.timestamps import US_PER_DAY, get_time_column_us
from consignments.visibility import find_outcome_faults

SEQUENCE, CANCELLED_SEQUENCE = "sequence", "cancelled_sequence"
SEQUENCE_COLUMNS = {SEQUENCE: True, CANCELLED_SEQUENCE: False}
"""Columns of sequence numbers in the service's log, of rows and of cancellations, and whether every row must have one."""
SEQUENCE_TYPE = INTEGER
ARRIVAL_TIME_COLUMNS = ("received_at", "known_at", "recorded_at")
"""Columns of times that advance the days of history."""
AFTER_TOMORROW = "after tomorrow, in a table with sequence numbers"
DTYPES = {TEXT: pd.StringDtype(na_value=np.nan), DATE: pd.ArrowDtype(DATE)}
"""Pandas dtypes of a canonical frame that differ from what Arrow would choose."""
NESTED_READERS = {"items": read_items, "codes": read_codes}
"""What reads the kinds of fields that hold lists."""
REJECT_ROWS = 1_000
"""Invalid rows that are converted at a time."""


@dataclass(frozen=True)
class FieldFault:
    """A fault of one column in some rows of a table.

    Attributes
    ----------
    column, reason : str
    rows : bool array, (rows,)
    """

    column: str
    reason: str
    rows: Mask


@dataclass(frozen=True)
class CheckResult:
    """The result of validating a table.

    Attributes
    ----------
    frame : DataFrame
        The valid rows.
    rejects : tuple of Reject
        The invalid rows.
    reasons : dict
        Number of rows by `column: reason`.
    repeats : int
        Number of identical outcome rows that were dropped.
    unknown : tuple of str
    doubts : list of ColumnDoubt
        Doubtful values of the valid rows.
    """

    frame: pd.DataFrame
    rejects: tuple[Reject, ...]
    reasons: dict[str, int]
    repeats: int
    unknown: tuple[str, ...]
    doubts: list[ColumnDoubt]


@dataclass(frozen=True)
class CheckedRows:
    """The rows of a table in canonical form with their faults, except repeated identifiers.

    Attributes
    ----------
    table : Arrow table
        All rows, including invalid ones. Items are JSON text, or lists of structs if they were given so.
    faults : list of FieldFault
    unknown : tuple of str
    doubts : list of ColumnDoubt
    """

    table: Any
    faults: list[FieldFault]
    unknown: tuple[str, ...]
    doubts: list[ColumnDoubt]

    @property
    def bad(self) -> Mask:
        """Return the mask of invalid rows."""
        return _mask_faults(self.faults, len(self.table))


def check_table(given: RawTable, record: type[msgspec.Struct]) -> CheckResult:
    """Validate a table against a record type.

    Raises
    ------
    FileFault
        A required column is missing.
    """
    names = list(dict.fromkeys(name for part in given.parts for name in part.table.column_names))
    refuse_missing_columns(names, record, given.name)
    rows = check_rows(given.parts, names, record)
    faults = rows.faults
    if not may_amend(record, names):
        faults = [*faults, *_find_repeated_identifiers(rows.table, record, rows.bad)]
    bad = _mask_faults(faults, len(rows.table))
    rejects = [*given.rejects, *build_rejects(given.parts, faults, record)]
    kept = to_frame(keep_rows(rows.table, ~bad))
    repeated = _find_repeats(kept, record)
    if repeated.any():
        kept = kept[~repeated].reset_index(drop=True)
    reasons = count_reasons(faults)
    reasons.update(reject.reason for reject in given.rejects)
    good = ~bad
    good[good] = ~repeated
    doubts = select_doubts(rows.doubts, good)
    return CheckResult(
        kept, tuple(rejects), dict(reasons.most_common()), int(repeated.sum()), rows.unknown, doubts
    )


def list_declared_columns(record: type[msgspec.Struct]) -> tuple[str, ...]:
    """List the columns that a configuration declares in addition to those of `Consignment`.

    Examples
    --------
    >>> from consignments.records import create_consignment_type
    >>> list_declared_columns(create_consignment_type(numeric=["tax_rate"]))
    ('tax_rate',)
    """
    if not issubclass(record, Consignment):
        return ()
    own = {field.name for field in get_fields(Consignment)}
    return tuple(field.name for field in get_fields(record) if field.name not in own)


def split_declared_columns(record: type[msgspec.Struct]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """List the declared columns of numbers, and those of categories, from which `create_consignment_type` builds the type again."""
    declared = [field for field in get_fields(record) if field.name in list_declared_columns(record)]
    numeric = tuple(field.name for field in declared if field.kind == "number")
    return numeric, tuple(field.name for field in declared if field.name not in numeric)


def refuse_missing_columns(names: Sequence[str], record: type[msgspec.Struct], where: str) -> None:
    """Raise `FileFault` if a required or declared column of the record type is missing."""
    fields = get_fields(record)
    refuse_missing(
        names, [each.name for each in fields], [each.name for each in fields if each.required], where
    )
    declared = [name for name in list_declared_columns(record) if name not in names]
    if declared:
        known = {field.name for field in get_fields(record)}
        unknown = [name for name in names if name not in known]
        near = get_close_matches(declared[0], unknown, n=1)
        raise FileFault(
            f"the table lacks the declared column{'s' if len(declared) > 1 else ''} {', '.join(declared)}",
            where=where,
            got=f"unknown columns {list_columns(unknown)}" if unknown else "no unknown column",
            expected="each column of [columns]; its values may be missing",
            todo=f"did you mean {near[0]!r}?" if near else "add the column, or remove it from [columns]",
        )


def check_rows(parts: Sequence[TablePart], names: Sequence[str], record: type[msgspec.Struct]) -> CheckedRows:
    """Validate rows of a table independently of each other, so that a whole table and its chunks give the same result.

    Parameters
    ----------
    parts : sequence of TablePart
    names : sequence of str
        Columns of the whole table, which single parts may lack.
    record : type
    """
    table, faults, unknown = _check_columns(parts, names, get_fields(record))
    table, doubts = correct_table(table, record)
    return CheckedRows(table, [*faults, *_find_row_faults(table, record, faults)], unknown, doubts)


def to_frame(table: Any) -> pd.DataFrame:
    """Convert rows in canonical form to a canonical frame."""
    frame: pd.DataFrame = _items_as_text(table).to_pandas(types_mapper=DTYPES.get)
    if CANCELLED_SEQUENCE in frame:  # with missing values it would become a float, which is not exact
        frame[CANCELLED_SEQUENCE] = table.column(CANCELLED_SEQUENCE).to_pandas(
            types_mapper={SEQUENCE_TYPE: pd.Int64Dtype()}.get
        )
    return frame


def keep_rows(table: Any, rows: Mask) -> Any:
    """Return some rows of a table, or the table itself if all rows are kept."""
    return table if rows.all() else table.filter(pa.array(rows))


def may_amend(record: type[msgspec.Struct], names: Sequence[str]) -> bool:
    """Check whether a later row with the same identifier amends or replaces the earlier one, instead of being invalid."""
    return issubclass(record, Consignment | Alert) and SEQUENCE in names


def count_reasons(faults: Sequence[FieldFault]) -> Counter[str]:
    """Count the rows of each `column: reason`."""
    return Counter({f"{fault.column}: {fault.reason}": int(fault.rows.sum()) for fault in faults})


# --- columns ----------------------------------------------------------------------------------------------------------


def _check_columns(
    parts: Sequence[TablePart], names: Sequence[str], fields: Sequence[Field]
) -> tuple[Any, list[FieldFault], tuple[str, ...]]:
    """Convert all parts to one canonical table, with faults that have a flag for each of its rows."""
    known = {field.name for field in fields} | SEQUENCE_COLUMNS.keys()
    others = [name for name in names if name not in known]
    tables, found, inside_items = [], list[tuple[int, str, str, Mask]](), set[str]()
    start = 0
    for part in parts:
        reads = {field.name: _read_field(part.table, field) for field in fields}
        for name, required in SEQUENCE_COLUMNS.items():
            if name in names:
                reads[name] = _read_sequence_column(part.table, name, required=required)
        tables.append(_build_canonical(part.table, reads, others))
        found += [(start, name, *fault) for name, read in reads.items() for fault in read.faults]
        inside_items.update(f"items.{name}" for read in reads.values() for name in read.unknown)
        start += len(part.table)
    faults = _merge_part_faults(found, start)
    return concat_rows(tables, others), faults, (*others, *sorted(inside_items))


def _read_field(table: Any, field: Field) -> ParsedColumn:
    there = field.name in table.column_names
    given = table.column(field.name) if there else pa.nulls(len(table), type=TYPES[field.kind])
    return read_column(given, field, NESTED_READERS.get(field.kind))


def _read_sequence_column(table: Any, name: str, *, required: bool) -> ParsedColumn:
    there = name in table.column_names
    given = table.column(name) if there else pa.nulls(len(table), type=SEQUENCE_TYPE)
    return read_sequence(given, required=required)


def _build_canonical(table: Any, reads: dict[str, ParsedColumn], others: Sequence[str]) -> Any:
    columns = {name: read.values for name, read in reads.items()}
    for name in others:
        there = name in table.column_names
        columns[name] = table.column(name) if there else pa.nulls(len(table))
    return pa.table(columns)


def concat_rows(tables: Sequence[Any], others: Sequence[str] = ()) -> Any:
    """Concatenate tables in canonical form.

    Parameters
    ----------
    tables : sequence of Arrow tables
    others : sequence of str
        Unknown columns, which may have any type in each of the tables.
    """
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # Items are lists in one part and missing in another, or an unknown column is a number in one and text in another.
        return pa.concat_tables([_items_as_text(_others_as_text(table, others)) for table in tables])


def _others_as_text(table: Any, others: Sequence[str]) -> Any:
    for name in others:
        table = table.set_column(table.schema.get_field_index(name), name, to_text_column(table.column(name)))
    return table


def _items_as_text(table: Any) -> Any:
    for place, field in enumerate(table.schema):
        if field.type == ITEM_TYPE:
            table = table.set_column(place, field.name, to_item_texts(normalize_array(table.column(place))))
    return table


def _merge_part_faults(found: Sequence[tuple[int, str, str, Mask]], rows: int) -> list[FieldFault]:
    masks: dict[tuple[str, str], Mask] = {}
    for start, column, reason, mask in found:
        whole = masks.setdefault((column, reason), np.zeros(rows, dtype=bool))
        whole[start : start + len(mask)] |= mask
    return [FieldFault(column, reason, rows) for (column, reason), rows in masks.items()]


# --- rows -------------------------------------------------------------------------------------------------------------


def _find_row_faults(
    table: Any, record: type[msgspec.Struct], known: Sequence[FieldFault]
) -> list[FieldFault]:
    """Find rows with contradictory values or times in the future, among those without a fault in a column."""
    found = _find_future_times(table)
    if issubclass(record, Outcome):
        found = [*find_outcome_faults(to_frame(table)), *found]
    bad = _mask_faults(known, len(table))
    faults = [FieldFault(column, reason, rows & ~bad) for column, reason, rows in found]
    return [fault for fault in faults if fault.rows.any()]


def _find_future_times(table: Any) -> list[tuple[str, str, Mask]]:
    """Find rows of a log that are dated after tomorrow.

    History keeps only the days before its latest event, so one row dated years ahead would expire all others. Without
    sequence numbers such a row comes last, which does no harm.
    """
    if SEQUENCE not in table.column_names:
        return []
    latest_us = time.time_ns() // 1000 + US_PER_DAY
    columns = [name for name in ARRIVAL_TIME_COLUMNS if name in table.column_names]
    frame = to_frame(table.select(columns))
    return [(name, AFTER_TOMORROW, get_time_column_us(frame, name) > latest_us) for name in columns]


def _find_repeated_identifiers(table: Any, record: type[msgspec.Struct], bad: Mask) -> list[FieldFault]:
    """Find rows whose identifier occurs in an earlier valid row."""
    if not issubclass(record, Consignment | Alert | Truth):
        return []
    identifier = get_fields(record)[0].name
    repeated = np.zeros(len(table), dtype=bool)
    names = normalize_array(keep_rows(table, ~bad).column(identifier))
    if not issubclass(record, Alert):
        names = normalize_names(names)
    repeated[~bad] = mask_repeats(names)
    return [create_repeat_fault(identifier, repeated)] if repeated.any() else []


def mask_repeats(names: Any) -> Mask:
    """Mark the names of an Arrow array that occur earlier in it."""
    # Dictionary codes are numbered in the order of first occurrence.
    codes = names.dictionary_encode().indices.to_numpy()
    repeats: Mask = codes <= np.maximum.accumulate(np.concatenate([[-1], codes]))[:-1]
    return repeats


def create_repeat_fault(identifier: str, rows: Mask) -> FieldFault:
    """Build the fault of rows whose identifier occurs in an earlier row."""
    return FieldFault(identifier, f"repeated {identifier}", rows)


def _find_repeats(frame: pd.DataFrame, record: type[msgspec.Struct]) -> Mask:
    """Find the outcome rows that are identical to an earlier one."""
    repeats = np.zeros(len(frame), dtype=bool)
    if issubclass(record, Outcome):
        twice = frame["consignment_id"].duplicated(keep=False).to_numpy()
        columns = [*(field.name for field in get_fields(record)), *([SEQUENCE] if SEQUENCE in frame else [])]
        repeats[twice] = frame.loc[twice, columns].duplicated().to_numpy()
    return repeats


def _mask_faults(faults: Sequence[FieldFault], rows: int) -> Mask:
    bad = np.zeros(rows, dtype=bool)
    for fault in faults:
        bad |= fault.rows
    return bad


# --- rejects ----------------------------------------------------------------------------------------------------------


def build_rejects(
    parts: Sequence[TablePart],
    faults: Sequence[FieldFault],
    record: type[msgspec.Struct],
    limit: RejectLimit | None = None,
) -> list[Reject]:
    """Build the rejects of the invalid rows, in order; raise `FileFault` if they exceed a limit."""
    limit = limit or RejectLimit()
    fields = get_fields(record)
    bad = _mask_faults(faults, sum(len(part.table) for part in parts))
    why: dict[int, list[FieldFault]] = {row: [] for row in np.flatnonzero(bad).tolist()}
    for fault in faults:
        for row in np.flatnonzero(fault.rows).tolist():
            why[row].append(fault)
    hidden = {field.name for field in fields if field.personal or field.kind == "items"}
    rejects, start = [], 0
    for part in parts:
        inside = [row for row in why if start <= row < start + len(part.table)]
        for begin in range(0, len(inside), REJECT_ROWS):
            rows = inside[begin : begin + REJECT_ROWS]
            given = _list_rows(part.table.take(np.asarray(rows, dtype=np.int64) - start))
            built = [
                _build_reject(part.locate_row(row - start), values, why[row], fields[0].name, hidden)
                for row, values in zip(rows, given, strict=True)
            ]
            limit.add(built, part.name)
            rejects += built
        start += len(part.table)
    return rejects


def _list_rows(table: Any) -> list[dict[str, Any]]:
    """Convert rows as they were given to values; a text that is not UTF-8 is shown with replaced bytes."""
    try:
        rows: list[dict[str, Any]] = table.to_pylist()
    except UnicodeDecodeError:
        names = table.column_names
        columns = [map(_show_value, table.column(name)) for name in names]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return rows


def _show_value(value: Any) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        is_text = get_type_family(value.type) == "text"
        return value.as_buffer().to_pybytes().decode(errors="replace") if is_text else BAD_TEXT


def _build_reject(
    place: str, given: dict[str, Any], faults: Sequence[FieldFault], identifier: str, hidden: set[str]
) -> Reject:
    reasons = [fault.reason + _format_shown_value(given, fault.column, hidden) for fault in faults]
    row = {name: value for name, value in given.items() if value is not None}
    return Reject(
        place=place,
        identifier=format_value(given.get(identifier)) or "",
        column=", ".join(fault.column for fault in faults),
        reason="; ".join(reasons),
        row=msgspec.json.encode(row, enc_hook=str).decode(),
    )


def _format_shown_value(given: dict[str, Any], column: str, hidden: set[str]) -> str:
    value = None if column in hidden else format_value(given.get(column))
    return f", got {value!r}" if value and SHOWN_VALUE.fullmatch(value) else ""
