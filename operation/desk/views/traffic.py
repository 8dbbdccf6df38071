"""Traffic of the last days: the number of decisions by day and model, and the shares of bands that training expects."""

from collections import Counter
from typing import Any

from consignments.timestamps import US_PER_DAY, convert_us_to_day
from models.bands import ELEVATED_SHARE, HIGH_SHARE
from operation.desk.messages import PageRequest, Viewer
from operation.desk.views.sources import PageSources
from serving.event_log.reader import LogReader

DAYS = 14
EXPECTED = {"high": HIGH_SHARE, "elevated": ELEVATED_SHARE, "routine": 1 - HIGH_SHARE - ELEVATED_SHARE}
"""Shares of the bands over the traffic on which their cut-offs were set."""


def view_model(sources: PageSources, request: PageRequest, _viewer: Viewer) -> dict[str, Any]:
    """Return the values of the page of the model, with the facts that only the service knows."""
    traffic = summarize_traffic(sources.log, request.now_us)
    return {"model": request.facts["model"], "traffic": traffic, "period": DAYS}


def summarize_traffic(log: LogReader, now_us: int) -> dict[str, Any]:
    """Summarize the decisions of DAYS days up to the last day with any, by day, band and model."""
    latest_us = log.find_latest_us("decision", before_us=now_us + US_PER_DAY)
    today = convert_us_to_day(now_us if latest_us is None else latest_us)
    days: dict[int, Counter[str]] = {}
    models: Counter[str] = Counter()
    counts = log.count_decisions((today - DAYS + 1) * US_PER_DAY, (today + 1) * US_PER_DAY)
    for day, band, model, number in counts:
        days.setdefault(day, Counter())[band] += number
        models[model] += number
    bands = sum(days.values(), Counter[str]())
    return {
        "until": today,
        "days": [(day, found.total(), found["high"]) for day, found in sorted(days.items(), reverse=True)],
        "shares": [
            (band, bands[band], bands[band] / (models.total() or 1), expected)
            for band, expected in EXPECTED.items()
        ],
        "decisions": models.total(),
        "by_model": models.most_common(),
    }
