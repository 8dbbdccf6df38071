"""Spans of time find what reading all entries finds, with late clocks, imports of the past, joined blocks and missing spans."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from support.databases import database_in, execute, reader_of

from consignments.errors import BadSetting
from consignments.timestamps import US_PER_DAY
from serving.encryption.vault import Vault
from serving.event_log.databases.database import open_engine
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.event_log.reader import LogReader
from serving.event_log.time_spans import find_latest_us, list_ranges

Open = Callable[[], EventLog]
Entry = Callable[..., Event]
SPAN = 10


@pytest.fixture(autouse=True)
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.event_log.time_spans.SPAN_ENTRIES", SPAN)


def append_days(log: EventLog, entry: Entry, days: list[int], together: int = 3) -> list[Event]:
    """Append a decision for each day; every seventh entry is an outcome, and every ninth an arrival without a score."""
    first = log.last_sequence + 1
    events = [
        entry(sequence, at_us=day * US_PER_DAY + 5, **_choose_kind(sequence))
        for sequence, day in enumerate(days, start=first)
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
    assert find_latest_us(log.queries) == max(arrivals, default=None)
    for day in range(-1, 33):
        before_us = day * US_PER_DAY
        earlier = [event.at_us for event in decided if event.at_us < before_us]
        assert log.find_latest_decision_us(before_us) == max(earlier, default=None)
        here = [event for event in decided if before_us <= event.at_us < before_us + 2 * US_PER_DAY]
        counts = log.count_decisions(before_us, before_us + 2 * US_PER_DAY)
        assert sum(count for *_, count in counts) == len(here)
        scored = log.read_scored(before_us, before_us + 2 * US_PER_DAY, log.last_sequence)
        assert [event for event in scored if event.kind == "decision"] == here


@pytest.mark.parametrize("seed", range(4))
def test_entries_are_found_by_time_whatever_the_order_of_times(
    open_log: Open, entry: Entry, tmp_path: Path, seed: int
) -> None:
    random = np.random.default_rng(seed)
    days = np.sort(random.integers(0, 30, 120)) if seed % 2 else random.integers(0, 30, 120)
    log = open_log()
    events = append_days(log, entry, days.tolist(), together=1 + seed)
    assert_found(log, events)
    log.close()
    again = open_log()
    assert len(execute(tmp_path, "SELECT * FROM time_spans")) == 120 // SPAN
    assert_found(again, events)
    with reader_of(tmp_path) as reader:
        assert_found(reader, events)


def test_no_entries_have_no_latest_time(open_log: Open) -> None:
    assert_found(open_log(), [])


def test_only_spans_of_the_period_and_the_newest_entries_are_read(open_log: Open, entry: Entry) -> None:
    log = open_log()
    append_days(log, entry, [place // SPAN for place in range(5 * SPAN + 3)])
    log.close()
    again = open_log()
    ranges = list_ranges(again.queries, 2 * US_PER_DAY, 3 * US_PER_DAY)
    assert [each[:2] for each in ranges] == [(2 * SPAN, 3 * SPAN), (5 * SPAN, None)]


def test_blocks_that_are_joined_across_the_end_of_a_span_are_found_once(
    open_log: Open, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.event_log.upkeep.STRETCH_ENTRIES", 25)
    log = open_log()
    events = append_days(log, entry, [place // 4 for place in range(100)], together=1)
    log.close()
    assert execute(tmp_path, "SELECT count(*) FROM blocks")[0][0] < 100
    assert_found(open_log(), events)


def test_a_log_with_an_index_of_times_gets_spans(
    open_log: Open, entry: Entry, tmp_path: Path, vault: Vault
) -> None:
    log = open_log()
    events = append_days(log, entry, [place // 2 for place in range(35)])
    log.close()
    engine = open_engine(sa.make_url(database_in(tmp_path)))
    config = Config()
    config.set_main_option("script_location", "serving.event_log:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
    engine.dispose()
    with pytest.raises(BadSetting, match="tables of an earlier version"):
        reader_of(tmp_path)
    with EventLog.open(database_in(tmp_path), vault) as converted:
        assert_found(converted, events)
    assert execute(tmp_path, "SELECT first, last FROM time_spans ORDER BY first") == [
        (1, 10),
        (11, 20),
        (21, 30),
    ]
    assert not execute_names(tmp_path) & {"ix_blocks_max_us"}


def execute_names(folder: Path) -> set[str]:
    engine = open_engine(sa.make_url(database_in(folder)))
    try:
        return {str(index["name"]) for index in sa.inspect(engine).get_indexes("blocks")}
    finally:
        engine.dispose()
