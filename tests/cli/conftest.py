"""A folder with a registered model, in which verbs are run."""

from pathlib import Path

import pytest
from support.registered_model import make_new_consignments, make_past_consignments, register_small_model

from consignments.files.table_writers import write_table


@pytest.fixture(scope="session")
def registered_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 and 2 of a model, past consignments (`past.parquet`), and new ones (`new.csv`, `new.parquet`)."""
    folder = tmp_path_factory.mktemp("registered")
    register_small_model(folder, seeds=(1, 2))
    write_table(make_past_consignments(), folder / "past.parquet")
    for suffix in ("csv", "parquet"):
        write_table(make_new_consignments(), folder / f"new.{suffix}")
    return folder


@pytest.fixture
def model_folder(registered_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{registered_folder / 'mlflow.db'}")
    return registered_folder
