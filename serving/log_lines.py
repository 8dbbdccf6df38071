"""The process's own log: JSON lines on standard error; no names, addresses or other personal data are among them."""

import sys
import time
from collections.abc import Callable
from typing import Any

import structlog

log_line = structlog.get_logger("npsrisk")
LINES_A_SECOND = 20


def log_as_json() -> None:
    """Write the process's own log as JSON lines on standard error."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )


class Rationed:
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
        self._write(log_line.info, event, values)

    def error(self, event: str, **values: Any) -> None:
        """Write a line of what the service could not do."""
        self._write(log_line.error, event, values)

    def _write(self, write: Callable[..., None], event: str, values: dict[str, Any]) -> None:
        second = int(self._clock())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines > LINES_A_SECOND:
            self._left_out += 1
            return
        if self._left_out:
            values["left_out"], self._left_out = self._left_out, 0
        write(event, **values)
