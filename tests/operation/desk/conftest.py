"""A partner of an operation for the pages that show its messages, and keys that no test leaves to the next."""

from collections.abc import Iterator

import pytest
from support.partner import ExchangePartner

from features.indicators.operation_keys import OperationKeys, install_keys


@pytest.fixture
def own_keys() -> Iterator[None]:
    """A service installs its keys for the whole process."""
    yield
    install_keys(OperationKeys())


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> ExchangePartner:
    return ExchangePartner(tmp_path_factory.mktemp("partner"))
