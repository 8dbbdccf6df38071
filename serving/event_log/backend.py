"""Common interface of the SQLite and PostgreSQL backends of the event log."""

from collections.abc import Iterable
from typing import Any, Protocol

URL_SETTING = "NPSRISK_DATABASE_URL"
BUSY_SECONDS = 5.0
"""Maximum seconds to wait for a lock that another process holds."""


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

    def release(self) -> None:
        """Close the connection; the next write opens another one."""


def describe_error(error: BaseException) -> str:
    """Return the database's error message without the statement and its values."""
    cause = getattr(error, "orig", None)
    return str(cause if cause is not None else error).partition("\n")[0]
