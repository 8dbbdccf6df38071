"""Verification: whatever is changed, taken out or put in breaks the chain there, for the command and at a start."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.databases import Entry, Open, database_in, execute, state_environment

from consignments.errors import ServiceFault
from npsrisk import main
from serving.event_log import verification
from serving.event_log.log import EventLog
from serving.event_log.redactions import Redaction
from serving.event_log.verification import StartCheck, verify_chain


@pytest.fixture
def log(open_log: Open, entry: Entry) -> EventLog:
    """A log of four entries."""
    made = open_log()
    made.append([entry(place) for place in (1, 2, 3, 4)])
    return made


@pytest.mark.parametrize(
    ("changes", "valid", "broken_at"),
    [
        (["UPDATE events SET score = 0.2500001 WHERE sequence = 2"], 1, 2),
        (["UPDATE events SET plain = content WHERE sequence = 2"], 1, 2),
        (["UPDATE events SET asked_by = 'somebody' WHERE sequence = 2"], 1, 2),
        (["UPDATE events SET at_us = at_us + 1 WHERE sequence = 2"], 1, 2),
        (["UPDATE events SET hash = previous_hash WHERE sequence = 2"], 1, 2),
        (["DELETE FROM events WHERE sequence = 2"], 1, 3),
        ([f"UPDATE events SET sequence = {new} WHERE sequence = {old}" for new, old in ((-2, 2), (2, 3), (3, -2))], 1, 2),
        (["UPDATE log SET log_id = 'another'"], 0, 1),
    ],
    ids=["score", "content", "caller", "time", "hash", "taken out", "changed places", "another log"],
)  # fmt: skip
def test_whatever_is_changed_in_the_log_is_found_by_the_command_with_its_place(
    log: EventLog, tmp_path: Path, changes: list[str], valid: int, broken_at: int
) -> None:
    for change in changes:
        execute(tmp_path, change)
    code, told = verify(tmp_path, "--json")
    found = json.loads(told.splitlines()[-1])
    assert (code, found["entries"], found["broken_at"]) == (1, valid, broken_at)
    assert verify(tmp_path)[1].startswith(f"Chain broken after {valid} entries\n")


def verify(folder: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["verify-log", *words], env=state_environment(folder))
    return done.exit_code, done.output


def test_the_command_tells_the_head_and_finds_what_is_gone(
    log: EventLog, entry: Entry, tmp_path: Path
) -> None:
    code, told = verify(tmp_path)
    assert (code, told.splitlines()[0]) == (0, "Chain valid: 4 entries")
    head = told.splitlines()[1].removeprefix("head ")
    log.append([entry(5)])
    assert (verify_chain(log).head != head, verify_chain(log).broken_at) == (True, None)
    code, told = verify(tmp_path, "--head", head)
    assert (code, "The stored head is entry 4" in told) == (0, True)
    execute(tmp_path, "DELETE FROM events WHERE sequence >= 4")
    assert verify(tmp_path)[0] == 0
    code, told = verify(tmp_path, "--head", head)
    assert (code, "truncated" in told) == (1, True)
    code, told = verify(tmp_path, "--head", "5c1d")
    assert (code, "64 hexadecimal digits" in told) == (2, True)


DAMAGE = "UPDATE events SET score = 0.5 WHERE sequence = "


def check(log: EventLog, folder: Path, expected_after: int, after: int) -> None:
    with StartCheck(log, database_in(folder), expected_after) as begun:
        begun.finish(after)


@pytest.mark.parametrize(
    ("damaged", "after", "process", "told"),
    [
        (1, 2, "inline", ""),
        (1, 2, "another", ""),
        (4, 2, "inline", r"log entry 4.*damaged.*npsrisk verify-log.*npsrisk restore"),
        (3, 2, "another", r"log entry 3.*damaged.*npsrisk verify-log.*npsrisk restore"),
        (1, 0, "inline", "log entry 1:"),
        (1, 0, "another", "log entry 1:"),
    ],
)
def test_a_changed_entry_after_the_snapshot_that_was_taken_is_refused_and_one_before_it_is_not_read(
    log: EventLog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damaged: int,
    after: int,
    process: str,
    told: str,
) -> None:
    if process == "another":
        monkeypatch.setattr(verification, "MAX_INLINE_ENTRIES", 0)
    execute(tmp_path, f"{DAMAGE}{damaged}")
    if not told:
        check(log, tmp_path, 2, after)
        return
    with pytest.raises(ServiceFault, match=told):
        check(log, tmp_path, 2, after)


def test_a_fault_of_a_damaged_entry_is_reported_as_damage(log: EventLog, tmp_path: Path) -> None:
    execute(tmp_path, DAMAGE + "2")
    with pytest.raises(ServiceFault, match="log entry 2:"), StartCheck(log, database_in(tmp_path), 1):
        raise ValueError("the entry cannot be decoded")


def test_a_log_that_lost_its_last_entry_while_it_was_open_is_refused(log: EventLog, tmp_path: Path) -> None:
    execute(tmp_path, "DELETE FROM events WHERE sequence = 4")
    with pytest.raises(ServiceFault, match="log entry 4:"):
        check(log, tmp_path, 0, 0)


def test_a_check_that_begins_within_a_removal_reads_all_of_it(log: EventLog) -> None:
    log.redact(Redaction(1, 3, 0, b"", 12, "x", "y"), [], 20)
    for after in range(4):
        found = verify_chain(log, after=after)
        assert (found.broken_at, found.entries) == (None, 5)
    assert [verify_chain(log, after=after).emptied for after in (2, 3)] == [2, 0]
