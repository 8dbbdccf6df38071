"""What clients cause is logged, but nobody can fill the disk with it."""

import io
import os
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from serving.process.logging import MAX_LINES_PER_SECOND, MAX_QUEUED_LINES, QueuedStream, RateLimitedLogger


@pytest.fixture
def written() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def test_so_many_lines_a_second_are_written_and_the_next_tells_how_many_were_not(written: list[Any]) -> None:
    now = [10.0]
    log = RateLimitedLogger(clock=lambda: now[0])
    for number in range(MAX_LINES_PER_SECOND + 30):
        log.info("refused", number=number)
    assert len(written) == MAX_LINES_PER_SECOND
    assert all("left_out" not in line for line in written)
    now[0] = 11.0
    log.error("refused", number=-1)
    log.error("refused", number=-2)
    assert [line.get("left_out") for line in written[-2:]] == [30, None]
    assert [line["log_level"] for line in written[-3:]] == ["info", "error", "error"]


def test_lines_are_written_whole_and_in_their_order() -> None:
    stream = io.StringIO()
    log = QueuedStream(stream)
    for number in range(100):
        print("line", number, file=log, flush=True)
    log.close()
    assert stream.getvalue().splitlines() == [f"line {number}" for number in range(100)]


class Pipe(io.StringIO):
    """What is written goes into a pipe, and waits where that is full."""

    def __init__(self) -> None:
        super().__init__()
        self.reader, self.writer = os.pipe()

    def write(self, text: str) -> int:
        return os.write(self.writer, text.encode())


def test_nobody_waits_for_a_reader_that_hangs() -> None:
    pipe = Pipe()
    log = QueuedStream(pipe)
    for number in range(2 * MAX_QUEUED_LINES):
        print("x" * 200, number, file=log, flush=True)
    assert os.read(pipe.reader, 65_536).startswith(b"x" * 200 + b" 0\n")
    os.close(pipe.reader)
    log._thread.join(10)
    assert not log._thread.is_alive()
    os.close(pipe.writer)
