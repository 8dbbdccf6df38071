"""Validation of rows of tables: each column by its schema, then the rules between columns, then doubts.

Invalid rows and their reasons are found for all rows at once; only invalid rows are then processed one by one.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from consignments.columns import (
    BAD_TEXT,
    CODES_TYPE,
    DATE,
    INTEGER,
    ITEM_TYPE,
    SHOWN_VALUE,
    TEXT,
    TYPES,
    Mask,
    ParsedColumn,
    format_value,
    get_type_family,
    normalize_array,
    read_column,
    read_sequence,
    to_mask,
    to_text_column,
)
from consignments.doubts import CodeRule, Rule, correct_value, list_rules
from consignments.errors import FileFault, Reject, RejectLimit
from consignments.files.raw_tables import TablePart
from consignments.lists import read_codes, read_items, replace_item_field, to_code_texts, to_item_texts
from consignments.records import Alert, Consignment, Field, Item, Outcome, Truth, get_fields
from consignments.timestamps import US_PER_DAY, get_time_column_us
from consignments.visibility import find_outcome_faults

SEQUENCE, CANCELLED_SEQUENCE = "sequence", "cancelled_sequence"
SEQUENCE_COLUMNS = {SEQUENCE: True, CANCELLED_SEQUENCE: False}
"""Columns of sequence numbers in the service's log, of rows and of cancellations, and whether every row must have one."""
SEQUENCE_TYPE = INTEGER
ARRIVAL_TIME_COLUMNS = ("received_at", "known_at", "recorded_at")
"""Columns of times that advance the days of history."""
OUTCOME_COLUMNS = ["status", "result", "known_at", "inspected_at"]
"""Columns between which outcomes may have contradictions."""
AFTER_TOMORROW = "after tomorrow, in a table with sequence numbers"
DTYPES = {TEXT: pd.StringDtype(na_value=np.nan), DATE: pd.ArrowDtype(DATE)}
"""Pandas dtypes of a canonical frame that differ from what Arrow would choose."""
LIST_COLUMNS = ("items", "quality", "indicators")
"""Columns of the records that hold lists."""
NESTED_READERS = {"items": read_items, "codes": read_codes}
"""What reads the kinds of fields that hold lists."""
ITEM_COUNTRY = "origin_country"
MAX_EXAMPLES = 3
"""Maximum number of values that a report shows of a doubt."""
NEAR_NAME = 0.75
"""Minimum similarity of an unknown column to a missing one, for a suggestion."""
MAX_LISTED_COLUMNS = 12
"""Columns that an error lists; it counts the others."""
REJECT_ROWS = 1_000
"""Invalid rows that are converted at a time."""


@dataclass(frozen=True)
class FieldFault:
    """A fault of one column in some rows of a table; `rows` is their mask."""

    column: str
    reason: str
    rows: Mask


@dataclass(frozen=True)
class ColumnDoubt:
    """A doubt about one column, as `column: doubt`, with the mask of its rows and some of the values."""

    text: str
    rows: Mask
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckedRows:
    """All rows of a table or chunk in canonical form, with their faults (except repeated identifiers) and doubts."""

    table: Any
    faults: list[FieldFault]
    unknown: tuple[str, ...]
    doubts: list[ColumnDoubt]

    @property
    def bad(self) -> Mask:
        """Return the mask of invalid rows."""
        return mask_faults(self.faults, len(self.table))


def list_declared_columns(record: type[msgspec.Struct]) -> tuple[str, ...]:
    """List the columns that a configuration declares in addition to those of `Consignment`."""
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


def check_rows(parts: Sequence[TablePart], names: Sequence[str], record: type[msgspec.Struct]) -> CheckedRows:
    """Validate rows independently of each other; `names` are the columns of the whole table, which single parts may lack."""
    table, faults, unknown = _check_columns(parts, names, get_fields(record))
    table, doubts = _correct_table(table, record)
    return CheckedRows(table, [*faults, *_find_row_faults(table, record, faults)], unknown, doubts)


def to_frame(table: Any) -> pd.DataFrame:
    """Convert rows in canonical form to a canonical frame."""
    for place, field in enumerate(table.schema):
        to_texts = {ITEM_TYPE: to_item_texts, CODES_TYPE: to_code_texts}.get(field.type)
        if to_texts is not None and field.name in LIST_COLUMNS:
            table = table.set_column(place, field.name, to_texts(normalize_array(table.column(place))))
    frame: pd.DataFrame = table.to_pandas(types_mapper=DTYPES.get)
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


def has_unique_identifiers(record: type[msgspec.Struct], names: Sequence[str]) -> bool:
    """Check whether a row with the identifier of an earlier row is invalid."""
    return issubclass(record, Consignment | Alert | Truth) and not may_amend(record, names)


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
    """Concatenate tables in canonical form; `others` are unknown columns, which may have any type in each of the tables."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.concat_tables([_others_as_text(table, others) for table in tables])


def _others_as_text(table: Any, others: Sequence[str]) -> Any:
    for name in others:
        table = table.set_column(table.schema.get_field_index(name), name, to_text_column(table.column(name)))
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
        found = [*find_outcome_faults(to_frame(table.select(OUTCOME_COLUMNS))), *found]
    bad = mask_faults(known, len(table))
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


def mask_repeats(names: Any) -> Mask:
    """Mark the names of an Arrow array that occur earlier in it."""
    # Dictionary codes are numbered in the order of first occurrence.
    codes = names.dictionary_encode().indices.to_numpy()
    repeats: Mask = codes <= np.maximum.accumulate(np.concatenate([[-1], codes]))[:-1]
    return repeats


def create_repeat_fault(identifier: str, rows: Mask) -> FieldFault:
    """Build the fault of rows whose identifier occurs in an earlier row."""
    return FieldFault(identifier, f"repeated {identifier}", rows)


def mask_faults(faults: Sequence[FieldFault], rows: int) -> Mask:
    """Mark the rows that have any of the faults."""
    bad = np.zeros(rows, dtype=bool)
    for fault in faults:
        bad |= fault.rows
    return bad


# --- doubts -----------------------------------------------------------------------------------------------------------


def _correct_table(table: Any, record: type[msgspec.Struct]) -> tuple[Any, list[ColumnDoubt]]:
    """Read the countries of rows in canonical form as what they are, and find all doubtful values."""
    doubts: list[ColumnDoubt] = []
    for name, rule in list_rules(record).items():
        values, found = _correct_column(normalize_array(table.column(name)), name, rule)
        if found:
            doubts += found
            table = table.set_column(table.column_names.index(name), name, values)
    if "items" in record.__struct_fields__ and table.column("items").null_count < len(table):
        items = normalize_array(table.column("items"))
        countries = pc.struct_field(items.flatten(), ITEM_COUNTRY)
        values, found = _correct_column(countries, f"items.{ITEM_COUNTRY}", list_rules(Item)[ITEM_COUNTRY])
        if found:
            parents = pc.list_parent_indices(items).to_numpy()
            doubts += [replace(each, rows=_mark_parents(parents[each.rows], len(items))) for each in found]
            corrected = replace_item_field(items, ITEM_COUNTRY, values)
            table = table.set_column(table.column_names.index("items"), "items", corrected)
    return table, doubts


def _mark_parents(parents: Any, rows: int) -> Mask:
    mask = np.zeros(rows, dtype=bool)
    mask[parents] = True
    return mask


def _correct_column(values: Any, name: str, rule: Rule) -> tuple[Any, list[ColumnDoubt]]:
    if not isinstance(rule, CodeRule):
        bounds = [pa.scalar(bound, values.type) for bound in (rule.low, rule.high)]
        outside = to_mask(pc.or_(pc.less(values, bounds[0]), pc.greater(values, bounds[1])))
        return values, [ColumnDoubt(f"{name}: {rule.text}", outside)] if outside.any() else []
    strange = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, pa.array(sorted(rule.known), TEXT))))
    if not pc.any(strange).as_py():
        return values, []
    coded = values.filter(strange).dictionary_encode()
    given = coded.dictionary.to_pylist()
    corrected = [correct_value(value, rule) for value in given]
    read = pa.array([value for value, _ in corrected], TEXT).take(coded.indices)
    places, kinds = np.flatnonzero(to_mask(strange)), np.array([text for _, text in corrected])
    doubts = []
    for text in filter(None, dict.fromkeys(kinds.tolist())):
        rows = np.zeros(len(values), dtype=bool)
        rows[places[(kinds == text)[coded.indices.to_numpy()]]] = True
        pairs = ((value, new) for value, (new, kind) in zip(given, corrected, strict=True) if kind == text)
        doubts.append(ColumnDoubt(f"{name}: {text}", rows, _list_examples(pairs)))
    return pc.replace_with_mask(values, strange, read), doubts


def _list_examples(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """List some values with what they were read as; an unknown value is shown if it is one short word, for it may be a name."""
    shown = (
        f"{value} as {new}" if new != value else value
        for value, new in pairs
        if new != value or SHOWN_VALUE.fullmatch(value)
    )
    return tuple(example for example, _ in zip(shown, range(MAX_EXAMPLES), strict=False))


def select_doubts(doubts: Iterable[ColumnDoubt], good: Mask) -> list[ColumnDoubt]:
    """Return the doubts about rows that are kept, with their masks among these."""
    kept = (replace(doubt, rows=doubt.rows[good]) for doubt in doubts)
    return [doubt for doubt in kept if doubt.rows.any()]


def count_doubts(doubts: Iterable[ColumnDoubt]) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Count the rows of each doubt, most frequent first, and list examples of each."""
    rows: Counter[str] = Counter()
    examples: dict[str, tuple[str, ...]] = {}
    for doubt in doubts:
        rows[doubt.text] += int(doubt.rows.sum())
        shown = dict.fromkeys((*examples.get(doubt.text, ()), *doubt.examples))
        examples[doubt.text] = tuple(shown)[:MAX_EXAMPLES]
    return dict(rows.most_common()), {text: shown for text, shown in examples.items() if shown}


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
    bad = mask_faults(faults, sum(len(part.table) for part in parts))
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
