"""SQLite backend: writes a group of entries with few statements, and runs checkpoints in a separate thread."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from consignments.files.whole_files import PRIVATE_FILE_MODE
from serving.event_log.databases import backend
from serving.event_log.databases.backend import EntryWriter
from serving.event_log.databases.tables import ENTRIES, ENTRY_COLUMNS, TERMS
from serving.process.logging import logger
from serving.process.threads import create_executor

MAX_ROWS_PER_STATEMENT = 32
"""Maximum number of rows in one INSERT. Fewer statements are better: after each one the thread waits for the interpreter
lock. Every SQLite supports 999 values."""
CHECKPOINT_BYTES = 6_000_000
"""Bytes written between checkpoints of SQLite's write-ahead log, which then has 6 to 20 MB."""
BYTES_PER_WRITE, BYTES_PER_ROW = 16_384, 4_096
"""Bytes that a write takes in the write-ahead log, about: partly filled pages, and those of its rows and of their indexes."""
MAX_PASSES = 4
OPTIONS: dict[str, Any] = {"connect_args": {"timeout": backend.BUSY_SECONDS}, "pool_reset_on_return": None}
"""No reset, because a reading connection holds no transaction, and each reset costs as much as a tenth of a look-up."""
CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"


class SqliteWriter(EntryWriter):
    """A writer to SQLite; the lock of the state directory (`serving.process.state_directory`) ensures that it is the only one."""

    wipe = "PRAGMA wal_checkpoint(TRUNCATE)"

    @staticmethod
    def open_engine(address: URL, *, read_only: bool) -> sa.Engine:
        """Create the engine for connections to an SQLite file."""
        if read_only:
            address = address.set(
                database=f"file:{quote(address.database or '')}", query={"mode": "ro", "uri": "true"}
            )
            return sa.create_engine(address, **OPTIONS)
        if address.database:
            with suppress(OSError):  # SQLite reports a file that cannot be created
                Path(address.database).touch(PRIVATE_FILE_MODE)
        engine = sa.create_engine(address, **OPTIONS)

        @sa.event.listens_for(engine, "connect")
        def _durable(connection: Any, _record: object) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA secure_delete=ON")  # what is removed is overwritten

        return engine

    def __init__(self, engine: sa.Engine) -> None:
        self._engine, self._checkpoints = engine, Checkpointer(engine)
        one = f"({', '.join('?' * len(ENTRY_COLUMNS))})"
        names = ", ".join(f'"{column.name}"' for column in ENTRY_COLUMNS)
        # An error rolls back the whole transaction, never only the statement, so SQLite needs no statement journal.
        start = f"INSERT OR ROLLBACK INTO {ENTRIES.name} ({names}) VALUES "
        self._inserts = [start + ", ".join([one] * rows) for rows in range(1, MAX_ROWS_PER_STATEMENT + 1)]
        self._connection: Connection | None = None
        self._writing = Lock()

    def try_acquire(self) -> bool:
        """Connect in autocommit mode: each statement outside a transaction is its own transaction."""
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._connection.exec_driver_sql("PRAGMA wal_autocheckpoint=0")
        return True

    def write(self, rows: Iterable[Sequence[Any]], terms: Sequence[tuple[int, str]] = ()) -> None:
        """Write all rows and new terms, or none; they are durable on return."""
        rows = rows if isinstance(rows, list) else list(rows)
        with self._writing:
            driver = self._get_driver()
            self._checkpoints.finish(driver)
            with _undoing(driver):
                whole = len(rows) <= MAX_ROWS_PER_STATEMENT and not terms
                if not whole:
                    driver.execute("BEGIN")
                    driver.executemany(f"INSERT INTO {TERMS.name} VALUES (?, ?)", terms)
                for start in range(0, len(rows), MAX_ROWS_PER_STATEMENT):
                    part = rows[start : start + MAX_ROWS_PER_STATEMENT]
                    driver.execute(self._inserts[len(part) - 1], tuple(chain.from_iterable(part)))
                if not whole:
                    driver.execute("COMMIT")
            self._checkpoints.count_bytes(BYTES_PER_WRITE + BYTES_PER_ROW * len(rows))

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Begin a transaction of the writer's connection between two writes."""
        with self._writing:
            driver = self._get_driver()
            assert self._connection is not None
            with _undoing(driver):
                driver.execute("BEGIN IMMEDIATE")
                yield self._connection
                driver.execute("COMMIT")

    def release(self) -> None:
        """Close the connection."""
        self._checkpoints.wait()
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _get_driver(self) -> sqlite3.Connection:
        self.try_acquire()
        assert self._connection is not None
        driver = self._connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        return driver


@contextmanager
def _undoing(driver: sqlite3.Connection) -> Iterator[None]:
    """Undo what is not committed if there is an error, and convert errors of the driver."""
    try:
        yield
    except BaseException as error:
        with suppress(sqlite3.Error):
            driver.rollback()
        if isinstance(error, sqlite3.Error):
            raise sa.exc.DBAPIError(None, None, error) from error
        raise


class Checkpointer:
    """A thread that copies SQLite's write-ahead log to the tables while the writer continues.

    By default the writer does this during a commit, and all requests that wait for that commit wait for thousands of
    pages. Here a checkpoint runs in passes. A pass copies what was written during the previous one, so each pass has less to
    copy; a pass during which nothing was written flushes the tables. Then the writer itself copies the rest and restarts the
    write-ahead log, which would otherwise grow without limit. If a checkpoint fails, the write-ahead log is unchanged and
    the next checkpoint tries again. Of consecutive failures only the first is logged.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._thread = create_executor("checkpoint")
        self._bytes, self._failing = 0, False
        self._running: Future[None] | None = None

    def count_bytes(self, size: int) -> None:
        """Count written bytes, and start a checkpoint after CHECKPOINT_BYTES of them."""
        self._bytes += size
        if self._bytes >= CHECKPOINT_BYTES and self._running is None:
            self._bytes = 0
            self._running = self._thread.submit(self._copy)

    def finish(self, writer: sqlite3.Connection) -> None:
        """Copy, with the writer's connection, what was written during a checkpoint that is finished."""
        if self._running is None or not self._running.done():
            return
        self.wait()
        with suppress(sqlite3.Error):
            writer.execute(CHECKPOINT).fetchall()

    def wait(self) -> None:
        """Wait until no checkpoint is running."""
        if self._running is None:
            return
        error, self._running = self._running.exception(), None
        if error is not None and not self._failing:
            logger.error("checkpoint of the event log failed", reason=backend.describe_error(error))
        self._failing = error is not None

    def _copy(self) -> None:
        copied = 0
        with self._engine.connect() as connection:
            for _ in range(MAX_PASSES):
                before, copied = copied, connection.exec_driver_sql(CHECKPOINT).one()[-1]
                if copied == before:
                    return  # nothing was written during the previous pass
