"""Process log: JSON lines on standard error, without names, addresses or other personal data.

Lines are queued in memory up to a limit and written in a separate thread, so a reader that hangs never blocks a request.
"""

import atexit
import contextlib
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

from consignments.errors import NpsriskError

logger = structlog.get_logger("npsrisk")
MAX_LINES_PER_SECOND = 20
MAX_QUEUED_LINES = 10_000
CLOSE_SECONDS = 1.0
MAX_LOGGED_FRAMES = 3


class QueuedStream:
    """A text stream with a writer thread and a bounded queue; lines are dropped while the queue is full."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._part = stream, ""
        self._lines: queue.Queue[str] = queue.Queue(MAX_QUEUED_LINES)
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, text: str) -> None:
        """Append text to the current line."""
        self._part += text

    def flush(self) -> None:
        """Add the current line to the queue; drop it if the queue is full."""
        part, self._part = self._part, ""
        if not self._lines.full():
            self._lines.put_nowait(part)

    def close(self) -> None:
        """Write the queued lines, for at most CLOSE_SECONDS."""
        if not self._lines.full():
            self._lines.put_nowait("")
        self._thread.join(CLOSE_SECONDS)

    def _write_all(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the reader is gone
            while line := self._lines.get():
                self._stream.write(line)
                self._stream.flush()


def configure_logging() -> None:
    """Configure the process log as JSON lines on standard error."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=cast(TextIO, QueuedStream(sys.stderr))),
    )


def describe_failure(error: Exception) -> dict[str, str]:
    """Describe an error that no request caused: the message of an error of npsrisk, else its class and place."""
    if isinstance(error, NpsriskError):
        return {"error": str(error)}
    return {"error": error.__class__.__name__, "where": format_location(error)}


def format_location(error: Exception) -> str:
    """Format the last frames of an error, the innermost first. They hold no values, which may be personal data."""
    frames = traceback.extract_tb(error.__traceback__)[-MAX_LOGGED_FRAMES:]
    return " < ".join(f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in reversed(frames))


class RateLimitedLogger:
    """A logger for events that clients cause, with a limit on lines per second; the next line counts the omitted ones."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._second, self._lines, self._left_out = clock, 0, 0, 0

    def write(self, event: str, *, is_error: bool, **values: Any) -> None:
        """Log an error of a client, or of the service."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines > MAX_LINES_PER_SECOND:
            self._left_out += 1
            return
        if self._left_out:
            values["left_out"], self._left_out = self._left_out, 0
        (logger.error if is_error else logger.info)(event, **values)
