"""The calendar: UTC throughout, and peaks found on both sides."""

from datetime import UTC, datetime, timedelta, timezone
from math import isnan

import pytest
from examples import make_consignment

from features.calendar import Calendar
from features.normal import normal_forms


def value(name, moment):
    group = Calendar()
    c = make_consignment(received_at=moment)
    names = [feature.name for feature in group.features]
    return dict(zip(names, group.values(c, normal_forms(c)), strict=True))[f"calendar.{name}"]


def test_a_seoul_morning_is_the_evening_before_in_utc():
    seoul = datetime(2024, 3, 4, 8, 30, tzinfo=timezone(timedelta(hours=9)))
    assert value("weekday", seoul) == 6
    assert value("hour", seoul) == 23
    assert value("month_day", seoul) == 3


@pytest.mark.parametrize(
    ("day", "ahead", "behind"),
    [
        ((2024, 11, 10), 1, 54),  # Chuseok was 17 September
        ((2024, 11, 11), 0, 0),  # Singles' Day
        ((2024, 11, 28), 1, 17),  # Black Friday is the 29th
        ((2024, 12, 26), 34, 1),  # Lunar New Year on 29 January
        ((2027, 2, 7), 0, 0),
    ],
)
def test_peaks_are_counted_from_both_sides(day, ahead, behind):
    moment = datetime(*day, 12, tzinfo=UTC)
    assert value("days_to_peak", moment) == ahead
    assert value("days_since_peak", moment) == behind


@pytest.mark.parametrize("hours", [-12, 0, 12])
@pytest.mark.parametrize("moment", [datetime.min, datetime(1970, 1, 1), datetime.max])
def test_the_ends_of_time_do_not_break_it(moment, hours):
    assert 1 <= value("month_day", moment.replace(tzinfo=timezone(timedelta(hours=hours)))) <= 31


def test_without_a_time_of_arrival_all_is_missing():
    assert isnan(value("hour", None))
