"""Backup and restore: what a copy holds is all that was acknowledged, verified, and nothing is replaced or left half."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support.damage import flip_bit
from support.databases import copy_state, execute
from support.examples import make_consignment
from support.serving_examples import empty_state, scored, serving, settings_in
from support.site import Site, entries, run, told

from consignments.errors import BadInput, FileFault, ServiceFault
from serving.http.server import serve
from serving.maintenance import backup
from serving.maintenance.backup import back_up, restore
from serving.process.settings import Settings

MARKED = {"sender_name": "Marker Personname", "description": "marker goods"}
KNOWN = make_consignment("RB3", **MARKED, gross_weight_kg=1.0)
"""The last of `few_decisions`."""


@pytest.fixture
def origin(few_decisions: Path, tmp_path: Path) -> Settings:
    """A stopped installation with four decisions."""
    return settings_in(copy_state(few_decisions, tmp_path / "origin"))


@pytest.fixture
def copy(origin: Settings, tmp_path: Path) -> Path:
    back_up(origin, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_backup_of_a_running_service_is_restored_and_served(site: Site, tmp_path: Path) -> None:
    copy, new = tmp_path / "copy", tmp_path / "new"
    with site.serve() as client:
        first = client.score("RB1")
        assert site.told("backup", str(copy))["last_sequence"] == 1
        assert scored(client, "RB2") == 200
    settings = empty_state(new)
    assert told(new, "restore", str(copy))["head_now"] == told(new, "verify-log")["head"]
    with serving(settings) as client:
        assert client.score("RB1") == first | {"repeated": True}
    assert run(new, "parity")[0] == 0
    assert len(entries(new)) == 2
    private = ("events.db", "data.key", "release.json", "manifest.json")
    files = [path for folder in (new, copy) for path in folder.rglob("*") if path.name in private]
    assert {path.stat().st_mode & 0o077 for path in files} == {0}


def test_a_restore_never_gives_a_decision_id_again(tmp_path: Path, origin: Settings, copy: Path) -> None:
    with serving(origin) as client:
        lost, kept = client.score("RB8")["decision_id"], client.send("/v1/scores", KNOWN)["decision_id"]
        before = client.read("/v1/decisions")
    settings = empty_state(tmp_path / "new")
    restore(settings, copy)
    with serving(settings) as client:
        assert client.get(f"/v1/decisions?after={before['next'] + 1}").status_code == 409
        new, again = client.score("RB9")["decision_id"], client.send("/v1/scores", KNOWN)["decision_id"]
        after = client.read("/v1/decisions")
    assert again == kept
    assert new.partition("-")[0] != lost.partition("-")[0]
    assert before["log"] != after["log"] == new.partition("-")[0]


def list_outside(name: str, manifest: Path) -> None:
    told = json.loads(manifest.read_text())
    told["files"][name] = told["files"]["events.db"]
    manifest.write_text(json.dumps(told))


OUTSIDE = ("models/../../escaped", "/escaped", "keys\\escaped", "escaped", "models/./a")
SPOILT: list[tuple[str, Callable[[Path], None], str]] = [
    *((name, flip_bit, r"was changed.*nothing was restored") for name in ("events.db", "keys/data.key")),
    *((name, Path.unlink, "cannot be read") for name in ("events.db", "keys/data.key")),
    *(("manifest.json", partial(list_outside, name), "not one of npsrisk backup") for name in OUTSIDE),
]


@pytest.mark.parametrize(("name", "spoil", "words"), SPOILT)
def test_a_changed_or_missing_file_or_a_path_outside_is_refused_and_nothing_is_put_in_place(
    tmp_path: Path, copy: Path, name: str, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(copy / name)
    with pytest.raises(FileFault, match=words):
        restore(empty_state(tmp_path / "new"), copy)
    assert {path.name for path in (tmp_path / "new").iterdir()} <= {"lock", ".restore.part"}


def test_nothing_is_replaced_and_no_bad_log_backed_up(tmp_path: Path, origin: Settings, copy: Path) -> None:
    with pytest.raises(FileFault, match="not empty"):
        back_up(origin, copy)
    with pytest.raises(FileFault, match="already a file"):
        restore(origin, copy)
    assert len(entries(tmp_path / "origin")) == 4
    with pytest.raises(BadInput, match="the keys would be in the backup"):
        back_up(origin, tmp_path / "new", tmp_path / "new")
    back_up(origin, tmp_path / "log", tmp_path / "keys")
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["approvers.toml", "data.key"]
    assert not list((tmp_path / "log").rglob("*.key*"))
    with pytest.raises(FileFault, match="cannot be read"):
        restore(empty_state(tmp_path / "without"), tmp_path / "log")
    restored = restore(empty_state(tmp_path / "with"), tmp_path / "log", tmp_path / "keys")
    assert restored.manifest.last_sequence == 4
    execute(tmp_path / "origin", "UPDATE events SET asked_by = 'somebody' WHERE sequence = 2")
    with pytest.raises(ServiceFault, match="log entry 2: the event log is damaged"):
        back_up(origin, tmp_path / "another")
    assert not (tmp_path / "another").exists()
    (tmp_path / "origin" / backup.LIST_NAME).mkdir()
    with pytest.raises(FileFault, match="another: the folder cannot be written"):
        back_up(origin, tmp_path / "another", tmp_path / "more")


class KilledError(BaseException):
    """Ends a run as a kill does: no clean-up follows."""


def test_after_a_kill_in_the_middle_a_restore_is_repeated_and_until_then_nothing_starts(
    tmp_path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = empty_state(tmp_path / "new")
    moves = iter(range(2))

    def move(source: Path, target: Path) -> None:
        if next(moves, None) is None:
            raise KilledError
        Path(source).rename(target)

    with monkeypatch.context() as patched:
        patched.setattr(backup.shutil, "move", move)
        with pytest.raises(KilledError):
            restore(settings, copy)
        patched.setattr("serving.http.server.build_server", None)  # a start fails, and does not run on
        with pytest.raises(ServiceFault, match="a restore of this state directory was interrupted"):
            serve("127.0.0.1", 0, settings)
    restore(settings, copy)
    with serving(settings) as client:
        assert client.get("/v1/consignments/RB1").status_code == 200
    assert not (tmp_path / "new/.restore.part").exists()


def test_a_killed_backup_leaves_none(
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
