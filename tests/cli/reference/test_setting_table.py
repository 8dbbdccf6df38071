"""The reference of settings is complete, and its defaults and limits are those that hold."""

import re
from pathlib import Path
from typing import Any

import pytest

from cli.reference.tables import list_differences, list_environment_settings, list_training_settings
from consignments.errors import BadSetting
from serving.process.settings import OTHER_NAMES, SETTING_NAMES, Settings
from training.config import TrainConfig, parse_config

REPOSITORY = Path(__file__).resolve().parents[3]
PRODUCT = ("cli", "consignments", "features", "models", "operation", "serving", "training")
TRAINING = list_training_settings()
ENVIRONMENT = list_environment_settings()
OF_TESTS = "NPSRISK_TEST_POSTGRES"
"""A variable of the tests, which CONTRIBUTING.md describes."""
BOUNDED = [each for each in TRAINING if each["allowed"]]


def test_every_setting_has_a_meaning() -> None:
    assert [each["name"] for each in (*TRAINING, *ENVIRONMENT) if not each["meaning"].endswith(".")] == []


def test_the_training_settings_are_those_of_the_configuration_with_their_defaults() -> None:
    assert {each["name"]: each["default"] for each in TRAINING} == TrainConfig().flatten()


@pytest.mark.parametrize("setting", BOUNDED, ids=lambda each: each["name"])
def test_the_ends_of_the_allowed_values_are_accepted_and_what_is_beyond_is_refused(
    setting: dict[str, Any],
) -> None:
    table, name = setting["name"].split(".")
    step = 1 if setting["kind"] == "whole number" else 1e-9
    for words, number in re.findall(r"(at least|at most|above|below) ([\d,.e+]+)", setting["allowed"]):
        bound = type(step)(float(number.replace(",", "")))
        inside = {"at least": bound, "at most": bound, "above": bound + step, "below": bound - step}[words]
        outside = {"at least": bound - step, "at most": bound + step}.get(words, bound)
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


def test_the_defaults_of_the_environment_are_those_of_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ENVIRONMENT:
        monkeypatch.delenv(each["name"], raising=False)
    read = {str(field.alias): name for name, field in Settings.model_fields.items()}
    for each in ENVIRONMENT:
        if each["name"] in read:
            assert each["default"] == getattr(Settings.read(), read[each["name"]])


def test_a_configuration_differs_only_in_what_it_changes() -> None:
    changed = parse_config(
        {"split": {"test_days": 14, "validation_days": 28}, "columns": {"numeric": ["tax"]}}
    )
    assert list_differences(TrainConfig()) == {}
    assert list_differences(changed) == {
        "columns.numeric": {"value": ("tax",), "default": ()},
        "split.test_days": {"value": 14, "default": 28},
    }
