"""Fixtures that the tests of the service and of the desk on it share; their conftest files import them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.serving_examples import Client, make_bundle, publish, serving, settings_in

from features.config import FeatureConfig, HistoryKeys


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model over the default features."""
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle", FeatureConfig(), seed=1)


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a further key of history."""
    config = FeatureConfig(history=HistoryKeys((("office", "carrier"),)))
    return make_bundle(tmp_path_factory.mktemp("other") / "bundle", config, seed=2)


@pytest.fixture
def client(tmp_path: Path, bundle: Path) -> Iterator[Client]:
    """A service with a model and an empty log."""
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as opened:
        yield opened
