"""Fixtures that the tests of the service and of the desk on it share; their conftest files import them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.serving_examples import Client, make_bundle
from support.site import Site

from features.config import FeatureConfig, HistoryKeys
from features.indicators.operation_keys import OperationKeys, install_keys


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
def site(tmp_path: Path, bundle: Path) -> Site:
    """A state directory with the small model, and no log yet."""
    return Site(tmp_path, bundle)


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    """A service with a model and an empty log."""
    with site.serve() as opened:
        yield opened


@pytest.fixture
def own_keys() -> Iterator[None]:
    """A service installs its keys for the whole process."""
    yield
    install_keys(OperationKeys())
