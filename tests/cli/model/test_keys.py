"""The verb keys: a key for each approver, and the file of those who may approve."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from models.signatures.key_holders import Approvers
from npsrisk import main


def run(folder: Path, *words: str, fails: bool = False) -> str:
    done = CliRunner(env={"NPSRISK_STATE_DIR": str(folder)}).invoke(main, ["keys", *words])
    assert done.exit_code == (2 if fails else 0), done.output
    return done.stderr if fails else done.stdout


def read_json(text: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(text.splitlines()[-1])
    return result


def test_a_key_is_created_shown_and_listed(tmp_path: Path) -> None:
    created = read_json(run(tmp_path, "create", "--name", "first", "--json"))
    assert run(tmp_path, "show").strip() == created["public_key"]
    assert read_json(run(tmp_path, "list", "--json")) == {
        "signatures": 1,
        "approvers": [{"name": "first", "role": "approver", "public_key": created["public_key"]}],
    }
    assert "PRIVATE KEY" in (tmp_path / "approver.key").read_text()
    assert "PRIVATE" not in (tmp_path / "approvers.toml").read_text()


def test_another_person_is_trusted_by_the_public_key_alone_and_two_must_sign(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    public = read_json(run(other, "create", "--name", "second", "--json"))["public_key"]
    run(tmp_path, "create", "--name", "first")
    assert "more signatures are required" in run(tmp_path, "require", "2", fails=True)
    run(tmp_path, "trust", "second", public)
    assert "needs 2 of 2 approvers" in run(tmp_path, "require", "2")
    assert Approvers.read(tmp_path / "approvers.toml").signatures == 2
    assert "first" in run(tmp_path, "list")


def test_a_person_retires_and_stays_in_the_file(tmp_path: Path) -> None:
    run(tmp_path, "create", "--name", "first")
    run(tmp_path, "retire", "first", "--until", "2026-01-01")
    (member,) = Approvers.read(tmp_path / "approvers.toml").members
    assert str(member.until) == "2026-01-01 00:00:00+00:00"
    assert "no such approver" in run(tmp_path, "retire", "nobody", fails=True)


def test_fewer_active_approvers_than_must_sign_are_a_warning(tmp_path: Path) -> None:
    public = read_json(run(tmp_path / "elsewhere", "create", "--name", "second", "--json"))["public_key"]
    run(tmp_path, "create", "--name", "first")
    run(tmp_path, "trust", "second", public)
    assert "warning" not in run(tmp_path, "retire", "second")
    run(tmp_path, "require", "2")
    words = ["keys", "retire", "first", "--until", "2999-01-01"]
    told = CliRunner(env={"NPSRISK_STATE_DIR": str(tmp_path)}).invoke(main, words)
    assert told.exit_code == 0
    assert "warning: 0 active approvers are left then, and 2 must sign" in told.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("create", "--name", "first"), "an approver of this name"),
        (("create", "--name", "another"), "there is a key already"),
        (("trust", "first", "AAAA"), "an approver of this name"),
        (("trust", "another", "AAAA"), "not a public key"),
        (("create", "--name", " ", "--key", "other.key"), "an approver needs a name"),
        (("show", "--key", "none.key"), "the signing key cannot be read"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    run(tmp_path, "create", "--name", "first")
    before = (tmp_path / "approvers.toml").read_bytes(), (tmp_path / "approver.key").read_bytes()
    assert expected in run(tmp_path, *words, fails=True)
    assert ((tmp_path / "approvers.toml").read_bytes(), (tmp_path / "approver.key").read_bytes()) == before


def test_an_evaluator_is_added_and_cannot_be_the_second_approver(tmp_path: Path) -> None:
    public = read_json(run(tmp_path / "elsewhere", "create", "--name", "second", "--json"))["public_key"]
    run(tmp_path, "create", "--name", "first")
    assert "second may sign evidence" in run(tmp_path, "trust", "second", public, "--role", "evaluator")
    assert "second, evaluator" in run(tmp_path, "list")
    assert "more signatures are required" in run(tmp_path, "require", "2", fails=True)


def test_a_file_that_the_user_may_not_write_keeps_its_content_and_no_key_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a service with API keys the file is in a folder of root."""
    run(tmp_path, "create", "--name", "first")
    before = (tmp_path / "approvers.toml").read_bytes()

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("models.signatures.key_holders.replace_file", refuse)
    other = tmp_path / "other.key"
    refused = run(tmp_path, "create", "--name", "insider", "--key", str(other), fails=True)
    assert "the file of approvers cannot be written" in refused
    assert "Permission denied" in refused
    assert not other.exists()
    assert (tmp_path / "approvers.toml").read_bytes() == before
