"""PostgreSQL backend: writes each group of entries with one COPY (its own transaction), from one process at a time.

The session that writes holds a lock as long as it lasts.

    12:00:00  the active service writes an entry, and gives a sign of life each second
    12:00:03  it is paused, with its session open
    12:00:13  a second service has seen no sign of life for 10 s: it ends the session, and holds the lock
    12:00:20  the paused service goes on: its session has ended, so nothing it writes can be committed

The lock is an advisory lock of the only session that writes. PostgreSQL aborts the open transaction of an ending session before it
releases the lock, so a session that commits an entry holds the lock.
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
from serving.event_log.databases.backend import EntryWriter, LogWriter
from serving.event_log.databases.tables import ENTRIES, ENTRY_COLUMNS, TERMS

ENCODING = "UTF8"
MAX_APPLICATION_CHARACTERS = 63
SERVER_TIMEOUT_MS = 10_000
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
SCHEMA_HASH = "hashtext(coalesce(current_schema(), ''))"
"""Second part of each lock, because a database may contain several logs."""


class _Lock:
    """An advisory lock of one log; `name` are the four ASCII characters of its first part."""

    def __init__(self, name: bytes) -> None:
        number = int.from_bytes(name)
        self.key = f"{number}, {SCHEMA_HASH}"
        self.rows = (
            f"locktype = 'advisory' AND granted AND classid = {number} "
            f"AND objid::bigint = {SCHEMA_HASH}::bigint & 4294967295 "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        """Condition for its rows in `pg_locks`."""


_WRITER, _SIGNS = _Lock(b"npsr"), _Lock(b"npsl")
"""Held by the session that writes; by a writer that gives signs of life."""
_TRY = sa.text(f"SELECT pg_try_advisory_lock({_WRITER.key})")
_BEGIN_SIGNS = sa.text(f"SELECT pg_advisory_lock_shared({_SIGNS.key})")
_HOLDER = sa.text(
    "SELECT pid, backend_start, application_name, "
    "CASE WHEN (state <> 'active' OR wait_event_type = 'Client') "
    f"AND pid IN (SELECT pid FROM pg_locks WHERE {_SIGNS.rows}) THEN state_change END "
    f"FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE {_WRITER.rows}"
)
_END_WRITER = sa.text(
    f"SELECT pg_terminate_backend(pid) FROM ({_HOLDER.text}) holder WHERE pid = :pid AND backend_start = :started"
)


class PostgresWriter(EntryWriter):
    """A writer to PostgreSQL."""

    # A row stays in one piece, and what cannot be compressed is not compressed.
    layout = (
        f"ALTER TABLE {ENTRIES.name} SET (toast_tuple_target = 8160)",
        *(
            f'ALTER TABLE {ENTRIES.name} ALTER "{column.name}" SET STORAGE EXTERNAL'
            for column in ENTRIES.columns
            if isinstance(column.type, sa.LargeBinary)
        ),
    )
    wipe = f'VACUUM "{ENTRIES.name}"'

    @staticmethod
    def open_engine(address: URL, *, read_only: bool) -> sa.Engine:
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

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        names = ", ".join(f'"{column.name}"' for column in ENTRY_COLUMNS)
        self._copy = f'COPY "{ENTRIES.name}" ({names}) FROM STDIN (FORMAT BINARY)'
        self._kinds = [_KINDS[column.type.compile(engine.dialect)] for column in ENTRY_COLUMNS]
        self._connection: Connection | None = None
        self._waiting: Connection | None = None
        self._gives_signs = False

    def try_acquire(self) -> bool:
        """Acquire the lock if no process has it; the connection stays open for the next attempt."""
        if self._connection is None:
            with self._connected() as connection:
                if not connection.execute(_TRY).scalar_one():
                    return False
                self._connection, self._waiting, self._gives_signs = connection, None, False
        return True

    def find_writer(self) -> LogWriter | None:
        """Find the process that has the lock."""
        with self._connected() as connection:
            found = connection.execute(_HOLDER).one_or_none()
        return None if found is None else LogWriter(*found)

    def end_writer(self, writer: LogWriter) -> None:
        """End the session of another process that has the lock."""
        with self._connected() as connection:
            connection.execute(_END_WRITER, {"pid": writer.pid, "started": writer.started})

    def renew(self) -> None:
        """Send a sign of life over the session that holds the lock."""
        connection = self._require_connection()
        if not self._gives_signs:
            connection.execute(_BEGIN_SIGNS)
            self._gives_signs = True
        connection.exec_driver_sql("SELECT")

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
            encoding = connection.execute(sa.text("SHOW server_encoding")).scalar_one()
            if encoding != ENCODING:
                raise BadSetting(
                    "the database encoding does not support all scripts",
                    where=backend.URL_SETTING,
                    got=f"encoding {encoding}",
                    expected=f"encoding {ENCODING}",
                    todo="create the database with ENCODING 'UTF8'",
                )
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
