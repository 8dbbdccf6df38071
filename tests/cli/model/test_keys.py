"""The verb keys: a key for each approver, and the file of those who may approve."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support.verbs import read_json, run_verb

from models.signatures.key_holders import Approvers

Keys = Callable[..., Result]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """The verb in a state directory with the key of its first approver; `second` has a public key only."""
    assert run("create --name first", tmp_path).exit_code == 0
    return lambda words, code=0: run(words, tmp_path, code)


@pytest.fixture
def second(tmp_path: Path) -> str:
    created = run("create --name second --json", tmp_path / "elsewhere")
    return read_json(created)["public_key"]


def run(words: str, folder: Path, code: int = 0) -> Result:
    done = run_verb(f"keys {words}", NPSRISK_STATE_DIR=str(folder))
    assert done.exit_code == code, done.output
    return done


def test_a_key_is_created_shown_and_listed(keys: Keys, tmp_path: Path) -> None:
    public = keys("show").stdout.strip()
    approver = {"name": "first", "role": "approver", "public_key": public}
    assert read_json(keys("list --json")) == {"signatures": 1, "approvers": [approver]}
    assert "PRIVATE KEY" in (tmp_path / "approver.key").read_text()
    assert "PRIVATE" not in (tmp_path / "approvers.toml").read_text()


def test_a_second_person_is_trusted_and_both_must_sign(keys: Keys, second: str, tmp_path: Path) -> None:
    keys(f"trust second {second}")
    assert "needs 2 of 2 approvers" in keys("require 2").stdout
    assert Approvers.read(tmp_path / "approvers.toml").signatures == 2
    assert "first" in keys("list").stdout


def test_a_person_retires_and_stays_in_the_file(keys: Keys, tmp_path: Path) -> None:
    keys("retire first --until 2026-01-01")
    (member,) = Approvers.read(tmp_path / "approvers.toml").members
    assert str(member.until) == "2026-01-01 00:00:00+00:00"


def test_fewer_active_approvers_than_must_sign_are_a_warning(keys: Keys, second: str) -> None:
    keys(f"trust second {second}")
    assert "warning" not in keys("retire second").output
    keys("require 2")
    told = keys("retire first --until 2999-01-01").stderr
    assert "warning: 0 active approvers are left then, and 2 must sign" in told


def test_an_evaluator_is_added_and_cannot_be_the_second_approver(keys: Keys, second: str) -> None:
    assert "second may sign evidence" in keys(f"trust second {second} --role evaluator").stdout
    assert "second, evaluator" in keys("list").stdout
    assert "more signatures are required" in keys("require 2", 2).stderr


def test_a_file_that_the_user_may_not_write_keeps_its_content_and_no_key_is_left(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a service with API keys the file is in a folder of root."""
    before = (tmp_path / "approvers.toml").read_bytes()

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("models.signatures.key_holders.replace_file", refuse)
    refused = keys(f"create --name insider --key {tmp_path}/other.key", 2).stderr
    assert "the file of approvers cannot be written" in refused
    assert "Permission denied" in refused
    assert not (tmp_path / "other.key").exists()
    assert (tmp_path / "approvers.toml").read_bytes() == before
