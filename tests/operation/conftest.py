"""A small model for the services of these tests."""

from pathlib import Path

import pytest
from support.serving_examples import make_bundle

from features.config import FeatureConfig


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model over the default features."""
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle", FeatureConfig(), seed=1)
