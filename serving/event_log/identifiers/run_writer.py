"""Writing of runs: a run becomes visible with its row, after all its pages, and joined runs replace the small ones at once."""

from collections.abc import Iterator, Sequence

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from serving.event_log.databases.backend import Begin
from serving.event_log.databases.tables import PAGES, RUNS
from serving.event_log.identifiers.finder import SEGMENT_ENTRIES, Run
from serving.event_log.identifiers.pages import (
    PackedRun,
    RunEntries,
    build_entries,
    compute_digests,
    pack_run,
    unpack_pages,
)

JOINED_RUNS = 8
"""Runs of one size that are joined."""
LEVEL_BITS = 3
MAX_LEVEL = 3
"""Runs of this level have at least four million entries and are not joined further, to bound the memory that it takes."""
PAGES_PER_WRITE = 64
"""Pages written in one transaction, of some 200 kB, so that the writer of entries does not wait."""


def pack_names(names: Sequence[str | None], key: bytes) -> PackedRun:
    """Pack the identifiers of entries that follow one another as a run; None if an entry has none."""
    offsets = [offset for offset, name in enumerate(names) if name is not None]
    return pack_run(
        build_entries(compute_digests([name for name in names if name is not None], key), offsets)
    )


def write_run(
    connection: Connection,
    begin: Begin,
    packed: PackedRun,
    span: tuple[int, int],
    replaced: Sequence[Run] = (),
) -> None:
    """Write a run, then drop the runs that it replaces.

    Parameters
    ----------
    connection : Connection
        Not in a transaction.
    begin : callable
        Returns a context with a transaction of this connection.
    packed : PackedRun
    span : tuple of int
        First and last sequence number.
    replaced : sequence of Run
    """
    run = _find_last_run(connection) + 1
    connection.commit()
    for start in range(0, len(packed.pages), PAGES_PER_WRITE):
        pages = enumerate(packed.pages[start : start + PAGES_PER_WRITE], start=start)
        with begin():
            connection.execute(
                PAGES.insert(), [{"run": run, "page": page, "entries": entries} for page, entries in pages]
            )
    with begin():
        if replaced:
            connection.execute(sa.delete(RUNS).where(RUNS.c.run.in_([each.run for each in replaced])))
        connection.execute(RUNS.insert().values(run=run, first=span[0], last=span[1], bits=packed.bits))
    for each in replaced:
        delete_pages(connection, begin, each.run)


def delete_run(connection: Connection, begin: Begin, run: int) -> None:
    """Delete a run that cannot be used."""
    with begin():
        connection.execute(sa.delete(RUNS).where(RUNS.c.run == run))
    delete_pages(connection, begin, run)


def delete_pages(connection: Connection, begin: Begin, run: int) -> None:
    """Delete the pages of a run that is no longer in the table of runs, some at a time."""
    while True:
        query = sa.select(PAGES.c.page).where(PAGES.c.run == run).order_by(PAGES.c.page)
        pages = connection.execute(query.limit(PAGES_PER_WRITE)).scalars().all()
        connection.commit()
        if not pages:
            return
        with begin():
            here = PAGES.c.run == run, PAGES.c.page >= pages[0], PAGES.c.page <= pages[-1]
            connection.execute(sa.delete(PAGES).where(*here))


def list_left_over(connection: Connection) -> list[int]:
    """List the runs that have pages and no row: a process was killed while it wrote or dropped them."""
    known = set(connection.execute(sa.select(RUNS.c.run)).scalars())
    left: list[int] = []
    run = -1
    while True:
        query = sa.select(sa.func.min(PAGES.c.run)).where(PAGES.c.run > run)
        found = connection.execute(query).scalar()
        if found is None:
            connection.commit()
            return left
        run = int(found)
        if run not in known:
            left.append(run)


def find_joinable(runs: Sequence[Run]) -> list[Run]:
    """Find JOINED_RUNS runs of one level that follow one another; return an empty list if there are none."""
    levels = [_compute_level(run) for run in runs]
    for start in range(len(runs) - JOINED_RUNS + 1):
        here = runs[start : start + JOINED_RUNS]
        follow = all(here[place].last + 1 == here[place + 1].first for place in range(JOINED_RUNS - 1))
        if len(set(levels[start : start + JOINED_RUNS])) == 1 and levels[start] < MAX_LEVEL and follow:
            return list(here)
    return []


def join_runs(connection: Connection, runs: Sequence[Run]) -> PackedRun:
    """Return a run with the entries of others that follow one another; raise `DamagedPage` if one was changed."""
    parts = []
    for run in runs:
        entries = _read_run(connection, run).copy()
        entries["offset"] += run.first - runs[0].first
        parts.append(entries)
    connection.commit()
    return pack_run(np.concatenate(parts))


def _read_run(connection: Connection, run: Run) -> RunEntries:
    query = sa.select(PAGES.c.entries).where(PAGES.c.run == run.run).order_by(PAGES.c.page)
    return unpack_pages(connection.execute(query).scalars().all())


def _find_last_run(connection: Connection) -> int:
    queries = sa.select(sa.func.max(RUNS.c.run)), sa.select(sa.func.max(PAGES.c.run))
    return max(int(connection.execute(query).scalar() or 0) for query in queries)


def _compute_level(run: Run) -> int:
    segments = max(1, (run.last - run.first + 1) // SEGMENT_ENTRIES)
    return (segments.bit_length() - 1) // LEVEL_BITS


def collect_names(
    parts: Iterator[tuple[int, Sequence[str | None]]], first: int, last: int
) -> list[str | None]:
    """Collect the identifiers of the entries from `first` to `last`, which are read in parts."""
    names: list[str | None] = [None] * (last - first + 1)
    for start, here in parts:
        names[start - first : start - first + len(here)] = here
    return names
