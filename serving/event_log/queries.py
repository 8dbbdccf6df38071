"""SQL queries of the table of entries, and their execution."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from threading import Condition
from typing import Any, NamedTuple

import sqlalchemy as sa

from consignments.errors import ServiceFault
from serving.event_log.databases.backend import describe_error
from serving.event_log.databases.tables import ENTRIES, IS_OTHER
from serving.event_log.events import ARRIVAL_KINDS, NAMES, NOT_READ, Kind, RecordEntry

IN_LIMIT = 500
"""Values in one condition; every SQLite supports 999."""
IS_ARRIVAL = sa.or_(*(ENTRIES.c.kind == kind for kind in ARRIVAL_KINDS))


class CompiledQuery(NamedTuple):
    """A query in the words of the database; `names` are those of the values in their order, None if they are given by name."""

    text: str
    values: dict[str, Any]
    names: tuple[str, ...] | None


class LogQueries:
    """A runner of queries that converts database errors to `ServiceFault`."""

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

    def fetch_all(self, query: Any) -> list[Any]:
        """Fetch all rows of a query."""
        return self.fetch_compiled(self.compile(query))

    def compile(self, query: Any, *, fixed: bool = True) -> CompiledQuery:
        """Compile a query for `fetch_compiled`, with the values that it has now, or to be given others each time."""
        compiled = query.compile(self._engine, compile_kwargs={"render_postcompile": True} if fixed else {})
        names = tuple(compiled.positiontup) if compiled.positional else None
        return CompiledQuery(compiled.string, compiled.params, names)

    def fetch_compiled(self, query: CompiledQuery, **values: Any) -> list[Any]:
        """Fetch all rows of a compiled query by the driver itself, which takes a third of the time of `fetch_all`."""
        given = query.values | values
        named = given if query.names is None else [given[name] for name in query.names]
        failure = self._engine.dialect.loaded_dbapi.Error
        try:
            with self.use(), closing(self._engine.raw_connection()) as connection:
                cursor = connection.cursor()
                cursor.execute(query.text, named)
                return list(cursor.fetchall())
        except (sa.exc.SQLAlchemyError, failure) as error:
            raise ServiceFault("the event log cannot be read", got=describe_error(error)) from error

    def fetch_value(self, query: Any) -> Any:
        """Fetch the single value of a query, or None if there is no row."""
        rows = self.fetch_all(query)
        return rows[0][0] if rows else None

    def fetch_among(self, query: Any, column: sa.Column[Any], values: Sequence[Any]) -> list[Any]:
        """Fetch the rows of a query in which a column has one of some values, some hundred values at a time."""
        found: list[Any] = []
        for start in range(0, len(values), IN_LIMIT):
            found += self.fetch_all(query.where(column.in_(values[start : start + IN_LIMIT])))
        return found


@cache
def list_columns(without: frozenset[str] = frozenset()) -> tuple[Any, ...]:
    """List the columns of a row for a query; arrivals have NOT_READ in place of the ones left out, and None for `sealed`."""
    return tuple(_leave_out(ENTRIES.c[name]) if name in without else ENTRIES.c[name] for name in NAMES)


def _leave_out(column: sa.Column[Any]) -> Any:
    instead: sa.ColumnElement[Any] = (
        sa.null() if column.name == "sealed" else sa.literal(NOT_READ, sa.LargeBinary)
    )
    if column.name in RecordEntry.__struct_fields__:  # of other entries than arrivals too
        instead = sa.case((IS_ARRIVAL, instead), else_=column)
    return instead.label(column.name)


@cache
def select_named(without: frozenset[str]) -> Any:
    """Build the query for the entries whose identifier has the digest `digest`, in order."""
    digest: sa.BindParameter[int] = sa.bindparam("digest", 0, sa.BigInteger)
    return sa.select(*list_columns(without)).where(ENTRIES.c.digest == digest).order_by(ENTRIES.c.sequence)


def select_entries(
    columns: Iterable[Any], after: int = 0, until: int | None = None, kinds: Sequence[Kind] = ()
) -> Any:
    """Build the query for the entries of a range and of some kinds (all if empty), in order; `after` is excluded, `until` included."""
    query = sa.select(*columns).where(ENTRIES.c.sequence > after).order_by(ENTRIES.c.sequence)
    if until is not None:
        query = query.where(ENTRIES.c.sequence <= until)
    if kinds:
        query = query.where(ENTRIES.c.kind.in_(kinds))
        if "decision" not in kinds:
            query = query.where(IS_OTHER)
    return query
