"""The entries of a log as a table `events` with one row for each, on which tests run SQL; what it changes is written as blocks.

The hashes stay as the statement leaves them. `previous_hash` is that of the entry before, and cannot be changed.
"""

import sqlite3
from contextlib import closing
from typing import Any

import sqlalchemy as sa

from serving.event_log.blocks.codec import encode_blocks, open_block
from serving.event_log.databases.tables import BLOCKS
from serving.event_log.event_rows import EventRow

COLUMNS = (*EventRow._fields, "previous_hash", "hash")


def execute_on_entries(engine: sa.Engine, statement: str, values: dict[str, Any]) -> Any:
    """Run a statement on the entries; gives the rows where there are any, else their number."""
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.execute(f"CREATE TABLE events ({', '.join(COLUMNS)})")
        memory.executemany(f"INSERT INTO events VALUES ({', '.join('?' * len(COLUMNS))})", _read(engine))
        done = memory.execute(statement, values)
        if done.description is not None:
            return done.fetchall()
        found = memory.execute("SELECT * FROM events ORDER BY sequence").fetchall()
        blocks = encode_blocks([row[:-2] for row in found], [row[-1] for row in found])
        with engine.begin() as connection:
            connection.execute(sa.delete(BLOCKS))
            if blocks:
                connection.execute(BLOCKS.insert(), [block._asdict() for block in blocks])
        return done.rowcount


def _read(engine: sa.Engine) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    previous = b""
    with engine.connect() as connection:
        for stored in connection.execute(sa.select(BLOCKS).order_by(BLOCKS.c.first)):
            block = open_block(stored.first, stored.last, stored.head, stored.body)
            for row, here in zip(block.read_rows(), block.hashes, strict=True):
                rows.append((*row, previous, here))
                previous = here
    return rows
