"""Content is removed by consignment or by date, on record: chain, history and parity stay as they were; and what was forgotten stays so."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from msgspec import structs
from support.databases import copy_state, database_in, execute, only_sqlite, reader_of, stored_bytes
from support.examples import day, make_outcome
from support.serving_examples import empty_state, publish, serving, settings_in
from support.serving_past import APPROVAL, LATER, OLD, RECENT, WHO, WHY, forget_old, live
from support.site import entries, run, told

from consignments.errors import BadInput, BadSetting, FileFault, ServiceFault
from consignments.timestamps import to_us
from features.history.data_keys import read_data_keys
from serving.encryption.vault import Vault
from serving.event_log.events import ARRIVAL_KINDS, ArrivalEvent
from serving.event_log.log import EventLog
from serving.event_log.redactions import read_redactions
from serving.event_log.verification import verify_chain
from serving.maintenance.backup import RestoreResult, back_up, restore
from serving.process.state_directory import lock_state
from serving.state.forgetting import LIST_NAME, forget, forget_consignment

APPROVED = ("--approved-by", WHO, "--why", WHY)
MARKED_NAME, MARKED = "Marker Personname", b"marker goods"
"""Sender and goods of `few_decisions`."""


def restore_to(folder: Path, copy: Path, known: Path | None) -> RestoreResult:
    """Restore a copy to a new state directory, with the newest list if it is known there."""
    settings = empty_state(folder)
    if known is not None:
        shutil.copy(known / LIST_NAME, folder)
    return restore(settings, copy)


def list_emptied(folder: Path) -> list[bool]:
    arrivals = entries(folder, *ARRIVAL_KINDS)
    return [isinstance(event, ArrivalEvent) and event.redacted for event in arrivals]


@pytest.fixture
def copy(few: Path, tmp_path: Path) -> Path:
    """A backup from before anything was forgotten."""
    back_up(settings_in(few), tmp_path / "copy")
    return tmp_path / "copy"


def test_an_old_backup_is_restored_without_what_was_forgotten(few: Path, copy: Path, tmp_path: Path) -> None:
    forget_consignment(settings_in(few), "RB1", APPROVAL)
    path, new, late = few / LIST_NAME, tmp_path / "new", tmp_path / "late"
    (line,) = path.read_text().splitlines()
    assert (json.loads(line).keys(), "RB1" in line) == ({"forgotten_at", "digest"}, False)
    assert path.stat().st_mode & 0o077 == 0
    restored = restore_to(new, copy, few)
    assert (restored.manifest.last_sequence, restored.removed) == (4, 1)
    assert list_emptied(new) == [True, False, True, False]
    assert stored_bytes(new).count(MARKED) == stored_bytes(few).count(MARKED) > 0
    with reader_of(new) as log:
        assert log.head == restored.head
        (removal,) = read_redactions(log)
        assert removal.why.startswith("forgotten (20")
    with serving(settings_in(new)) as client:
        assert client.read("/v1/consignments/RB1")["decisions"][0]["reasons"] == []
    assert len(entries(new)) == 6, "it is removed once, after the entry of the restore"
    back_up(settings_in(new), tmp_path / "again")
    assert (tmp_path / "again" / "keys" / LIST_NAME).read_text() == path.read_text()
    assert restore_to(late, copy, None).removed == 0
    assert list_emptied(late) == [False] * 4
    shutil.copy(path, late)
    with serving(settings_in(late)):
        assert list_emptied(late) == [True, False, True, False]


def test_what_is_sent_again_after_it_was_forgotten_stays(few: Path, tmp_path: Path) -> None:
    forget_consignment(settings_in(few), "RB2", APPROVAL)
    # The list has the machine's time, before.
    with serving(settings_in(few), lambda: to_us(day(5_000))) as client:
        client.score("RB2", received_at=day(4_999), description=MARKED.decode())
    back_up(settings_in(few), tmp_path / "copy")
    assert restore_to(tmp_path / "new", tmp_path / "copy", few).removed == 0
    assert list_emptied(tmp_path / "new") == [False, True, False, False, False]


def test_a_removal_that_was_killed_after_the_list_is_completed_by_the_next_start_and_without_a_list_there_is_none(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fault: BaseException, *_: object) -> None:
        raise fault

    full, words = OSError("no space left on device"), "list .* cannot be written.*nothing was removed"
    for place, raised, fault, told_words in (
        ("serving.state.forgetting.replace_file", full, FileFault, words),
        ("serving.event_log.log.EventLog.redact", KeyboardInterrupt(), KeyboardInterrupt, None),
    ):
        with monkeypatch.context() as broken:
            broken.setattr(place, partial(fail, raised))
            with pytest.raises(fault, match=told_words):
                forget_consignment(settings_in(few), "RB1", APPROVAL)
        assert list_emptied(few) == [False] * 4
    with serving(settings_in(few)):
        assert list_emptied(few) == [True, False, True, False]
    (few / LIST_NAME).write_text((few / LIST_NAME).read_text() + "half a li")
    damaged = pytest.raises(BadSetting, match=r"forgotten\.jsonl line 2: the list .* is damaged")
    with damaged, serving(settings_in(few)):
        pass


def test_old_backups_of_the_log_go_with_their_keys_and_nothing_else(few: Path, tmp_path: Path) -> None:
    logs, keys = tmp_path / "logs", tmp_path / "keys"
    for name in ("first", "second"):
        back_up(settings_in(few), logs / name, keys / name)
    for name, changes in (("first", {}), ("other", {"log_id": "another"})):
        if changes:
            shutil.copytree(logs / "first", logs / name)
            shutil.copytree(keys / "first", keys / name)
        path = logs / name / "manifest.json"
        manifest = json.loads(path.read_text()) | {"created_at": "2024-03-01T00:00:00+00:00"} | changes
        path.write_text(json.dumps(manifest))
    (logs / "notes").mkdir()
    words = ("backup", str(logs / "third"), "--keys", str(keys / "third"), "--keep-days", "30")
    assert told(few, *words)["deleted"] == [str(logs / "first")]
    assert sorted(path.name for path in logs.iterdir()) == ["notes", "other", "second", "third"]
    assert sorted(path.name for path in keys.iterdir()) == ["other", "second", "third"]


def test_a_later_key_file_is_kept_by_restore_and_created_once(few: Path, copy: Path, tmp_path: Path) -> None:
    new = told(few, "data-key", "rotate")["id"]
    shutil.copy(few / "data.key", tmp_path)
    settings = empty_state(tmp_path / "new", NPSRISK_DATA_KEY_FILE=str(tmp_path / "data.key"))
    assert restore(settings, copy).manifest.last_sequence == 4
    assert new in (tmp_path / "data.key").read_text()
    assert not (tmp_path / "new" / "data.key").exists()
    another = tmp_path / "another.key"
    assert [run(few, "data-key", "create", str(another))[0] for _ in range(2)] == [0, 2]
    assert another.stat().st_mode & 0o077 == 0
    assert len(read_data_keys(another).sealing_keys) == 1


def test_all_versions_lose_their_content_and_the_others_keep_it(few: Path) -> None:
    for words in ((), ("--before", "2020-01-01", "--consignment", "RB1")):
        code, output = run(few, "forget", *words, *APPROVED)
        assert (code, "either --before or --consignment" in output) == (2, True)
    head, before = told(few, "verify-log")["head"], stored_bytes(few).count(MARKED)
    result = told(few, "forget", "--consignment", "RB1", *APPROVED)
    assert result["versions"] == 2
    with reader_of(few) as log:
        arrivals = list(log.read_arrivals())
    assert [event.redacted for event in arrivals] == [True, False, True, False]
    assert all(event.keys != b"" for event in arrivals)
    assert 0 < stored_bytes(few).count(MARKED) < before
    found = told(few, "verify-log", "--head", head)
    assert (found["fault"], found["emptied"], found["head"]) == ("", 2, result["head"])
    assert found["kept_at"] == found["entries"] - 1
    report = told(few, "parity")
    assert (report["compared"], report["forgotten"]) == (2, 2)
    with serving(settings_in(few)) as client:
        features = client.compute_features("RB9", received_at=day(9), sender_name=MARKED_NAME)
    assert features["history.sender.arrivals_30d"] == 3
    assert told(few, "parity")["compared"] == 3
    with pytest.raises(BadInput, match="no content of this consignment"):
        forget_consignment(settings_in(few), "RB1", APPROVAL)
    for name in ("RB2", "RB3"):
        forget_consignment(settings_in(few), name, APPROVAL)
    assert MARKED not in stored_bytes(few)


@only_sqlite
def test_forgotten_content_is_gone_from_the_files_while_another_process_has_them_open(few: Path) -> None:
    """SQLite would keep its write-ahead log, with the content before, until the last process closes the file."""
    with reader_of(few) as reader:
        assert len(list(reader.read_events())) == 4
        with EventLog.open(database_in(few), Vault.load(few / "data.key")) as log:
            log.append([structs.replace(next(log.read_arrivals()), sequence=5, plain=b"further " + MARKED)])
        for name in ("RB1", "RB2", "RB3"):
            forget_consignment(settings_in(few), name, APPROVAL)
        assert MARKED not in stored_bytes(few)


def test_a_dry_run_counts_beside_a_running_service_and_a_removal_is_refused(past: Path) -> None:
    old, before = "Would delete the content of 12 consignments, up to entry 24", stored_rows(past)
    one, used = "Would delete the content of RB3 (1 version)", "another process uses this state directory"
    with serving(settings_in(past), lambda: to_us(day(LATER + 20))), lock_state(past):
        for words, counted in ((("--before", "2024-04-15"), old), (("--consignment", "RB3"), one)):
            for more, code, told_words in ((("--dry-run",), 0, counted), ((), 2, used)):
                found = run(past, "forget", *words, *APPROVED, *more)
                assert (found[0], told_words in found[1]) == (code, True)
    assert stored_rows(past) == before


def test_it_goes_together_with_removal_by_date_in_either_order(past: Path) -> None:
    forget_consignment(settings_in(past), "RB3", APPROVAL)  # old
    forget_consignment(settings_in(past), "RB101", APPROVAL)  # recent
    forget_old(past)
    with reader_of(past) as log:
        for after in range(0, log.last_sequence, 5):
            assert verify_chain(log, after=after).broken_at is None
    forget_consignment(settings_in(past), "RB13", APPROVAL)
    assert entries(past)
    assert told(past, "parity")["equal"]


@pytest.fixture(scope="module")
def forgotten(lived_past: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_state(lived_past, tmp_path_factory.mktemp("forgotten") / "state")
    done = forget_old(folder)
    assert (done.consignments, done.up_to, done.steps) == (OLD, 2 * OLD, 1)
    return folder


def read_next(folder: Path, *, anew: bool = True) -> dict[str, float]:
    """What a further consignment of a sender that is old and recent reads, from the log alone or with its snapshots."""
    for path in (folder / "snapshots").glob("*") if anew else ():
        path.unlink()
    with serving(settings_in(folder), lambda: to_us(day(LATER + 20))) as client:
        return client.compute_features("NEW", received_at=day(LATER + 19), sender_name="Sender 0")


def test_history_that_is_built_anew_reads_what_it_read_also_for_a_model_with_other_keys_or_after_a_restore(
    past: Path, tmp_path: Path, other_bundle: Path
) -> None:
    """The keys of the model that is published are made while the fields can still be read."""
    publish(past, other_bundle, "2")
    expected = read_next(copy_state(past, tmp_path / "copied"))
    back_up(settings_in(past), tmp_path / "backup")
    forget_old(past)
    assert restore_to(tmp_path / "new", tmp_path / "backup", past).removed == 1
    assert list_emptied(tmp_path / "new") == [True] * OLD + [False] * RECENT
    assert read_next(past) == read_next(tmp_path / "new", anew=False) == expected
    assert expected["history.sender.arrivals_ever"] > 4
    assert expected["history.sender.days_since_first"] > LATER
    assert expected["history.office+carrier.arrivals_ever"] == OLD + RECENT


CHANGES = (
    ("UPDATE events SET keys = hash WHERE sequence = 3", 2 * OLD),
    ("UPDATE events SET score = 0.5 WHERE sequence = 3", 2 * OLD),
    ("UPDATE events SET consignment_id = 'RB99' WHERE sequence = 3", 2 * OLD),
    ("UPDATE events SET hash = content WHERE sequence = 3", 4),
    ("UPDATE events SET plain = content WHERE sequence = 3", 3),
    ("DELETE FROM events WHERE sequence = 3", 4),
    ("UPDATE events SET plain = substr(plain, 1, 0) WHERE sequence = 25", 25),
    ("UPDATE events SET plain = substr(plain, 1, 0) WHERE kind = 'removal'", 1),
    ("DELETE FROM events WHERE kind = 'removal'", 1),
)


@pytest.mark.parametrize(("statement", "broken_at"), CHANGES)
def test_every_other_change_is_seen(forgotten: Path, tmp_path: Path, statement: str, broken_at: int) -> None:
    copy_state(forgotten, tmp_path / "copy")
    execute(tmp_path / "copy", statement)
    assert told(tmp_path / "copy", "verify-log", code=1)["broken_at"] == broken_at


def test_nothing_starts_from_a_damaged_log(few: Path, forgotten: Path, tmp_path: Path) -> None:
    forget_consignment(settings_in(few), "RB1", APPROVAL)
    execute(few, "DELETE FROM events WHERE sequence = 5")
    execute(few, "UPDATE events SET plain = content, score = 0.5 WHERE sequence = 1")
    copy_state(forgotten, tmp_path / "copy")
    execute(tmp_path / "copy", "UPDATE events SET plain = substr(plain, 1, 0) WHERE kind = 'removal'")
    damaged = pytest.raises(ServiceFault, match="log entry 1: the event log is damaged")
    for folder in (few, tmp_path / "copy"):
        with damaged, serving(settings_in(folder)):
            pass


def test_content_is_gone_from_the_files_too_and_history_is_left(
    lived_past: Path, forgotten: Path, tmp_path: Path
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
    for content in (before[0].sealed or b"", before[0].plain):
        assert content not in stored_bytes(forgotten)
    assert "12 of them without content" in run(forgotten, "verify-log")[1]
    found = told(forgotten, "parity")
    assert (found["equal"], found["compared"], found["forgotten"]) == (True, RECENT, OLD)
    assert "12 more cannot be recomputed" in run(forgotten, "parity")[1]
    found = told(forgotten, "export", "--out", str(tmp_path / "out"), "--personal")
    assert [found["tables"][name] for name in ("consignments", "decisions")] == [RECENT, OLD + RECENT]
    assert "12 consignments (all up to entry 24) are not exported" in found["notes"][0]
    assert pd.read_parquet(tmp_path / "out" / "decisions.parquet")["score"].notna().all()
    copied = settings_in(copy_state(forgotten, tmp_path / "copy"))
    with serving(copied, lambda: to_us(day(LATER + 20))) as client:
        known = client.read("/v1/consignments/RB1")
        assert [each["reasons"] for each in known["decisions"]] == [[]]
        client.send("/v1/outcomes", make_outcome("RB1", known_at=day(LATER + 1), inspected_at=day(LATER)))
        client.score("RB1", received_at=day(LATER))


def test_a_second_run_changes_nothing_and_a_later_date_goes_on(past: Path) -> None:
    forget_old(past)
    again = forget_old(past)
    assert (again.consignments, again.steps) == (0, 0)
    with serving(settings_in(past), lambda: to_us(day(3 * LATER))) as client:
        live(client, 3 * LATER - 1, range(90, 91))
    later = forget(settings_in(past), day(2 * LATER), APPROVAL)
    assert later.consignments == RECENT
    assert told(past, "verify-log")["emptied"] == OLD + RECENT
    assert told(past, "parity")["compared"] == 1


def test_a_run_that_was_ended_goes_on_where_it_stopped_and_a_step_is_written_whole_or_not_at_all(
    past: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, write = stored_rows(past), EventLog.redact
    with monkeypatch.context() as refusing:
        refusing.setattr("serving.event_log.log.hash_row", lambda *_: None)  # the database refuses it
        with pytest.raises(ServiceFault, match="cannot be written"):
            forget_old(past)
    assert stored_rows(past) == before

    def die(log: EventLog, removal: Any, *rest: Any) -> Any:
        if removal.after == 14:
            raise ServiceFault("killed")
        return write(log, removal, *rest)

    monkeypatch.setattr("serving.state.forgetting.STEP_ENTRIES", 7)
    with monkeypatch.context() as killing:
        killing.setattr(EventLog, "redact", die)
        with pytest.raises(ServiceFault, match="killed"):
            forget_old(past)
    assert told(past, "verify-log")["emptied"] == 7
    assert forget_old(past).consignments == OLD - 7
    assert told(past, "verify-log")["emptied"] == OLD


def stored_rows(folder: Path) -> list[Any]:
    return execute(folder, "SELECT * FROM events ORDER BY sequence")


def test_what_history_remembers_is_not_touched(lived_past: Path) -> None:
    with pytest.raises(BadInput, match=r"--before: history still needs .*expected 2024-04-2\d or earlier"):
        forget(settings_in(lived_past), day(LATER - 300), APPROVAL)
