"""Common base of the SQLite and PostgreSQL backends of the event log."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from consignments.errors import LogInUse, ServiceFault

URL_SETTING = "NPSRISK_DATABASE_URL"
BUSY_SECONDS = 5.0  # maximum seconds to wait for a lock that another process holds
RETRY_SECONDS = 0.05


class LogWriter(NamedTuple):
    """The process that writes a log, as others see it: its session in the server, its process and machine.

    `sign` is the latest sign of life: when the session last waited for its client. None if the server is working for it, if it
    gives no signs (a verb, or a service that is starting), or if its role is another one, whose activity cannot be seen.
    """

    pid: int
    started: datetime
    name: str
    sign: datetime | None


class EntryWriter(ABC):
    """The only connection that writes a log; where no other process can be seen, none is waited for."""

    layout: ClassVar[Sequence[str]] = ()
    """Statements that set how a new table of entries is stored."""
    wipe: ClassVar[str]
    """Statement that releases the bytes of removed content, as far as the database supports it."""

    @abstractmethod
    def __init__(self, engine: sa.Engine) -> None: ...

    @staticmethod
    @abstractmethod
    def open_engine(address: URL, *, read_only: bool) -> sa.Engine:
        """Create the engine for connections to a database."""

    @abstractmethod
    def try_acquire(self) -> bool:
        """Connect and lock out other writers until `release`, if no other process writes the log; return whether this process now does."""

    @abstractmethod
    def write(self, rows: Iterable[Sequence[Any]], terms: Sequence[tuple[int, str]] = ()) -> None:
        """Write all rows and new terms durably, or none; after `SQLAlchemyError` they may be durable. A lost connection loses the lock."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Connection]:
        """Begin a transaction of the writer's own connection, which is committed at the end of the context."""

    @abstractmethod
    def release(self) -> None:
        """Close the connection."""

    def acquire(self, wait_seconds: float | None = None) -> None:
        """Acquire the log; raise `LogInUse` if another writer does not end within some seconds (BUSY_SECONDS)."""
        # The session of a killed process may still be ending.
        end = time.monotonic() + (BUSY_SECONDS if wait_seconds is None else wait_seconds)
        while not self.try_acquire():
            if time.monotonic() >= end:
                writer = self.find_writer()
                self.release()
                raise LogInUse.by(writer.name if writer else "")
            time.sleep(RETRY_SECONDS)

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
