"""Traffic of the last days: the number of decisions by day and model, and the shares of bands that training expects."""

from collections import Counter
from typing import Any, NamedTuple

from consignments.timestamps import US_PER_DAY, convert_us_to_day
from models.bands import ELEVATED_SHARE, HIGH_SHARE
from operation.desk.messages import PageRequest, Viewer
from operation.desk.views.sources import PageSources
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


def view_model(sources: PageSources, request: PageRequest, _viewer: Viewer) -> dict[str, Any]:
    """Return the values of the page of the model, with the facts that only the service knows."""
    traffic = summarize_traffic(sources.log, request.now_us)
    return {"model": request.facts["model"], "traffic": traffic, "period": DAYS}


def summarize_traffic(log: LogReader, now_us: int) -> TrafficSummary:
    """Summarize the decisions of DAYS days up to the last day with any."""
    latest_us = log.find_latest_decision_us(now_us + US_PER_DAY)
    today = convert_us_to_day(now_us if latest_us is None else latest_us)
    days: dict[int, Counter[str]] = {}
    models: Counter[str] = Counter()
    counts = log.count_decisions((today - DAYS + 1) * US_PER_DAY, (today + 1) * US_PER_DAY)
    for day, band, model, number in counts:
        days.setdefault(day, Counter())[band] += number
        models[model] += number
    total = models.total()
    bands = sum(days.values(), Counter[str]())
    shares = [
        (band, bands[band], bands[band] / total if total else 0.0, expected)
        for band, expected in EXPECTED.items()
    ]
    listed = [
        DayTraffic(day, found.total(), dict(found)) for day, found in sorted(days.items(), reverse=True)
    ]
    return TrafficSummary(today, listed, shares, total, models.most_common())
