"""Entries of a consignment are found in runs, in memory and, where a run is missing or damaged, in the blocks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs
from support.databases import execute, reader_of

from serving.event_log.events import Event
from serving.event_log.identifiers.finder import Run
from serving.event_log.identifiers.pages import (
    DamagedPage,
    build_entries,
    compute_digests,
    find_offsets,
    find_pages,
    pack_run,
    unpack_pages,
)
from serving.event_log.identifiers.run_writer import find_joinable
from serving.event_log.log import EventLog

Open = Callable[[], EventLog]
Entry = Callable[..., Event]
NAMES = 150
"""Different identifiers of the log; entry n has number n % NAMES."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs of 100 entries with pages of about 8."""
    for module in ("finder", "run_writer"):
        monkeypatch.setattr(f"serving.event_log.identifiers.{module}.SEGMENT_ENTRIES", 100)
    monkeypatch.setattr("serving.event_log.upkeep.SEGMENT_ENTRIES", 100)
    monkeypatch.setattr("serving.event_log.identifiers.finder.MAX_READ_ENTRIES", 400)
    monkeypatch.setattr("serving.event_log.identifiers.pages.PAGE_ENTRIES", 8)
    return 100


def write(log: EventLog, entry: Entry, until: int) -> None:
    while log.last_sequence < until:
        first = log.last_sequence + 1
        places = range(first, min(first + 50, until + 1))
        log.append([entry(place, consignment_id=f"RB{place % NAMES}") for place in places])
        log._upkeep._thread.submit(lambda: None).result()  # after the work in progress


def list_expected(name: int, last: int) -> list[int]:
    return [place for place in range(1, last + 1) if place % NAMES == name]


def require_all_found(log: EventLog, last: int) -> None:
    names = [f"RB{number}" for number in range(NAMES)]
    found = log.finder.find([*names, "RB none"], last)
    assert {name: found[name] for name in names} == {
        f"RB{number}": list_expected(number, last) for number in range(NAMES)
    }
    assert not found.get("RB none")


def test_entries_are_found_while_runs_are_written_and_joined(
    open_log: Open, entry: Entry, small: int
) -> None:
    log = open_log()
    for last in (30, 90, 250, 1_000, 1_730):
        write(log, entry, last)
        require_all_found(log, last)
    runs = log.finder.read_run_table()
    assert runs[0].last >= 8 * small
    assert [run.first for run in runs[1:]] == [run.last + 1 for run in runs[:-1]]
    assert [event.sequence for event in log.read_consignment_events("RB7", 700)] == list_expected(7, 700)


def test_what_was_written_before_the_start_is_found_after_a_search_of_earlier_entries(
    open_log: Open, entry: Entry, small: int
) -> None:
    """A start from a snapshot first asks what was known at the snapshot."""
    log = open_log()
    write(log, entry, 230)
    log.close()
    again = open_log()
    assert again.finder.find(["RB60"], 100) == {"RB60": [60]}
    assert again.finder.find(["RB60"], 230) == {"RB60": [60, 210]}
    again.reread()
    assert again.finder.find(["RB60"], 100) == {"RB60": [60]}
    assert again.finder.find(["RB60"], 230) == {"RB60": [60, 210]}
    write(again, entry, 380)
    assert again.finder.find(["RB60"], 380) == {"RB60": [60, 210, 360]}


def test_a_reader_finds_what_the_writer_has_written_since(
    open_log: Open, entry: Entry, small: int, tmp_path: Path
) -> None:
    log = open_log()
    write(log, entry, 320)
    reader = reader_of(tmp_path)
    for last in (320, 330, 2_000):
        write(log, entry, last)
        assert [event.sequence for event in reader.read_consignment_events("RB11")] == list_expected(11, last)
    reader.close()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM identifier_runs",
        "DELETE FROM identifier_runs WHERE first = 1",
        "DELETE FROM identifier_pages",
        "DELETE FROM identifier_pages WHERE length(entries) = (SELECT max(length(entries)) FROM identifier_pages)",
        "UPDATE identifier_pages SET entries = substr(entries, 1, 16)",
        "UPDATE identifier_pages SET entries = substr(entries, 2)",
    ],
)
def test_runs_that_are_lost_or_damaged_hide_nothing_and_are_made_again(
    open_log: Open, entry: Entry, small: int, tmp_path: Path, damage: str
) -> None:
    log = open_log()
    write(log, entry, 1_000)
    execute(tmp_path, damage)
    reader = reader_of(tmp_path)
    assert [event.sequence for event in reader.read_consignment_events("RB7")] == list_expected(7, 1_000)
    reader.close()
    log.close()
    again = open_log()
    with capture_logs():
        require_all_found(again, 1_000)
        write(again, entry, 1_400)
        require_all_found(again, 1_400)
    again._upkeep.wait()
    assert not again.finder.list_gaps(again.finder.read_run_table(), 1_000)
    runs = again.finder.read_run_table()
    pages = sum(1 << run.bits for run in runs)
    assert execute(tmp_path, "SELECT count(*) FROM identifier_pages") == [(pages,)]


def test_pages_of_a_killed_process_are_removed(
    open_log: Open, entry: Entry, small: int, tmp_path: Path
) -> None:
    open_log().close()
    execute(tmp_path, "INSERT INTO identifier_pages VALUES (7, 0, :page)", page=b"left over")
    open_log()
    assert execute(tmp_path, "SELECT count(*) FROM identifier_pages") == [(0,)]


def test_digests_are_found_in_the_page_that_their_first_bits_name() -> None:
    names = [f"RB{number}" for number in range(5_000)]
    digests = compute_digests(names, b"key")
    run = pack_run(build_entries(digests, np.arange(5_000)))
    assert len(run.pages) == 1 << run.bits == 16
    (page,) = find_pages(digests[:1], run.bits).tolist()
    whose, offsets = find_offsets(unpack_pages([run.pages[page]]), digests[:1])
    assert (whose.tolist(), offsets.tolist()) == ([0], [0])
    assert compute_digests(names[:1], b"other")[0] != digests[0]


def test_a_changed_page_is_found() -> None:
    (page,) = pack_run(build_entries(compute_digests(["RB1"], b""), [3])).pages
    for at in range(len(page)):
        with pytest.raises(DamagedPage):
            unpack_pages([page[:at] + bytes([page[at] ^ 1]) + page[at + 1 :]])


def test_only_runs_of_one_size_that_follow_one_another_are_joined() -> None:
    def runs(*sizes: int) -> list[Run]:
        ends = np.cumsum(sizes).tolist()
        return [Run(n, end - size + 1, end, 0) for n, (size, end) in enumerate(zip(sizes, ends, strict=True))]

    one = 8_192
    assert find_joinable(runs(*[one] * 7)) == []
    assert len(find_joinable(runs(8 * one, *[one] * 8))) == 8
    assert find_joinable(runs(*[one] * 4, 8 * one, *[one] * 4)) == []
    assert find_joinable(runs(*[512 * one] * 9)) == []
