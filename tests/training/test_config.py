"""Claims about the training configuration."""

from datetime import date

from training.config import read_config

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
