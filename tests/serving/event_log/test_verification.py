"""Verification: whatever is changed, taken out or put in breaks the chain there."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.databases import execute, reader_of, state_environment

from npsrisk import main
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.event_log.verification import VerificationResult, verify_chain

Open = Callable[[], EventLog]
Entry = Callable[..., Event]


def test_an_untouched_chain_verifies_and_its_head_names_the_last_entry(open_log: Open, entry: Entry) -> None:
    log = open_log()
    log.append([entry(1)])
    first = verify_chain(log)
    log.append([entry(2)])
    second = verify_chain(log)
    assert (first.entries, first.broken_at, second.entries, second.broken_at) == (1, None, 2, None)
    assert first.head != second.head


@pytest.mark.parametrize(
    ("statement", "broken_at"),
    [
        ("UPDATE events SET score = 0.2500001", 2),
        ("UPDATE events SET plain = content", 2),
        ("UPDATE events SET asked_by = 'somebody'", 2),
        ("UPDATE events SET at_us = at_us + 1", 2),
        ("UPDATE events SET hash = previous_hash", 2),
        ("DELETE FROM events", 3),
    ],
)
def test_a_changed_value_or_an_entry_taken_out_breaks_the_chain_there(
    open_log: Open, entry: Entry, tmp_path: Path, statement: str, broken_at: int
) -> None:
    log = open_log()
    log.append([entry(1), entry(2), entry(3)])
    execute(tmp_path, f"{statement} WHERE sequence = 2")
    verdict = verify_chain(log)
    assert (verdict.entries, verdict.broken_at) == (1, broken_at)


def test_a_log_of_another_identity_does_not_pass_as_this_one(
    open_log: Open, entry: Entry, tmp_path: Path
) -> None:
    open_log().append([entry(1)])
    execute(tmp_path, "UPDATE log SET log_id = 'another'")
    reader = reader_of(tmp_path)
    assert verify_chain(reader)[:2] == VerificationResult(0, 1, "")[:2]
    reader.close()


def verified(folder: Path, *words: str) -> tuple[int, str]:
    environment = state_environment(folder)
    done = CliRunner().invoke(main, ["verify-log", *words], env=environment)
    return done.exit_code, done.output


def test_the_command_tells_the_head_and_finds_what_was_cut_off(
    open_log: Open, entry: Entry, tmp_path: Path
) -> None:
    log = open_log()
    log.append([entry(1), entry(2), entry(3)])
    code, told = verified(tmp_path)
    assert (code, told.splitlines()[0]) == (0, "Chain valid: 3 entries")
    head = told.splitlines()[1].removeprefix("head ")
    log.append([entry(4)])
    code, told = verified(tmp_path, "--head", head)
    assert code == 0
    assert "The stored head is entry 3" in told
    execute(tmp_path, "DELETE FROM events WHERE sequence >= 3")
    assert verified(tmp_path)[0] == 0
    code, told = verified(tmp_path, "--head", head)
    assert code == 1
    assert "truncated" in told


def test_the_command_finds_two_entries_that_changed_places(
    open_log: Open, entry: Entry, tmp_path: Path
) -> None:
    open_log().append([entry(1), entry(2), entry(3)])
    for statement in ("= -2 WHERE sequence = 2", "= 2 WHERE sequence = 3", "= 3 WHERE sequence = -2"):
        execute(tmp_path, f"UPDATE events SET sequence {statement}")
    code, told = verified(tmp_path, "--json")
    assert code == 1
    assert json.loads(told.splitlines()[-1])["broken_at"] == 2
    assert verified(tmp_path)[1].startswith("Chain broken after 1 entries\n")


def test_the_command_refuses_a_head_that_cannot_be_one(open_log: Open, tmp_path: Path) -> None:
    open_log()
    code, told = verified(tmp_path, "--head", "5c1d")
    assert code == 2
    assert "64 hexadecimal digits" in told
