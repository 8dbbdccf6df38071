"""What every test leaves behind is what it found."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _own_log_lines() -> Iterator[None]:
    """A verb that a test runs in this process sets up the process's log; the next test gets it as it was."""
    yield
    structlog.reset_defaults()
