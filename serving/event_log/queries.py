"""SQL queries of the event log, and their execution.

Queries that a request waits for are built once and cached, because building them costs more than running them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from consignments.errors import ServiceFault
from serving.event_log.backend import describe_error
from serving.event_log.event_rows import HISTORY_FIELDS
from serving.event_log.events import ARRIVAL_KINDS, CONTENT_KINDS, EMPTY, NOT_READ, Kind
from serving.event_log.tables import COLUMNS, EVENTS

PAGE_ROWS = 5_000
"""Entries fetched at a time when the whole log is read."""
MAX_SEQUENCE = 2**63 - 1
_NOT_READ: Any = sa.literal(NOT_READ, sa.LargeBinary)


class LogQueries:
    """A runner of queries that converts database errors to `ServiceFault`.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def fetch_rows(self, query: Any, until: int | None = None, **values: Any) -> Sequence[Any]:
        """Fetch the rows of a query with the parameter `until`, the last sequence number wanted; None for all."""
        values["until"] = MAX_SEQUENCE if until is None else until
        return self.fetch_all(query, values)

    def fetch_all(self, query: Any, values: dict[str, Any] | None = None) -> Sequence[Any]:
        """Fetch all rows of a query."""
        with self._connect() as connection:
            return connection.execute(query, values).all()

    def fetch_value(self, query: Any) -> Any:
        """Fetch the single value of a query, or None if there is no row."""
        with self._connect() as connection:
            return connection.execute(query).scalar_one_or_none()

    def fetch_pages(
        self, columns: Sequence[Any], after: int, until: int | None, kinds: Sequence[Kind] = ()
    ) -> Iterator[Sequence[Any]]:
        """Fetch entries in order, some thousands at a time.

        Parameters
        ----------
        columns : sequence of columns
            Columns to fetch; the first is `sequence`.
        after, until : int
            Range of sequence numbers; `after` excluded, `until` included.
        kinds : sequence of str
            Only entries of these kinds; empty for all.
        """
        while True:
            query = sa.select(*columns).where(EVENTS.c.sequence > after)
            if kinds:
                query = query.where(EVENTS.c.kind.in_(kinds))
            if until is not None:
                query = query.where(EVENTS.c.sequence <= until)
            rows = self.fetch_all(query.order_by(EVENTS.c.sequence).limit(PAGE_ROWS))
            if not rows:
                return
            yield rows
            after = rows[-1][0]

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be read", got=describe_error(error)) from error


def select_columns(without: Sequence[str]) -> list[Any]:
    """Return all columns of an entry; of those not needed, `sealed` is read as None and the others as `NOT_READ`."""
    return [_leave_out(column.name) if column.name in without else column for column in COLUMNS]


def _leave_out(name: str) -> Any:
    """Return the replacement of a column; an entry without personal fields can still be decoded."""
    return (sa.null() if name == "sealed" else _NOT_READ).label(name)


@cache
def select_history_columns(kinds: str) -> list[Any]:
    """Return the columns that history needs; fields are read only for outcomes and arrivals with other kinds of keys."""
    needed = (EVENTS.c.kind == "outcome") | (EVENTS.c.kinds != kinds)
    columns = {name: EVENTS.c[name] for name in HISTORY_FIELDS}
    fields = {
        name: sa.case((needed, columns[name]), else_=_leave_out(name)).label(name)
        for name in ("plain", "sealed")
    }
    return list((columns | fields).values())


@cache
def build_kind_query(kind: Kind) -> Any:
    """Build the query for entries of a kind that has no consignment; it uses the index of `consignment_id`."""
    here = (
        EVENTS.c.consignment_id.is_(None),
        EVENTS.c.kind == kind,
        EVENTS.c.sequence <= sa.bindparam("until"),
    )
    return sa.select(*COLUMNS).where(*here).order_by(EVENTS.c.sequence)


@cache
def build_places_query(kind: Kind, *, whole: bool) -> Any:
    """Build the query for the sequence numbers of a kind that has no consignment, after `after` up to `until`.

    It uses the index of `consignment_id` if the whole log is searched, else that of the sequence.
    """
    place = EVENTS.c.sequence
    here = [EVENTS.c.kind == kind, place > sa.bindparam("after"), place <= sa.bindparam("until")]
    if whole:
        here.append(EVENTS.c.consignment_id.is_(None))
    return sa.select(place).where(*here)


@cache
def build_entries_query() -> Any:
    """Build the query for the entries with the sequence numbers `places`, in any order."""
    places: sa.BindParameter[int] = sa.bindparam("places", expanding=True)
    return sa.select(*COLUMNS).where(EVENTS.c.sequence.in_(places))


@cache
def build_consignment_query(without: tuple[str, ...]) -> Any:
    """Build the query for the entries of the consignment `name`."""
    here = EVENTS.c.consignment_id == sa.bindparam("name"), EVENTS.c.sequence <= sa.bindparam("until")
    return sa.select(*select_columns(without)).where(*here).order_by(EVENTS.c.sequence)


@cache
def build_consignments_query(kinds: str) -> Any:
    """Build the query for the history columns of the entries of the consignments `names`, in any order."""
    names: sa.BindParameter[str] = sa.bindparam("names", expanding=True)
    here = EVENTS.c.consignment_id.in_(names), EVENTS.c.sequence <= sa.bindparam("until")
    return sa.select(*select_history_columns(kinds)).where(*here)


def build_scored_query(from_us: int, until_us: int, without: Sequence[str]) -> Any:
    """Build the query for all entries of the consignments with a decision in a period; `until_us` is excluded."""
    scored = sa.select(EVENTS.c.consignment_id).where(
        EVENTS.c.kind == "decision", EVENTS.c.at_us >= from_us, EVENTS.c.at_us < until_us
    )
    here = EVENTS.c.consignment_id.in_(scored), EVENTS.c.sequence <= sa.bindparam("until")
    return sa.select(*select_columns(without)).where(*here).order_by(EVENTS.c.sequence)


def filter_unredacted(after: int, until: int, kinds: Sequence[Kind] = ARRIVAL_KINDS) -> list[Any]:
    """Return the conditions for entries with content, after the sequence number `after` up to `until`.

    By default they are consignments; `CONTENT_KINDS` are all kinds whose content is removed.
    """
    place = EVENTS.c.sequence
    return [place > after, place <= until, EVENTS.c.kind.in_(kinds), EVENTS.c.plain != EMPTY]


def filter_removable(after: int, until: int) -> list[Any]:
    """Return the conditions for entries whose content a removal empties, after the sequence number `after` up to `until`."""
    return filter_unredacted(after, until, CONTENT_KINDS)
