"""Verification: whatever is changed, taken out or put in breaks the chain there, for the command and at a start."""

from pathlib import Path
from typing import Any

import pytest
from support.cases import read_cases
from support.databases import Entry, Open, database_in, execute
from support.site import run, told

from consignments.errors import ServiceFault
from serving.event_log.log import EventLog
from serving.event_log.verification import StartCheck, verify_chain


@pytest.fixture
def log(open_log: Open, entry: Entry) -> EventLog:
    made = open_log()
    made.append([entry(place) for place in (1, 2, 3, 4)])
    return made


@pytest.mark.parametrize("case", read_cases("changed_logs"))
def test_whatever_is_changed_in_the_log_is_found_by_the_command_with_its_place(
    log: EventLog, tmp_path: Path, case: dict[str, Any]
) -> None:
    """Each line has changes of a log, the number of valid entries, and where the chain breaks."""
    for change in case["changes"]:
        execute(tmp_path, change)
    found = told(tmp_path, "verify-log", code=1)
    assert (found["entries"], found["broken_at"]) == (case["valid"], case["broken_at"])
    assert run(tmp_path, "verify-log")[1].startswith(f"Chain broken after {case['valid']} entries\n")


def test_the_command_tells_the_head_and_what_is_gone(log: EventLog, entry: Entry, tmp_path: Path) -> None:
    code, output = run(tmp_path, "verify-log")
    assert (code, output.splitlines()[0]) == (0, "Chain valid: 4 entries")
    head = output.splitlines()[1].removeprefix("head ")
    log.append([entry(5)])
    assert (verify_chain(log).head != head, verify_chain(log).broken_at) == (True, None)
    code, output = run(tmp_path, "verify-log", "--head", head)
    assert (code, "The stored head is entry 4" in output) == (0, True)
    execute(tmp_path, "DELETE FROM events WHERE sequence >= 4")
    assert run(tmp_path, "verify-log")[0] == 0
    for given, status, words in ((head, 1, "truncated"), ("5c1d", 2, "64 hexadecimal digits")):
        code, output = run(tmp_path, "verify-log", "--head", given)
        assert (code, words in output) == (status, True)


@pytest.mark.parametrize("largest", [0, 20_000], ids=["in another process", "in this one"])
def test_at_a_start_any_fault_of_a_damaged_entry_is_reported_as_damage(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr("serving.event_log.verification.MAX_INLINE_ENTRIES", largest)
    execute(tmp_path, "UPDATE events SET asked_by = 'somebody' WHERE sequence = 2")
    with pytest.raises(ServiceFault, match="log entry 2:"), StartCheck(log, database_in(tmp_path), 1):
        raise ValueError("the entry cannot be decoded")
    execute(tmp_path, "DELETE FROM events WHERE sequence = 4")
    damaged = pytest.raises(ServiceFault, match="log entry 4:")
    with damaged, StartCheck(log, database_in(tmp_path), 2) as check:
        check.finish(2)
