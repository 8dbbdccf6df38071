"""Traffic of the last days: the number of decisions by day and model, and the shares of bands that training expects."""

from collections import Counter
from typing import NamedTuple

from consignments.timestamps import US_PER_DAY, convert_us_to_day
from models.bands import ELEVATED_SHARE, HIGH_SHARE
from serving.event_log.reader import LogReader

DAYS = 14
EXPECTED = {"high": HIGH_SHARE, "elevated": ELEVATED_SHARE, "routine": 1 - HIGH_SHARE - ELEVATED_SHARE}
"""Shares of the bands over the traffic on which their cut-offs were set."""


class DayTraffic(NamedTuple):
    """Decisions of one day: their number, and the number in each band."""

    day: int
    decisions: int
    bands: dict[str, int]


class TrafficSummary(NamedTuple):
    """The traffic of the last days."""

    until: int
    days: list[DayTraffic]
    shares: list[tuple[str, int, float, float]]
    decisions: int
    by_model: list[tuple[str, int]]


class TrafficReader:
    """A reader of the traffic of the last days."""

    def __init__(self, log: LogReader) -> None:
        self._log = log

    def summarize(self, now_us: int) -> TrafficSummary:
        """Summarize the decisions of DAYS days up to the last day with any."""
        latest_us = self._log.find_latest_decision_us(now_us + US_PER_DAY)
        today = convert_us_to_day(now_us if latest_us is None else latest_us)
        counts = self._log.count_decisions((today - DAYS + 1) * US_PER_DAY, (today + 1) * US_PER_DAY)
        days: dict[int, Counter[str]] = {}
        models: Counter[str] = Counter()
        for day, band, model, number in counts:
            days.setdefault(day, Counter())[band] += number
            models[model] += number
        total = sum(models.values())
        bands = sum(days.values(), Counter[str]())
        shares = [
            (band, bands[band], bands[band] / total if total else 0.0, expected)
            for band, expected in EXPECTED.items()
        ]
        listed = [
            DayTraffic(day, sum(found.values()), dict(found))
            for day, found in sorted(days.items(), reverse=True)
        ]
        return TrafficSummary(today, listed, shares, total, models.most_common())
