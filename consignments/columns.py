"""Columns of tables: conversion to the canonical Arrow type, and detection of invalid values.

A typed column is converted at once, and of a column of texts each distinct text. The canonical types are large_string, float64,
timestamp[us, UTC], date32, and lists for items and codes. Missing is null. The fields of items are checked like columns of a table.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import chain, pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from consignments.doubts import CodeRule, Rule, correct_value, list_rules
from consignments.identifiers import normalize_identifier
from consignments.records import MAX_ITEMS, Field, Item, get_fields
from consignments.timestamps import to_us
from consignments.workers import pause_garbage_collection

TEXT, NUMBER, TIME, DATE = pa.large_string(), pa.float64(), pa.timestamp("us", "UTC"), pa.date32()
INTEGER = pa.int64()
TYPES = {"string": TEXT, "number": NUMBER, "integer": INTEGER, "time": TIME, "date": DATE}
ITEM_FIELDS = {field.name: field for field in get_fields(Item)}
ITEM_TYPE = pa.list_(pa.struct([(name, TYPES[field.kind]) for name, field in ITEM_FIELDS.items()]))
CODES_TYPE = pa.list_(pa.string())
TYPES |= {"items": ITEM_TYPE, "codes": CODES_TYPE}
"""Canonical Arrow type of each kind of field."""
LIST_COLUMNS = {"items": "items", "quality": "codes", "indicators": "codes"}
"""Columns of the records that hold lists, with their kind."""

NUMBER_PATTERN = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
INTEGER_PATTERN = r"^-?\d{1,19}$"
MAX_EXACT_FLOAT = 2.0**53 - 1
"""Largest number up to which each float stands for one integer only."""
CLOCK = r"[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
ZONE = r"(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)"
TIME_PATTERN = rf"^\d{{4}}-\d{{2}}-\d{{2}}({CLOCK}{ZONE}?)?$"
MIN_TIME_US, MAX_TIME_US = to_us(datetime.min.replace(tzinfo=UTC)), to_us(datetime.max.replace(tzinfo=UTC))
"""Range of times that Python can represent: years 1 to 9999."""

MAX_CODES, MAX_CODE_CHARACTERS = 50, 100
"""As `Consignment.quality` and `Alert.indicators` allow."""
MAX_EXAMPLES = 3
"""Maximum number of values that a report shows of a doubt."""
_decode_codes = msgspec.json.Decoder(list[str]).decode
BOOLEANS = frozenset((bool, np.bool_))
IDENTIFIER, HS_CODE = "consignment_id", "hs_code"
PLAIN_IDENTIFIER = r"^([0-9]*[A-Z][A-Z0-9]*|[0-9]{11}(/[!-~]*)?)$"
"""Pattern of identifiers without separators or small letters, and of compact air waybill numbers: they are their own normal form."""

BAD_TEXT = "not text"
BAD_NUMBER = "not a finite number; expected digits with a decimal point, for example 1.25 and not 1,25"
BAD_TIME = "not a time; expected ISO 8601, for example 2024-03-04T09:00:00Z"
BAD_DATE = "not a date; expected ISO 8601, for example 2024-03-04"
BAD_SEQUENCE = "not a whole number, or too large: an integer may have 64 bits, a decimal number at most 53"
BAD_CODES = "not a list of codes"
BAD_ITEMS = "not a list of items"
NOT_JSON = 'not JSON; expected a list of objects, for example [{"description": "t-shirt", "quantity": 2}]'
TOO_MANY = f"more than {MAX_ITEMS} items"
MISSING = "required value is missing"
SHOWN_VALUE = re.compile(r"[\w.:+-]{1,40}")
"""Pattern of values that errors and reports may show: one short word, because with shifted columns a name may be anywhere."""

Mask = NDArray[np.bool_]
ColumnFaults = list[tuple[str, Mask]]
"""Reasons, each with the rows that it applies to: bool array, (rows,)."""


class Finding(NamedTuple):
    """A fault of one column or a doubt about it, with the mask of its rows; a doubt shows some of the values."""

    column: str
    text: str
    rows: Mask
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class ParsedColumn:
    """A column in its canonical type, in which missing and invalid values are null; `unknown` are unknown fields inside items."""

    values: Any
    faults: ColumnFaults
    doubts: tuple[Finding, ...] = ()
    unknown: tuple[str, ...] = ()


def read_column(given: Any, field: Field, rule: Rule | None = None) -> ParsedColumn:
    """Convert a column to its canonical type, check it against its field, and correct it by a rule."""
    texts, broken = drop_broken_texts(normalize_array(given))
    read = convert_column(texts, field.kind)
    values, doubts = read.values, read.doubts
    if field.name == HS_CODE and get_type_family(texts.type) == "numbers":
        values = _restore_zeros(values)
    found = [*broken, *read.faults, *_find_limit_faults(values, field)]
    missing = to_mask(pc.is_null(values)) & ~combine_masks((rows for _, rows in found), len(values))
    faults = [*found, *([(MISSING, missing)] if field.required else [])]
    if rule is not None:
        values, doubts = _correct_column(values, field.name, rule)
    return ParsedColumn(
        values, [(reason, rows) for reason, rows in faults if rows.any()], doubts, read.unknown
    )


def convert_column(given: Any, kind: str) -> ParsedColumn:
    """Convert a column to the canonical type of a kind of field; a value that is given and becomes null is invalid."""
    if kind == "items":
        return read_items(given)
    convert, reason = CONVERTERS[kind]
    values = convert(given)
    if values.null_count == given.null_count:
        return ParsedColumn(values, [])
    is_missing = to_mask(given.is_null())
    if given.type == TEXT:
        is_missing |= to_mask(pc.equal(pc.utf8_trim_whitespace(given), ""))
    elif pa.types.is_floating(given.type):
        is_missing |= to_mask(pc.is_nan(given.cast(NUMBER)))
    return ParsedColumn(values, [(reason, to_mask(values.is_null()) & ~is_missing)])


def _correct_column(values: Any, name: str, rule: Rule) -> tuple[Any, tuple[Finding, ...]]:
    """Correct each distinct value that is not plainly good."""
    if isinstance(rule, CodeRule):
        good = pc.is_in(values, pa.array(sorted(rule.known), TEXT))
    else:
        low, high = (pa.scalar(bound, values.type) for bound in (rule.low, rule.high))
        good = pc.and_(pc.less_equal(low, values), pc.less_equal(values, high))
    strange = to_mask(pc.is_valid(values)) & ~to_mask(good)
    if not strange.any():
        return values, ()
    coded = values.filter(pa.array(strange)).dictionary_encode()
    given = coded.dictionary.to_pylist()
    corrected = [correct_value(value, rule) for value in given]
    kinds = np.array([text for _, text in corrected])[coded.indices.to_numpy()]
    doubts = []
    for text in filter(None, dict.fromkeys(text for _, text in corrected)):
        pairs = [(value, new) for value, (new, kind) in zip(given, corrected, strict=True) if kind == text]
        rows = mark_rows(np.flatnonzero(strange)[kinds == text], len(values))
        doubts.append(Finding(name, text, rows, _list_examples(pairs)))
    read = pa.array([new for new, _ in corrected], values.type).take(coded.indices)
    return pc.replace_with_mask(values, pa.array(strange), read), tuple(doubts)


def _list_examples(pairs: Sequence[tuple[Any, Any]]) -> tuple[str, ...]:
    """List some codes with what they were read as; an unknown one is shown if it is one short word, for it may be a name."""
    shown = [f"{value} as {new}" for value, new in pairs if new != value]
    shown += [value for value, new in pairs if new == value and SHOWN_VALUE.fullmatch(str(value))]
    return tuple(shown[:MAX_EXAMPLES]) if isinstance(pairs[0][0], str) else ()


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
    """Return HS codes that were stored as numbers with their lost zeros: a subheading has an even number of digits."""
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
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numbers"
    if pa.types.is_timestamp(kind):
        return "times"
    return "lists" if pa.types.is_nested(kind) else str(kind)


def to_text_column(given: Any) -> Any:
    """Convert any column to text; nested values become JSON."""
    values = normalize_array(given)
    if pa.types.is_nested(values.type):
        return pa.array([format_value(value) for value in values.to_pylist()], type=TEXT)
    return to_texts(values)


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
    if field.max_length is not None:
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


def _replace_empty(texts: Any) -> Any:
    return mask_values(texts, to_mask(pc.equal(texts, "")))


def to_texts(given: Any) -> Any:
    """Convert values to texts; numbers become their digits, so that a code stored as a number is still a code."""
    if pa.types.is_floating(given.type):
        return _format_floats(given.cast(NUMBER))
    if not pa.types.is_nested(given.type):
        with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):  # bytes that are not text
            return _replace_empty(given.cast(TEXT))
    return pa.nulls(len(given), TEXT)


def _format_floats(numbers: Any) -> Any:
    numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, NUMBER), numbers)
    whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), 2.0**63))
    digits = pc.if_else(whole, numbers, pa.scalar(None, NUMBER)).cast(pa.int64()).cast(TEXT)
    return pc.coalesce(digits, numbers.cast(TEXT))


def _to_numbers(given: Any) -> Any:
    """Convert values to finite numbers."""
    if given.type == TEXT:
        return _parse_texts(given, NUMBER, _parse_number)
    if get_type_family(given.type) not in ("numbers", "null"):
        return pa.nulls(len(given), NUMBER)
    numbers = given.cast(NUMBER, safe=False)
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, NUMBER))


def _to_integers(given: Any) -> Any:
    """Convert values to integers; none goes through a float, which would make neighbouring ones equal."""
    if pa.types.is_floating(given.type):
        given = given.cast(NUMBER)
        given = pc.if_else(pc.greater(pc.abs(given), MAX_EXACT_FLOAT), np.inf, given)
    elif pa.types.is_integer(given.type) and not pa.types.is_uint64(given.type):
        return given.cast(INTEGER)
    return _parse_texts(to_texts(given), INTEGER, _parse_integer)


def _parse_integer(text: str) -> int | None:
    if re.match(INTEGER_PATTERN, text, re.ASCII):
        return int(text) if -(2**63) <= int(text) < 2**63 else None
    number = _parse_number(text)
    is_exact = number is not None and number.is_integer() and abs(number) <= MAX_EXACT_FLOAT
    return int(number) if number is not None and is_exact else None


def _to_times(given: Any) -> Any:
    """Convert values to times of the years 1 to 9999, truncated; a time without a zone is UTC, and a date is the start of that day."""
    kind = given.type
    if kind == TEXT:
        return _parse_texts(given, TIME, _parse_time)
    if pa.types.is_date(kind):
        given = given.cast(DATE).cast(pa.timestamp("s"))
    if not pa.types.is_timestamp(given.type):
        return pa.nulls(len(given), TIME)
    zoned = given if given.type.tz else pc.assume_timezone(given, "UTC")
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[zoned.type.unit]
    counts = zoned.cast(pa.int64())
    first, last = MIN_TIME_US * per_second // 1_000_000, MAX_TIME_US * per_second // 1_000_000
    limits = [max(first, -(2**63)), min(last, 2**63 - 1)]
    outside = to_mask(pc.or_(pc.less(counts, limits[0]), pc.greater(counts, limits[1])))
    floored = pc.floor_temporal(zoned, unit="microsecond") if zoned.type.unit == "ns" else zoned
    return mask_values(floored, outside).cast(TIME)


def _to_dates(given: Any) -> Any:
    """Convert values to dates; a time is converted to its UTC day."""
    return pc.floor_temporal(_to_times(given), unit="day").cast(pa.timestamp("us")).cast(DATE)


def _to_codes(given: Any) -> Any:
    """Convert JSON texts, or lists of strings, to lists of codes."""
    texts = [None if value is None else format_value(value) for value in given.to_pylist()]
    known = {text: None if text is None else _parse_codes(text) for text in set(texts)}
    return pa.array([known[text] for text in texts], type=CODES_TYPE)


def _parse_codes(text: str) -> list[str] | None:
    try:
        codes = _decode_codes(text)
    except msgspec.MsgspecError:
        return None
    return None if len(codes) > MAX_CODES or any(len(code) > MAX_CODE_CHARACTERS for code in codes) else codes


def _parse_texts(texts: Any, kind: Any, parse: Callable[[str], object]) -> Any:
    """Convert each distinct text; `parse` returns None if it is at fault."""
    coded = _replace_empty(pc.utf8_trim_whitespace(texts)).dictionary_encode()
    return pa.array([parse(text) for text in coded.dictionary.to_pylist()], type=kind).take(coded.indices)


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


CONVERTERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "string": (to_texts, BAD_TEXT),
    "number": (_to_numbers, BAD_NUMBER),
    "integer": (_to_integers, BAD_SEQUENCE),
    "time": (_to_times, BAD_TIME),
    "date": (_to_dates, BAD_DATE),
    "codes": (_to_codes, BAD_CODES),
}
"""What converts each kind of field but items to its canonical type, and the reason if a value cannot be converted."""


Items = tuple[Item, ...]
decode_items = msgspec.json.Decoder(Items).decode
"""Reads the canonical JSON text of the items of one consignment."""


@pause_garbage_collection()
def read_items(given: Any) -> ParsedColumn:
    """Convert an Arrow array of JSON text, or of lists of structs, to `ITEM_TYPE`; unknown fields of an item are reported and dropped."""
    lists, faults = _decode_lists(given) if given.type == TEXT else (given, [])
    is_list = pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)
    if not (
        is_list and (pa.types.is_struct(lists.type.value_type) or pa.types.is_null(lists.type.value_type))
    ):
        return ParsedColumn(pa.nulls(len(lists), ITEM_TYPE), [(BAD_ITEMS, to_mask(lists.is_valid()))])
    lengths, flat = count_items(lists), lists.flatten()
    rows_of_items, first_items = np.repeat(np.arange(len(lists)), lengths), np.cumsum(lengths) - lengths
    names = set() if pa.types.is_null(flat.type) else {field.name for field in flat.type}
    faults.append((TOO_MANY, lengths > MAX_ITEMS))
    columns, doubts = list[Any](), list[Finding]()
    for name, field in ITEM_FIELDS.items():
        given_field = pc.struct_field(flat, name) if name in names else pa.nulls(len(flat))
        read = read_column(given_field, field, list_rules(Item).get(name))
        columns.append(read.values)
        for doubt in read.doubts:
            doubtful = mark_rows(rows_of_items[doubt.rows], len(lists))
            doubts.append(doubt._replace(column=f"items.{name}", rows=doubtful))
        for reason, wrong in read.faults:
            places = np.flatnonzero(wrong)
            rows = rows_of_items[places]
            numbers = np.minimum(places - first_items[rows], MAX_ITEMS) + 1
            for number in np.unique(numbers).tolist():
                mine = mark_rows(rows[numbers == number], len(lists))
                faults.append((f"item {number}, {name}: {reason}", mine))
    missing = to_mask(pc.is_null(lists)) | combine_masks((rows for _, rows in faults), len(lists))
    unknown = tuple(sorted(names - ITEM_FIELDS.keys()))
    return ParsedColumn(_build_lists(columns, lengths, missing), faults, tuple(doubts), unknown)


def _decode_lists(texts: Any) -> tuple[Any, ColumnFaults]:
    """Convert JSON texts to lists of structs, whose fields may have any type; an unknown field is there without its values."""
    decode = msgspec.json.Decoder().decode
    rows: list[list[dict[str, Any]]] = []
    reasons: list[str] = []
    for text in texts.to_pylist():
        reason = ""
        try:
            items = decode(text) if text else []
            if isinstance(items, list) and len(items) > MAX_ITEMS:
                reason = TOO_MANY
            elif not isinstance(items, list) or not all(map(_is_item, items)):
                reason = BAD_ITEMS
        except (msgspec.DecodeError, RecursionError):
            reason = NOT_JSON
        reasons.append(reason)
        rows.append([] if reason else items)
    flat = list(chain.from_iterable(rows))
    names = list(dict.fromkeys(chain(ITEM_FIELDS, chain.from_iterable(flat))))
    columns = [
        to_arrow([item.get(name) for item in flat], name) if name in ITEM_FIELDS else pa.nulls(len(flat))
        for name in names
    ]
    absent = ~to_mask(pc.not_equal(texts, ""))
    faults = [(reason, np.array(reasons, str) == reason) for reason in (NOT_JSON, BAD_ITEMS, TOO_MANY)]
    return _build_lists(columns, [len(items) for items in rows], absent, names), faults


def _is_item(given: Any) -> bool:
    nested = (list, dict)
    return isinstance(given, dict) and not any(isinstance(given.get(name), nested) for name in ITEM_FIELDS)


def _build_lists(columns: Sequence[Any], lengths: Any, missing: Mask, names: Sequence[str] = ()) -> Any:
    """Build lists of structs from the columns of all items, which are the fields of items unless they are named."""
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    structs = pa.StructArray.from_arrays(columns, names or list(ITEM_FIELDS))
    return pa.ListArray.from_arrays(ends, structs, mask=pa.array(missing))


def to_items(lists: Any) -> list[Items | None]:
    """Convert lists of `ITEM_TYPE` to the items of each consignment."""
    flat = lists.flatten()
    items = tuple(map(Item, *(pc.struct_field(flat, name).to_pylist() for name in ITEM_FIELDS)))
    ends = np.concatenate([[0], np.cumsum(count_items(lists))]).tolist()
    parts = zip(pairwise(ends), lists.is_valid().to_pylist(), strict=True)
    return [items[start:end] if valid else None for (start, end), valid in parts]


def count_items(lists: Any) -> Any:
    """Count the items of each consignment."""
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0), dtype=np.int64)


@pause_garbage_collection()
def to_list_texts(lists: Any) -> Any:
    """Convert lists of items or of codes to canonical JSON text; `to_lists` is the inverse."""
    encode = msgspec.json.Encoder().encode
    return pa.array([None if each is None else encode(each).decode() for each in lists.to_pylist()], TEXT)


def to_lists(texts: Any, kind: str) -> Any:
    """Convert canonical JSON text to lists of items or of codes."""
    read = convert_column(normalize_array(texts), kind)
    if reasons := [reason for reason, rows in read.faults if rows.any()]:
        raise ValueError(f"not the canonical text of a list: {reasons[0]}")
    return read.values


def adopt_spellings(given: pd.DataFrame | None, known: pd.Series) -> pd.DataFrame | None:
    """Return a table, or None, whose identifiers have the spelling of known ones with the same normal form, of which the first counts."""
    if given is None or given[IDENTIFIER].isin(known).all():
        return given
    own = given[IDENTIFIER]
    spellings = pd.Series(known.array, index=normalize_column(known).to_pylist())
    first = spellings[~spellings.index.duplicated()]
    found = first.reindex(normalize_column(own).to_pylist()).set_axis(own.index)
    return given.assign(**{IDENTIFIER: own.where(own.isin(known) | found.isna(), found)})


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
