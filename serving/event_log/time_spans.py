"""Coarse index of times: when the arrivals of each 4,096 entries were received, so that a block needs no index of its own.

    entries 1 to 4,096        received from 08:00 to 09:10    one row of the table of spans
    entries 4,097 to 8,192    received from 08:59 to 10:20    a late clock, or an import of the past: spans may overlap
    entries 8,193 to 9,014    not in a span yet               blocks that a reader looks at one by one

The upkeep adds spans (`serving.event_log.upkeep`). They hold nothing that the blocks do not hold.
"""

from math import inf
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from serving.event_log.databases.backend import Begin
from serving.event_log.databases.tables import BLOCKS, SPANS
from serving.event_log.queries import LogQueries, select_range

SPAN_ENTRIES = 4_096
_TIMES = [sa.func.min(BLOCKS.c.min_us), sa.func.max(BLOCKS.c.max_us)]
_END = sa.select(sa.func.coalesce(sa.func.max(SPANS.c.last), 0))


class EntryRange(NamedTuple):
    """Entries that may have arrivals of a period.

    Attributes
    ----------
    after, until : int or None
        Range of sequence numbers; `after` excluded, `until` included; None for the end of the log.
    max_us : float
        Latest arrival; infinity if it is not known.
    """

    after: int
    until: int | None
    max_us: float


def add_spans(connection: Connection, begin: Begin, last: int) -> None:
    """Add the spans that are complete.

    Parameters
    ----------
    connection : Connection
        Not in a transaction.
    begin : callable
        Returns a context with a transaction of this connection.
    last : int
        Last sequence number on disk.
    """
    end = connection.execute(_END).scalar_one()
    connection.commit()
    for after in range(end, last - SPAN_ENTRIES + 1, SPAN_ENTRIES):
        until = after + SPAN_ENTRIES
        times = select_range(_TIMES, after, until)
        with begin():
            min_us, max_us = connection.execute(times).one()
            connection.execute(
                SPANS.insert().values(first=after + 1, last=until, min_us=min_us, max_us=max_us)
            )


def list_ranges(queries: LogQueries, from_us: int | None, until_us: int) -> list[EntryRange]:
    """List the ranges of entries that may have arrivals received in a period, in order.

    Parameters
    ----------
    queries : LogQueries
    from_us, until_us : int
        Period; `until_us` excluded; no `from_us` for all earlier ones.
    """
    query = sa.select(SPANS).where(SPANS.c.min_us < until_us).order_by(SPANS.c.first)
    if from_us is not None:
        query = query.where(SPANS.c.max_us >= from_us)
    end = queries.fetch_value(_END)
    ranges = [EntryRange(span.first - 1, span.last, span.max_us) for span in queries.fetch_all(query)]
    return [*(each for each in ranges if each.until <= end), EntryRange(end, None, inf)]


def find_latest_us(queries: LogQueries) -> int | None:
    """Find the latest time at which a consignment was received; return None if there is none."""
    end = queries.fetch_value(_END)
    found = [
        queries.fetch_value(sa.select(sa.func.max(SPANS.c.max_us))),
        queries.fetch_value(select_range([sa.func.max(BLOCKS.c.max_us)], end, None)),
    ]
    return max((each for each in found if each is not None), default=None)
