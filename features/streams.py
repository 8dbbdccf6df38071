"""Features of tables, in chunks in the order of history. A table in memory is a stream of one chunk.

The result does not depend on chunks or processes. Tables that are sorted in the order of history, at least by day, are processed
one chunk at a time. Other processes may compute features, and the history is computed in order in this process. A table in
another order is held in memory as a whole.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from consignments.columns import adopt_spellings, decode_items, unify_spellings
from consignments.errors import BadInput
from consignments.records import Consignment
from consignments.tables import TableStream, iterate_records, to_arrow_rows
from consignments.validation import SEQUENCE, concat_rows, keep_rows
from consignments.workers import WorkerPool, pause_garbage_collection
from features import batch
from features.alerts.alerts import Alerts
from features.goods.goods import prepare_kernel
from features.history.kept_state import StateRun
from features.history.kernels import Keys, Longs, Rows
from features.history.ordering import ArrivalEvents, Outcomes
from features.history.table import History
from features.history.table_fold import TableFold
from features.normalization.normal_forms import (
    DECLARED_COLUMNS,
    DeclaredTexts,
    find_goods_hs,
    join_goods_texts,
)
from features.pipeline import NO_SEQUENCES, Pipeline
from features.spec import Spec

CHUNK_ROWS = 10_000
CONTEXT_COLUMNS = (
    *("consignment_id", SEQUENCE, "channel", "office", "received_at", "description", "items", "hs_code"),
    *DECLARED_COLUMNS,
)
"""Columns of the table that are yielded together with the features."""
MAX_BLOCK_ROWS = 100_000
"""Maximum number of rows that are held together because they are not in the order of history."""
LARGE_TABLE_ROWS = 1_000_000
Mask = NDArray[np.bool_]

log = logging.getLogger("npsrisk")


@dataclass(frozen=True)
class InMemoryTable:
    """A source of a checked table in memory."""

    rows: pd.DataFrame
    piece_rows: int = CHUNK_ROWS

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def take_order(self) -> pd.DataFrame:
        """Return its rows."""
        return self.rows

    def read_chunks(self, record: type[Consignment]) -> Iterator[pa.Table]:
        """Yield its rows in order, in chunks in canonical form, with the columns of a record type and all others."""
        for begin in range(0, max(len(self.rows), 1), self.piece_rows):
            yield to_arrow_rows(self.rows.iloc[begin : begin + self.piece_rows], record)


@dataclass(frozen=True)
class SelectedRows:
    """A source of some rows of another source, whose order columns stay in memory and may be taken several times."""

    source: "TableSource"
    order: pd.DataFrame
    selected: Mask

    @classmethod
    def from_source(cls, source: "TableSource") -> "SelectedRows":
        """Return all rows of a source."""
        order = source.take_order()
        return cls(source, order, np.ones(len(order), dtype=bool))

    def select(self, rows: Mask) -> "SelectedRows":
        """Return some of the rows, given a mask of these rows."""
        selected = self.selected.copy()
        selected[selected] = rows
        return SelectedRows(self.source, self.order[rows].reset_index(drop=True), selected)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.selected.sum())

    def take_order(self) -> pd.DataFrame:
        """Return the order columns."""
        return self.order

    def read_chunks(self, record: type[Consignment]) -> Iterator[pa.Table]:
        """Yield the rows in order, in chunks."""
        for chunk, selected in _pair_with_mask(self.source, self.selected, record):
            yield keep_rows(chunk, selected)


TableSource = TableStream | InMemoryTable | SelectedRows
"""A table that is read in at least one chunk. Its order, the columns that define the order of history, may be taken once."""


def _pair_with_mask(
    source: TableSource, mask: Mask, record: type[Consignment]
) -> Iterator[tuple[pa.Table, Mask]]:
    """Yield the chunks of a source, each with its part of the mask."""
    start = 0
    for chunk in source.read_chunks(record):
        yield chunk, mask[start : start + len(chunk)]
        start += len(chunk)


@dataclass(frozen=True)
class FeatureChunk:
    """A chunk of feature rows in the order of the table, with the columns `CONTEXT_COLUMNS` in canonical form."""

    X: Rows
    context: pa.Table

    def split(self, rows: int) -> "Iterator[FeatureChunk]":
        """Yield it in parts of at most some rows, at least one."""
        for begin in range(0, max(len(self.X), 1), rows):
            yield FeatureChunk(self.X[begin : begin + rows], self.context.slice(begin, rows))

    def to_table(self, spec: Spec, shown: Sequence[int]) -> pa.Table:
        """Build an Arrow table of `consignment_id`, `sequence` if the table has it, and the shown features; NaN is null."""
        named = [name for name in ("consignment_id", SEQUENCE) if name in self.context.column_names]
        features = np.ascontiguousarray(self.X.T[list(shown)], np.float32)
        columns = [self.context.column(name) for name in named]
        columns += [pa.array(column, from_pandas=True) for column in features]
        return pa.table(columns, [*named, *(spec.names[place] for place in shown)])


@dataclass(frozen=True)
class FeatureInputs:
    """The input tables of the feature computation."""

    consignments: TableSource
    history: tuple[TableSource, ...] = ()  # only counted; without `sequence`, not those of a later table
    outcomes: pd.DataFrame | None = None
    alerts: pd.DataFrame | None = None
    as_of: pd.Timestamp | None = None
    state_run: StateRun | None = None

    @property
    def has_history(self) -> bool:
        """Return True if there is any past consignment in addition to the given ones."""
        if self.state_run is not None and self.state_run.before is not None:
            return True
        return any(len(source) > 0 for source in self.history)

    @classmethod
    def to_repeatable(cls, given: "batch.Tables | FeatureInputs") -> "FeatureInputs":
        """Return tables as inputs that can be read several times, with one spelling for each consignment."""
        inputs = given if isinstance(given, FeatureInputs) else cls.from_tables(given)
        rows = SelectedRows.from_source(inputs.consignments)
        rows = replace(rows, order=unify_spellings(rows.order))
        outcomes = adopt_spellings(inputs.outcomes, rows.order["consignment_id"])
        return replace(inputs, consignments=rows, outcomes=outcomes)

    @classmethod
    def from_tables(
        cls, given: batch.Tables, history: pd.DataFrame | None = None, as_of: pd.Timestamp | None = None
    ) -> "FeatureInputs":
        """Build the inputs from tables in memory."""
        past = () if history is None else (InMemoryTable(history),)
        return cls(InMemoryTable(given.consignments), past, given.outcomes, given.alerts, as_of)


class EventTables(NamedTuple):
    """The events of all tables, and the tables, past ones before the given one: their rows are the arrivals, from `starts` on."""

    arrivals: ArrivalEvents
    outcomes: Outcomes
    sources: tuple[TableSource, ...]
    starts: Longs

    @classmethod
    def from_inputs(cls, inputs: FeatureInputs) -> "EventTables":
        """Read the order of the consignment tables. The long table of their order is not kept."""
        order = inputs.consignments.take_order()
        sources: list[TableSource] = [inputs.consignments]
        for source in reversed(inputs.history):
            past = source.take_order()
            kept = batch.mask_past_rows(past, order)
            sources.insert(0, source if kept.all() else SelectedRows(source, pd.DataFrame(), kept))
            order = pd.concat([past[kept], order], ignore_index=True)
        outcomes = batch.build_outcome_events(adopt_spellings(inputs.outcomes, order["consignment_id"]))
        starts = np.cumsum([0, *map(len, sources)])
        return cls(batch.build_arrival_events(order), outcomes, tuple(sources), starts)

    def start_fold(self, inputs: FeatureInputs, second: Mask | None = None) -> TableFold:
        """Start the fold of the events; rows that are `second` are read alone."""
        if inputs.state_run is not None:
            return inputs.state_run.start_fold(self.arrivals, self.outcomes)
        until = None if inputs.as_of is None else inputs.as_of.value // 1000
        return TableFold(replace(self.arrivals, second=second), self.outcomes, until)


class DescribedRows(NamedTuple):
    """Rows without history: features (wanted rows), keys and counterparts (rows, kinds), and the context columns of the wanted rows."""

    X: Rows
    keys: Keys
    counterparts: Keys
    context: pa.Table

    def slice_rows(self, rows: slice, wanted: slice) -> "DescribedRows":
        """Return some of the rows, and the wanted ones among them."""
        first, last, _ = wanted.indices(len(self.X))
        context = self.context.slice(first, last - first)
        return DescribedRows(self.X[wanted], self.keys[rows], self.counterparts[rows], context)


DescribeChunks = Callable[[Iterator[tuple[pa.Table, Mask]]], Iterator[DescribedRows]]


@pause_garbage_collection()  # nothing here is part of a circle
def describe_rows(
    parameters: batch.FeatureParameters, alerts: Alerts, rows_and_wanted: tuple[pa.Table, Mask]
) -> DescribedRows:
    """Compute the history keys of rows in canonical form, and all other features of the wanted ones, also in another process."""
    pipeline, (rows, wanted) = parameters.build_pipeline(alerts), rows_and_wanted
    mine, others = keep_rows(rows, wanted), keep_rows(rows, ~wanted)
    X = allocate_rows(len(mine), pipeline.history_at)
    found, more = (np.zeros((2, len(some), len(pipeline.kinds)), np.uint64) for some in (mine, others))
    sequences = mine.column(SEQUENCE).to_pylist() if SEQUENCE in mine.column_names else NO_SEQUENCES
    pipeline.fill_rows(iterate_records(mine, pipeline.record_type), X, found[0], found[1], sequences)
    for c, *both in zip(iterate_records(others, pipeline.record_type), *more, strict=True):
        pipeline.fill_keys(c, *both)
    keys = np.zeros((2, len(rows), len(pipeline.kinds)), dtype=np.uint64)
    keys[:, wanted], keys[:, ~wanted] = found, more
    context = mine.select([name for name in CONTEXT_COLUMNS if name in mine.column_names])
    return DescribedRows(X, keys[0], keys[1], context)


def compute_feature_matrix(
    given: batch.Tables | FeatureInputs,
    parameters: batch.FeatureParameters | None = None,
    *,
    keep: Mask | None = None,
    second: bool = False,
    as_of: pd.Timestamp | None = None,
    options: batch.ComputeOptions | None = None,
) -> batch.FeatureMatrix:
    """Compute the features of a consignment table as of the time at which each consignment is scored.

    Parameters
    ----------
    given : Tables or FeatureInputs
        All consignments count for history, in its order.
    parameters : FeatureParameters, optional
    keep : bool array, (given consignments,), optional
        Rows that get features. The others only count for history. Default: all.
    second : bool
        True if the kept rows repeat consignments of other rows. Each is read alone, as if its consignment arrived then instead of
        when it did, and counts for no other row.
    as_of : Timestamp, optional
        Outcomes and alerts that became visible later are ignored.
    options : ComputeOptions, optional

    Returns
    -------
    FeatureMatrix
        One row per kept consignment, in the order of the table.
    """
    parameters = parameters or batch.FeatureParameters()
    inputs = given if isinstance(given, FeatureInputs) else FeatureInputs.from_tables(given, as_of=as_of)
    rows = len(inputs.consignments)
    keep = np.ones(rows, dtype=bool) if keep is None else keep
    all_rows = rows + sum(map(len, inputs.history))
    (chunk,) = stream_features(
        inputs, parameters, options=options, piece_rows=all_rows, wanted=keep, second=second
    )
    return batch.FeatureMatrix(chunk.X, np.flatnonzero(keep), parameters.build_pipeline().spec)


def stream_features(
    inputs: FeatureInputs,
    parameters: batch.FeatureParameters,
    *,
    options: batch.ComputeOptions | None = None,
    piece_rows: int = CHUNK_ROWS,
    wanted: Mask | None = None,
    second: bool = False,
) -> Iterator[FeatureChunk]:
    """Compute the same bits as `compute_feature_matrix`, in chunks that do not all stay in memory."""
    options = options or batch.ComputeOptions()
    alerts, run = batch.select_alerts(inputs.alerts, inputs.as_of), inputs.state_run
    describe = partial(describe_rows, parameters, alerts)
    pipeline, tables = parameters.build_pipeline(alerts), EventTables.from_inputs(inputs)
    marks = np.zeros(tables.starts[-1], dtype=bool)
    marks[tables.starts[-2] :] = True if wanted is None else wanted
    fold = tables.start_fold(inputs, marks if second else None)
    # Memory of the first pass and of sorting stays in Arrow's pool: over a third of the total at ten million rows. Release it.
    pa.default_memory_pool().release_unused()
    limit, total = max(MAX_BLOCK_ROWS, piece_rows), len(fold.rows)
    blocks = _split_blocks(fold.rows, tables.starts, piece_rows)
    _check_blocks(inputs, blocks, limit)
    with batch.report_progress(options.progress, "loading kernels"):
        prepare_kernel()
    history = History.create_sized(pipeline.kinds, total) if run is None else run.history
    mark_rows, is_empty = parameters.fitted.mark_rows, True
    with WorkerPool(options.jobs, total) as workers:
        map_chunks = workers.map if options.runner is None else options.runner.map_chunks
        reader = _BlockReader(tables, marks, pipeline, partial(map_chunks, describe))
        for block in blocks:
            rows = fold.rows[block]
            X, keys, counterparts, context = reader.read(rows)
            # The block has its rows in the order of their tables.
            order = np.sort(rows)
            line, mine = np.searchsorted(order, rows), marks[order]
            out_rows = np.where(mine, np.cumsum(mine) - 1, -1)
            fold.process_arrivals(history, keys[line], counterparts[line], X, out_rows[line])
            if len(X):
                yield from FeatureChunk(mark_rows(X), context).split(limit)
                is_empty = False
            if options.progress is not None:
                options.progress("features" if len(X) else "history", block.stop, total)
    if is_empty:
        first = next(inputs.consignments.read_chunks(pipeline.record_type))
        nothing = describe((first.slice(0, 0), np.zeros(0, dtype=bool)))
        yield FeatureChunk(mark_rows(allocate_rows(0, len(pipeline.spec))), nothing.context)
    if run is not None:
        with batch.report_progress(options.progress, "state"):
            run.finish()


class _BlockReader:
    """A reader of described rows in the order of their tables, in any number at a time."""

    def __init__(
        self, tables: EventTables, marks: Mask, pipeline: Pipeline, describe_all: DescribeChunks
    ) -> None:
        self._pipeline, self._marks, self._starts = pipeline, marks, tables.starts
        self._parts = [
            describe_all(_pair_with_mask(source, marks[begin:end], pipeline.record_type))
            for source, (begin, end) in zip(tables.sources, pairwise(tables.starts.tolist()), strict=True)
        ]
        self._left: list[DescribedRows | None] = [None for _ in self._parts]

    def read(self, rows: Longs) -> DescribedRows:
        """Return the next rows of all tables, with columns for the history features of the wanted ones."""
        order = np.sort(rows)
        X = allocate_rows(int(self._marks[order].sum()), len(self._pipeline.spec))
        keys, counterparts = np.empty((2, len(rows), len(self._pipeline.kinds)), dtype=np.uint64)
        contexts, done, filled = [pa.table({})], 0, 0
        ends = np.searchsorted(order, self._starts[1:]).tolist()
        for source, end in enumerate(ends):
            while done < end:
                part = self._take(source, int(order[done]), end - done)
                here = slice(done, done + len(part.keys))
                keys[here], counterparts[here] = part.keys, part.counterparts
                X[filled : filled + len(part.X), : self._pipeline.history_at] = part.X
                if len(part.X):
                    contexts.append(part.context)
                done, filled = here.stop, filled + len(part.X)
        return DescribedRows(X, keys, counterparts, concat_rows(contexts[1:] or contexts))

    def _take(self, source: int, first: int, most: int) -> DescribedRows:
        """Read the next rows of a table from one chunk, at most some; `first` is the number of the first one among all rows."""
        part = self._left[source] or next(self._parts[source])
        rows = min(most, len(part.keys))
        wanted = int(self._marks[first : first + rows].sum())
        left = part.slice_rows(slice(rows, None), slice(wanted, None))
        self._left[source] = left if len(left.keys) else None
        return part.slice_rows(slice(rows), slice(wanted))


def _split_blocks(rows: Longs, starts: Longs, piece_rows: int) -> list[slice]:
    """Split rows in the order of history into blocks of at least `piece_rows` rows. Each has the next rows of all tables, in any order."""
    whole = np.ones(len(rows), dtype=bool)
    for begin, end in pairwise(starts.tolist()):
        mine = (rows >= begin) & (rows < end)
        furthest = np.maximum.accumulate(np.where(mine, rows - begin, -1))
        whole &= furthest + 1 == np.cumsum(mine)
    cuts = np.flatnonzero(whole) + 1
    ends = [0]
    while ends[-1] < len(rows):
        ends.append(int(cuts[np.searchsorted(cuts, min(ends[-1] + piece_rows, len(rows)))]))
    return [slice(*pair) for pair in pairwise(ends)]


def _check_blocks(inputs: FeatureInputs, blocks: Sequence[slice], limit: int) -> None:
    """Refuse rows that are not in the order of history if they continue a state; else warn if they need much memory."""
    longest = max((block.stop - block.start for block in blocks), default=0)
    if longest > limit and inputs.state_run is not None:
        raise BadInput(
            "the rows are not in the order of history",
            where="consignments",
            expected=f"rows sorted by sequence, or by received_at; up to {MAX_BLOCK_ROWS:,} rows may be out of order",
            todo="sort the table, or compute it with --history in place of --state",
        )
    if longest > max(limit, LARGE_TABLE_ROWS):
        log.warning(
            "%s rows are not in the order of history, so all are held in memory; sort the table by sequence, or by "
            "received_at if it has no sequence, to read it in chunks",
            f"{longest:,}",
        )


def list_declared_texts(frame: pd.DataFrame) -> list[DeclaredTexts]:
    """List what each row of a `FeatureChunk` declares, as `features.normalization.normal_forms.get_declared_texts` reads it."""
    names = ("description", "hs_code", "items", *DECLARED_COLUMNS)
    columns = (frame[name].tolist() if name in frame else [None] * len(frame) for name in names)
    listed = []
    for values in zip(*columns, strict=True):
        description, hs_code, items, *plain = (each if isinstance(each, str) else "" for each in values)
        goods = decode_items(items) if items else ()
        texts = join_goods_texts(description, goods), find_goods_hs(hs_code, goods)
        listed.append(DeclaredTexts(*texts, *plain))
    return listed


def allocate_rows(rows: int, columns: int) -> Rows:
    """Allocate rows of features in memory of Arrow, which is used again; fresh pages cost more than writing them."""
    buffer = pa.allocate_buffer(rows * columns * np.dtype(np.float32).itemsize)
    return np.frombuffer(memoryview(buffer), np.float32).reshape(rows, columns)
