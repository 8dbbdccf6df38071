"""The process's own log: JSON lines on standard error; no names, addresses or other personal data are among them.

Whoever reads them may hang: lines wait in memory, so many at most, and nothing waits for them.
"""

import atexit
import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO, cast

import structlog

logger = structlog.get_logger("npsrisk")
MAX_LINES_PER_SECOND = 20
MAX_QUEUED_LINES = 10_000
CLOSE_SECONDS = 1.0


class QueuedStream:
    """Writes to a stream in a thread of its own; past so many lines that wait, further ones are lost.

    Parameters
    ----------
    stream : text stream
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._part = stream, ""
        self._lines: queue.Queue[str] = queue.Queue(MAX_QUEUED_LINES)
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, text: str) -> None:
        """Take a part of a line."""
        self._part += text

    def flush(self) -> None:
        """Let what was taken be written."""
        part, self._part = self._part, ""
        if not self._lines.full():
            self._lines.put_nowait(part)

    def close(self) -> None:
        """Write what waits, if that takes no longer than a moment."""
        if not self._lines.full():
            self._lines.put_nowait("")
        self._thread.join(CLOSE_SECONDS)

    def _write_all(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            while line := self._lines.get():
                self._stream.write(line)
                self._stream.flush()


def configure_logging() -> None:
    """Write the process's own log as JSON lines on standard error."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=cast(TextIO, QueuedStream(sys.stderr))),
    )


class RateLimitedLogger:
    """Writes what clients cause: so many lines a second at most, so that nobody fills the disk; says how many it left out.

    Parameters
    ----------
    clock : callable
        Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._second, self._lines, self._left_out = clock, 0, 0, 0

    def info(self, event: str, **values: Any) -> None:
        """Write a line of what a client did wrong."""
        self._write(logger.info, event, values)

    def error(self, event: str, **values: Any) -> None:
        """Write a line of what the service could not do."""
        self._write(logger.error, event, values)

    def _write(self, write: Callable[..., None], event: str, values: dict[str, Any]) -> None:
        second = int(self._clock())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines > MAX_LINES_PER_SECOND:
            self._left_out += 1
            return
        if self._left_out:
            values["left_out"], self._left_out = self._left_out, 0
        write(event, **values)
