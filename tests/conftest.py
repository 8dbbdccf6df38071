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


LONGEST = "tests/test_loop.py"
"""The file that takes longest; its tests run one after the other."""


def pytest_collection_modifyitems(items: MutableSequence[pytest.Item]) -> None:
    """Begin with the longest file, so that no process waits for it at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
