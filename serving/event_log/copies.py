"""Copies of an event log: to an SQLite file while the service may write, and from such a file to an empty database.

The file has the same tables and the same hash chain, whatever the database of the service is.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from consignments.errors import FileFault, ServiceFault
from serving.event_log.databases.backend import URL_SETTING, describe_error
from serving.event_log.databases.database import (
    create_writer,
    find_sqlite_path,
    mask_password,
    migrate,
    open_engine,
    use_database,
)
from serving.event_log.databases.tables import ENTRIES, LOG, TERMS
from serving.event_log.reader import PAGE_ENTRIES, LogReader, Progress, select_entries


def copy_to_file(url: str, path: Path, progress: Progress | None = None) -> None:
    """Copy a log to a new SQLite file, as of one moment; the service may write it at the same time."""
    source, target = find_sqlite_path(url), f"sqlite:///{path}"
    try:
        with LogReader.open_to_read(url) as log:
            if source is None:
                _copy_log(log, target, progress)
            else:
                _copy_pages(source, path)
        _fold_journal(path)
    except sqlite3.Error as error:
        raise FileFault("the copy of the event log failed", where=str(path), got=str(error)) from error


def _copy_pages(source: Path, target: Path) -> None:
    """Copy an SQLite database with its write-ahead log by SQLite's backup interface, in one step."""
    address = f"file:{quote(str(source))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def _fold_journal(path: Path) -> None:
    """Make one file of a database, without a write-ahead log next to it."""
    with closing(sqlite3.connect(path)) as whole:
        whole.execute("PRAGMA journal_mode=DELETE")


def convert_file(path: Path) -> None:
    """Add to a log in an SQLite file, of a backup, the columns of this version."""
    with use_database(f"sqlite:///{path}") as address:
        engine = open_engine(address)
        with engine.begin() as connection:
            migrate(connection, str(path))
        engine.dispose()
    _fold_journal(path)


def copy_to_database(path: Path, url: str, progress: Progress | None = None) -> None:
    """Copy all of a log from an SQLite file to a database without entries, or nothing."""
    with LogReader.open_to_read(f"sqlite:///{path}") as log:
        _copy_log(log, url, progress)


def _copy_log(log: LogReader, url: str, progress: Progress | None) -> None:
    """Copy a log to a database: to a new file in many transactions, to any other in one."""
    with use_database(url) as address:
        engine = open_engine(address)
        writer, where = create_writer(engine), mask_password(address)
        try:
            writer.acquire()
            with writer.transaction() as connection:
                migrate(connection, where)
                if _holds_copy(connection, log, where):
                    return
                if connection.execute(sa.select(LOG.c.log_id)).first() is None:  # no interrupted copy did it
                    _copy_identity(log, connection)
            pages = _read_pages(log, progress)
            transactions = [chain.from_iterable(pages)] if find_sqlite_path(url) is None else pages
            for rows in transactions:
                writer.write(rows)
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be written", got=describe_error(error)) from error
        finally:
            writer.release()
            engine.dispose()


def _read_pages(log: LogReader, progress: Progress | None) -> Iterator[list[Any]]:
    """Read all rows of the table of entries as they are stored, some thousands at a time."""
    after = 0
    while after < log.last_sequence:
        query = select_entries(ENTRIES.columns, after, log.last_sequence).limit(PAGE_ENTRIES)
        rows = log.queries.fetch_all(query)
        yield rows
        after = rows[-1][0]
        if progress is not None:
            progress("copy", after, log.last_sequence)


def _holds_copy(connection: Connection, log: LogReader, where: str) -> bool:
    """Check whether a database holds the whole log; raise `ServiceFault` if it holds another one or other entries."""
    found = connection.execute(sa.select(LOG.c.log_id)).scalar()
    query = sa.select(ENTRIES.c.sequence, ENTRIES.c.hash).order_by(ENTRIES.c.sequence.desc()).limit(1)
    last = connection.execute(query).one_or_none()
    if found in (None, log.log_id) and last is None:
        return False
    here = None if last is None else (last.sequence, bytes(last.hash).hex())
    if (found, here) == (log.log_id, (log.last_sequence, log.head)):
        return True
    raise ServiceFault(
        "the database already holds an event log",
        where=URL_SETTING,
        got=f"{where}: log {found} with {0 if last is None else last.sequence:,} entries",
        expected="an empty database",
        todo="nothing was written; name an empty database",
    )


def _copy_identity(log: LogReader, connection: Connection) -> None:
    """Copy the identity of a log and the texts that its entries share."""
    for table in (LOG, TERMS):
        names = table.columns.keys()
        rows = [dict(zip(names, row, strict=True)) for row in log.queries.fetch_all(sa.select(table))]
        if rows:
            connection.execute(table.insert(), rows)
