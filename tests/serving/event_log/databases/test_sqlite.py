"""SQLite: checkpoints are made beside the writer, the write-ahead log stays small, and what fails there harms no write."""

import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.databases import Entry, Open, only_sqlite

from serving.event_log.databases.sqlite import CHECKPOINT
from serving.event_log.log import EventLog
from serving.event_log.verification import verify_chain

pytestmark = only_sqlite


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("serving.event_log.databases.sqlite.CHECKPOINT_BYTES", 90_000)
    return 50


def written(log: EventLog, entry: Entry, groups: int, size: int = 5) -> None:
    for _ in range(groups):
        log.append([entry(log.last_sequence + 1 + place) for place in range(size)])


def wal_of(log: EventLog) -> Path:
    path = Path(f"{log._engine.url.database}-wal")
    assert path.exists()
    return path


@pytest.mark.parametrize(("groups", "size"), [(50, 5), (1, 1_000)])
def test_the_write_ahead_log_does_not_grow_with_what_is_written(
    open_log: Open, entry: Entry, monkeypatch: pytest.MonkeyPatch, groups: int, size: int
) -> None:
    log = open_log()
    written(log, entry, groups, size)
    one = wal_of(log).stat().st_size  # nothing was copied yet
    monkeypatch.setattr("serving.event_log.databases.sqlite.CHECKPOINT_BYTES", 90_000)
    for _ in range(8):
        written(log, entry, groups, size)
        if (running := log._writer._checkpoints._running) is not None:  # type: ignore[attr-defined]
            running.result(60)  # on a busy machine it may take longer than all writes of a round
    assert wal_of(log).stat().st_size < 4 * one
    assert verify_chain(log).entries == 9 * groups * size
    log.close()


def test_no_writer_waits_for_a_checkpoint(
    open_log: Open, entry: Entry, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, go, begun = open_log(), threading.Event(), threading.Event()
    checkpoints = log._writer._checkpoints  # type: ignore[attr-defined]
    copy = checkpoints._copy

    def copy_when_told() -> None:
        begun.set()
        assert go.wait(30)
        copy()

    monkeypatch.setattr(checkpoints, "_copy", copy_when_told)
    written(log, entry, few)
    assert begun.wait(30)
    written(log, entry, few)
    assert log.last_sequence == 2 * few * 5
    go.set()
    log.close()


def test_a_checkpoint_that_fails_harms_no_write_is_told_once_and_is_tried_again(
    open_log: Open, entry: Entry, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, failed = open_log(), list[str]()
    checkpoints = log._writer._checkpoints  # type: ignore[attr-defined]

    def fail() -> None:
        failed.append(CHECKPOINT)
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoints, "_copy", fail)
    with capture_logs() as lines:
        written(log, entry, 3 * few)
        assert len(failed) > 1
        log.close()
    (line,) = lines
    assert (line["log_level"], line["reason"]) == ("error", "no space left on device")
    again = open_log()
    assert again.last_sequence == 3 * few * 5
    assert verify_chain(again).broken_at is None
