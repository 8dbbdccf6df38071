"""Logs to write in, and entries to write."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.event_log import Event, EventLog
from serving.sealing import Vault

DATA_KEY = bytes(range(32))


@pytest.fixture
def vault() -> Vault:
    return Vault(DATA_KEY)


@pytest.fixture
def open_log(tmp_path: Path, vault: Vault) -> Iterator[Callable[[], EventLog]]:
    """Open the log in the test's folder; all that were opened are closed at the end."""
    opened: list[EventLog] = []

    def open_() -> EventLog:
        opened.append(EventLog.open(f"sqlite:///{tmp_path / 'events.db'}", vault))
        return opened[-1]

    yield open_
    for log in opened:
        log.close()


@pytest.fixture
def entry() -> Callable[..., Event]:
    def make(sequence: int, **changes: Any) -> Event:
        first = Event(
            sequence, "decision", f"RB{sequence}", 10, 11, b"c" * 16, b"\x80", None,
            score=0.25, band="high", features=b"\0" * 8, asked_by="local",
        )  # fmt: skip
        return first._replace(**changes)

    return make
