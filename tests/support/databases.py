"""The database of each state directory of the tests: SQLite in it or, where NPSRISK_TEST_POSTGRES names a database, a schema there.

`make postgres` runs the tests of the service that way; this file alone knows of it.
"""

import hashlib
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from serving.event_log.databases.database import open_engine
from serving.event_log.databases.tables import ENTRIES, TERM_NAMES, TERMS
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.event_log.reader import LogReader

Open = Callable[[], EventLog]
Entry = Callable[..., Event]

SERVER = os.environ.get("NPSRISK_TEST_POSTGRES", "")
TABLES = ("log", "terms", "entries")
COLUMNS = [column.name for column in ENTRIES.columns]
only_sqlite = pytest.mark.skipif(bool(SERVER), reason="about the files of SQLite")
only_postgres = pytest.mark.skipif(not SERVER, reason="needs NPSRISK_TEST_POSTGRES, see make postgres")


def database_in(folder: Path) -> str:
    """Give the address of the event log of a state directory."""
    if not SERVER:
        return f"sqlite:///{folder / 'events.db'}"
    options = f"-csearch_path={_schema(str(folder.resolve()))}"
    return sa.make_url(SERVER).update_query_dict({"options": options}).render_as_string(hide_password=False)


def state_environment(folder: Path, **more: str) -> dict[str, str]:
    """Give the environment of a verb that works on a state directory, without MLflow."""
    nothing = f"sqlite:///{folder}/none.db"
    here = {"NPSRISK_STATE_DIR": str(folder), "NPSRISK_DATABASE_URL": database_in(folder)}
    return here | {"MLFLOW_TRACKING_URI": nothing} | more


def reader_of(folder: Path) -> LogReader:
    return LogReader.open_to_read(database_in(folder))


def execute(folder: Path, statement: str, **values: Any) -> Any:
    """Do to a database what npsrisk would not; gives the rows where there are any, else their number.

    A statement about `events` sees one row for each entry.
    """
    engine = open_engine(sa.make_url(database_in(folder)))
    try:
        if re.search(r"\bevents\b", statement):
            return _execute_on_entries(engine, statement, values)
        with engine.begin() as connection:
            done = connection.execute(sa.text(statement), values)
            return [tuple(row) for row in done] if done.returns_rows else done.rowcount
    finally:
        engine.dispose()


def _execute_on_entries(engine: sa.Engine, statement: str, values: dict[str, Any]) -> Any:
    """Run SQL on the entries as a table `events`, with the texts of shared columns and the hash of the entry before; changes are written back."""
    with engine.begin() as connection, closing(sqlite3.connect(":memory:")) as memory:
        texts: dict[Any, Any] = {None: None}
        texts |= {row.number: row.text for row in connection.execute(sa.select(TERMS))}
        memory.execute(f"CREATE TABLE events ({', '.join(COLUMNS)}, previous_hash)")
        insert, previous = f"INSERT INTO events VALUES ({'?, ' * len(COLUMNS)}?)", b""
        for row in connection.execute(sa.select(ENTRIES).order_by(ENTRIES.c.sequence)).mappings():
            named = [texts[row[name]] if name in TERM_NAMES else row[name] for name in COLUMNS]
            memory.execute(insert, [*named, previous])
            previous = row["hash"]
        done = memory.execute(statement, values)
        if done.description is not None:
            return done.fetchall()
        connection.execute(sa.delete(ENTRIES))
        numbers = {text: number for number, text in texts.items()}
        for found in memory.execute("SELECT * FROM events ORDER BY sequence").fetchall():
            row = dict(zip(COLUMNS, found, strict=False))
            for name in TERM_NAMES:
                if row[name] not in numbers:
                    numbers[row[name]] = len(numbers)
                    connection.execute(TERMS.insert().values(number=numbers[row[name]], text=row[name]))
                row[name] = numbers[row[name]]
            connection.execute(ENTRIES.insert().values(row))
        return done.rowcount


def copy_state(folder: Path, copy: Path) -> Path:
    shutil.copytree(folder, copy)
    if SERVER:
        mine, other = _schema(str(folder.resolve())), _schema(str(copy.resolve()))
        with _server().begin() as connection:
            for table in TABLES:
                old, new = f"{mine}.{table}", f"{other}.{table}"
                connection.exec_driver_sql(f"CREATE TABLE {new} (LIKE {old} INCLUDING ALL)")
                connection.exec_driver_sql(f"INSERT INTO {new} SELECT * FROM {old}")
    return copy


def remove_log(folder: Path) -> None:
    if SERVER:
        for table in TABLES:
            execute(folder, f"DROP TABLE {table}")
    for path in folder.glob("events.db*"):
        path.unlink()


def stored_bytes(folder: Path) -> bytes:
    """Give all that the event log of a state directory holds, as bytes."""
    if SERVER:
        raw = "\n".join(map(str, execute(folder, "SELECT * FROM entries"))).encode()
    else:
        raw = b"".join(path.read_bytes() for path in folder.iterdir() if path.name.startswith("events.db"))
    entries = execute(folder, "SELECT * FROM events")
    values = [value for row in entries for value in row]
    return raw + b"\n".join(each if isinstance(each, bytes) else str(each).encode() for each in values)


@cache
def _server() -> sa.Engine:
    return open_engine(sa.make_url(SERVER))


@cache
def _schema(folder: str) -> str:
    name = f"t{hashlib.sha256(folder.encode()).hexdigest()[:20]}"
    with _server().begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    _made.append(name)
    return name


_made: list[str] = []


def drop_schemas() -> None:
    while _made:
        with _server().begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {_made.pop()} CASCADE")
    if SERVER:
        _server().dispose()
