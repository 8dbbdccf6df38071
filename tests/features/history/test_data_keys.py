"""The file of the data keys: private, announced, and taken only for what it is."""

import json
import logging
import stat
from pathlib import Path

import pytest

from consignments.errors import BadSetting
from features.history.data_keys import read_data_keys


def test_a_new_data_key_is_private_and_announced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state" / "data.key"
    with caplog.at_level(logging.WARNING, logger="npsrisk"):
        key = read_data_keys(path, create=True)
    assert len(key.pseudonyms) == 32
    assert read_data_keys(path) == read_data_keys(path, create=True) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = f"created a new data key in {path}: keep a backup; without it no pseudonym can be recomputed"
    assert [record.getMessage() for record in caplog.records] == [told]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "change", [{"format": 3}, {"pseudonym_key": "5b"}, {"sealing_keys": []}, {"more": 1}]
)
def test_another_file_is_not_taken_for_a_data_key(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "data.key"
    read_data_keys(path, create=True)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadSetting, match="the file is not one of data keys"):
        read_data_keys(path, create=True)


def test_a_key_of_an_earlier_version_and_a_place_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(32))
    with pytest.raises(BadSetting, match=r"earlier version.*export its log with npsrisk of commit 049ba582"):
        read_data_keys(tmp_path / "file")
    with pytest.raises(BadSetting, match=r"data\.key: the data key cannot be created"):
        read_data_keys(tmp_path / "file" / "data.key", create=True)
