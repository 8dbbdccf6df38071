"""SQL queries of the event log, and their execution: blocks of entries in order, by sequence number, kind or time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from threading import Condition
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from consignments.errors import ServiceFault
from serving.event_log.blocks.codec import KIND_BITS, MAX_BLOCK_ENTRIES, combine_kinds
from serving.event_log.databases.backend import describe_error
from serving.event_log.databases.tables import BLOCKS, FIRST_RARE_KIND, RARE_BLOCKS
from serving.event_log.events import Kind

PAGE_BLOCKS = 100
"""Blocks fetched at a time when many are read, of at most 6,400 entries."""
FEW_ENTRIES = 8
"""Entries up to which each block is fetched by a query of its own, which is built once."""
DENSE_ENTRIES = 32
"""Mean distance of entries below which all blocks of their range are fetched."""
SUMMARY = [BLOCKS.c[name] for name in ("first", "last", "kinds", "min_us", "max_us")]
HEADS = [BLOCKS.c.first, BLOCKS.c.last, BLOCKS.c.head]
WHOLE = [*HEADS, BLOCKS.c.body]
ALL_COLUMNS = [*SUMMARY, BLOCKS.c.head, BLOCKS.c.body]


class LogQueries:
    """A runner of queries that converts database errors to `ServiceFault`.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._uses, self._closed, self._use_ended = 0, False, Condition()

    def close(self) -> None:
        """Refuse further uses of the log, and wait until those of other threads have ended."""
        with self._use_ended:
            self._closed = True
            self._use_ended.wait_for(lambda: self._uses == 0)

    @contextmanager
    def use(self) -> Iterator[None]:
        """Keep the log open inside the context; raise `ServiceFault` if it is closed."""
        with self._use_ended:
            if self._closed:
                raise ServiceFault("the event log is closed")
            self._uses += 1
        try:
            yield
        finally:
            with self._use_ended:
                self._uses -= 1
                self._use_ended.notify_all()

    def fetch_all(self, query: Any, values: dict[str, Any] | None = None) -> Sequence[Any]:
        """Fetch all rows of a query."""
        with self.connect() as connection:
            return connection.execute(query, values).all()

    def fetch_statement(self, statement: str) -> Sequence[Any]:
        """Fetch all rows of an SQL statement without parameters."""
        with self.connect() as connection:
            return connection.exec_driver_sql(statement).all()

    def fetch_value(self, query: Any) -> Any:
        """Fetch the single value of a query, or None if there is no row."""
        with self.connect() as connection:
            return connection.execute(query).scalar_one_or_none()

    def fetch_blocks(
        self, columns: Sequence[Any], after: int, until: int | None = None, kinds: Sequence[Kind] = ()
    ) -> Iterator[Sequence[Any]]:
        """Fetch the blocks that have entries of a range, in order, some at a time.

        Parameters
        ----------
        columns : sequence of columns
            Columns to fetch; the first two are `first` and `last`.
        after, until : int
            Range of sequence numbers; `after` excluded, `until` included.
        kinds : sequence of str
            Only blocks with entries of these kinds; empty for all.
        """
        while True:
            query = select_range(columns, after, until, kinds).order_by(BLOCKS.c.first).limit(PAGE_BLOCKS)
            rows = self.fetch_all(query)
            if not rows:
                return
            yield rows
            after = rows[-1][1]

    def fetch_places(self, columns: Sequence[Any], sequences: Sequence[int]) -> Iterator[Any]:
        """Fetch the blocks that have the entries with these ascending sequence numbers, in order, each once.

        If there are many entries, blocks between them are fetched too, which is quicker.
        """
        if len(sequences) <= FEW_ENTRIES:
            yield from self._fetch_few(columns, sequences)
            return
        if len(sequences) * DENSE_ENTRIES > sequences[-1] - sequences[0]:
            yield from chain.from_iterable(self.fetch_blocks(columns, sequences[0] - 1, sequences[-1]))
            return
        names = ", ".join(f"b.{column.name}" for column in columns)
        done = 0
        for start in range(0, len(sequences), PAGE_BLOCKS):
            values = ", ".join(f"({sequence})" for sequence in sequences[start : start + PAGE_BLOCKS])
            rows = self.fetch_statement(
                f"WITH v (s) AS (VALUES {values}) SELECT {names} FROM {BLOCKS.name} b WHERE b.first IN (SELECT "
                f"(SELECT max(o.first) FROM {BLOCKS.name} o WHERE o.first <= v.s) FROM v) ORDER BY b.first"
            )
            for row in rows:
                if row[1] > done:
                    yield row
                    done = row[1]

    def _fetch_few(self, columns: Sequence[Any], sequences: Sequence[int]) -> list[Any]:
        found: list[Any] = []
        query = _build_place_query(len(columns))
        with self.connect() as connection:
            for sequence in sequences:
                if not found or sequence > found[-1].last:
                    found += connection.execute(query, {"sequence": sequence}).all()
        return found

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Connect, and convert database errors."""
        try:
            with self.use(), self._engine.connect() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be read", got=describe_error(error)) from error


def select_range(columns: Sequence[Any], after: int, until: int | None, kinds: Sequence[Kind] = ()) -> Any:
    """Build the query for the blocks that have entries of a range; the parameters are those of `fetch_blocks`."""
    query = sa.select(*columns).where(BLOCKS.c.first > after - MAX_BLOCK_ENTRIES, BLOCKS.c.last > after)
    if until is not None:
        query = query.where(BLOCKS.c.first <= until)
    if kinds:
        query = query.where(BLOCKS.c.kinds.bitwise_and(combine_kinds(kinds)) != 0)
        if all(KIND_BITS[kind] >= FIRST_RARE_KIND for kind in kinds):
            query = query.where(RARE_BLOCKS)
    return query


def select_last(columns: Sequence[Any]) -> Any:
    """Build the query for the last block."""
    return sa.select(*columns).order_by(BLOCKS.c.first.desc()).limit(1)


def select_place(columns: Sequence[Any], sequence: int) -> Any:
    """Build the query for the block that has an entry, if there is one."""
    return select_last(columns).where(BLOCKS.c.first <= sequence)


@cache
def _build_place_query(columns: int) -> Any:
    """Build the query for the block that has the entry `sequence`, with the first columns of `WHOLE`."""
    place: sa.BindParameter[int] = sa.bindparam("sequence")
    return select_last(WHOLE[:columns]).where(BLOCKS.c.first <= place)


def select_decided(after: int, until: int | None, before_us: int) -> Any:
    """Build the query for the heads of blocks of a range that may have decisions on consignments received before a time."""
    return select_range([*HEADS, BLOCKS.c.max_us], after, until, ("decision",)).where(
        BLOCKS.c.min_us < before_us
    )
