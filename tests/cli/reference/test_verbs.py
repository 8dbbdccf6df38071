"""The verbs columns and config: text, JSON and the pages in docs/ say the same, and say what the checks of tables and settings do."""

import json
import re
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest
from support.registered_model import make_new_consignments
from support.verbs import read_json, succeed

from cli.reference.tables import build_column_reference, list_environment_settings, list_training_settings
from consignments.errors import BadSetting, NpsriskError
from consignments.files.table_writers import write_table
from consignments.records import Consignment
from consignments.tables import check_frame
from serving.process.settings import OTHER_NAMES, SETTING_NAMES, Settings
from training.config import TrainConfig, parse_config

REPOSITORY = Path(__file__).resolve().parents[3]
PRODUCT = ("cli", "consignments", "features", "models", "operation", "serving", "training")
TABLES = {table.title: table.rows for table in build_column_reference()}
TRAINING, ENVIRONMENT = list_training_settings(), list_environment_settings()
OF_TESTS = "NPSRISK_TEST_POSTGRES"
"""A variable of the tests, which CONTRIBUTING.md describes."""


def run(words: str) -> str:
    return succeed(words).output


@pytest.mark.parametrize(("verb", "page"), [("columns", "columns.md"), ("config", "settings.md")])
def test_the_page_is_what_the_verb_prints(verb: str, page: str) -> None:
    assert (REPOSITORY / "docs" / page).read_text() == run(f"{verb} --markdown"), "run make reference"


def test_columns_prints_every_column_with_its_meaning_as_text_and_as_json() -> None:
    text = run("columns")
    assert json.loads(run("columns --json"))["tables"] == TABLES
    for row in (row for rows in TABLES.values() for row in rows):
        assert f"\n  {row['column']}  ({row['type']}" in text
        assert row["meaning"]
    personal = {row["column"] for row in TABLES["consignments"] if row["personal"]}
    assert {"sender_name", "consignee_phone", "account_id"} <= personal
    assert personal.isdisjoint({"consignment_id", "channel", "declared_value"})


def test_exactly_the_columns_called_required_make_a_table_without_them_invalid() -> None:
    given = make_new_consignments()
    for row in TABLES["consignments"]:
        fewer = given.drop(columns=row["column"], errors="ignore")
        with pytest.raises(NpsriskError) if row["required"] else nullcontext():
            assert len(check_frame(fewer, Consignment).frame) == len(given)


def test_scores_and_selections_have_the_columns_of_the_reference(model_folder: Path, tmp_path: Path) -> None:
    scores, chosen = tmp_path / "scores.parquet", tmp_path / "list.parquet"
    write_table(make_new_consignments(), tmp_path / "new.parquet")
    options = f"--model 1 --without-history --reasons 2 --out {scores}"
    succeed(f"score --consignments {tmp_path}/new.parquet {options}")
    succeed(f"select --scores {scores} --capacity 1 --out {chosen}")
    assert set(pd.read_parquet(scores)) == {row["column"] for row in TABLES["scores"]} | {"reasons"}
    assert set(pd.read_parquet(chosen)) == {row["column"] for row in TABLES["selection"]} | {"reasons"}


def test_config_prints_every_setting_with_its_default_and_meaning_as_text_and_as_json() -> None:
    text, found = run("config"), json.loads(run("config --json"))
    listed = [*TRAINING, *ENVIRONMENT]
    names = [each["name"] for each in listed]
    assert [each["name"] for each in (*found["training"], *found["environment"])] == names
    assert [name for name in names if f"\n  {name}  (" not in text] == []
    assert [each["name"] for each in listed if not each["meaning"].endswith(".")] == []
    assert {each["name"]: each["default"] for each in TRAINING} == TrainConfig().flatten()


def test_the_ends_of_the_allowed_values_are_accepted_and_what_is_beyond_is_refused() -> None:
    for setting in TRAINING:
        table, name = setting["name"].split(".")
        step = 1 if setting["kind"] == "whole number" else 1e-9
        for words, number in re.findall(r"(at least|at most|above|below) ([\d,.e+]+)", setting["allowed"]):
            bound = type(step)(float(number.replace(",", "")))
            inside = bound + {"above": step, "below": -step}.get(words, 0)
            outside = bound + {"at least": -step, "at most": step}.get(words, 0)
            assert parse_config({table: {name: inside}}).flatten()[setting["name"]] == inside
            with pytest.raises(BadSetting):
                parse_config({table: {name: outside}})


def test_the_reference_names_every_variable_that_the_product_reads() -> None:
    texts = [path.read_text() for folder in PRODUCT for path in (REPOSITORY / folder).rglob("*.py")]
    used = {name for text in texts for name in re.findall(r"NPSRISK_[A-Z_]+[A-Z]", text)}
    names = [each["name"] for each in ENVIRONMENT]
    assert used - {OF_TESTS} <= set(names)
    assert set(names) == {*SETTING_NAMES, *OTHER_NAMES} - {OF_TESTS}
    assert len(names) == len(set(names)) >= len(SETTING_NAMES)


def test_the_defaults_of_the_environment_are_those_of_an_empty_one_and_no_value_of_it_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for each in ENVIRONMENT:
        monkeypatch.delenv(each["name"], raising=False)
    read = {str(field.alias): name for name, field in Settings.model_fields.items()}
    empty = Settings.read()
    for each in ENVIRONMENT:
        if each["name"] in read:
            assert each["default"] == getattr(empty, read[each["name"]])
    monkeypatch.setenv("NPSRISK_DATABASE_URL", "postgresql://user:secret@host/log")
    monkeypatch.setenv("NPSRISK_KEY_PASSPHRASE", "secret")
    assert "secret" not in run("config") + run("config --json")


def test_config_shows_what_a_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    split = "[split]\ntest_days = 14\nvalidation_days = 28\ntest_from = 2021-01-01\n"
    columns = '[columns]\nnumeric = ["tax_rate"]\n[history]\nkeys = [["hs_code", "tax_rate"]]\n'
    file.write_text(split + columns)
    assert run(f"config --file {file}").splitlines() == [
        "config.toml is valid; settings that differ from the defaults: 4",
        "columns.numeric = tax_rate (default: none)",
        "history.keys = hs_code, tax_rate (default: none)",
        "split.test_days = 14 (default: 28)",
        "split.test_from = 2021-01-01 (default: none)",
    ]
    found = read_json(succeed(f"config --file {file} --json"))
    assert found["differences"]["split.test_days"] == {"value": 14, "default": 28}
