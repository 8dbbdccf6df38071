"""Timestamps are exact to the microsecond, and days are days of UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import day, make_outcome

from consignments.records import Outcome
from consignments.tables import build_frame
from consignments.timestamps import NO_TIME, convert_us_to_day, get_time_column_us, to_datetime, to_day, to_us


@given(st.datetimes(timezones=st.just(UTC)))
def test_microseconds_are_exact(moment: datetime) -> None:
    assert to_datetime(to_us(moment)) == moment


@given(
    st.datetimes(timezones=st.integers(-840, 840).map(lambda minutes: timezone(timedelta(minutes=minutes))))
)
def test_the_day_of_a_moment_is_that_of_its_microseconds(moment: datetime) -> None:
    assert to_day(moment) == convert_us_to_day(to_us(moment))


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(TypeError):
        to_us(datetime(2024, 3, 4))
    with pytest.raises(TypeError):
        to_day(datetime(2024, 3, 4))


def test_a_missing_time_is_no_time() -> None:
    frame = build_frame([make_outcome(recorded_at=None), make_outcome(recorded_at=day(2))], Outcome)
    assert get_time_column_us(frame, "recorded_at").tolist() == [NO_TIME, to_us(day(2))]
    assert get_time_column_us(frame, "cancelled_at").tolist() == [NO_TIME, NO_TIME]
