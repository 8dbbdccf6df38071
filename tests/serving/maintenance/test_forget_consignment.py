"""One consignment's content is removed with a record of it: chain, history and parity stay as they were."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.databases import execute, reader_of, stored_bytes
from support.examples import day, make_consignment
from support.serving_examples import serving, settings_in
from support.serving_past import APPROVAL, WHO, WHY, forget_old, run

from consignments.errors import BadInput
from serving.event_log.verification import verify_chain
from serving.state.forgetting import forget_consignment

NAME, TEXT = "Marker Personname", "marker goods"
"""Sender and goods of `few_decisions`."""


@pytest.fixture
def state(few: Path) -> Path:
    return few


def score_another(state: Path) -> dict[str, Any]:
    with serving(settings_in(state)) as client:
        c = make_consignment("RB9", received_at=day(9), sender_name=NAME)
        answer: dict[str, Any] = client.post("/v1/scores?features=true", c).json()
    return answer["features"]


def forget(state: Path, name: str, *words: str) -> tuple[int, str]:
    return run(state, "forget", "--consignment", name, "--approved-by", WHO, "--why", WHY, *words)


def test_all_versions_lose_their_content_and_the_others_keep_it(state: Path) -> None:
    code, output = forget(state, "RB1", "--json")
    assert code == 0, output
    result = json.loads(output.splitlines()[-1])
    assert result["versions"] == 2
    with reader_of(state) as log:
        assert [event.redacted for event in log.read_arrivals()] == [True, False, True, False]
        assert [event.keys != b"" for event in log.read_arrivals()] == [True] * 4
        found = verify_chain(log)
        assert (found.broken_at, found.emptied, found.head) == (None, 2, result["head"])
    assert run(state, "verify-log", "--head", result["head"])[0] == 0
    code, output = run(state, "parity", "--json")
    report = json.loads(output.splitlines()[-1])
    assert (code, report["compared"], report["forgotten"]) == (0, 2, 2)
    assert score_another(state)["history.sender.arrivals_30d"] == 3
    assert run(state, "parity")[0] == 0
    with pytest.raises(BadInput, match="no content of this consignment"):
        forget_consignment(settings_in(state), "RB1", APPROVAL)


def test_the_content_is_gone_from_the_file(state: Path) -> None:
    assert stored_bytes(state).count(TEXT.encode()) >= 4
    for name in ("RB1", "RB2", "RB3"):
        forget_consignment(settings_in(state), name, APPROVAL)
    assert TEXT.encode() not in stored_bytes(state)
    with reader_of(state) as log:
        assert verify_chain(log)[:2] == (7, None)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE events SET score = 0.999 WHERE sequence = 1",
        "UPDATE events SET plain = (SELECT plain FROM events WHERE sequence = 1), sealed = NULL, features = NULL, reasons = NULL WHERE sequence = 4",
        "UPDATE events SET plain = content WHERE sequence = 3",
    ],
)
def test_the_remains_cannot_be_changed_and_nothing_else_can_be_emptied(state: Path, change: str) -> None:
    forget_consignment(settings_in(state), "RB1", APPROVAL)
    with reader_of(state) as log:
        assert verify_chain(log).broken_at is None
    execute(state, change)
    with reader_of(state) as log:
        assert verify_chain(log).broken_at is not None


def test_a_dry_run_changes_nothing_and_one_of_both_options_is_needed(state: Path) -> None:
    code, output = forget(state, "RB1", "--dry-run")
    assert (code, "Would delete the content of RB1 (2 versions)" in output) == (0, True)
    with reader_of(state) as log:
        assert log.last_sequence == 4
    for words in ((), ("--before", "2020-01-01", "--consignment", "RB1")):
        code, output = run(state, "forget", *words, "--approved-by", WHO, "--why", WHY)
        assert (code, "either --before or --consignment" in output) == (2, True)


def test_it_goes_together_with_removal_by_date_in_either_order(past: Path) -> None:
    state, settings = past, settings_in(past)
    forget_consignment(settings, "RB3", APPROVAL)  # old
    forget_consignment(settings, "RB101", APPROVAL)  # recent
    forget_old(state)
    with reader_of(state) as log:
        assert verify_chain(log).broken_at is None
        for after in range(0, log.last_sequence, 5):
            assert verify_chain(log, after=after).broken_at is None
    forget_consignment(settings, "RB13", APPROVAL)
    with reader_of(state) as log:
        assert verify_chain(log).broken_at is None
    assert run(state, "parity")[0] == 0
