"""Two small training runs for the tests of artifacts and pages."""

import pytest
from support.trained_run import train_small_run


@pytest.fixture(scope="session")
def full_run():
    """A run with truth and all studies."""
    return train_small_run(studies=True)


@pytest.fixture(scope="session")
def plain_run():
    """A run without truth and studies."""
    return train_small_run(studies=False, with_truth=False)
