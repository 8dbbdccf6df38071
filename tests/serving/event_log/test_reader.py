"""A log that is only read: nothing is written, and what is not needed is not fetched."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError
from support.databases import reader_of

from consignments.errors import BadSetting, ServiceFault
from serving.event_log.events import NOT_READ, ArrivalEvent, DecisionEvent, Event
from serving.event_log.log import EventLog
from serving.event_log.reader import LogReader
from serving.event_log.verification import verify_chain

Open = Callable[[], EventLog]
Entry = Callable[..., Event]


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


def test_entries_of_some_kinds_alone_are_read(open_log: Open, entry: Entry) -> None:
    log = open_log()
    log.append([entry(1), entry(2, kind="alert"), entry(3, kind="outcome"), entry(4)])
    assert [event.sequence for event in log.read_events(kinds=("alert", "outcome"))] == [2, 3]


def test_arrivals_are_read_with_decisions_and_decisions_alone(open_log: Open, entry: Entry) -> None:
    log = open_log()
    log.append([entry(1), entry(2, kind="arrival"), entry(3, kind="outcome"), entry(4)])
    arrivals, decisions = list(log.read_arrivals()), list(log.read_decisions(after=1))
    assert [(event.sequence, type(event)) for event in arrivals] == [
        (1, DecisionEvent),
        (2, ArrivalEvent),
        (4, DecisionEvent),
    ]
    assert decisions == arrivals[2:]


def test_columns_that_are_left_out_cannot_be_taken_for_empty_ones(open_log: Open, entry: Entry) -> None:
    log = open_log()
    log.append([entry(1, sealed=b"s")])
    (event,) = log.read_decisions(without=("plain", "sealed", "features"))
    assert (event.plain, event.features, event.redacted) == (NOT_READ, NOT_READ, False)
    assert (event.sealed, event.content) == (None, b"c" * 16)


def test_a_reader_finds_what_the_writer_has_written_since(
    open_log: Open, entry: Entry, tmp_path: Path
) -> None:
    log, reader, written = open_log(), reader_of(tmp_path), 0
    for last in (20, 30, 2_000):
        log.append(
            [
                entry(place, consignment_id=f"RB{place % 50}", model=f"m/{last}")
                for place in range(written + 1, last + 1)
            ]
        )
        written = last
        found = reader.read_consignment_events("RB11")
        assert [event.sequence for event in found] == list(range(11, last + 1, 50))
        assert [event.sequence for event in reader.read_consignment_events("RB11", 61)] == [11, 61][
            : len(found)
        ]
        assert found[-1].model == f"m/{last if last != 30 else 20}"  # type: ignore[union-attr]
    assert reader.read_events_of([f"RB{place}" for place in range(50)]) == list(reader.read_events())
    reader.close()


def test_columns_are_read_in_batches(open_log: Open, entry: Entry) -> None:
    log = open_log()
    log.append([entry(1), entry(2, kind="alert", consignment_id=None), entry(3, band="routine")])
    names = ("sequence", "consignment_id", "band", "digest")
    batches = list(log.read_columns(names, size=2))
    assert [list(map(list, batch[:3])) for batch in batches] == [
        [[1, 2], ["RB1", None], ["high", None]],
        [[3], ["RB3"], ["routine"]],
    ]
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
