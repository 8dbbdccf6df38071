"""The verb dossier: it writes a page and its JSON, shows no secret of the installation, and says what is missing."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.stores import open_registry
from npsrisk import main


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["dossier", *words])


def test_the_verb_writes_the_page_and_its_json_and_restores_the_description(
    model_folder: Path, tmp_path: Path
) -> None:
    registry = open_registry()
    registry.client.update_model_version("nps-risk", "1", "PROMOTE: better in every measure")
    done = run("1", "--out", str(tmp_path / "one.html"), "--date", "2026-01-02", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout.splitlines()[-1])
    plain = json.loads((tmp_path / "one.json").read_text())
    assert plain["created"] == "2026-01-02"
    assert result["fields"] == plain["fields"]
    assert "legal_basis" in result["to_be_filled"]["legal counsel"]
    assert "version 1</title>" in (tmp_path / "one.html").read_text()
    assert "better in every measure" not in registry.client.get_model_version("nps-risk", "1").description


def test_the_same_version_gives_the_same_bytes(model_folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert run("1", "--out", str(tmp_path / f"{name}.html"), "--date", "2026-01-02").exit_code == 0
    for suffix in ("html", "json"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


def test_no_address_path_or_secret_of_the_installation_is_shown(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPSRISK_DATABASE_URL", "postgresql+psycopg://user:secret@host.example/log")
    monkeypatch.setenv("NPSRISK_API_KEYS_FILE", "/etc/secret/keys.toml")
    assert run("1", "--out", str(tmp_path / "one.html")).exit_code == 0
    text = (tmp_path / "one.html").read_text() + (tmp_path / "one.json").read_text()
    assert [word for word in ("secret", "host.example", str(model_folder)) if word in text] == []
    plain = json.loads((tmp_path / "one.json").read_text())
    fields = {field["key"]: field for section in plain["sections"] for field in section["fields"]}
    rows = fields["security"]["known"]["service_settings"]["rows"]
    settings = {row["name"]: row["value"] for row in rows}
    assert settings["event log"] == "postgresql"
    assert settings["NPSRISK_API_KEYS_FILE"] == "set"
    assert settings["NPSRISK_TLS_CERT_FILE"] == "none"


def test_answers_are_in_the_document(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "answers.toml").write_text('[answers]\nprovider = "The office of customs."\n')
    done = run("1", "--out", str(tmp_path / "one.html"), "--answers", str(tmp_path / "answers.toml"))
    assert done.exit_code == 0
    assert "The office of customs." in (tmp_path / "one.html").read_text()
    assert "provider" not in done.output.replace("one.", "")


@pytest.mark.parametrize(
    ("words", "named"),
    [(("1", "--out", "one.pdf"), "FILE.html"), (("7", "--out", "one.html"), "no such model version")],
)
def test_bad_input_ends_with_exit_code_2(model_folder: Path, words: tuple[str, ...], named: str) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert named in done.output
