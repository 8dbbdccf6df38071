"""The verb dossier: it writes a page and its JSON, shows no secret of the installation, and says what is missing."""

import json
from pathlib import Path

import pytest
from support.verbs import read_json, succeed

from cli.stores import open_registry


@pytest.fixture
def page(model_folder: Path, tmp_path: Path) -> Path:
    return tmp_path / "one.html"


def test_the_page_and_its_json_are_written_with_answers_and_the_same_bytes_again(page: Path) -> None:
    registry = open_registry()
    registry.client.update_model_version("nps-risk", "1", "**REFUSE.** Worse than the champion of then.")
    answers = page.with_name("answers.toml")
    answers.write_text('[answers]\nprovider = " The office of customs. "\nsuppliers = ""\n')
    words = f"--date 2026-01-02 --answers {answers}"
    done = succeed(f"dossier 1 --out {page} {words} --json")
    result, plain = read_json(done), json.loads(page.with_suffix(".json").read_text())
    assert plain["created"] == "2026-01-02"
    assert result["fields"] == plain["fields"]
    assert "legal_basis" in result["to_be_filled"]["legal counsel"]
    assert ("provider" in done.output, "suppliers" in done.output) == (False, True)
    assert "version 1</title>" in page.read_text()
    assert "The office of customs." in page.read_text()
    assert '"The office of customs."' in page.with_suffix(".json").read_text()
    kept = registry.client.get_model_version("nps-risk", "1").description
    assert kept == "**REFUSE.** Worse than the champion of then.", "reading changes no recommendation"
    succeed(f"dossier 1 --out {page.with_name('two.html')} {words}")
    for suffix in (".html", ".json"):
        other = page.with_name(f"two{suffix}")
        assert page.with_suffix(suffix).read_bytes() == other.read_bytes()


def test_no_address_path_or_secret_of_the_installation_is_shown(
    model_folder: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPSRISK_DATABASE_URL", "postgresql+psycopg://user:secret@host.example/log")
    monkeypatch.setenv("NPSRISK_API_KEYS_FILE", "/etc/secret/keys.toml")
    succeed(f"dossier 1 --out {page}")
    written = page.with_suffix(".json").read_text()
    shown = page.read_text() + written
    assert [word for word in ("secret", "host.example", str(model_folder)) if word in shown] == []
    fields = {each["key"]: each for section in json.loads(written)["sections"] for each in section["fields"]}
    rows = fields["security"]["known"]["service_settings"]["rows"]
    settings = {row["name"]: row["value"] for row in rows}
    assert settings["event log"] == "postgresql"
    assert settings["NPSRISK_API_KEYS_FILE"] == "set"
    assert settings["NPSRISK_TLS_CERT_FILE"] == "none"
