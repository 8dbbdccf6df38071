"""Claims about the training configuration."""

from datetime import date

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


def test_every_setting_has_a_flat_name():
    flat = parse_config({"weights": {"ipw_clip": 5.0}}).flatten()
    assert flat["weights.ipw_clip"] == 5.0
    tables = {name.split(".")[0] for name in flat}
    assert tables == {"columns", "history", "split", "model", "weights", "evaluation"}
