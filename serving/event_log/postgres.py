"""PostgreSQL backend: writes each group of entries with one COPY (its own transaction), from one process at a time.

The writer holds a session-level advisory lock, which is released when the process or its connection ends.
"""

import os
import socket
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, RootTransaction

from consignments.errors import BadSetting, ServiceFault
from serving.event_log import backend

ENCODING = "UTF8"
LOCK_NOT_AVAILABLE = "55P03"
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
_LOG, _OF_SCHEMA = "1852863346", "hashtext(coalesce(current_schema(), ''))"
"""Parts of the lock: ASCII `npsr`, and the schema, because a database may contain several logs."""
_LOCK = sa.text(f"SELECT pg_advisory_lock({_LOG}, {_OF_SCHEMA})")
_HOLDER = sa.text(
    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted "
    f"AND classid = {_LOG} AND objid::bigint = {_OF_SCHEMA}::bigint & 4294967295 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_KINDS = {"BIGINT": "int8", "VARCHAR": "text", "BYTEA": "bytea", "DOUBLE PRECISION": "float8"}


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
    """A `serving.event_log.backend.TableWriter` for PostgreSQL.

    Parameters
    ----------
    engine : Engine
    table : Table
    """

    def __init__(self, engine: sa.Engine, table: sa.Table) -> None:
        self._engine = engine
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        self._copy = f'COPY "{table.name}" ({names}) FROM STDIN (FORMAT BINARY)'
        self._kinds = [
            _KINDS[column.type.compile(engine.dialect).partition("(")[0]] for column in table.columns
        ]
        self._connection: Connection | None = None

    def acquire(self) -> None:
        """Connect and acquire the lock; wait for it, because the session of a killed process may still be ending."""
        if self._connection is not None:
            return
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            _require_encoding(connection)
            for name, value in SESSION_OPTIONS.items():
                connection.execute(_SET, {"name": name, "value": value})
            connection.execute(_SET_DURABLE)
            connection.execute(
                _SET, {"name": "lock_timeout", "value": str(round(1000 * backend.BUSY_SECONDS))}
            )
            _lock(connection)
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        self._connection = connection

    def write(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Write all rows or none; they are durable on return."""
        self.acquire()
        assert self._connection is not None
        driver = self._connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        try:
            with driver.cursor() as cursor, cursor.copy(self._copy) as copy:
                copy.set_types(self._kinds)
                for row in rows:
                    copy.write_row(row)
        except psycopg.Error as error:
            raise sa.exc.DBAPIError(None, None, error, connection_invalidated=driver.closed) from error

    def begin(self, connection: Connection) -> AbstractContextManager[RootTransaction]:
        """Begin a transaction of another connection, which may write at the same time."""
        return connection.begin()

    def release(self) -> None:
        """Close the connection, which releases the lock."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def _lock(connection: Connection) -> None:
    try:
        connection.execute(_LOCK)
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        raise ServiceFault(
            "another process writes this event log",
            where=backend.URL_SETTING,
            got=connection.execute(_HOLDER).scalar() or "",
            todo="stop that process, or set another database",
        ) from error


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
