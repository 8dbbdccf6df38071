"""What holds for every test: it leaves behind what it found, and no clock decides whether it passes."""

from collections.abc import Iterator, MutableSequence

import pytest
import structlog
from hypothesis import settings

settings.register_profile("npsrisk", deadline=None)
settings.load_profile("npsrisk")


@pytest.fixture(autouse=True)
def _own_log_lines() -> Iterator[None]:
    """A verb that a test runs in this process sets up the process's log; the next test gets it as it was."""
    yield
    structlog.reset_defaults()


SHARED = "shared_run"
"""What takes long to make and is made once: the files of the tests that ask for it run in one process."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: MutableSequence[pytest.Item]) -> None:
    """Keep a file in one process, and begin with what takes longest, so that no process waits for it at the end."""
    sharing = {item.path for item in items if SHARED in getattr(item, "fixturenames", ())}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(SHARED if item.path in sharing else str(item.path)))
    items.sort(key=lambda item: item.path not in sharing)
