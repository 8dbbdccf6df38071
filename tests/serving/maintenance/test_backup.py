"""Backup and restore: what a copy holds is all that was acknowledged, verified, and nothing is replaced or left half."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.databases import copy_state, database_in, execute, reader_of, state_environment
from support.examples import make_consignment
from support.serving_examples import publish, scored, serving, settings_in

from consignments.errors import FileFault, ServiceFault
from npsrisk import main
from serving.event_log.verification import verify_chain
from serving.http.server import serve
from serving.maintenance import backup
from serving.maintenance.backup import back_up, restore
from serving.process.settings import Settings

KNOWN = make_consignment(
    "RB3", sender_name="Marker Personname", description="marker goods", gross_weight_kg=1.0
)
"""The last of `few_decisions`."""


def empty_settings(folder: Path) -> Settings:
    folder.mkdir()
    here = {"NPSRISK_STATE_DIR": str(folder), "NPSRISK_DATABASE_URL": database_in(folder)}
    return Settings.model_validate(here)


@pytest.fixture
def origin(few_decisions: Path, tmp_path: Path) -> Settings:
    """A stopped installation with four decisions."""
    copy_state(few_decisions, tmp_path / "origin")
    return settings_in(tmp_path / "origin")


def run(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(main, words, env=state_environment(folder))


def test_a_backup_of_a_running_service_is_restored_and_served(tmp_path: Path, bundle: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    publish(old, bundle, "1")
    with serving(settings_in(old)) as client:
        first = client.post("/v1/scores", make_consignment("RB1")).json()
        done = run(old, "backup", str(tmp_path / "copy"), "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.output.splitlines()[-1])["last_sequence"] == 1
        assert scored(client, "RB2") == 200
    settings = empty_settings(new)
    done = run(new, "restore", str(tmp_path / "copy"), "--json")
    assert done.exit_code == 0, done.output
    with reader_of(new) as log:
        assert json.loads(done.output.splitlines()[-1])["head_now"] == log.head
    with serving(settings) as client:
        assert client.post("/v1/scores", make_consignment("RB1")).json() == first | {"repeated": True}
    assert run(new, "parity").exit_code == 0
    with reader_of(new) as log:
        assert verify_chain(log)[:2] == (2, None)
    private = ("events.db", "data.key", "release.json", "manifest.json")
    for path in [*new.rglob("*"), *(tmp_path / "copy").rglob("*")]:
        assert path.name not in private or path.stat().st_mode & 0o077 == 0, path


def test_an_identifier_of_a_decision_is_never_given_again_after_a_restore(
    tmp_path: Path, origin: Settings
) -> None:
    back_up(origin, tmp_path / "copy")
    with serving(origin) as client:
        lost = client.post("/v1/scores", make_consignment("RB8")).json()["decision_id"]
        kept = client.post("/v1/scores", KNOWN).json()["decision_id"]
        before = client.get("/v1/decisions").json()
    settings = empty_settings(tmp_path / "new")
    restore(settings, tmp_path / "copy")
    with serving(settings) as client:
        assert client.get(f"/v1/decisions?after={before['next'] + 1}").status_code == 409
        new = client.post("/v1/scores", make_consignment("RB9")).json()["decision_id"]
        again = client.post("/v1/scores", KNOWN).json()["decision_id"]
        after = client.get("/v1/decisions").json()
    assert again == kept
    assert new.partition("-")[0] != lost.partition("-")[0]
    assert before["log"] != after["log"] == new.partition("-")[0]


def test_keys_may_be_kept_apart(tmp_path: Path, origin: Settings) -> None:
    back_up(origin, tmp_path / "log", tmp_path / "keys")
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["approvers.toml", "data.key"]
    assert not list((tmp_path / "log").rglob("*.key*"))
    with pytest.raises(FileFault, match="cannot be read"):
        restore(empty_settings(tmp_path / "without"), tmp_path / "log")
    restored = restore(empty_settings(tmp_path / "with"), tmp_path / "log", tmp_path / "keys")
    assert restored.manifest.last_sequence == 4


@pytest.mark.parametrize("name", ["events.db", "keys/data.key"])
def test_a_changed_or_missing_file_is_refused_and_nothing_is_put_in_place(
    tmp_path: Path, origin: Settings, name: str
) -> None:
    back_up(origin, tmp_path / "copy")
    file = tmp_path / "copy" / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    settings = empty_settings(tmp_path / "new")
    with pytest.raises(FileFault, match=r"was changed.*nothing was restored"):
        restore(settings, tmp_path / "copy")
    file.unlink()
    with pytest.raises(FileFault, match="cannot be read"):
        restore(settings, tmp_path / "copy")
    assert not [path for path in (tmp_path / "new").iterdir() if path.name not in ("lock", ".restore.part")]


@pytest.mark.parametrize(
    "name", ["models/../../escaped", "/escaped", "keys\\escaped", "escaped", "models/./a"]
)
def test_a_manifest_that_names_a_path_outside_is_refused(tmp_path: Path, origin: Settings, name: str) -> None:
    back_up(origin, tmp_path / "copy")
    manifest = json.loads((tmp_path / "copy/manifest.json").read_text())
    manifest["files"][name] = manifest["files"]["events.db"]
    (tmp_path / "copy/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FileFault, match="not one of npsrisk backup"):
        restore(empty_settings(tmp_path / "new"), tmp_path / "copy")


def test_neither_replaces_anything(tmp_path: Path, origin: Settings) -> None:
    back_up(origin, tmp_path / "copy")
    with pytest.raises(FileFault, match="not empty"):
        back_up(origin, tmp_path / "copy")
    with pytest.raises(FileFault, match="already a file"):
        restore(origin, tmp_path / "copy")
    with reader_of(tmp_path / "origin") as log:
        assert log.last_sequence == 4


def test_a_damaged_log_is_not_backed_up(tmp_path: Path, origin: Settings) -> None:
    execute(tmp_path / "origin", "UPDATE events SET asked_by = 'somebody' WHERE sequence = 2")
    with pytest.raises(ServiceFault, match="log entry 2: the event log is damaged"):
        back_up(origin, tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["origin"]


class KilledError(BaseException):
    """Ends a run as a kill does: no clean-up follows."""


def test_after_a_kill_in_the_middle_a_restore_is_repeated_and_until_then_nothing_starts(
    tmp_path: Path, origin: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(origin, tmp_path / "copy")
    settings = empty_settings(tmp_path / "new")
    moves = iter(range(2))

    def move(source: Path, target: Path) -> None:
        if next(moves, None) is None:
            raise KilledError
        Path(source).rename(target)

    with monkeypatch.context() as patched:
        patched.setattr(backup.shutil, "move", move)
        with pytest.raises(KilledError):
            restore(settings, tmp_path / "copy")
    with pytest.raises(ServiceFault, match="a restore of this state directory was interrupted"):
        serve("127.0.0.1", 0, settings)
    restore(settings, tmp_path / "copy")
    with serving(settings) as client:
        assert client.get("/v1/consignments/RB1").status_code == 200
    assert not (tmp_path / "new/.restore.part").exists()


def test_a_kill_in_the_middle_of_a_backup_leaves_no_backup(
    tmp_path: Path, origin: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(backup.Path, "rename", die)
        patched.setattr(shutil, "rmtree", lambda *_args, **_options: None)
        with pytest.raises(KilledError):
            back_up(origin, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    back_up(origin, tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "origin"]
