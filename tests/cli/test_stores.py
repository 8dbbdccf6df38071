"""The model registry of the settings is opened only if it exists, and a data key is created only in the state directory."""

from pathlib import Path

import pytest

from cli.stores import load_pseudonyms, open_registry
from consignments.errors import BadInput, BadSetting


def test_a_registry_that_does_not_exist_is_refused_and_not_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(BadInput, match="train --register"):
        open_registry()
    assert list(tmp_path.iterdir()) == []


def test_a_data_key_is_created_in_the_state_directory_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, elsewhere = tmp_path / "state", tmp_path / "not mounted" / "data.key"
    monkeypatch.setenv("NPSRISK_STATE_DIR", str(state))
    monkeypatch.setenv("NPSRISK_DATA_KEY_FILE", str(elsewhere))
    with pytest.raises(BadSetting, match="no data key in the given file"):
        load_pseudonyms()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.delenv("NPSRISK_DATA_KEY_FILE")
    load_pseudonyms()
    key = (state / "data.key").read_bytes()
    load_pseudonyms()
    assert (state / "data.key").read_bytes() == key
