"""Retention by date: content goes, on record; history, chain and everything later stay as they were."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from msgspec import structs
from support.databases import copy_state, execute, reader_of, stored_bytes
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import publish, serving, settings_in
from support.serving_past import APPROVAL, LATER, OLD, RECENT, WHO, WHY, Clock, forget_old, live, run, told

from consignments.errors import BadInput, ServiceFault
from serving.event_log.events import ARRIVAL_KINDS
from serving.event_log.log import EventLog
from serving.event_log.redactions import read_redactions
from serving.process.state_directory import StateLock
from serving.state.forgetting import forget


@pytest.fixture
def state(past: Path) -> Path:
    return past


@pytest.fixture(scope="module")
def forgotten(lived_past: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of that log without its old content."""
    folder = tmp_path_factory.mktemp("forgotten") / "state"
    copy_state(lived_past, folder)
    done = forget_old(folder)
    assert (done.consignments, done.up_to, done.steps) == (OLD, 2 * OLD, 1)
    return folder


def next_features(folder: Path) -> dict[str, float]:
    """What a further consignment of a sender that is old and recent reads, from the log alone."""
    for path in (folder / "snapshots").glob("*"):
        path.unlink()
    clock = Clock()
    clock.date = day(LATER + 20)
    with serving(settings_in(folder), clock) as client:
        c = make_consignment("NEW", received_at=day(LATER + 19), sender_name="Sender 0")
        found: dict[str, float] = client.post("/v1/scores?features=true", c).json()["features"]
    return found


def test_content_is_gone_also_from_the_files_and_what_history_needs_is_left(
    lived_past: Path, forgotten: Path
) -> None:
    with reader_of(lived_past) as reader:
        before = list(reader.read_events())
    with reader_of(forgotten) as reader:
        after, (removal,) = list(reader.read_events()), read_redactions(reader)
    assert len(after) == len(before) + 1  # that content was removed
    for old, new in zip(before, after, strict=False):
        gone = {"plain": b"", "sealed": None, "features": None, "reasons": None}
        is_old = new.kind in ARRIVAL_KINDS and new.sequence <= 2 * OLD
        assert new == (structs.replace(old, **gone) if is_old else old)
    assert (removal.approved_by, removal.why, removal.emptied) == (WHO, WHY, OLD)
    assert len(before[0].sealed or b"") > 60
    for content in (before[0].sealed or b"", before[0].plain):
        assert content not in stored_bytes(forgotten)


def test_history_that_is_built_anew_reads_what_it_read(state: Path, tmp_path: Path) -> None:
    copy_state(state, tmp_path / "copy")
    expected = next_features(tmp_path / "copy")
    forget_old(state)
    found = next_features(state)
    assert found == expected
    assert found["history.sender.arrivals_ever"] > 4
    assert found["history.sender.days_since_first"] > LATER


def test_a_model_with_other_keys_still_counts_what_was_forgotten_after_it_was_published(
    state: Path, tmp_path: Path, other_bundle: Path
) -> None:
    """The keys of the model that is published are made while the fields can still be read."""
    publish(state, other_bundle, "2")
    copy_state(state, tmp_path / "copy")
    expected = next_features(tmp_path / "copy")
    forget_old(state)
    assert next_features(state) == expected
    assert expected["history.office+carrier.arrivals_ever"] == OLD + RECENT


def test_the_chain_holds_and_heads_that_were_kept_are_still_found(lived_past: Path, forgotten: Path) -> None:
    head = told(lived_past, "verify-log")["head"]
    found = told(forgotten, "verify-log", "--head", head)
    assert (found["emptied"], found["fault"]) == (OLD, "")
    assert found["kept_at"] == found["entries"] - 1
    assert "12 of them without content" in run(forgotten, "verify-log")[1]


@pytest.mark.parametrize(
    ("statement", "broken_at"),
    [
        ("UPDATE events SET keys = hash WHERE sequence = 3", 2 * OLD),
        ("UPDATE events SET score = 0.5 WHERE sequence = 3", 2 * OLD),
        ("UPDATE events SET consignment_id = 'RB99' WHERE sequence = 3", 2 * OLD),
        ("UPDATE events SET hash = content WHERE sequence = 3", 4),
        ("UPDATE events SET plain = content WHERE sequence = 3", 3),
        ("DELETE FROM events WHERE sequence = 3", 4),
        ("UPDATE events SET plain = substr(plain, 1, 0) WHERE sequence = 25", 25),
        ("UPDATE events SET plain = substr(plain, 1, 0) WHERE kind = 'removal'", 1),
        ("DELETE FROM events WHERE kind = 'removal'", 1),
    ],
)
def test_what_is_left_cannot_be_changed_unseen(
    forgotten: Path, tmp_path: Path, statement: str, broken_at: int
) -> None:
    state = tmp_path / "copy"
    copy_state(forgotten, state)
    execute(state, statement)
    code, output = run(state, "verify-log", "--json")
    assert code == 1
    assert json.loads(output.splitlines()[-1])["broken_at"] == broken_at


def test_later_decisions_come_out_equal_and_the_forgotten_ones_are_told(forgotten: Path) -> None:
    found = told(forgotten, "parity")
    assert (found["equal"], found["compared"], found["forgotten"]) == (True, RECENT, OLD)
    assert "12 more cannot be recomputed" in run(forgotten, "parity")[1]


def test_an_export_has_what_is_left_and_says_what_is_not(forgotten: Path, tmp_path: Path) -> None:
    found = told(forgotten, "export", "--out", str(tmp_path / "out"), "--personal")
    assert found["tables"]["consignments"] == RECENT
    assert found["tables"]["decisions"] == OLD + RECENT
    assert "12 consignments (all up to entry 24) are not exported" in found["notes"][0]
    decisions = pd.read_parquet(tmp_path / "out" / "decisions.parquet")
    assert decisions["score"].notna().all()


def test_a_second_run_changes_nothing_and_a_later_date_goes_on(state: Path) -> None:
    forget_old(state)
    again = forget_old(state)
    assert (again.consignments, again.steps) == (0, 0)
    clock = Clock()
    clock.date = day(3 * LATER)
    with serving(settings_in(state), clock) as client:
        live(client, 3 * LATER - 1, range(90, 91))
    later = forget(settings_in(state), day(2 * LATER), APPROVAL)
    assert later.consignments == RECENT
    assert told(state, "verify-log")["emptied"] == OLD + RECENT
    assert told(state, "parity")["compared"] == 1


def test_a_run_that_was_ended_goes_on_where_it_stopped(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.state.forgetting.STEP_ENTRIES", 7)
    write = EventLog.redact

    def die(log: EventLog, removal: Any, *rest: Any) -> Any:
        if removal.after == 14:
            raise ServiceFault("killed")
        return write(log, removal, *rest)

    monkeypatch.setattr(EventLog, "redact", die)
    with pytest.raises(ServiceFault, match="killed"):
        forget_old(state)
    assert told(state, "verify-log")["emptied"] == 7
    monkeypatch.setattr(EventLog, "redact", write)
    assert forget_old(state).consignments == OLD - 7
    assert told(state, "verify-log")["emptied"] == OLD


def test_a_removal_is_written_whole_or_not_at_all(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored_rows(state)
    monkeypatch.setattr("serving.event_log.log.hash_row", lambda *_: None)  # the database refuses it
    with pytest.raises(ServiceFault, match="cannot be written"):
        forget_old(state)
    assert stored_rows(state) == before


def stored_rows(folder: Path) -> list[Any]:
    found: list[Any] = execute(folder, "SELECT * FROM events ORDER BY sequence")
    return found


def test_counting_first_changes_nothing(state: Path) -> None:
    before = stored_rows(state)
    words = ("forget", "--before", "2024-04-15", "--approved-by", WHO, "--why", WHY, "--dry-run")
    assert "Would delete the content of 12 consignments, up to entry 24" in run(state, *words)[1]
    assert stored_rows(state) == before


def test_neither_what_history_remembers_nor_the_log_of_a_service_that_runs_is_touched(
    lived_past: Path,
) -> None:
    with pytest.raises(BadInput, match=r"--before: history still needs .*expected 2024-04-2\d or earlier"):
        forget(settings_in(lived_past), day(LATER - 300), APPROVAL)
    with (
        StateLock(lived_past),
        pytest.raises(ServiceFault, match="another process uses this state directory"),
    ):
        forget(settings_in(lived_past), day(40), APPROVAL)


def test_a_consignment_that_was_forgotten_is_answered_for(forgotten: Path, tmp_path: Path) -> None:
    state = tmp_path / "copy"
    copy_state(forgotten, state)
    clock = Clock()
    clock.date = day(LATER + 20)
    with serving(settings_in(state), clock) as client:
        known = client.get("/v1/consignments/RB1").json()
        assert [each["reasons"] for each in known["decisions"]] == [[]]
        outcome = make_outcome("RB1", result="clear", known_at=day(LATER + 1), inspected_at=day(LATER))
        assert client.post("/v1/outcomes", outcome).status_code == 200
        assert client.post("/v1/scores", make_consignment("RB1", received_at=day(LATER))).status_code == 200
