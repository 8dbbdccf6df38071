"""When the advance data came, and how far the mail peaks of the year are; all in UTC."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import MAXYEAR, MINYEAR, date, timedelta
from functools import cache, lru_cache
from math import nan

from consignments.records import Consignment
from consignments.visibility import EPOCH, to_us
from features.normal import Forms
from features.spec import Feature

# Peaks on fixed days: Singles' Day, and Christmas.
FIXED_PEAKS = ((11, 11), (12, 25))
# Black Friday follows the fourth Thursday of November.
BLACK_FRIDAY_MONTH, FOURTH_THURSDAY_FROM, THURSDAY = 11, 22, 3
# Lunar New Year and Chuseok by the Korean calendar (Korea Astronomy and Space Science Institute).
_LUNAR_PEAKS_TEXT = """
    2015-02-19 2016-02-08 2017-01-28 2018-02-16 2019-02-05 2020-01-25 2021-02-12 2022-02-01 2023-01-22 2024-02-10
    2025-01-29 2026-02-17 2027-02-07 2028-01-27 2029-02-13 2030-02-03 2031-01-23 2032-02-11 2033-01-31 2034-02-19
    2035-02-08 2036-01-28 2037-02-15 2038-02-04 2039-01-24 2040-02-12
    2015-09-27 2016-09-15 2017-10-04 2018-09-24 2019-09-13 2020-10-01 2021-09-21 2022-09-10 2023-09-29 2024-09-17
    2025-10-06 2026-09-25 2027-09-15 2028-10-03 2029-09-22 2030-09-12 2031-10-01 2032-09-19 2033-09-08 2034-09-27
    2035-09-16 2036-10-04 2037-09-24 2038-09-13 2039-10-02 2040-09-21
"""
LUNAR_PEAKS = tuple(date.fromisoformat(text) for text in _LUNAR_PEAKS_TEXT.split())
DAYS_REMEMBERED = 4096
US_PER_HOUR = 3_600_000_000


class Calendar:
    """Features of the moment of arrival."""

    features = (
        Feature("calendar.weekday", "weekday", "arrival_time", "Announced on weekday {value} (0 is Monday)"),
        Feature("calendar.hour", "hour", "arrival_time", "Announced in hour {value} of the day (UTC)"),
        Feature("calendar.month_day", "day", "arrival_time", "Announced on day {value} of the month"),
        Feature("calendar.days_to_peak", "days", "mail_peak", "{value} days before the next mail peak"),
        Feature("calendar.days_since_peak", "days", "mail_peak", "{value} days after the last mail peak"),
    )

    def values(self, c: Consignment, forms: Forms) -> Sequence[float]:  # noqa: ARG002 - the shape of a group
        """Give one number for each feature; all NaN without a time of arrival."""
        moment = c.received_at
        if moment is None:
            return (nan,) * len(self.features)
        hours = to_us(moment) // US_PER_HOUR
        weekday, month_day, ahead, behind = _day_values(hours // 24)
        return weekday, float(hours % 24), month_day, ahead, behind


@lru_cache(maxsize=DAYS_REMEMBERED)
def _day_values(utc_day: int) -> tuple[float, float, float, float]:
    # Local times in the first and last hours of all years are in no year of UTC.
    ordinal = utc_day + EPOCH.toordinal()
    day = date.fromordinal(min(max(ordinal, date.min.toordinal()), date.max.toordinal()))
    peaks = [peak for year in (day.year - 1, day.year, day.year + 1) for peak in _peaks_of(year)]
    after, before = bisect_left(peaks, day), bisect_right(peaks, day) - 1
    ahead = float((peaks[after] - day).days) if after < len(peaks) else nan
    behind = float((day - peaks[before]).days) if before >= 0 else nan
    return float(day.weekday()), float(day.day), ahead, behind


@cache
def _peaks_of(year: int) -> tuple[date, ...]:
    return tuple(sorted(_find_peaks(year)))


def _find_peaks(year: int) -> Iterator[date]:
    if not MINYEAR <= year <= MAXYEAR:
        return
    for month, day in FIXED_PEAKS:
        yield date(year, month, day)
    earliest = date(year, BLACK_FRIDAY_MONTH, FOURTH_THURSDAY_FROM)
    yield earliest + timedelta(days=(THURSDAY - earliest.weekday()) % 7 + 1)
    yield from (peak for peak in LUNAR_PEAKS if peak.year == year)
