"""A registry with two promoted versions and a third that nobody approved, of which each test has its own copy."""

import shutil
from pathlib import Path

import pytest
from support.registered_model import register_small_model
from support.signing import append_signed_record

from models.registry import Registry


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three versions: 1 promoted, then 2, which is champion; nobody approved 3."""
    folder = tmp_path_factory.mktemp("store")
    registry = register_small_model(folder, seeds=(1, 2, 3))
    for version in map(registry.resolve, "12"):
        append_signed_record(registry, version, version.tags["bundle_sha256"])
    return folder


@pytest.fixture
def registry(template: Path, tmp_path: Path) -> Registry:
    """A copy of the store, whose tags and aliases a test may change."""
    shutil.copy(template / "mlflow.db", tmp_path / "mlflow.db")
    return Registry(f"sqlite:///{tmp_path / 'mlflow.db'}")
