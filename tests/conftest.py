"""What holds for every test: it leaves behind what it found, and no clock decides whether it passes."""

from collections.abc import Iterator

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
