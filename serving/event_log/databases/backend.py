"""Common interface of the SQLite and PostgreSQL backends of the event log."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from sqlalchemy.engine import Connection, RootTransaction

URL_SETTING = "NPSRISK_DATABASE_URL"
BUSY_SECONDS = 5.0
"""Maximum seconds to wait for a lock that another process holds."""
Begin = Callable[[], AbstractContextManager[RootTransaction]]
"""Begins a transaction, which is committed at the end of the context."""


class LogWriter(NamedTuple):
    """The process that writes a log, as others see it.

    Attributes
    ----------
    pid : int
        Process of its session in the server.
    started : datetime
        Start of the session. Together with `pid` it identifies the session.
    name : str
        The process and its machine.
    sign : datetime or None
        Latest sign of life: when the session last waited for its client. None if the server is working for it, if it gives
        no signs (a verb, or a service that is starting), or if its role is another one, whose activity cannot be seen.
    """

    pid: int
    started: datetime
    name: str
    sign: datetime | None


class TableWriter(Protocol):
    """The only connection that writes a table."""

    def acquire(self, wait_seconds: float | None = None) -> None:
        """Connect and, if the database supports it, lock out other writers until `release`.

        Parameters
        ----------
        wait_seconds : float, optional
            Maximum seconds to wait for another writer to end; BUSY_SECONDS by default.

        Raises
        ------
        LogInUse
            Another process writes the table.
        SQLAlchemyError
            The database cannot be used.
        """

    def write(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Write all rows or none; they are durable on return.

        Raises
        ------
        SQLAlchemyError
            The rows may not be durable. If the connection is lost, so is the lock.
        """

    def begin(self, connection: Connection) -> AbstractContextManager[RootTransaction]:
        """Begin a transaction of another connection between two writes, as far as both cannot write at the same time."""

    def try_acquire(self) -> bool:
        """Acquire the table if no other process writes it; return whether this process now does."""

    def find_writer(self) -> LogWriter | None:
        """Find the process that writes the table; None if there is none, or if the database cannot tell."""

    def end_writer(self, writer: LogWriter) -> None:
        """End the session of another process that writes the table; what it has not committed is lost."""

    def renew(self) -> None:
        """Send a sign of life, so that no other process ends this writer.

        Raises
        ------
        SQLAlchemyError
            The connection is lost, and with it the lock.
        """

    def release(self) -> None:
        """Close the connection; the next write opens another one."""


def describe_error(error: BaseException) -> str:
    """Return the database's error message without the statement and its values."""
    cause = getattr(error, "orig", None)
    return str(cause if cause is not None else error).partition("\n")[0]
