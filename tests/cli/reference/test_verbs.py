"""The verbs columns and config: text, JSON and pages say the same, and the pages in docs/ are those that the verbs print."""

import json
from pathlib import Path

import pytest
from support.verbs import refuse, succeed

from cli.reference.tables import build_column_reference, build_setting_tables

DOCS = Path(__file__).resolve().parents[3] / "docs"


def run(words: str) -> str:
    return succeed(words).output


@pytest.mark.parametrize(("verb", "page"), [("columns", "columns.md"), ("config", "settings.md")])
def test_the_page_is_what_the_verb_prints(verb: str, page: str) -> None:
    assert (DOCS / page).read_text() == run(f"{verb} --markdown"), "run make reference"


def test_columns_prints_every_column_as_text_and_as_json() -> None:
    text, found = run("columns"), json.loads(run("columns --json"))
    for table in build_column_reference():
        assert found["tables"][table.title] == table.rows
        for row in table.rows:
            assert f"\n  {row['column']}  ({row['type']}" in text


def test_config_prints_every_setting_as_text_and_as_json() -> None:
    text, found = run("config"), json.loads(run("config --json"))
    names = [row["name"] for table in build_setting_tables() for row in table.rows]
    assert [each["name"] for each in (*found["training"], *found["environment"])] == names
    assert [name for name in names if f"\n  {name}  (" not in text] == []


def test_config_prints_no_value_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPSRISK_DATABASE_URL", "postgresql://user:secret@host/log")
    monkeypatch.setenv("NPSRISK_KEY_PASSPHRASE", "secret")
    assert "secret" not in run("config") + run("config --json")


def test_config_shows_what_a_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[split]\ntest_days = 14\n[columns]\nnumeric = ["tax_rate"]\n')
    assert run(f"config --file {file}").splitlines() == [
        "config.toml is valid; settings that differ from the defaults: 2",
        "columns.numeric = tax_rate (default: none)",
        "split.test_days = 14 (default: 28)",
    ]
    found = json.loads(run(f"config --file {file} --json"))
    assert found["differences"]["split.test_days"] == {"value": 14, "default": 28}


@pytest.mark.parametrize(
    ("text", "named"),
    [("[split]\ntest_day = 14\n", "test_days"), ("[model]\ntrees = 0\n", "trees"), ("[split", "TOML")],
)
def test_config_refuses_a_bad_file_with_exit_code_2(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    assert named in refuse(f"config --file {tmp_path}/config.toml")
