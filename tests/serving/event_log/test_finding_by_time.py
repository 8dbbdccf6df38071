"""Entries are found by time, whatever the order of their times: late clocks, imports of the past."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.databases import reader_of

from consignments.timestamps import US_PER_DAY
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.event_log.reader import LogReader

Open = Callable[[], EventLog]
Entry = Callable[..., Event]


def append_days(log: EventLog, entry: Entry, days: list[int], together: int) -> list[Event]:
    """Append a decision for each day; every seventh entry is an outcome, and every ninth an arrival without a score."""
    events = [
        entry(sequence, at_us=day * US_PER_DAY + 5, **_choose_kind(sequence))
        for sequence, day in enumerate(days, start=1)
    ]
    for start in range(0, len(events), together):
        log.append(events[start : start + together])
    return events


def _choose_kind(sequence: int) -> dict[str, object]:
    if sequence % 7 == 0:
        return {"kind": "outcome", "score": None, "features": None}
    return {"kind": "arrival"} if sequence % 9 == 0 else {}


def assert_found(log: LogReader, events: list[Event]) -> None:
    """Compare what the log finds by time with what all its entries say."""
    decided = [event for event in events if event.kind == "decision"]
    arrivals = [event.at_us for event in events if event.kind != "outcome"]
    assert log.find_latest_arrival_us() == max(arrivals, default=None)
    for day in range(-1, 33):
        before_us = day * US_PER_DAY
        earlier = [event.at_us for event in decided if event.at_us < before_us]
        assert log.find_latest_decision_us(before_us) == max(earlier, default=None)
        here = [event for event in decided if before_us <= event.at_us < before_us + 2 * US_PER_DAY]
        counts = log.count_decisions(before_us, before_us + 2 * US_PER_DAY)
        assert sum(count for *_, count in counts) == len(here)
        assert {(number, band, model) for number, band, model, _ in counts} == {
            (event.at_us // US_PER_DAY, "high", "nps-risk/1") for event in here
        }
        scored = log.read_scored(before_us, before_us + 2 * US_PER_DAY, log.last_sequence)
        assert [event for event in scored if event.kind == "decision"] == here


@pytest.mark.parametrize("seed", range(2))
def test_entries_are_found_by_time_whatever_the_order_of_times(
    open_log: Open, entry: Entry, tmp_path: Path, seed: int
) -> None:
    random = np.random.default_rng(seed)
    days = np.sort(random.integers(0, 30, 120)) if seed % 2 else random.integers(0, 30, 120)
    log = open_log()
    events = append_days(log, entry, days.tolist(), together=1 + seed)
    assert_found(log, events)
    with reader_of(tmp_path) as reader:
        assert_found(reader, events)


def test_no_entries_have_no_latest_time(open_log: Open) -> None:
    assert_found(open_log(), [])
