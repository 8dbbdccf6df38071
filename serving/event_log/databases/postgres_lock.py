"""Lock of the one process that writes a log in PostgreSQL: who holds it, whether that process lives, and who may commit.

    12:00:00  the active service writes an entry, and gives a sign of life each second
    12:00:03  it is paused, with its session open
    12:00:13  a second service has seen no sign of life for 10 s: it ends the session, and holds the lock
    12:00:20  the paused service goes on: its session has ended, so nothing it writes can be committed

The lock is an advisory lock of the only session that writes. PostgreSQL aborts the open transaction of an ending session before it
releases the lock, so a session that commits an entry holds the lock.
"""

import time

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from consignments.errors import LogInUse
from serving.event_log.databases.backend import LogWriter

RETRY_SECONDS = 0.05
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


def acquire_lock(connection: Connection, wait_seconds: float) -> None:
    """Acquire the lock for a session, or raise `LogInUse`; wait for it, because the session of a killed process may still be ending."""
    end = time.monotonic() + wait_seconds
    while not try_lock(connection):
        if time.monotonic() >= end:
            writer = find_holder(connection)
            raise LogInUse.by(writer.name if writer else "")
        time.sleep(RETRY_SECONDS)


def try_lock(connection: Connection) -> bool:
    """Acquire the lock for a session if no other one holds it; return whether it now does."""
    return bool(connection.execute(_TRY).scalar_one())


def find_holder(connection: Connection) -> LogWriter | None:
    """Find the process that holds the lock; None if there is none."""
    found = connection.execute(_HOLDER).one_or_none()
    return None if found is None else LogWriter(*found)


def end_holder(connection: Connection, writer: LogWriter) -> None:
    """End the session of a writer, whose open transaction is aborted; do nothing if it has ended."""
    connection.execute(_END_WRITER, {"pid": writer.pid, "started": writer.started})


def begin_signs(connection: Connection) -> None:
    """Announce that this session gives signs of life, so that its silence means that its process is gone."""
    connection.execute(_BEGIN_SIGNS)


def give_sign(connection: Connection) -> None:
    """Send a sign of life."""
    connection.exec_driver_sql("SELECT")
