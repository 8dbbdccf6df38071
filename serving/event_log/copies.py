"""Copies of an event log: to an SQLite file while the service may write, and from such a file to an empty database.

The file has the same tables and the same hash chain, whatever the database of the service is.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from consignments.errors import FileFault, ServiceFault
from serving.event_log.blocks.codec import encode_part, open_block
from serving.event_log.databases.backend import URL_SETTING, describe_error
from serving.event_log.databases.database import (
    create_writer,
    mask_password,
    migrate,
    open_engine,
    use_database,
)
from serving.event_log.databases.tables import BLOCKS, LOG
from serving.event_log.queries import ALL_COLUMNS, HEADS, select_last
from serving.event_log.reader import LogReader, Progress


def is_sqlite_url(url: str) -> bool:
    """Check whether a database URL is one of SQLite."""
    with use_database(url) as address:
        return address.get_backend_name() == "sqlite"


def get_sqlite_path(url: str) -> Path:
    """Return the file of the URL of an SQLite database."""
    with use_database(url) as address:
        return Path(address.database or "")


def copy_to_file(url: str, path: Path, progress: Progress | None = None) -> None:
    """Copy a log to a new SQLite file, as of one moment; the service may write it at the same time.

    Raises
    ------
    BadSetting
        The database URL is not valid, or there is no log.
    ServiceFault
        The log cannot be read.
    FileFault
        The file cannot be written.
    """
    with LogReader.open_to_read(url) as log:
        try:
            if is_sqlite_url(url):
                _copy_pages(get_sqlite_path(url), path)
            else:
                _copy_rows_to_file(log, path, progress)
        except sqlite3.Error as error:
            raise FileFault("the copy of the event log failed", where=str(path), got=str(error)) from error


def _copy_pages(source: Path, target: Path) -> None:
    """Copy an SQLite database with its write-ahead log by SQLite's backup interface, in one step."""
    address = f"file:{quote(str(source))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        new.execute("PRAGMA journal_mode=DELETE")  # one file, without a write-ahead log next to it


def _copy_rows_to_file(log: LogReader, path: Path, progress: Progress | None) -> None:
    with use_database(f"sqlite:///{path}") as address:
        engine = open_engine(address)
        writer = create_writer(engine, BLOCKS)
        try:
            migrate(engine)
            _insert_identity(engine, log)
            for rows in _read_pages(log, progress):
                writer.write(rows)
        finally:
            writer.release()
            engine.dispose()
    with closing(sqlite3.connect(path)) as new:
        new.execute("PRAGMA journal_mode=DELETE")


def convert_file(path: Path) -> None:
    """Convert the tables of a log in an SQLite file to those of this version; do nothing if they are.

    Raises
    ------
    ServiceFault
        The file is not a log, or cannot be written.
    """
    with use_database(f"sqlite:///{path}") as address:
        engine = open_engine(address)
        try:
            migrate(engine)
        finally:
            engine.dispose()
    with closing(sqlite3.connect(path)) as converted:
        converted.execute("PRAGMA journal_mode=DELETE")


def copy_to_database(path: Path, url: str, progress: Progress | None = None) -> None:
    """Copy a log from an SQLite file to a database without entries; all entries are written, or none.

    If the database already holds exactly this log, for example after an interruption, nothing is written.

    Raises
    ------
    BadSetting
        The database URL is not valid, or the encoding of the database is not UTF8.
    ServiceFault
        The database has entries, cannot be written, or another process writes it.
    """
    with LogReader.open_to_read(f"sqlite:///{path}") as log, use_database(url) as address:
        engine = open_engine(address)
        writer = create_writer(engine, BLOCKS)
        try:
            writer.acquire()
            migrate(engine)
            if _holds_copy(engine, log, mask_password(address)):
                return
            _insert_identity(engine, log)
            writer.write(chain.from_iterable(_read_pages(log, progress)))
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be written", got=describe_error(error)) from error
        finally:
            writer.release()
            engine.dispose()


def _read_pages(log: LogReader, progress: Progress | None) -> Iterator[list[tuple[Any, ...]]]:
    done = 0
    for blocks in log.queries.fetch_blocks(ALL_COLUMNS, 0, log.last_sequence):
        yield [tuple(stored) for stored in _cut_ends(blocks, done, log.last_sequence)]
        done = min(int(blocks[-1].last), log.last_sequence)
        if progress is not None:
            progress("copy", done, log.last_sequence)


def _cut_ends(blocks: Sequence[Any], after: int, until: int) -> Iterator[Any]:
    """Return blocks with entries of a range only; small blocks that were joined meanwhile may have others at both ends."""
    for stored in blocks:
        first, last = max(stored.first, after + 1), min(stored.last, until)
        if (first, last) == (stored.first, stored.last):
            yield stored
        elif first <= last:
            block = open_block(stored.first, stored.last, stored.head, stored.body)
            yield encode_part(block, first, last)


def _holds_copy(engine: sa.Engine, log: LogReader, where: str) -> bool:
    """Check whether a database holds the whole log; raise `ServiceFault` if it holds another one or other entries."""
    with engine.connect() as connection:
        found = connection.execute(sa.select(LOG.c.log_id)).scalar()
        last = connection.execute(select_last(HEADS)).one_or_none()
    if found in (None, log.log_id) and last is None:
        return False
    here = None if last is None else (last.last, open_block(*last).hashes[-1].hex())
    if (found, here) == (log.log_id, (log.last_sequence, log.head)):
        return True
    raise ServiceFault(
        "the database already holds an event log",
        where=URL_SETTING,
        got=f"{where}: log {found} with {0 if last is None else last.last:,} entries",
        expected="an empty database",
        todo="nothing was written; name an empty database",
    )


def _insert_identity(engine: sa.Engine, log: LogReader) -> None:
    with engine.begin() as connection:
        if connection.execute(sa.select(LOG.c.log_id)).first() is None:
            connection.execute(_build_identity(log))


def _build_identity(log: LogReader) -> Any:
    return LOG.insert().values(
        log_id=log.log_id, key_fingerprint=log.key_fingerprint, identifier_key=log.identifier_key
    )
