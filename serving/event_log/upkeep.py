"""Upkeep of a log that is open for writing: a thread indexes the newest entries by identifier and time, joins runs, and joins small blocks.

    append   entries are on disk                    the request is answered
    upkeep   8,192 entries more: one run more       no request waits; a kill loses nothing but this work

Nothing of it is needed for the log to be whole, so its transactions are not flushed to disk one by one.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from threading import Lock

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from serving.event_log.blocks.compaction import STRETCH_ENTRIES, compact
from serving.event_log.databases.backend import Begin, TableWriter, describe_error
from serving.event_log.identifiers.finder import SEGMENT_ENTRIES, ReadNames, Run, SequenceFinder
from serving.event_log.identifiers.pages import PackedRun
from serving.event_log.identifiers.run_writer import (
    collect_names,
    delete_pages,
    delete_run,
    find_joinable,
    join_runs,
    list_left_over,
    pack_names,
    write_run,
)
from serving.event_log.time_spans import add_spans
from serving.process.logging import logger
from serving.process.threads import create_executor

MAX_RUN_ENTRIES = 64 * SEGMENT_ENTRIES
"""Maximum number of entries of a run that is made again from the blocks, to bound the memory that it takes."""


class LogUpkeep:
    """The upkeep of one log.

    Parameters
    ----------
    engine : Engine
    writer : TableWriter
        Writer of the blocks, which takes turns with the upkeep.
    finder : SequenceFinder
    read_names : callable
        Reads identifiers from the blocks, see `SequenceFinder`.
    """

    def __init__(
        self, engine: sa.Engine, writer: TableWriter, finder: SequenceFinder, read_names: ReadNames
    ) -> None:
        self._engine, self._writer, self._finder, self._read_names = engine, writer, finder, read_names
        self._thread = create_executor("upkeep")
        self._running: Future[None] | None = None
        self._lock = Lock()
        self._failing = False
        self._compacted: int | None = None

    def index_gaps(self, last: int) -> None:
        """Make the runs that are missing, up to the sequence number `last`; a short rest stays in memory.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        SQLAlchemyError
            The log cannot be written.
        """
        self._compacted = max(0, last - STRETCH_ENTRIES)
        gaps = self._finder.list_gaps(self._finder.read_run_table(), last)
        if gaps and gaps[-1][1] == last and last - gaps[-1][0] + 1 < 2 * SEGMENT_ENTRIES:
            gaps.pop()
        with self._connect() as connection:
            for run in list_left_over(connection):
                delete_pages(connection, self._get_begin(connection), run)
            for first, end in gaps:
                for start in range(first, end + 1, MAX_RUN_ENTRIES):
                    self._index(connection, start, min(start + MAX_RUN_ENTRIES - 1, end))
            add_spans(connection, self._get_begin(connection), last)
        self._finder.reset()

    def run_when_due(self, last: int) -> None:
        """Start the upkeep in its thread if there is enough to do; `last` is the last sequence number on disk."""
        if self._compacted is None:
            self._compacted = last
        is_due = last - self._compacted >= 2 * STRETCH_ENTRIES or self._finder.find_full_segment() is not None
        if is_due and (self._running is None or self._running.done()):
            self._running = self._thread.submit(self._run, last)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Wait for work in progress, and do none inside the context."""
        with self._lock:
            yield

    def wait(self) -> None:
        """Wait for work in progress."""
        if self._running is not None:
            self._running.result()

    def close(self) -> None:
        """Wait for work in progress, and end the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _run(self, last: int) -> None:
        try:
            with self._lock, self._connect() as connection:
                self._write_runs(connection)
                self._compact(connection, last)
                add_spans(connection, self._get_begin(connection), last)
        except Exception as error:
            if not self._failing:
                logger.error("upkeep of the event log failed", reason=describe_error(error))
            self._failing = True
        else:
            self._failing = False

    def _write_runs(self, connection: Connection) -> None:
        """Write full segments as runs, replace damaged runs, and join runs."""
        while segment := self._finder.find_full_segment():
            packed = pack_names(segment.names, self._finder.key)
            self._write_run(connection, packed, (segment.first, segment.last))
            self._finder.replace(self._finder.read_run_table())
        for run in self._finder.read_run_table():
            if run.run in self._finder.damaged:
                logger.warning("run of identifiers is damaged and made again", first=run.first, last=run.last)
                delete_run(connection, self._get_begin(connection), run.run)
                self._index(connection, run.first, run.last)
        while joined := find_joinable(self._finder.read_run_table()):
            packed = join_runs(connection, joined)
            self._write_run(connection, packed, (joined[0].first, joined[-1].last), joined)
        self._finder.replace(self._finder.read_run_table())

    def _index(self, connection: Connection, first: int, last: int) -> None:
        """Make a run from the blocks."""
        names = collect_names(self._read_names(first - 1, last), first, last)
        self._write_run(connection, pack_names(names, self._finder.key), (first, last))

    def _compact(self, connection: Connection, last: int) -> None:
        """Join small blocks, except the newest."""
        assert self._compacted is not None
        while last - self._compacted >= 2 * STRETCH_ENTRIES:
            compact(
                connection, self._get_begin(connection), self._compacted, self._compacted + STRETCH_ENTRIES
            )
            self._compacted += STRETCH_ENTRIES

    def _write_run(
        self, connection: Connection, packed: PackedRun, span: tuple[int, int], replaced: Sequence[Run] = ()
    ) -> None:
        write_run(connection, self._get_begin(connection), packed, span, replaced)

    def _get_begin(self, connection: Connection) -> Begin:
        return partial(self._writer.begin, connection)

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        """Connect without flushes of single transactions, and without the checkpoints that another thread makes."""
        with self._engine.connect() as connection:
            if self._engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
                connection.exec_driver_sql("PRAGMA wal_autocheckpoint=0")
            else:
                connection.exec_driver_sql("SET synchronous_commit = off")
            connection.commit()
            try:
                yield connection
            finally:
                connection.invalidate()
