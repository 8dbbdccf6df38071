"""Logs to write in, entries to write, small models, and a service over one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from msgspec.structs import astuple
from support.databases import database_in, drop_schemas
from support.service_fixtures import bundle as bundle
from support.service_fixtures import client as client
from support.service_fixtures import other_bundle as other_bundle
from support.service_fixtures import own_keys as own_keys
from support.service_fixtures import site as site
from support.serving_examples import DATA_KEYS, make_bundle

from features.config import ExtraColumns, FeatureConfig
from serving.encryption.vault import Vault
from serving.event_log.events import Event, EventRow, decode_row
from serving.event_log.log import EventLog


def pytest_sessionfinish() -> None:
    drop_schemas()


@pytest.fixture
def vault() -> Vault:
    return Vault(DATA_KEYS)


@pytest.fixture
def open_log(tmp_path: Path, vault: Vault) -> Iterator[Callable[[], EventLog]]:
    """Open the log in the test's folder; all that were opened are closed at the end."""
    opened: list[EventLog] = []

    def open_() -> EventLog:
        opened.append(EventLog.open(database_in(tmp_path), vault))
        return opened[-1]

    yield open_
    for log in opened:
        log.close()


@pytest.fixture
def entry() -> Callable[..., Event]:
    def make(sequence: int, **changes: Any) -> Event:
        row = EventRow(
            sequence, "decision", f"RB{sequence}", 10, 11, b"c" * 16, b"\x80", None, "k" * 16, b"\0" * 16, b"\0" * 8,
            0.25, "high", b"\x90", "nps-risk/1", "b" * 64, "s" * 64, "local",
        )  # fmt: skip
        return decode_row(astuple(structs.replace(row, **changes)))

    return make


@pytest.fixture(scope="session")
def column_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = FeatureConfig(columns=ExtraColumns(numeric=("tax_rate",)))
    return make_bundle(tmp_path_factory.mktemp("column") / "bundle", config, seed=3)
