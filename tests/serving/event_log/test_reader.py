"""A log that is only read: nothing is written, and what is not needed is not fetched."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.exc import DBAPIError
from support.databases import Entry, Open, reader_of

from consignments.errors import BadSetting, ServiceFault
from consignments.timestamps import US_PER_DAY
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.event_log.reader import LogReader
from serving.event_log.verification import verify_chain


def test_a_log_is_read_while_it_is_written(open_log: Open, entry: Entry, tmp_path: Path) -> None:
    log = open_log()
    log.append([entry(1)])
    reader = reader_of(tmp_path)
    log.append([entry(2)])
    assert (reader.log_id, reader.last_sequence, verify_chain(reader).entries) == (log.log_id, 1, 1)
    assert [event.sequence for event in reader.read_events()] == [1, 2]
    with pytest.raises(DBAPIError, match=r"read-?only"), reader._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM entries")
    reader.close()


def test_no_log_is_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(ServiceFault, match="cannot be opened"):
        LogReader.open_to_read(f"sqlite:///{tmp_path / 'events.db'}")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE log (a)")
    other.close()
    with pytest.raises(BadSetting, match="there is no event log"):
        LogReader.open_to_read(f"sqlite:///{tmp_path / 'other.db'}")
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]


def test_a_reader_finds_what_was_written_since(open_log: Open, entry: Entry, tmp_path: Path) -> None:
    log, written = open_log(), 0
    with reader_of(tmp_path) as reader:
        for last in (20, 30, 300):
            ids = {place: f"RB{place % 50}" for place in range(written + 1, last + 1)}
            log.append([entry(place, consignment_id=name, model=f"m/{last}") for place, name in ids.items()])
            written = last
            found = reader.read_consignment_events("RB11")
            assert [event.sequence for event in found] == list(range(11, last + 1, 50))
            limited = reader.read_consignment_events("RB11", 61)
            assert [event.sequence for event in limited] == [11, 61][: len(found)]
            assert found[-1].model == f"m/{last if last != 30 else 20}"  # type: ignore[union-attr]
        assert reader.read_events_of([f"RB{place}" for place in range(50)]) == list(reader.read_events())


def test_columns_are_read_in_batches(open_log: Open, entry: Entry) -> None:
    log = open_log()
    log.append([entry(1), entry(2, kind="alert", consignment_id=None), entry(3, band="routine")])
    names = ("sequence", "consignment_id", "band", "digest")
    batches = list(log.read_columns(names, size=2))
    first, second = (list(map(list, batch[:3])) for batch in batches)
    assert (first, second) == ([[1, 2], ["RB1", None], ["high", None]], [[3], ["RB3"], ["routine"]])
    assert batches[0][3] == (log.compute_digest("RB1"), None)
    assert list(log.read_columns(names, after=3)) == []


def test_an_identifier_with_the_digest_of_another_one_is_told_from_it(
    open_log: Open, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    monkeypatch.setattr(log, "compute_digest", lambda name: None if name is None else 7)
    log.append([entry(1), entry(2), entry(3, consignment_id="RB1")])
    assert [event.sequence for event in log.read_consignment_events("RB1")] == [1, 3]
    assert [event.sequence for event in log.read_events_of(["RB2"])] == [2]


LAST_DAY = 12


def append_days(log: EventLog, entry: Entry, days: list[int], together: int) -> list[Event]:
    """Append a decision for each day; every seventh entry is an outcome, and every ninth an arrival without a score."""
    kinds, events = [{}] * len(days), list[Event]()
    kinds[8::9] = [{"kind": "arrival"}] * len(kinds[8::9])
    kinds[6::7] = [{"kind": "outcome", "score": None, "features": None}] * len(kinds[6::7])
    for sequence, (day, kind) in enumerate(zip(days, kinds, strict=True), start=1):
        events.append(entry(sequence, at_us=day * US_PER_DAY + 5, **kind))
    for start in range(0, len(events), together):
        log.append(events[start : start + together])
    return events


def assert_found(log: LogReader, events: list[Event]) -> None:
    """Compare what the log finds by time with what all its entries say."""
    decided = [event for event in events if event.kind == "decision"]
    arrivals = [event.at_us for event in events if event.kind != "outcome"]
    assert log.find_latest_us("arrival", "decision") == max(arrivals, default=None)
    for day in range(-1, LAST_DAY + 3):
        before_us = day * US_PER_DAY
        earlier = [event.at_us for event in decided if event.at_us < before_us]
        assert log.find_latest_us("decision", before_us=before_us) == max(earlier, default=None)
        here = [event for event in decided if before_us <= event.at_us < before_us + 2 * US_PER_DAY]
        counts = log.count_decisions(before_us, before_us + 2 * US_PER_DAY)
        assert sum(count for *_, count in counts) == len(here)
        groups = {(event.at_us // US_PER_DAY, "high", "nps-risk/1") for event in here}
        assert {(number, band, model) for number, band, model, _ in counts} == groups
        scored = log.read_scored(before_us, before_us + 2 * US_PER_DAY, log.last_sequence)
        assert [event for event in scored if event.kind == "decision"] == here


@pytest.mark.parametrize("seed", range(2))
def test_entries_are_found_by_their_time(open_log: Open, entry: Entry, tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    days = np.sort(random.integers(0, LAST_DAY, 60)) if seed % 2 else random.integers(0, LAST_DAY, 60)
    log = open_log()
    assert_found(log, [])
    events = append_days(log, entry, days.tolist(), together=1 + seed)
    assert_found(log, events)
    with reader_of(tmp_path) as reader:
        assert_found(reader, events)
