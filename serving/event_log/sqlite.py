"""SQLite: groups of entries go by few statements, and checkpoints are made beside the writer."""

import sqlite3
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import chain
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from serving.event_log import backend
from serving.process.logging import logger
from serving.process.threads import create_executor

MAX_ROWS_PER_STATEMENT = 32
"""Rows that one statement inserts at most: after each statement the writing thread waits for its turn anew. Any SQLite takes 999
values, that is 49 rows of 20 columns."""
CHECKPOINT_ROWS = 1_000
"""Rows after which what SQLite's write-ahead log holds is copied into the tables: 5 to 20 MB, as they come in large or small groups."""
MAX_PASSES = 4
"""At most, of one checkpoint."""
CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"


def open_sqlite(address: URL, *, read_only: bool) -> sa.Engine:
    """Prepare for connections to a file of SQLite."""
    if read_only:
        address = address.set(
            database=f"file:{quote(address.database or '')}", query={"mode": "ro", "uri": "true"}
        )
        return sa.create_engine(address, connect_args={"timeout": backend.BUSY_SECONDS})
    engine = sa.create_engine(address, connect_args={"timeout": backend.BUSY_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")  # what is removed is overwritten

    return engine


class SqliteWriter:
    """Writes a table of SQLite. One process at a time does, for it lies in a state directory (`serving.process.state_directory`).

    Parameters
    ----------
    engine : Engine
    table : Table
    """

    def __init__(self, engine: sa.Engine, table: sa.Table) -> None:
        self._engine, self._checkpoints = engine, Checkpointer(engine)
        one = f"({', '.join('?' * len(table.columns))})"
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        # A fault undoes the transaction, never the statement alone: so SQLite keeps no journal of the statement.
        start = f'INSERT OR ROLLBACK INTO "{table.name}" ({names}) VALUES '
        self._inserts = [start + ", ".join([one] * rows) for rows in range(1, MAX_ROWS_PER_STATEMENT + 1)]
        self._connection: Connection | None = None

    def acquire(self) -> None:
        """Connect; each statement outside of a transaction is one."""
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._connection.exec_driver_sql("PRAGMA wal_autocheckpoint=0")

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write rows, all or none; they are durable when it returns."""
        self.acquire()
        assert self._connection is not None
        driver = self._connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        self._checkpoints.finish(driver)
        try:
            self._insert(driver, rows)
        except BaseException as error:
            with suppress(sqlite3.Error):
                driver.rollback()
            if isinstance(error, sqlite3.Error):
                raise sa.exc.DBAPIError(None, None, error) from error
            raise
        self._checkpoints.count_rows(len(rows))

    def _insert(self, driver: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows by one statement where it holds them, which is its own transaction, else by several in one."""
        whole = len(rows) <= MAX_ROWS_PER_STATEMENT
        if not whole:
            driver.execute("BEGIN")
        for start in range(0, len(rows), MAX_ROWS_PER_STATEMENT):
            part = rows[start : start + MAX_ROWS_PER_STATEMENT]
            driver.execute(self._inserts[len(part) - 1], tuple(chain.from_iterable(part)))
        if not whole:
            driver.execute("COMMIT")

    def release(self) -> None:
        """Close the connection."""
        self._checkpoints.wait()
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


class Checkpointer:
    """Copies SQLite's write-ahead log into the tables in a thread of its own, while the writer goes on.

    By default the writer does that itself within a commit, and all who wait for that commit wait for thousands of pages. Here it
    goes in passes: what came during one is left to the next, each has less to copy, and one during which nothing came flushes the
    tables. What is left then the writer copies itself, and writes on from the log's start: else that would grow for ever. A
    checkpoint that fails leaves the log as it was, and the next one tries again; of failures in a row the first is told.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._thread = create_executor("checkpoint")
        self._rows, self._failing = 0, False
        self._running: Future[None] | None = None

    def count_rows(self, rows: int) -> None:
        """Note that rows were written; begin a checkpoint where they are enough."""
        self._rows += rows
        if self._rows >= CHECKPOINT_ROWS and self._running is None:
            self._rows = 0
            self._running = self._thread.submit(self._copy)

    def finish(self, writer: sqlite3.Connection) -> None:
        """Let the writer copy what came during a checkpoint that is done."""
        if self._running is None or not self._running.done():
            return
        self.wait()
        with suppress(sqlite3.Error):
            writer.execute(CHECKPOINT).fetchall()

    def wait(self) -> None:
        """Wait until no checkpoint is under way."""
        if self._running is None:
            return
        error, self._running = self._running.exception(), None
        if error is not None and not self._failing:
            logger.error("no checkpoint of the event log", reason=backend.describe_error(error))
        self._failing = error is not None

    def _copy(self) -> None:
        copied = 0
        with self._engine.connect() as connection:
            for _ in range(MAX_PASSES):
                before, copied = copied, connection.exec_driver_sql(CHECKPOINT).one()[-1]
                if copied == before:
                    return  # nothing came during the pass before
