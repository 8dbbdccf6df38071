"""Claims about the training configuration."""

from datetime import date

import pytest

from consignments.errors import BadSetting, FileFault, UnknownName
from training.config import parse_config, read_config

KOREA = """
[columns]
numeric = ["tax_rate"]
category = ["tax_type"]
[history]
keys = [["hs_code", "departure_country", "tax_type"]]
[split]
test_from = 2021-01-01
"""


def test_a_file_with_declared_columns_is_read(tmp_path):
    path = tmp_path / "korea.toml"
    path.write_text(KOREA)
    config = read_config(path)
    assert config.features.columns.numeric == ("tax_rate",)
    assert config.features.history.keys == (("hs_code", "departure_country", "tax_type"),)
    assert config.split.test_from == date(2021, 1, 1)


REFUSED = [
    ({"split": {"test_day": 7}}, UnknownName, r"\[split\].*'test_day'.*did you mean 'test_days'"),
    ({"evalution": {}}, UnknownName, "did you mean 'evaluation'"),
    ({"model": 3}, BadSetting, r"\[model\].*not a table"),
    ({"split": {"test_days": 0}}, BadSetting, "bad value"),
    ({"split": {"test_from": "soon"}}, BadSetting, "bad value"),
    ({"weights": {"ipw_clip": 0.5}}, BadSetting, "bad value"),
    ({"weights": {"background_share": 1.5}}, BadSetting, "bad value"),
    ({"model": {"trees": "many"}}, BadSetting, "bad value"),
    ({"evaluation": {"capacity": 0}}, BadSetting, "bad value"),
    ({"columns": {"numeric": ["postage"]}}, BadSetting, "invalid name of a declared column"),
    (
        {"history": {"keys": [["hs_code", "description"]]}},
        BadSetting,
        "remove 'description': it is free text",
    ),
]


@pytest.mark.parametrize(("values", "error", "told"), REFUSED)
def test_a_setting_that_is_unknown_or_out_of_range_is_refused(values, error, told):
    with pytest.raises(error, match=told):
        parse_config(values)


def test_a_file_that_is_not_toml_is_named(tmp_path):
    (tmp_path / "bad.toml").write_text("[split\n")
    with pytest.raises(FileFault, match=r"bad\.toml"):
        read_config(tmp_path / "bad.toml")


def test_every_setting_has_a_flat_name():
    flat = parse_config({"weights": {"ipw_clip": 5.0}}).flatten()
    assert flat["weights.ipw_clip"] == 5.0
    tables = {name.split(".")[0] for name in flat}
    assert tables == {"columns", "history", "split", "model", "weights", "evaluation"}
