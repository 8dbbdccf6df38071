"""What SQLite and PostgreSQL have in common as a backend of the event log."""

from collections.abc import Sequence
from typing import Any, Protocol

URL_SETTING = "NPSRISK_DATABASE_URL"
BUSY_SECONDS = 5.0
"""How long to wait for another process that holds what is wanted."""


class TableWriter(Protocol):
    """The one connection through which a table is written."""

    def acquire(self) -> None:
        """Connect and, where the database can do that, keep others from writing, until `release`.

        Raises
        ------
        ServiceFault
            Where another process writes.
        SQLAlchemyError
            Where the database cannot be used.
        """

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write rows, all or none; they are durable when it returns. `SQLAlchemyError` where that cannot be said."""

    def release(self) -> None:
        """Close the connection; the next write makes another."""


def describe_error(error: BaseException) -> str:
    """Say what the database said, without the statement and its values."""
    cause = getattr(error, "orig", None)
    return str(cause if cause is not None else error).partition("\n")[0]
