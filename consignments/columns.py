"""Columns of tables: conversion to the canonical Arrow type, and detection of invalid values.

A typed column is converted at once, and of a column of texts each distinct text. The canonical types are large_string, float64,
timestamp[us, UTC], date32, and lists for items and codes. Missing is null.
"""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from consignments.identifiers import normalize_identifier
from consignments.records import Field, Item, get_fields
from consignments.timestamps import to_us

TEXT, NUMBER, TIME, DATE = pa.large_string(), pa.float64(), pa.timestamp("us", "UTC"), pa.date32()
INTEGER = pa.int64()
TYPES = {"string": TEXT, "number": NUMBER, "integer": INTEGER, "time": TIME, "date": DATE}
ITEM_TYPE = pa.list_(pa.struct([(field.name, TYPES[field.kind]) for field in get_fields(Item)]))
CODES_TYPE = pa.list_(pa.string())
TYPES |= {"items": ITEM_TYPE, "codes": CODES_TYPE}
"""Canonical Arrow type of each kind of field."""

NUMBER_PATTERN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
INTEGER_PATTERN = r"^-?\d{1,19}$"
MAX_EXACT_FLOAT = 2.0**53 - 1
"""Largest number up to which each float stands for one integer only."""
CLOCK = r"[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
ZONE = r"(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)"
TIME_PATTERN = rf"^\d{{4}}-\d{{2}}-\d{{2}}({CLOCK}{ZONE}?)?$"
MIN_TIME_US, MAX_TIME_US = to_us(datetime.min.replace(tzinfo=UTC)), to_us(datetime.max.replace(tzinfo=UTC))
"""Range of times that Python can represent: years 1 to 9999."""

BOOLEANS = frozenset((bool, np.bool_))
IDENTIFIER, HS_CODE = "consignment_id", "hs_code"
PLAIN_IDENTIFIER = r"^([0-9]*[A-Z][A-Z0-9]*|[0-9]{11}(/[!-~]*)?)$"
"""Pattern of identifiers without separators or small letters, and of compact air waybill numbers: they are their own normal form."""

BAD_TEXT = "not text"
BAD_NUMBER = "not a finite number; expected digits with a decimal point, for example 1.25 and not 1,25"
BAD_TIME = "not a time; expected ISO 8601, for example 2024-03-04T09:00:00Z"
BAD_DATE = "not a date; expected ISO 8601, for example 2024-03-04"
BAD_SEQUENCE = "not a whole number, or too large: an integer may have 64 bits, a decimal number at most 53"
MISSING = "required value is missing"
SHOWN_VALUE = re.compile(r"[\w.:+-]{1,40}")
"""Pattern of values that errors and reports may show: one short word, because with shifted columns a name may be anywhere."""

Mask = NDArray[np.bool_]
ColumnFaults = list[tuple[str, Mask]]
"""Reasons, each with the rows that it applies to: bool array, (rows,)."""


@dataclass(frozen=True)
class ParsedColumn:
    """A column in its canonical type, in which missing and invalid values are null; `unknown` are unknown fields inside items."""

    values: Any
    faults: ColumnFaults
    unknown: tuple[str, ...] = ()


ColumnReader = Callable[[Any], ParsedColumn]


def read_column(given: Any, field: Field, reader: ColumnReader | None = None) -> ParsedColumn:
    """Convert a column of any type to its canonical one and check it against its field; lists need a reader of their own."""
    texts, broken = drop_broken_texts(normalize_array(given))
    read = (reader or READERS[field.kind])(texts)
    if field.name == HS_CODE and get_type_family(texts.type) == "numbers":
        read = replace(read, values=_restore_zeros(read.values))
    found = [*broken, *read.faults, *_find_limit_faults(read.values, field)]
    missing = to_mask(pc.is_null(read.values)) & ~combine_masks((rows for _, rows in found), len(read.values))
    faults = [*found, *([(MISSING, missing)] if field.required else [])]
    return ParsedColumn(read.values, [(reason, rows) for reason, rows in faults if rows.any()], read.unknown)


def read_integer(given: Any) -> ParsedColumn:
    """Read integers; none goes through a float, which would make neighbouring ones equal."""
    if pa.types.is_floating(given.type):
        given = given.cast(NUMBER)
        given = pc.if_else(pc.greater(pc.abs(given), MAX_EXACT_FLOAT), np.inf, given)
    elif pa.types.is_integer(given.type) and not pa.types.is_uint64(given.type):
        return ParsedColumn(given.cast(INTEGER), [])
    texts = read_text(given)
    read = _parse_texts(texts.values, INTEGER, _parse_integer, BAD_SEQUENCE)
    return replace(read, faults=[(BAD_SEQUENCE, rows) for _, rows in (*texts.faults, *read.faults)])


def _parse_integer(text: str) -> int | None:
    if re.match(INTEGER_PATTERN, text, re.ASCII):
        return int(text) if -(2**63) <= int(text) < 2**63 else None
    number = _parse_number(text)
    is_exact = number is not None and number.is_integer() and abs(number) <= MAX_EXACT_FLOAT
    return int(number) if number is not None and is_exact else None


def convert_frame(frame: pd.DataFrame) -> Any:
    """Convert a frame, whose columns may have any dtype and mixed values, to an Arrow table."""
    names = [str(column) for column in frame.columns]
    columns = [to_arrow(frame.iloc[:, place], name) for place, name in enumerate(names)]
    return pa.Table.from_arrays(columns, names=names)


def to_arrow(values: Any, name: str = "") -> Any:
    """Convert the column of a name, a pandas column or a list, to an Arrow array; it may mix texts, numbers and missing values."""
    if isinstance(getattr(values, "dtype", None), pd.DatetimeTZDtype):
        return pc.assume_timezone(pa.array(values.dt.tz_convert(None)), "UTC")
    with suppress(pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        array = pa.array(values, from_pandas=True)
        is_mixed = pd.api.types.is_object_dtype(getattr(values, "dtype", object))
        is_plain = not is_mixed or not pa.types.is_floating(array.type)
        if is_plain or BOOLEANS.isdisjoint(map(type, values)):  # among numbers, Arrow reads true as 1
            return array
    texts = pa.array([format_value(value) for value in values], type=TEXT)
    if name != HS_CODE:
        return texts
    return pc.if_else(pa.array([isinstance(value, str) for value in values]), texts, _restore_zeros(texts))


def _restore_zeros(codes: Any) -> Any:
    """Return HS codes that were stored as numbers with the zeros that a number loses: headings and subheadings have an even number of digits."""
    begun = pc.replace_substring_regex(codes, r"^(\d(?:\d\d)*)(\.\d+)?$", r"0\1\2")
    return pc.replace_substring_regex(begun, r"^(\d+\.\d(?:\d\d)*)$", r"\10")


def format_value(value: Any) -> str | None:
    """Format one value of any type as text; return None if it is missing (None, NaN, NaT, empty)."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, dict | list | tuple | np.ndarray):
        return msgspec.json.encode(value, enc_hook=_encode_value).decode()
    if pd.isna(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, datetime | date) else str(value)


def _encode_value(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def get_type_family(kind: Any) -> str:
    """Return the family of a type; integers and floats are one family, because a missing value turns integers to floats."""
    if pa.types.is_dictionary(kind):
        return get_type_family(kind.value_type)
    families: dict[str, Callable[[Any], bool]] = {
        "null": pa.types.is_null,
        "text": lambda k: pa.types.is_string(k) or pa.types.is_large_string(k) or pa.types.is_string_view(k),
        "numbers": lambda k: pa.types.is_integer(k) or pa.types.is_floating(k) or pa.types.is_decimal(k),
        "times": lambda k: pa.types.is_timestamp(k),
        "lists": pa.types.is_nested,
    }
    return next((name for name, holds in families.items() if holds(kind)), str(kind))


def to_text_column(given: Any) -> Any:
    """Convert any column to text; nested values become JSON."""
    values = normalize_array(given)
    if pa.types.is_nested(values.type):
        return pa.array([format_value(value) for value in values.to_pylist()], type=TEXT)
    return read_text(values).values


def normalize_array(given: Any) -> Any:
    """Combine chunks and decode dictionaries, so that an array has one plain type."""
    if isinstance(given, pa.ChunkedArray):
        if pa.types.is_string(given.type):  # the chunks may not fit into one string array
            given = given.cast(TEXT)
        given = given.chunk(0) if given.num_chunks == 1 else given.combine_chunks()
    if pa.types.is_dictionary(given.type):
        return normalize_array(given.cast(given.type.value_type))
    if pa.types.is_string(given.type) or pa.types.is_string_view(given.type):
        return given.cast(TEXT)
    return given


def to_mask(flags: Any) -> Mask:
    """Convert an Arrow array of flags to a bool array; null is False."""
    found: Mask = pc.fill_null(flags, False).to_numpy(zero_copy_only=False)
    return found


def combine_masks(masks: Iterable[Mask], rows: int) -> Mask:
    """Mark the rows that any of the masks marks."""
    marked: Mask = np.logical_or.reduce([np.zeros(rows, dtype=bool), *masks])
    return marked


def mark_rows(places: Any, rows: int) -> Mask:
    """Mark the rows at some places."""
    marked = np.zeros(rows, dtype=bool)
    marked[places] = True
    return marked


def mask_values(values: Any, bad: Mask) -> Any:
    """Replace the values of invalid rows by null."""
    return pc.if_else(pa.array(bad), pa.scalar(None, values.type), values) if bad.any() else values


def drop_broken_texts(given: Any) -> tuple[Any, ColumnFaults]:
    """Replace texts that are not UTF-8 by null. Parquet files may contain them, and Arrow does not look."""
    try:
        given.validate(full=True)
    except pa.ArrowInvalid:
        broken = np.array([_is_broken(value) for value in given], dtype=bool)
        return mask_values(given, broken), [(BAD_TEXT, broken)]
    return given, []


def _is_broken(value: Any) -> bool:
    try:
        value.as_py()
    except UnicodeDecodeError:
        return True
    return False


def _find_limit_faults(values: Any, field: Field) -> ColumnFaults:
    faults: ColumnFaults = []
    if field.choices:
        known = pc.or_(pc.is_null(values), pc.is_in(values, pa.array(field.choices, type=TEXT)))
        faults.append((f"not one of {', '.join(field.choices)}", ~to_mask(known)))
    # A character has at least one byte, so most columns need no count of characters.
    if field.max_length is not None and _measure_texts(values)[1] > field.max_length:
        too_long = to_mask(pc.greater(pc.utf8_length(values), field.max_length))
        faults.append((f"longer than {field.max_length} characters", too_long))
    limits = (
        (pc.less, field.lowest, "below"),
        (pc.less_equal, field.above, "not above"),
        (pc.greater, field.highest, "above"),
    )
    for compare, limit, words in limits:
        if limit is not None:
            faults.append((f"{words} {limit:g}", to_mask(compare(values, limit))))
    return faults


def reject_all(given: Any, kind: Any, reason: str) -> ParsedColumn:
    """Return a column without values, because its type cannot be converted."""
    return ParsedColumn(pa.nulls(len(given), type=kind), [(reason, to_mask(pc.is_valid(given)))])


def _measure_texts(texts: Any) -> tuple[int, int]:
    """Return the bytes of the shortest and of the longest text; 1 and 0 if all are missing."""
    sizes = pc.min_max(pc.binary_length(texts))
    return (1, 0) if sizes["min"].as_py() is None else (sizes["min"].as_py(), sizes["max"].as_py())


def _replace_empty(texts: Any) -> Any:
    if _measure_texts(texts)[0] > 0:
        return texts
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, TEXT), texts)


def read_text(given: Any) -> ParsedColumn:
    """Read texts; numbers become their digits, so that a code stored as a number is still a code."""
    if given.type == TEXT:
        return ParsedColumn(_replace_empty(given), [])
    if pa.types.is_floating(given.type):
        return ParsedColumn(_format_floats(given.cast(NUMBER)), [])
    if pa.types.is_nested(given.type):
        return reject_all(given, TEXT, BAD_TEXT)
    try:
        return ParsedColumn(_replace_empty(given.cast(TEXT)), [])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # bytes that are not text
        return reject_all(given, TEXT, BAD_TEXT)


def _format_floats(numbers: Any) -> Any:
    numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, NUMBER), numbers)
    whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), 2.0**63))
    digits = pc.if_else(whole, numbers, pa.scalar(None, NUMBER)).cast(pa.int64()).cast(TEXT)
    return pc.coalesce(digits, numbers.cast(TEXT))


def read_number(given: Any) -> ParsedColumn:
    """Read finite numbers; NaN in a numeric column is missing."""
    kind = given.type
    if kind == TEXT:
        return _parse_texts(given, NUMBER, _parse_number, BAD_NUMBER)
    if pa.types.is_null(kind):
        return ParsedColumn(given.cast(NUMBER), [])
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return reject_all(given, NUMBER, BAD_NUMBER)
    numbers = given.cast(NUMBER, safe=False)
    infinite = to_mask(pc.is_inf(numbers))
    finite = pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, NUMBER))
    return ParsedColumn(finite, [(BAD_NUMBER, infinite)])


def read_time(given: Any) -> ParsedColumn:
    """Read times; a time without a zone is UTC, and a date is the start of that day."""
    kind = given.type
    if kind == TEXT:
        return _parse_texts(given, TIME, _parse_time, BAD_TIME)
    if pa.types.is_timestamp(kind):
        zoned = given if kind.tz else pc.assume_timezone(given, "UTC")
        return _check_years(zoned)
    if pa.types.is_date(kind):
        return _check_years(pc.assume_timezone(given.cast(DATE).cast(pa.timestamp("s")), "UTC"))
    if pa.types.is_null(kind):
        return ParsedColumn(given.cast(TIME), [])
    return reject_all(given, TIME, BAD_TIME)


def read_date(given: Any) -> ParsedColumn:
    """Read dates; a time is converted to its UTC day."""
    read = read_time(given)
    days = pc.floor_temporal(read.values, unit="day").cast(pa.timestamp("us")).cast(DATE)
    return ParsedColumn(days, [(BAD_DATE, rows) for _, rows in read.faults])


def _check_years(zoned: Any) -> ParsedColumn:
    """Convert times of any unit to microseconds (truncated); times outside the years 1 to 9999 are invalid."""
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[zoned.type.unit]
    counts = zoned.cast(pa.int64())
    first, last = MIN_TIME_US * per_second // 1_000_000, MAX_TIME_US * per_second // 1_000_000
    limits = [max(first, -(2**63)), min(last, 2**63 - 1)]
    outside = to_mask(pc.or_(pc.less(counts, limits[0]), pc.greater(counts, limits[1])))
    floored = pc.floor_temporal(zoned, unit="microsecond") if zoned.type.unit == "ns" else zoned
    return ParsedColumn(mask_values(floored, outside).cast(TIME), [(BAD_TIME, outside)])


def _parse_texts(texts: Any, kind: Any, parse: Callable[[str], object], reason: str) -> ParsedColumn:
    """Convert each distinct text; `parse` returns None if it is at fault."""
    coded = _replace_empty(pc.utf8_trim_whitespace(texts)).dictionary_encode()
    parsed = pa.array([parse(text) for text in coded.dictionary.to_pylist()], type=kind)
    values = parsed.take(coded.indices)
    return ParsedColumn(values, [(reason, to_mask(coded.is_valid()) & to_mask(values.is_null()))])


def _parse_number(text: str) -> float | None:
    number = float(text) if re.match(NUMBER_PATTERN, text, re.ASCII) else np.inf
    return number if np.isfinite(number) else None


def _parse_time(text: str) -> datetime | None:
    if not re.match(TIME_PATTERN, text, re.ASCII):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


READERS: dict[str, ColumnReader] = {
    "string": read_text,
    "number": read_number,
    "integer": read_integer,
    "time": read_time,
    "date": read_date,
}
"""Reader of each kind of field, except lists (`consignments.lists`)."""


def adopt_spellings(given: pd.DataFrame, known: pd.Series) -> pd.DataFrame:
    """Return a table whose identifiers have the spelling of known ones with the same normal form, of which the first counts."""
    names = normalize_array(pa.array(known)).cast(TEXT)
    strange = ~to_mask(pc.is_in(normalize_array(pa.array(given[IDENTIFIER])).cast(TEXT), names))
    if not strange.any():
        return given
    spellings = dict(zip(normalize_names(names).to_pylist()[::-1], names.to_pylist()[::-1], strict=True))
    sent = given.loc[strange, IDENTIFIER].tolist()
    found = [spellings.get(normalize_identifier(name), name) for name in sent]
    if found == sent:
        return given
    changed = given.copy()
    changed.loc[strange, IDENTIFIER] = found
    return changed


def unify_spellings(frame: pd.DataFrame) -> pd.DataFrame:
    """Return consignments of which each has one spelling of its identifier: that of its first row."""
    if "sequence" not in frame:  # each consignment has one row
        return frame
    names = normalize_column(frame[IDENTIFIER])
    codes = names.dictionary_encode().indices.to_numpy()
    first = np.unique(codes, return_index=True)[1][codes]
    spelled = frame[IDENTIFIER].iloc[first].array
    return frame.assign(**{IDENTIFIER: spelled})


def normalize_column(names: pd.Series) -> Any:
    """Return an Arrow array of the identifiers of a table in normal form."""
    return normalize_names(normalize_array(pa.array(names)).cast(TEXT))


def normalize_names(names: Any) -> Any:
    """Return an Arrow array of identifiers in normal form. Those that are plainly in it already are not looked at singly."""
    strange = pc.invert(pc.match_substring_regex(names, PLAIN_IDENTIFIER))
    if not pc.any(strange).as_py():
        return names
    found = [normalize_identifier(name) for name in names.filter(strange).to_pylist()]
    return pc.replace_with_mask(names, strange, pa.array(found, names.type))
