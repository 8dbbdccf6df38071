"""One column at a time: what is accepted, in whatever type it comes, and which rows are at fault."""

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from operator import mul
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import read_cases
from support.examples import MONDAY
from support.table_examples import read_kind

from consignments import columns
from consignments.records import Consignment, Field, Item, LogColumns, get_fields

KINDS: dict[str, tuple[Any, ...]] = {
    "time": ("2024-03-04T09:30:00Z", datetime.fromisoformat, columns.BAD_TIME),
    "number": ("3", float, columns.BAD_NUMBER),
    "items": (msgspec.json.encode([Item("shirt")]).decode(), str, ""),
}


def get_field(record: type[msgspec.Struct], name: str) -> Field:
    return next(field for field in get_fields(record) if field.name == name)


def read_texts(kind: str, *texts: str) -> list[Any]:
    return read_kind(pa.array(texts, type=pa.large_string()), kind).values.to_pylist()


@pytest.mark.parametrize("case", read_cases("column_values"))
def test_a_text_reads_as_its_value_or_is_a_fault(case: dict[str, Any]) -> None:
    """Each line has a text and its value; null is a fault, which is not the same as missing and may have words of its own."""
    good, parse, fault = KINDS[case["read"]]
    column = pa.array([case["text"], good, None, ""], type=pa.large_string())
    found = read_kind(column, case["read"])
    value = None if case["value"] is None else parse(case["value"])
    assert found.values.to_pylist() == [value, parse(good), None, None]
    faults = [] if value is not None else [(case.get("fault", fault), [True, False, False, False])]
    assert [(each.text, each.rows.tolist()) for each in found.faults] == faults


offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.lists(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=offsets), min_size=1))
def test_times_are_read_to_the_microsecond_from_every_zone(moments: list[datetime]) -> None:
    texts = [moment.isoformat() for moment in moments]
    assert read_texts("time", *texts, "soon") == [*moments, None]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Seoul"])
def test_times_of_any_unit_and_zone_become_microseconds_utc(unit: str, zone: str | None) -> None:
    column = pd.Series([MONDAY, None]).dt.tz_convert(zone)  # without a zone: the same moment, naive
    read = read_kind(columns.to_arrow(column.dt.as_unit(unit)), "time")
    assert read.values.type == pa.timestamp("us", "UTC")
    assert read.values.to_pylist() == [MONDAY, None]


def test_nanoseconds_are_cut_off_also_before_1970() -> None:
    read = read_kind(pa.array([-1, 1_999], type=pa.timestamp("ns", "UTC")), "time")
    assert read.values.cast(pa.int64()).to_pylist() == [-1, 1]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_a_time_beyond_year_9999_is_a_fault(unit: str) -> None:
    far = read_kind(pa.array([2**63 - 1, 0], type=pa.timestamp(unit)), "time")
    assert far.values.to_pylist() == [None, datetime(1970, 1, 1, tzinfo=UTC)]
    assert far.faults[0].rows.tolist() == [True, False]


def test_whole_numbers_are_no_times_because_nobody_knows_their_unit() -> None:
    assert read_kind(pa.array([1709544600, None]), "time").faults[0].rows.tolist() == [True, False]


@pytest.mark.parametrize(
    ("given_dates", "expected"),
    [
        (["2024-03-04", "2024-03-04T23:00:00-05:00", None], [date(2024, 3, 4), date(2024, 3, 5), None]),
        ([date(2024, 3, 4)], [date(2024, 3, 4)]),
        ([datetime(1969, 12, 31, 23, 0)], [date(1969, 12, 31)]),
    ],
)
def test_a_date_is_a_utc_day(given_dates: list[Any], expected: list[Any]) -> None:
    column = columns.to_arrow(given_dates)
    assert read_kind(column, "date").values.to_pylist() == expected


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_are_read_to_the_last_bit(values: list[float]) -> None:
    assert read_texts("number", *map(repr, values), "many") == [*values, None]


def test_a_number_of_many_digits_is_refused_soon() -> None:
    # minutes if its digits are parted in every way
    assert read_texts("number", "1" * 200_000 + "x") == [None]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([61091000, 1]), ["61091000", "01"]),
        (pd.Series([61091000, None]), ["61091000", None]),
        (pd.Series([61091000, None], dtype="Int64"), ["61091000", None]),
        (pd.Series(["0610", None], dtype="category"), ["0610", None]),
        (pd.Series(["0610", 610, 6.0, 6.5, None, math.nan, pd.NA, pd.NaT], dtype=object),
         ["0610", "0610", "06", "06.50", None, None, None, None]),
        (pd.Series([9024000, 902.4, 6109.1]), ["09024000", "0902.40", "6109.10"]),
        (pd.Series(["9024000"]), ["9024000"]),
        (pd.Series([2**70, 10], dtype=object), [str(2**70), "10"]),
        (pd.Series([1e20, 10.25]), ["1e+20", "10.25"]),
        (pd.Series([True, False]), ["true", "false"]),
        (pd.Series([b"ab", b"c"], dtype=object), ["ab", "c"]),
        (pd.Series(["", "a"]), [None, "a"]),
        (pd.Series(["NA", "nan", "None"]), ["NA", "nan", "None"]),
    ],
)  # fmt: skip
def test_codes_stay_texts_whatever_type_they_come_in(column: Any, expected: list[str | None]) -> None:
    field = get_field(Consignment, "hs_code")
    assert columns.read_column(columns.to_arrow(column, "hs_code"), field).values.to_pylist() == expected


def test_nested_values_are_no_text_but_can_be_shown_as_json() -> None:
    assert read_kind(pa.array([b"\xff", None]), "string").faults[0].rows.tolist() == [True, False]
    nested = pa.array([[1, 2], None])
    assert read_kind(nested, "string").faults[0].rows.tolist() == [True, False]
    assert columns.to_text_column(nested).to_pylist() == ["[1,2]", None]
    mixed = columns.to_arrow([{"a": np.float64(1.5)}, "x", datetime(2024, 3, 4)])
    assert mixed.to_pylist() == ['{"a":1.5}', "x", "2024-03-04T00:00:00"]


def test_a_bad_required_value_is_bad_and_not_missing_too() -> None:
    read = columns.read_column(columns.to_arrow(["soon", None]), get_field(Consignment, "received_at"))
    faults = {each.text: each.rows.tolist() for each in read.faults}
    assert faults == {columns.BAD_TIME: [True, False], "required value is missing": [False, True]}


TEXT_TYPES = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()))
"""The types of text in Parquet files."""
hostile_texts = st.none() | st.one_of(
    st.text(max_size=4),
    st.sampled_from(("", " ", "postal", "air_cargo", "x\0", "\u3164", "e\u0301")),
    st.builds(mul, st.sampled_from("xé한\U0001f600"), st.sampled_from((33, 99, 100, 101, 125, 500, 501))),
)


@given(
    st.lists(hostile_texts, max_size=6),
    st.sampled_from(TEXT_TYPES),
    st.sampled_from(("consignment_id", "channel", "sender_name", "hs_code")),
    st.integers(0, 2),
)
def test_texts_are_checked_as_one_alone(texts: list[str | None], kind: Any, column: str, first: int) -> None:
    field = get_field(Consignment, column)
    array = pa.array(["before", *texts], type=pa.string()).cast(kind)[1 + min(first, len(texts)) :]
    given_texts = [text or None for text in texts[first:]]
    read = columns.read_column(array, field)
    bad = columns.mark_faulty_rows(read.faults, len(array))
    for text, value, fault in zip(given_texts, read.values.to_pylist(), bad, strict=True):
        assert fault == (field.required if text is None else _is_refused(column, text))
        assert fault or value == text


def _is_refused(column: str, text: str) -> bool:
    """Check a value as the service does."""
    record = {"consignment_id": "A", "channel": "postal", column: text}
    try:
        msgspec.convert(record, Consignment)
    except msgspec.ValidationError:
        return True
    return column == "consignment_id" and text.isspace()


@given(
    st.lists(st.none() | st.floats() | st.sampled_from((-0.0, 0.0, -5e-324, 1e308, math.inf)), max_size=6),
    st.sampled_from(("pieces", "declared_value")),
)
def test_numbers_are_checked_as_one_number_alone(numbers: list[float | None], column: str) -> None:
    read = columns.read_column(pa.array(numbers, type=pa.float64()), get_field(Consignment, column))
    bad = columns.mark_faulty_rows(read.faults, len(numbers))
    expected = [number is not None and (number < 0 or math.isinf(number)) for number in numbers]
    assert bad.tolist() == expected
    kept = [None if fault else value for fault, value in zip(bad, read.values.to_pylist(), strict=True)]
    assert kept == [number if number is not None and 0 <= number < math.inf else None for number in numbers]


@pytest.mark.parametrize("broken", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98"])
@pytest.mark.parametrize(
    "column", ["consignment_id", "sender_name", "received_at", "pieces", "quality", "sequence"]
)
def test_a_text_that_is_not_utf_8_is_a_fault(broken: bytes, column: str) -> None:
    bytes_too = pa.array([b"2024-03-04", broken, None], type=pa.binary())
    texts = pa.Array.from_buffers(pa.string(), 3, bytes_too.buffers())
    field = get_field(LogColumns if column == "sequence" else Consignment, column)
    read = columns.read_column(texts, field)
    assert [each.rows.tolist() for each in read.faults if each.text == "not text"] == [[False, True, False]]


NS = 1_732_700_000_000_000_001
"""A time in nanoseconds: as a float it is equal to its neighbours."""
INEXACT = [2.0**53, float(NS), 1e300, -1e300, math.inf, 1.5]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pa.array([2.0**53 - 1, *INEXACT, -3.0]), [2**53 - 1, *[None] * len(INEXACT), -3]),
        (pa.array([2**63 - 1, 2**63], pa.uint64()), [2**63 - 1, None]),
        (
            pa.array(["9223372036854775807", "9223372036854775808", "9" * 5000], pa.large_string()),
            [2**63 - 1, None, None],
        ),
        (pa.array(["1e18", "1.0", "1e3", "+4", "0x1"], pa.large_string()), [None, 1, 1000, 4, None]),
        (pa.array([Decimal("1.00"), Decimal("1.50")]), [1, None]),
        (pa.array([True, False]), [None, None]),
        (pa.array(np.array([2, 2.5], np.float16)), [2, None]),
        (pa.array([NS, NS + 1]), [NS, NS + 1]),
        (pa.array([NS, NS + 1], pa.uint64()), [NS, NS + 1]),
        (pa.array([Decimal(NS), Decimal(NS + 1)]), [NS, NS + 1]),
        (pa.array([str(NS), f" {NS + 1}"], pa.large_string()), [NS, NS + 1]),
    ],
)
def test_a_sequence_number_is_read_exactly_or_is_a_fault(given: pa.Array, expected: list[int | None]) -> None:
    read = read_kind(pa.concat_arrays([given, pa.nulls(1, given.type)]), "integer")
    assert read.values.to_pylist() == [*expected, None], "a missing one is no fault"
    faults = columns.mark_faulty_rows(read.faults, len(read.values))
    assert list(faults) == [value is None for value in expected] + [False]
