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


def test_an_unknown_setting_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownName, match=r"\[split\].*'test_day'.*did you mean 'test_days'"):
        parse_config({"split": {"test_day": 7}})


def test_an_unknown_table_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownName, match="did you mean 'evaluation'"):
        parse_config({"evalution": {}})


def test_a_value_where_a_table_belongs_is_refused():
    with pytest.raises(BadSetting, match=r"\[model\].*not a table"):
        parse_config({"model": 3})


@pytest.mark.parametrize(
    "values",
    [
        {"split": {"test_days": 0}},
        {"split": {"test_from": "soon"}},
        {"weights": {"ipw_clip": 0.5}},
        {"weights": {"background_share": 1.5}},
        {"model": {"trees": "many"}},
        {"evaluation": {"capacity": 0}},
    ],
)
def test_a_value_out_of_range_is_refused(values):
    with pytest.raises(BadSetting, match="bad value"):
        parse_config(values)


def test_a_declared_column_that_is_a_column_of_the_record_is_refused():
    with pytest.raises(BadSetting, match="invalid name of a declared column"):
        parse_config({"columns": {"numeric": ["postage"]}})


def test_free_text_is_no_history_key():
    with pytest.raises(BadSetting, match=r"remove 'description': it is free text"):
        parse_config({"history": {"keys": [["hs_code", "description"]]}})


def test_a_file_that_is_not_toml_is_named(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("[split\n")
    with pytest.raises(FileFault, match=r"bad\.toml"):
        read_config(path)


def test_every_setting_has_a_flat_name():
    flat = parse_config({"weights": {"ipw_clip": 5.0}}).flatten()
    assert flat["weights.ipw_clip"] == 5.0
    assert {name.split(".")[0] for name in flat} == {
        "columns",
        "history",
        "split",
        "model",
        "weights",
        "evaluation",
    }
