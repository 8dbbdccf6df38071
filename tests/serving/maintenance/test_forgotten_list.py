"""What was forgotten stays so: a log that is restored from an older copy is cleared by the list beside the data key before anything is served."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.databases import database_in, execute, reader_of, state_environment, stored_bytes
from support.examples import day, make_consignment
from support.serving_examples import serving, settings_in
from support.serving_past import APPROVAL, LATER, OLD, RECENT, Clock, forget_old

from consignments.errors import BadSetting, ServiceFault
from features.history.data_keys import read_data_keys
from npsrisk import main
from serving.event_log.log import EventLog
from serving.event_log.redactions import read_redactions
from serving.event_log.verification import verify_chain
from serving.maintenance.backup import RestoreResult, back_up, restore
from serving.process.settings import Settings
from serving.state.forgetting import LIST_NAME, forget_consignment

TEXT = "marker goods"


@pytest.fixture
def state(few: Path) -> Path:
    return few


def restore_to(folder: Path, copy: Path, known: Path | None) -> RestoreResult:
    """Restore a copy to a new state directory, with the newest list if it is known there."""
    folder.mkdir()
    if known is not None:
        shutil.copy(known / LIST_NAME, folder)
    here = {"NPSRISK_STATE_DIR": str(folder), "NPSRISK_DATABASE_URL": database_in(folder)}
    return restore(Settings.model_validate(here), copy)


def list_emptied(folder: Path) -> list[bool]:
    with reader_of(folder) as log:
        assert verify_chain(log).broken_at is None
        return [event.redacted for event in log.read_arrivals()]


def test_a_backup_from_before_is_restored_without_what_was_forgotten_since(
    state: Path, tmp_path: Path
) -> None:
    back_up(settings_in(state), tmp_path / "copy")
    forget_consignment(settings_in(state), "RB1", APPROVAL)
    restored = restore_to(tmp_path / "new", tmp_path / "copy", state)
    assert (restored.manifest.last_sequence, restored.removed) == (4, 1)
    assert list_emptied(tmp_path / "new") == [True, False, True, False]
    assert stored_bytes(tmp_path / "new").count(TEXT.encode()) == stored_bytes(state).count(TEXT.encode()) > 0
    with reader_of(tmp_path / "new") as log:
        assert log.head == restored.head
        (removal,) = read_redactions(log)
        assert removal.why.startswith("forgotten (20")
    with serving(settings_in(tmp_path / "new")) as client:
        assert client.get("/v1/consignments/RB1").json()["decisions"][0]["reasons"] == []
    assert list_emptied(tmp_path / "new") == [True, False, True, False]
    with reader_of(tmp_path / "new") as log:
        assert log.last_sequence == 6, "it is removed once, after the entry of the restore"


def test_a_start_removes_it_where_the_list_came_after_the_restore(state: Path, tmp_path: Path) -> None:
    back_up(settings_in(state), tmp_path / "copy")
    forget_consignment(settings_in(state), "RB2", APPROVAL)
    assert restore_to(tmp_path / "new", tmp_path / "copy", None).removed == 0
    assert list_emptied(tmp_path / "new") == [False] * 4
    shutil.copy(state / LIST_NAME, tmp_path / "new")
    with serving(settings_in(tmp_path / "new")):
        assert list_emptied(tmp_path / "new") == [False, True, False, False]


def test_old_content_of_a_copy_goes_again_and_history_stays(past: Path, tmp_path: Path) -> None:
    state = past
    back_up(settings_in(state), tmp_path / "copy")
    forget_old(state)
    assert restore_to(tmp_path / "new", tmp_path / "copy", state).removed == 1
    assert list_emptied(tmp_path / "new") == [True] * OLD + [False] * RECENT
    found = []
    for folder in (state, tmp_path / "new"):
        clock = Clock()
        clock.date = day(LATER + 20)
        with serving(settings_in(folder), clock) as client:
            c = make_consignment("NEW", received_at=day(LATER + 19), sender_name="Sender 0")
            found.append(client.post("/v1/scores?features=true", c).json()["features"])
    assert found[0] == found[1]


def test_what_is_sent_again_after_it_was_forgotten_stays(state: Path, tmp_path: Path) -> None:
    forget_consignment(settings_in(state), "RB2", APPROVAL)
    far = Clock()
    far.date = day(5_000)  # the list has the time of the machine, which is before
    with serving(settings_in(state), far) as client:
        c = make_consignment("RB2", received_at=day(4_999), description=TEXT)
        assert client.post("/v1/scores", c).status_code == 200
    back_up(settings_in(state), tmp_path / "copy")
    assert restore_to(tmp_path / "new", tmp_path / "copy", state).removed == 0
    assert list_emptied(tmp_path / "new") == [False, True, False, False, False]


def test_the_list_names_nobody_and_is_private_and_in_the_backup(state: Path, tmp_path: Path) -> None:
    forget_consignment(settings_in(state), "RB1", APPROVAL)
    path = state / LIST_NAME
    (line,) = path.read_text().splitlines()
    assert set(json.loads(line)) == {"forgotten_at", "digest"}
    assert "RB1" not in line
    assert path.stat().st_mode & 0o077 == 0
    back_up(settings_in(state), tmp_path / "copy")
    assert (tmp_path / "copy" / "keys" / LIST_NAME).read_text() == path.read_text()
    restore_to(tmp_path / "new", tmp_path / "copy", None)
    assert (tmp_path / "new" / LIST_NAME).read_text() == path.read_text()


def test_a_removal_that_was_killed_after_the_list_is_completed_by_the_next_start(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(EventLog, "redact", die)
        with pytest.raises(KeyboardInterrupt):
            forget_consignment(settings_in(state), "RB1", APPROVAL)
    assert list_emptied(state) == [False] * 4
    with serving(settings_in(state)):
        assert list_emptied(state) == [True, False, True, False]


def test_nothing_is_removed_where_the_list_cannot_be_written(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("serving.state.forgetting.replace_file", full)
    with pytest.raises(
        ServiceFault, match=r"list of what was forgotten cannot be written.*nothing was removed"
    ):
        forget_consignment(settings_in(state), "RB1", APPROVAL)
    assert list_emptied(state) == [False] * 4


def test_a_list_that_cannot_be_read_lets_nothing_start(state: Path) -> None:
    (state / LIST_NAME).write_text(
        '{"forgotten_at":"2024-03-01T00:00:00Z","digest":"00ff00ff00ff00ff"}\nhalf a li'
    )
    with (
        pytest.raises(BadSetting, match=r"forgotten\.jsonl line 2: the list .* is damaged"),
        serving(settings_in(state)),
    ):
        pass


def test_damage_is_told_before_anything_is_removed(state: Path, tmp_path: Path) -> None:
    forget_consignment(settings_in(state), "RB1", APPROVAL)
    execute(state, "DELETE FROM events WHERE sequence = 5")
    execute(state, "UPDATE events SET plain = content, score = 0.5 WHERE sequence = 1")
    with (
        pytest.raises(ServiceFault, match="log entry 1: the event log is damaged"),
        serving(settings_in(state)),
    ):
        pass


def test_old_backups_of_the_log_are_deleted_with_their_keys_and_nothing_else(
    state: Path, tmp_path: Path
) -> None:
    logs, keys = tmp_path / "logs", tmp_path / "keys"
    for name in ("first", "second"):
        back_up(settings_in(state), logs / name, keys / name)
    for name in ("first", "other"):
        path = logs / name / "manifest.json"
        if name == "other":
            shutil.copytree(logs / "first", logs / name)
            shutil.copytree(keys / "first", keys / name)
        manifest = json.loads(path.read_text()) | {"created_at": "2024-03-01T00:00:00+00:00"}
        path.write_text(json.dumps(manifest | ({"log_id": "another"} if name == "other" else {})))
    (logs / "notes").mkdir()
    words = ("backup", str(logs / "third"), "--keys", str(keys / "third"), "--keep-days", "30", "--json")
    done = CliRunner().invoke(main, words, env=state_environment(state))
    assert done.exit_code == 0, done.output
    assert json.loads(done.output.splitlines()[-1])["deleted"] == [str(logs / "first")]
    assert sorted(path.name for path in logs.iterdir()) == ["notes", "other", "second", "third"]
    assert sorted(path.name for path in keys.iterdir()) == ["other", "second", "third"]


def test_a_later_file_of_data_keys_is_kept_by_a_restore(state: Path, tmp_path: Path) -> None:
    back_up(settings_in(state), tmp_path / "copy")
    done = CliRunner().invoke(main, ["data-key", "rotate", "--json"], env=state_environment(state))
    assert done.exit_code == 0, done.output
    new = json.loads(done.output.splitlines()[-1])["id"]
    shutil.copy(state / "data.key", tmp_path)
    (tmp_path / "new").mkdir()
    settings = Settings.model_validate({
        "NPSRISK_STATE_DIR": str(tmp_path / "new"), "NPSRISK_DATABASE_URL": database_in(tmp_path / "new"),
        "NPSRISK_DATA_KEY_FILE": str(tmp_path / "data.key"),
    })  # fmt: skip
    assert restore(settings, tmp_path / "copy").manifest.last_sequence == 4
    assert new in (tmp_path / "data.key").read_text()
    assert not (tmp_path / "new" / "data.key").exists()


def test_data_keys_for_another_place_are_created_once(tmp_path: Path) -> None:
    for code in (0, 2):
        done = CliRunner().invoke(main, ["data-key", "create", str(tmp_path / "data.key")])
        assert done.exit_code == code, done.output
    assert (tmp_path / "data.key").stat().st_mode & 0o077 == 0
    assert len(read_data_keys(tmp_path / "data.key").sealing_keys) == 1
