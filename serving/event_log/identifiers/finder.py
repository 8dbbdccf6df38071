"""Finder of the sequence numbers of consignments: in runs, in the newest entries in memory, or by reading blocks."""

from collections.abc import Callable, Iterator, Sequence
from threading import RLock
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from consignments.errors import ServiceFault
from serving.event_log.databases.tables import BLOCKS, PAGES, RUNS
from serving.event_log.identifiers.pages import (
    DamagedPage,
    RunEntries,
    compute_digests,
    find_offsets,
    find_pages,
    unpack_pages,
)
from serving.event_log.queries import LogQueries, select_last

SEGMENT_ENTRIES = 8_192
"""Entries in memory after which the next segment begins; each full segment becomes a run."""
MAX_READ_ENTRIES = 4 * SEGMENT_ENTRIES
"""Entries after the last run that are read into memory; earlier ones without a run are searched in the blocks."""
MAX_ATTEMPTS = 5
"""Attempts to read pages while runs are joined."""
PAGES_PER_QUERY = 400
FEW_PAGES = 8
"""Pages up to which each is read by a query of its own, which is built once."""
_SELECT_PAGE = sa.select(PAGES.c.entries).where(
    PAGES.c.run == sa.bindparam("of"), PAGES.c.page == sa.bindparam("number")
)
ReadNames = Callable[[int, int], Iterator[tuple[int, Sequence[str | None]]]]
"""Reads the identifiers of entries after one sequence number up to another, in parts: the first sequence number of each."""


class Run(NamedTuple):
    """A run that is in the database; it has the entries from `first` to `last` in 2**bits pages."""

    run: int
    first: int
    last: int
    bits: int


class MemorySegment:
    """Entries that are in memory: the identifiers of the sequence numbers from `first` to `last`, None if there is none.

    Most identifiers have one entry, so there is a list only for those with several.
    """

    __slots__ = ("_earlier", "_latest", "first", "names")

    def __init__(self, first: int) -> None:
        self.first = first
        self.names: list[str | None] = []
        self._latest: dict[str | None, int] = {}
        self._earlier: dict[str | None, list[int]] = {}

    @property
    def last(self) -> int:
        """Return the last sequence number."""
        return self.first + len(self.names) - 1

    def add(self, names: Sequence[str | None]) -> None:
        """Add the identifiers of the next entries."""
        latest = self._latest
        for sequence, name in enumerate(names, start=self.first + len(self.names)):
            if name in latest:
                self._earlier.setdefault(name, []).append(latest[name])
            latest[name] = sequence
        self.names += names

    def list_sequences(self, name: str) -> list[int]:
        """List the sequence numbers of an identifier."""
        latest = self._latest.get(name)
        return [] if latest is None else [*self._earlier.get(name, ()), latest]


class SequenceFinder:
    """A finder for one log; any thread may call it.

    Parameters
    ----------
    queries : LogQueries
    key : bytes
        Key of the digests.
    read_names : callable

    Attributes
    ----------
    damaged : set of int
        Runs that cannot be used; their ranges are searched in the blocks.
    is_fed : bool
        Whether `add` is called for all entries that are written. Else each search reads the newest entries from the blocks.
    """

    def __init__(self, queries: LogQueries, key: bytes, read_names: ReadNames) -> None:
        self._queries, self.key, self._read_names = queries, key, read_names
        self._lock = RLock()
        self.damaged: set[int] = set()
        self.is_fed = False
        self._runs: tuple[Run, ...] | None = None
        self._segments: list[MemorySegment] = []

    def reset(self) -> None:
        """Forget what is in memory, because the log was read again."""
        with self._lock:
            self._runs, self._segments = None, []

    def load(self, last: int) -> None:
        """Read the newest entries, up to the sequence number `last`, which are in no run."""
        with self._lock:
            self._catch_up(last)

    def add(self, first: int, names: Sequence[str | None]) -> None:
        """Add the identifiers of entries that were written, from the sequence number `first` on."""
        with self._lock:
            end = self._segments[-1].last if self._segments else first
            if end == first - 1:
                self._extend(names)
            elif end < first - 1:
                self._segments = []  # the next search reads them from the blocks

    def find(self, names: Sequence[str], last: int) -> dict[str, list[int]]:
        """Find the sequence numbers of the entries of consignments, ascending, up to the sequence number `last`.

        A number may be that of another identifier with the same digest. Names without entries may be missing.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        for _ in range(MAX_ATTEMPTS):
            with self._lock:
                self._catch_up(last)
                runs, segments = self._runs or (), list(self._segments)
            found = self._search(names, runs, segments, last)
            if found is not None:
                return found
            self._list_runs()
        raise ServiceFault("the index of identifiers changes while it is read", todo="try again later")

    def find_full_segment(self) -> MemorySegment | None:
        """Return the oldest segment that is complete, so that it can be written as a run; None if there is none."""
        with self._lock:
            return self._segments[0] if len(self._segments) > 1 else None

    def replace(self, runs: Sequence[Run]) -> None:
        """Use these runs, which are in the database, and drop the segments that they contain."""
        with self._lock:
            self._runs = tuple(runs)
            end = max((run.last for run in runs), default=0)
            self._segments = [
                each for each in self._segments if each.last > end or each is self._segments[-1]
            ]

    def list_gaps(self, runs: Sequence[Run], last: int) -> list[tuple[int, int]]:
        """List the ranges (first, last) up to a sequence number that are in no usable run."""
        gaps, end = [], 0
        for run in sorted(runs, key=lambda each: each.first):
            if run.run in self.damaged:
                continue
            if run.first > end + 1:
                gaps.append((end + 1, run.first - 1))
            end = max(end, run.last)
        if end < last:
            gaps.append((end + 1, last))
        return gaps

    def read_run_table(self) -> tuple[Run, ...]:
        """Read the runs that are in the database, in order."""
        rows = self._queries.fetch_all(
            sa.select(*(RUNS.c[name] for name in Run._fields)).order_by(RUNS.c.first)
        )
        return tuple(Run(*row) for row in rows)

    def _list_runs(self) -> None:
        with self._lock:
            self._runs = self.read_run_table()

    def _catch_up(self, last: int) -> None:
        """Read the identifiers of the newest entries, which are in no run, up to the sequence number `last`."""
        if self._segments and (self.is_fed or self._segments[-1].last >= last):
            return
        if self.is_fed:  # `add` goes on from the end of the log, whatever this search asks for
            last = max(last, int(self._queries.fetch_value(select_last([BLOCKS.c.last])) or 0))
        runs = self.read_run_table()
        end = max((run.last for run in runs), default=0)
        if not self._segments or self._segments[-1].last < end:
            self._segments = [MemorySegment(max(end, last - MAX_READ_ENTRIES) + 1)]
        self.replace(runs)
        for first, names in self._read_names(self._segments[-1].last, last):
            if first != self._segments[-1].last + 1:  # a gap in a damaged log, which the verification reports
                self._segments.append(MemorySegment(first))
            self._extend(names)

    def _extend(self, names: Sequence[str | None]) -> None:
        newest = self._segments[-1]
        newest.add(names)
        if newest.last - newest.first + 1 >= SEGMENT_ENTRIES:
            self._segments.append(MemorySegment(newest.last + 1))

    def _search(
        self, names: Sequence[str], runs: Sequence[Run], segments: Sequence[MemorySegment], last: int
    ) -> dict[str, list[int]] | None:
        """Search runs, gaps and segments in order; return None if a run is no longer there."""
        found: dict[str, list[int]] = {}
        begin = segments[0].first if segments else 1
        usable = [run for run in runs if run.run not in self.damaged and run.first <= last]
        if usable:
            digests = compute_digests(names, self.key)
            for run, whose, sequences in self._search_runs(usable, digests):
                if whose is None:
                    if run.run in self.damaged:
                        continue
                    return None
                for place, sequence in zip(whose.tolist(), sequences.tolist(), strict=True):
                    found.setdefault(names[place], []).append(sequence)
        for first, end in self.list_gaps(usable, begin - 1):
            if first < begin:
                self._search_blocks(names, first, min(end, last), found)
        for segment in segments:
            for name in names:
                found.setdefault(name, []).extend(segment.list_sequences(name))
        return {name: sorted(each for each in set(places) if each <= last) for name, places in found.items()}

    def _search_blocks(
        self, names: Sequence[str], first: int, last: int, found: dict[str, list[int]]
    ) -> None:
        wanted = set(names)
        for start, here in self._read_names(first - 1, last):
            for place, name in enumerate(here):
                if name in wanted and first <= start + place <= last:
                    found.setdefault(name, []).append(start + place)

    def _search_runs(self, runs: Sequence[Run], digests: Any) -> Iterator[tuple[Run, Any, Any]]:
        """Yield for each run the places of the digests found and their sequence numbers; None if it cannot be read."""
        pages = {run.run: np.unique(find_pages(digests, run.bits)).tolist() for run in runs}
        read: dict[tuple[int, int], bytes] = {}
        if sum(map(len, pages.values())) <= PAGES_PER_QUERY:
            read = self._read_pages([(number, page) for number, wanted in pages.items() for page in wanted])
        else:
            for run in runs:
                read |= self._read_many(run, pages[run.run])
        for run in runs:
            here = [read.get((run.run, page)) for page in pages[run.run]]
            entries = self._unpack(run, here)
            if entries is None:
                yield run, None, None
                continue
            whose, offsets = find_offsets(entries, digests)
            yield run, whose, offsets + run.first

    def _unpack(self, run: Run, pages: list[bytes | None]) -> RunEntries | None:
        if None in pages:
            if run in self.read_run_table():
                self.damaged.add(run.run)
            return None
        try:
            return unpack_pages(pages)  # type: ignore[arg-type]
        except DamagedPage:
            self.damaged.add(run.run)
            return None

    def _read_many(self, run: Run, pages: Sequence[int]) -> dict[tuple[int, int], bytes]:
        if len(pages) > (1 << run.bits) // 2:
            query = sa.select(PAGES.c.page, PAGES.c.entries).where(PAGES.c.run == run.run)
            return {(run.run, page): entries for page, entries in self._queries.fetch_all(query)}
        read: dict[tuple[int, int], bytes] = {}
        for start in range(0, len(pages), PAGES_PER_QUERY):
            read |= self._read_pages([(run.run, page) for page in pages[start : start + PAGES_PER_QUERY]])
        return read

    def _read_pages(self, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        if len(places) <= FEW_PAGES:
            with self._queries.connect() as connection:
                return {
                    (run, page): entries
                    for run, page in places
                    for entries in connection.execute(_SELECT_PAGE, {"of": run, "number": page}).scalars()
                }
        values = ", ".join(f"({run}, {page})" for run, page in places)
        rows = self._queries.fetch_statement(
            f"SELECT run, page, entries FROM {PAGES.name} WHERE (run, page) IN (VALUES {values})"
        )
        return {(run, page): entries for run, page, entries in rows}
