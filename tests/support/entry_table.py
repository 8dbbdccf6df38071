"""The entries of a log as a table `events` with the texts of shared columns, on which tests run SQL; what it changes is written back."""

import sqlite3
from contextlib import closing
from typing import Any

import sqlalchemy as sa

from serving.event_log.databases.tables import ENTRIES, TERM_NAMES, TERMS

COLUMNS = [column.name for column in ENTRIES.columns]


def execute_on_entries(engine: sa.Engine, statement: str, values: dict[str, Any]) -> Any:
    """Run a statement on the entries; gives the rows where there are any, else their number. `previous_hash` is that of the entry before."""
    with engine.begin() as connection, closing(sqlite3.connect(":memory:")) as memory:
        texts: dict[Any, Any] = {None: None}
        texts |= {row.number: row.text for row in connection.execute(sa.select(TERMS))}
        memory.execute(f"CREATE TABLE events ({', '.join(COLUMNS)}, previous_hash)")
        previous = b""
        for row in connection.execute(sa.select(ENTRIES).order_by(ENTRIES.c.sequence)).mappings():
            named = [texts[row[name]] if name in TERM_NAMES else row[name] for name in COLUMNS]
            memory.execute(
                f"INSERT INTO events VALUES ({', '.join('?' * len(named))}, ?)", [*named, previous]
            )
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
