"""Common interface of the SQLite and PostgreSQL backends of the event log."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from sqlalchemy.engine import Connection

from consignments.errors import ServiceFault

URL_SETTING = "NPSRISK_DATABASE_URL"
BUSY_SECONDS = 5.0
"""Maximum seconds to wait for a lock that another process holds."""


class LogWriter(NamedTuple):
    """The process that writes a log, as others see it: its session in the server, its process and machine.

    `sign` is the latest sign of life: when the session last waited for its client. None if the server is working for it, if it
    gives no signs (a verb, or a service that is starting), or if its role is another one, whose activity cannot be seen.
    """

    pid: int
    started: datetime
    name: str
    sign: datetime | None


class EntryWriter(Protocol):
    """The only connection that writes a log; where no other process can be seen, none is waited for."""

    def acquire(self, wait_seconds: float | None = None) -> None:
        """Connect and lock out other writers until `release`; `LogInUse` if another one does not end within some seconds (BUSY_SECONDS)."""

    def write(self, rows: Iterable[Sequence[Any]], terms: Sequence[tuple[int, str]] = ()) -> None:
        """Write all rows and new terms, durable on return, or none; after `SQLAlchemyError` they may be durable. A lost connection loses the lock."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """Begin a transaction of the writer's own connection, which is committed at the end of the context."""

    def release(self) -> None:
        """Close the connection."""

    def try_acquire(self) -> bool:
        """Acquire the log if no other process writes it; return whether this process now does."""
        self.acquire()
        return True

    def find_writer(self) -> LogWriter | None:
        """Find the process that writes the log; None if there is none, or if the database cannot tell."""
        return None

    def end_writer(self, writer: LogWriter) -> None:
        """End the session of another process that writes the log; what it has not committed is lost."""
        raise ServiceFault("the database does not show other processes", got=writer.name)

    def renew(self) -> None:
        """Send a sign of life, so that no other process ends this writer; raise `SQLAlchemyError` if the lock is lost."""
        return


def describe_error(error: BaseException) -> str:
    """Return the database's error message without the statement and its values."""
    cause = getattr(error, "orig", None)
    return str(cause if cause is not None else error).partition("\n")[0]
