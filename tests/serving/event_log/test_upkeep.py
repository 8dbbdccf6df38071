"""Upkeep: small blocks become full ones with the same entries and hashes, and what fails there harms no entry."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs
from support.databases import execute, reader_of

from serving.event_log import reader
from serving.event_log.blocks.codec import encode_blocks
from serving.event_log.blocks.compaction import compact
from serving.event_log.copies import _read_pages
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.event_log.verification.chain import verify_chain

Open = Callable[[], EventLog]
Entry = Callable[..., Event]


def write_alone(log: EventLog, entry: Entry, count: int) -> None:
    for _ in range(count):
        log.append([entry(log.last_sequence + 1)])


def count_blocks(folder: Path) -> int:
    return int(execute(folder, "SELECT count(*) FROM blocks")[0][0])


def test_small_blocks_are_joined_and_the_newest_are_not(
    open_log: Open, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.event_log.upkeep.STRETCH_ENTRIES", 140)
    log = open_log()
    write_alone(log, entry, 300)
    log.close()
    before = [(row[0], row[-1]) for row in execute(tmp_path, "SELECT * FROM events ORDER BY sequence")]
    assert count_blocks(tmp_path) == 2 + 1 + 160
    again = open_log()
    assert verify_chain(again).entries == 300
    assert [
        (row[0], row[-1]) for row in execute(tmp_path, "SELECT * FROM events ORDER BY sequence")
    ] == before
    assert [event.sequence for event in again.read_events(after=60, until=70)] == list(range(61, 71))
    assert [event.sequence for event in again.read_consignment_events("RB130")] == [130]


def test_blocks_of_some_entries_are_left_as_they_are(open_log: Open, entry: Entry, tmp_path: Path) -> None:
    log = open_log()
    for first in range(1, 41, 4):
        log.append([entry(first + place) for place in range(4)])
    with log._engine.connect() as connection:
        assert compact(connection, connection.begin, 0, 40) == 0
    assert count_blocks(tmp_path) == 10


def test_blocks_that_would_not_come_back_equal_are_not_replaced(
    open_log: Open, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    write_alone(log, entry, 20)
    monkeypatch.setattr(
        "serving.event_log.blocks.compaction.encode_blocks",
        lambda rows, hashes, _method: encode_blocks(rows, [b"x" * 32] * len(hashes)),
    )
    with log._engine.connect() as connection:
        assert compact(connection, connection.begin, 0, 20) == 0
    assert verify_chain(log).broken_at is None
    assert count_blocks(tmp_path) == 20


def test_upkeep_that_fails_harms_no_entry_and_is_told_once(
    open_log: Open, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sa.exc.OperationalError("statement", {}, Exception("disk full"))

    monkeypatch.setattr("serving.event_log.upkeep.STRETCH_ENTRIES", 5)
    monkeypatch.setattr("serving.event_log.upkeep.compact", fail)
    log = open_log()
    with capture_logs() as lines:
        for _ in range(4):
            write_alone(log, entry, 20)
            log._upkeep._thread.submit(lambda: None).result()
    assert [(line["log_level"], line["reason"]) for line in lines] == [("error", "disk full")]
    assert verify_chain(log).entries == 80


def join(log: EventLog, until: int) -> None:
    with log._engine.connect() as connection:
        assert compact(connection, connection.begin, 0, until) > 0


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("queries", "reader"):
        monkeypatch.setattr(f"serving.event_log.{module}.PAGE_BLOCKS", 10)


def read_history(log: EventLog, kinds: str, until: int = 40) -> list[Event]:
    chunks = log.read_history_chunks(0, until, kinds)
    return [chunk.read_event(place) for chunk in chunks for place in range(len(chunk))]


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("until", [5, 10, 15, 40])
def test_history_has_each_entry_once_if_blocks_are_joined_between_their_heads_and_their_bodies(
    open_log: Open, entry: Entry, monkeypatch: pytest.MonkeyPatch, until: int
) -> None:
    log = open_log()
    write_alone(log, entry, 40)
    before = read_history(log, "other kinds")
    fetch, joined = log.queries.fetch_places, list[int]()

    def fetch_later(columns: Sequence[Any], sequences: Sequence[int]) -> Iterator[Any]:
        if not joined:
            joined.append(until)
            join(log, until)
        return fetch(columns, sequences)

    monkeypatch.setattr(log.queries, "fetch_places", fetch_later)
    assert read_history(log, "other kinds") == before
    assert [event.sequence for event in before] == list(range(1, 41))
    assert joined


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("place", [1, 2, 3])
def test_history_has_each_entry_if_joined_blocks_begin_within_those_before(
    open_log: Open, entry: Entry, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """Blocks of three entries become blocks of 64. They are joined before one of the pages of bodies is read."""
    log = open_log()
    while log.last_sequence < 210:
        log.append([entry(log.last_sequence + number) for number in (1, 2, 3)])
    monkeypatch.setattr("serving.event_log.reader.PAGE_BLOCKS", 40)
    before = read_history(log, "other kinds", 210)
    fetch, pages = log.queries.fetch_all, count(1)

    def fetch_later(query: Any, values: dict[str, Any] | None = None) -> Sequence[Any]:
        if "body" in query.selected_columns and next(pages) == place:
            join(log, 210)
        return fetch(query, values)

    monkeypatch.setattr(log.queries, "fetch_all", fetch_later)
    assert read_history(log, "other kinds", 210) == before
    assert [event.sequence for event in before] == list(range(1, 211))


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("until", [5, 10, 15, 40])
def test_entries_are_read_once_if_blocks_are_joined_between_two_pages(
    open_log: Open, entry: Entry, until: int
) -> None:
    log = open_log()
    write_alone(log, entry, 40)
    before = list(log.read_events())
    pages = log.read_rows()
    rows = next(pages)
    join(log, until)
    assert list(log._decode([*rows, *chain.from_iterable(pages)])) == before


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("sequences", [[2, 4, 9], list(range(1, 41)), list(range(1, 41, 2))])
@pytest.mark.parametrize("place", [1, 2, 3])
def test_picked_entries_are_read_once_if_blocks_are_joined_before_the_next_one(
    open_log: Open, entry: Entry, sequences: list[int], place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    write_alone(log, entry, 40)
    open_one, opened = reader.open_block, count(1)

    def open_and_join(*stored: Any) -> Any:
        if next(opened) == place:
            join(log, 40)
        return open_one(*stored)

    monkeypatch.setattr(reader, "open_block", open_and_join)
    monkeypatch.setattr("serving.event_log.queries.FEW_ENTRIES", 0)
    monkeypatch.setattr("serving.event_log.queries.DENSE_ENTRIES", 1)
    assert [row[0] for row in log.read_places(sequences, frozenset())] == sequences


@pytest.mark.usefixtures("small_pages")
def test_history_has_each_entry_once_if_blocks_are_joined_between_two_pages(
    open_log: Open, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    write_alone(log, entry, 40)
    fetch = log.queries.fetch_all
    pages = count(1)

    def fetch_later(query: Any, values: dict[str, Any] | None = None) -> Sequence[Any]:
        if next(pages) == 2:
            join(log, 15)
        return fetch(query, values)

    monkeypatch.setattr(log.queries, "fetch_all", fetch_later)
    assert [event.sequence for event in read_history(log, "k" * 16)] == list(range(1, 41))


@pytest.mark.usefixtures("small_pages")
def test_a_chain_holds_if_blocks_are_joined_while_it_is_verified(
    open_log: Open, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    write_alone(log, entry, 40)
    fetch, pages = log.queries.fetch_all, count(1)

    def fetch_later(query: Any, values: dict[str, Any] | None = None) -> Sequence[Any]:
        found = fetch(query, values)
        if len(found) == 10 and next(pages) == 1:
            join(log, 15)
        return found

    monkeypatch.setattr(log.queries, "fetch_all", fetch_later)
    assert verify_chain(log).entries == 40
    assert next(pages) > 1


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("until", [5, 10, 15, 40])
def test_a_copy_has_each_entry_once_if_blocks_are_joined_between_two_pages(
    open_log: Open, entry: Entry, tmp_path: Path, until: int
) -> None:
    log = open_log()
    write_alone(log, entry, 40)
    with reader_of(tmp_path) as reader:
        pages = _read_pages(reader, None)
        blocks = next(pages)
        join(log, until)
        blocks += chain.from_iterable(pages)
    copied = [range(first, last + 1) for first, last, *_ in blocks]
    assert list(chain.from_iterable(copied)) == list(range(1, 41))
