"""Verification of what is derived from the entries, so that they are found: runs of identifiers, and spans of time.

The hash chain covers the entries alone. An entry that its run does not name would be there, and not be found.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import sqlalchemy as sa

from serving.event_log.blocks.codec import open_block
from serving.event_log.databases.tables import PAGES, RUNS, SPANS
from serving.event_log.events import ARRIVAL_KINDS
from serving.event_log.identifiers.finder import Run
from serving.event_log.identifiers.pages import PackedRun, build_entries, compute_digests, pack_run
from serving.event_log.queries import HEADS
from serving.event_log.reader import LogReader, Progress

Index = Literal["identifiers", "times"]
TABLES: dict[Index, str] = {"identifiers": RUNS.name, "times": SPANS.name}


class IndexFault(NamedTuple):
    """A part of an index that is not what its entries say, from the entry `first` to the entry `last`."""

    of: Index
    first: int
    last: int

    def __str__(self) -> str:
        """Describe the fault, and what to do."""
        return (
            f"the index of {self.of} is wrong for the entries {self.first:,} to {self.last:,}; stop the service, delete "
            f"all rows of the table {TABLES[self.of]}, and start it: it makes the index again from the entries"
        )


def verify_indexes(log: LogReader, progress: Progress | None = None) -> list[IndexFault]:
    """Compare the runs and spans of a log with its entries, whose chain is valid; the service may write at the same time.

    Raises
    ------
    ServiceFault
        The log cannot be read.
    """
    faults = []
    runs = log.finder.read_run_table()
    for run in runs:
        # A run that was joined with others meanwhile is no longer there.
        if not _holds_names(log, run) and run in log.finder.read_run_table():
            faults.append(IndexFault("identifiers", run.first, run.last))
        if progress is not None:
            progress("indexes", run.last, runs[-1].last)
    return faults + list(_find_wrong_spans(log))


def _holds_names(log: LogReader, run: Run) -> bool:
    """Check whether a run has the identifiers of its entries, and no others."""
    query = sa.select(PAGES.c.entries).where(PAGES.c.run == run.run).order_by(PAGES.c.page)
    stored = [bytes(page) for (page,) in log.queries.fetch_all(query)]
    return PackedRun(run.bits, stored) == _pack_run(log, run)


def _pack_run(log: LogReader, run: Run) -> PackedRun:
    """Make a run again; of its identifiers only digests are in memory together."""
    digests, offsets = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.uint32)]
    for start, names in log.read_names(run.first - 1, run.last):
        named = [
            (offset, name) for offset, name in enumerate(names, start=start - run.first) if name is not None
        ]
        digests.append(compute_digests([name for _, name in named], log.identifier_key))
        offsets.append(np.array([offset for offset, _ in named], dtype=np.uint32))
    return pack_run(build_entries(np.concatenate(digests), np.concatenate(offsets)))


def _find_wrong_spans(log: LogReader) -> Iterator[IndexFault]:
    """Find spans that are missing, or that an arrival was received before or after."""
    end = 0
    for first, last, min_us, max_us in log.queries.fetch_all(sa.select(SPANS).order_by(SPANS.c.first)):
        if first != end + 1:
            yield IndexFault("times", end + 1, first - 1)
        end = last
        times = list(_read_arrival_times(log, first, last))
        if times and not (min_us is not None and min_us <= min(times) and max_us >= max(times)):
            yield IndexFault("times", first, last)


def _read_arrival_times(log: LogReader, first: int, last: int) -> Iterator[int]:
    for found in log.queries.fetch_blocks(HEADS, first - 1, last):
        for stored in found:
            block = open_block(*stored)
            here = slice(max(0, first - block.first), last - block.first + 1)
            kinds, moments = (column[here] for column in block.read_columns("kind", "at_us"))
            yield from (at_us for kind, at_us in zip(kinds, moments, strict=True) if kind in ARRIVAL_KINDS)
