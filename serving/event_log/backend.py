"""Common interface of the SQLite and PostgreSQL backends of the event log."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sqlalchemy.engine import Connection, RootTransaction

URL_SETTING = "NPSRISK_DATABASE_URL"
BUSY_SECONDS = 5.0
"""Maximum seconds to wait for a lock that another process holds."""
Begin = Callable[[], AbstractContextManager[RootTransaction]]
"""Begins a transaction, which is committed at the end of the context."""


class TableWriter(Protocol):
    """The only connection that writes a table."""

    def acquire(self) -> None:
        """Connect and, if the database supports it, lock out other writers until `release`.

        Raises
        ------
        ServiceFault
            Another process writes the table.
        SQLAlchemyError
            The database cannot be used.
        """

    def write(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Write all rows or none; they are durable on return.

        Raises
        ------
        SQLAlchemyError
            The rows may not be durable.
        """

    def begin(self, connection: Connection) -> AbstractContextManager[RootTransaction]:
        """Begin a transaction of another connection between two writes, as far as both cannot write at the same time."""

    def release(self) -> None:
        """Close the connection; the next write opens another one."""


def describe_error(error: BaseException) -> str:
    """Return the database's error message without the statement and its values."""
    cause = getattr(error, "orig", None)
    return str(cause if cause is not None else error).partition("\n")[0]
