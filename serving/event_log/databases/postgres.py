"""PostgreSQL backend: writes each group of entries with one COPY (its own transaction), from one process at a time.

The session that writes holds a lock as long as it lasts (`serving.event_log.databases.postgres_lock`).
"""

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from consignments.errors import BadSetting
from serving.event_log.databases import backend
from serving.event_log.databases.backend import LogWriter
from serving.event_log.databases.postgres_lock import (
    acquire_lock,
    begin_signs,
    end_holder,
    find_holder,
    give_sign,
    try_lock,
)
from serving.event_log.databases.tables import ENTRIES, ENTRY_COLUMNS, TERMS

ENCODING = "UTF8"
MAX_APPLICATION_CHARACTERS = 63
SERVER_TIMEOUT_MS = 10_000
"""Milliseconds to wait for a server that does not respond."""
CLIENT_OPTIONS = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": SERVER_TIMEOUT_MS,
}
"""libpq settings (seconds; TCP user timeout in milliseconds) that detect a lost server. The database URL overrides them."""
SESSION_OPTIONS = {
    "idle_session_timeout": "0",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
"""Settings of the writer's session: no idle timeout, and keepalives by which the server detects a lost client."""
_SET = sa.text("SELECT set_config(name, :value, false) FROM pg_settings WHERE name = :name")
_SET_DURABLE = sa.text(
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)
_KINDS = {
    "BIGINT": "int8",
    "INTEGER": "int4",
    "VARCHAR": "text",
    "BYTEA": "bytea",
    "DOUBLE PRECISION": "float8",
}


def open_postgres(address: URL, *, read_only: bool) -> sa.Engine:
    """Create the engine for connections to a PostgreSQL database."""
    here = f"npsrisk {os.getpid()} on {socket.gethostname()}"[:MAX_APPLICATION_CHARACTERS]
    wanted = CLIENT_OPTIONS | {"application_name": here}
    return sa.create_engine(
        address,
        connect_args={name: value for name, value in wanted.items() if name not in address.query},
        execution_options={"postgresql_readonly": read_only},
        pool_pre_ping=True,
        hide_parameters=True,
    )


class PostgresWriter:
    """A `serving.event_log.databases.backend.EntryWriter` for PostgreSQL."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        names = ", ".join(f'"{column.name}"' for column in ENTRY_COLUMNS)
        self._copy = f'COPY "{ENTRIES.name}" ({names}) FROM STDIN (FORMAT BINARY)'
        self._kinds = [_KINDS[column.type.compile(engine.dialect)] for column in ENTRY_COLUMNS]
        self._connection: Connection | None = None
        self._waiting: Connection | None = None
        self._gives_signs = False

    def acquire(self, wait_seconds: float | None = None) -> None:
        """Connect and acquire the lock."""
        if self._connection is None:
            with self._connected() as connection:
                acquire_lock(connection, backend.BUSY_SECONDS if wait_seconds is None else wait_seconds)
                self._hold(connection)

    def try_acquire(self) -> bool:
        """Acquire the lock if no process has it; the connection stays open for the next attempt."""
        if self._connection is None:
            with self._connected() as connection:
                if not try_lock(connection):
                    return False
                self._hold(connection)
        return True

    def find_writer(self) -> LogWriter | None:
        """Find the process that has the lock."""
        with self._connected() as connection:
            return find_holder(connection)

    def end_writer(self, writer: LogWriter) -> None:
        """End the session of another process that has the lock."""
        with self._connected() as connection:
            end_holder(connection, writer)

    def renew(self) -> None:
        """Send a sign of life over the session that holds the lock."""
        connection = self._require_connection()
        if not self._gives_signs:
            begin_signs(connection)
            self._gives_signs = True
        give_sign(connection)

    def write(self, rows: Iterable[Sequence[Any]], terms: Sequence[tuple[int, str]] = ()) -> None:
        """Write all rows and new terms, or none; they are durable on return. Call `acquire` before."""
        driver = self._get_driver()
        with _converting(driver), driver.transaction() if terms else nullcontext(), driver.cursor() as cursor:
            if terms:
                cursor.executemany(f"INSERT INTO {TERMS.name} VALUES (%s, %s)", terms)
            with cursor.copy(self._copy) as copy:
                copy.set_types(self._kinds)
                for row in rows:
                    copy.write_row(row)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Begin a transaction of the session that holds the lock."""
        connection, driver = self._require_connection(), self._get_driver()
        with _converting(driver), driver.transaction():
            yield connection

    def release(self) -> None:
        """Close the connection, which releases the lock."""
        _close(self._connection)
        _close(self._waiting)
        self._connection = self._waiting = None

    def _require_connection(self) -> Connection:
        if self._connection is None:
            lost = psycopg.OperationalError("the session of the writer has ended")
            raise sa.exc.DBAPIError(None, None, lost, connection_invalidated=True)
        return self._connection

    def _get_driver(self) -> "psycopg.Connection[Any]":
        driver = self._require_connection().connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        return driver

    def _hold(self, connection: Connection) -> None:
        self._connection, self._waiting, self._gives_signs = connection, None, False

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """Connect for the lock, or use the connection that waits for it; close it after an error."""
        try:
            if self._waiting is None:
                self._waiting = self._connect()
            yield self._waiting
        except BaseException:
            _close(self._waiting)
            self._waiting = None
            raise

    def _connect(self) -> Connection:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            _require_encoding(connection)
            wanted = {"lock_timeout": str(round(1000 * backend.BUSY_SECONDS)), **SESSION_OPTIONS}
            for name, value in wanted.items():
                connection.execute(_SET, {"name": name, "value": value})
            connection.execute(_SET_DURABLE)
        except BaseException:
            _close(connection)
            raise
        return connection


@contextmanager
def _converting(driver: "psycopg.Connection[Any]") -> Iterator[None]:
    """Convert errors of the driver."""
    try:
        yield
    except psycopg.Error as error:
        raise sa.exc.DBAPIError(None, None, error, connection_invalidated=driver.closed) from error


def _close(connection: Connection | None) -> None:
    """Close a connection and its session."""
    if connection is not None:
        connection.invalidate()
        connection.close()


def _require_encoding(connection: Connection) -> None:
    encoding = connection.execute(sa.text("SHOW server_encoding")).scalar_one()
    if encoding != ENCODING:
        raise BadSetting(
            "the database encoding does not support all scripts",
            where=backend.URL_SETTING,
            got=f"encoding {encoding}",
            expected=f"encoding {ENCODING}",
            todo="create the database with ENCODING 'UTF8'",
        )
