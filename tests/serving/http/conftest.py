"""Services that listen on a socket: one for the tests of a file, and one for a test that changes it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.listening import Running, listening
from support.serving_examples import Client, publish, serving, settings_in


@pytest.fixture(scope="module")
def shared_running(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Running]:
    with listening(tmp_path_factory.mktemp("listening"), bundle) as made:
        yield made


@pytest.fixture
def running(tmp_path: Path, bundle: Path) -> Iterator[Running]:
    with listening(tmp_path, bundle) as made:
        yield made


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Client]:
    """A service for what is refused, or is asked of any log."""
    folder = tmp_path_factory.mktemp("shared")
    publish(folder, bundle, "1")
    with serving(settings_in(folder)) as opened:
        yield opened
