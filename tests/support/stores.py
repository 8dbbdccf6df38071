"""MLflow stores in SQLite, copied from one that is made once a process: a new one takes MLflow a second of migrations."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient

NAME = "mlflow.db"


def create_store(folder: Path) -> str:
    path = folder / NAME
    assert not path.exists()
    path.write_bytes(_make_empty_store())
    return f"sqlite:///{path}"


@cache
def _make_empty_store() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
        return path.read_bytes()
