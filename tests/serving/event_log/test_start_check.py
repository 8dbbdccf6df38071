"""The check of the chain at a start: a damaged log is refused with its entry, by this process or by another one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.databases import database_in, execute

from consignments.errors import ServiceFault
from serving.event_log import verification
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.event_log.redactions import Redaction
from serving.event_log.verification import StartCheck, verify_chain

Open = Callable[[], EventLog]
Entry = Callable[..., Event]
DAMAGE = "UPDATE events SET score = 0.5 WHERE sequence = "


@pytest.fixture(params=["inline", "another process"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "another process":
        monkeypatch.setattr(verification, "MAX_INLINE_ENTRIES", 0)


def check(log: EventLog, folder: Path, expected_after: int, after: int) -> None:
    with StartCheck(log, database_in(folder), expected_after) as begun:
        begun.finish(after)


@pytest.mark.usefixtures("_either_way")
def test_a_changed_entry_after_the_snapshot_is_refused_and_one_before_it_is_not_read(
    open_log: Open, entry: Entry, tmp_path: Path
) -> None:
    log = open_log()
    log.append([entry(1), entry(2), entry(3), entry(4)])
    check(log, tmp_path, 2, 2)
    execute(tmp_path, DAMAGE + "1")
    check(log, tmp_path, 2, 2)
    execute(tmp_path, DAMAGE + "4")
    with pytest.raises(ServiceFault, match=r"log entry 4.*damaged.*npsrisk verify-log.*npsrisk restore"):
        check(log, tmp_path, 2, 2)


@pytest.mark.usefixtures("_either_way")
def test_if_the_newest_snapshot_is_refused_the_earlier_entries_are_checked_too(
    open_log: Open, entry: Entry, tmp_path: Path
) -> None:
    log = open_log()
    log.append([entry(1), entry(2), entry(3)])
    execute(tmp_path, DAMAGE + "1")
    check(log, tmp_path, 2, 2)
    with pytest.raises(ServiceFault, match="log entry 1:"):
        check(log, tmp_path, 2, 0)


def test_a_fault_of_a_damaged_entry_is_reported_as_damage(
    open_log: Open, entry: Entry, tmp_path: Path
) -> None:
    log = open_log()
    log.append([entry(1), entry(2)])
    execute(tmp_path, DAMAGE + "2")
    with pytest.raises(ServiceFault, match="log entry 2:"), StartCheck(log, database_in(tmp_path), 1):
        raise ValueError("the entry cannot be decoded")


def test_a_log_that_lost_its_last_entry_while_it_was_open_is_refused(
    open_log: Open, entry: Entry, tmp_path: Path
) -> None:
    log = open_log()
    log.append([entry(1), entry(2)])
    execute(tmp_path, "DELETE FROM events WHERE sequence = 2")
    with pytest.raises(ServiceFault, match="log entry 2:"):
        check(log, tmp_path, 0, 0)


def test_a_check_that_begins_within_a_removal_reads_all_of_it(open_log: Open, entry: Entry) -> None:
    log = open_log()
    log.append([entry(1), entry(2), entry(3), entry(4)])
    log.redact(Redaction(1, 3, 0, b"", 12, "x", "y"), [], 20)
    for after in range(4):
        found = verify_chain(log, after=after)
        assert (found.broken_at, found.entries) == (None, 5)
    assert [verify_chain(log, after=after).emptied for after in (2, 3)] == [2, 0]
