"""PostgreSQL: groups of entries go by one COPY, which is a transaction of its own, and one process at a time writes.

Whoever writes holds an advisory lock of the session, so it is free as soon as the process or its connection has ended.
"""

import os
import socket
from collections.abc import Sequence
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from consignments.errors import BadSetting, ServiceFault
from serving.event_log import backend

ENCODING = "UTF8"
LOCK_NOT_AVAILABLE = "55P03"
MAX_APPLICATION_CHARACTERS = 63
SERVER_TIMEOUT_MS = 10_000
"""How long a server that does not answer is waited for."""
CLIENT_OPTIONS = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": SERVER_TIMEOUT_MS,
}
"""Settings of libpq, in seconds and milliseconds: a server that is gone is noticed. The address may say otherwise."""
SESSION_OPTIONS = {
    "idle_session_timeout": "0",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
"""Settings of the writer's session: quiet nights do not end it, and the server notices where we are gone."""
_SET = sa.text("SELECT set_config(name, :value, false) FROM pg_settings WHERE name = :name")
_SET_DURABLE = sa.text(
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)
_LOG, _OF_SCHEMA = "1852863346", "hashtext(coalesce(current_schema(), ''))"
"""The lock: ASCII `npsr`, and the schema, for a database may hold several logs."""
_LOCK = sa.text(f"SELECT pg_advisory_lock({_LOG}, {_OF_SCHEMA})")
_HOLDER = sa.text(
    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted "
    f"AND classid = {_LOG} AND objid::bigint = {_OF_SCHEMA}::bigint & 4294967295 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_KINDS = {"BIGINT": "int8", "VARCHAR": "text", "BYTEA": "bytea", "DOUBLE PRECISION": "float8"}


def open_postgres(address: URL, *, read_only: bool) -> sa.Engine:
    """Prepare for connections to a PostgreSQL database."""
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
    """Writes a table of PostgreSQL, as `serving.event_log.backend.TableWriter` says.

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
        """Connect, and take the lock; it is waited for, as the session of a killed process may just be ending."""
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

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write rows, all or none; they are durable when it returns."""
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

    def release(self) -> None:
        """Close the connection, and with it let go of the lock."""
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
            todo="stop it first, or name another database",
        ) from error


def _require_encoding(connection: Connection) -> None:
    encoding = connection.execute(sa.text("SHOW server_encoding")).scalar_one()
    if encoding != ENCODING:
        raise BadSetting(
            "the database cannot hold every script",
            where=backend.URL_SETTING,
            got=f"encoding {encoding}",
            expected=f"encoding {ENCODING}",
            todo="create it with ENCODING 'UTF8'",
        )
