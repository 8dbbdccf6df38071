"""The model registry of the settings is opened only if it exists."""

from pathlib import Path

import pytest

from cli.stores import open_registry
from consignments.errors import BadInput


def test_a_registry_that_does_not_exist_is_refused_and_not_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(BadInput, match="train --register"):
        open_registry()
    assert list(tmp_path.iterdir()) == []
