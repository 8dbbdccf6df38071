"""Features of large tables, computed in chunks, with the same bits as `compute_feature_matrix`.

The result does not depend on chunks or processes. Tables that are sorted in the order of history, at least by day, are processed
one chunk at a time. Other processes may compute features, and the history is computed in order in this process. A table in
another order is held in memory as a whole.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from consignments.columns import adopt_spellings, unify_spellings
from consignments.errors import BadInput
from consignments.items import decode_items
from consignments.records import Consignment
from consignments.tables import to_arrow_rows
from consignments.validation import SEQUENCE, concat_rows, keep_rows
from consignments.workers import WorkerPool
from features.batch import (
    ComputeOptions,
    FeatureParameters,
    RowBuilder,
    Tables,
    build_arrival_events,
    build_outcome_events,
    compute_feature_matrix,
    join_history,
    mask_past_rows,
    report_progress,
    select_alerts,
)
from features.feature_columns import allocate_rows, build_feature_columns
from features.history.kept_state import StateRun
from features.history.ordering import ArrivalEvents, Outcomes
from features.history.table import History
from features.history.table_fold import TableFold
from features.normalization.normal_forms import join_goods_texts
from features.pipeline import Pipeline
from features.spec import Spec
from features.table_rows import prepare_kernels

CHUNK_ROWS = 10_000
CONTEXT_COLUMNS = ("consignment_id", SEQUENCE, "channel", "office", "received_at", "description", "items")
"""Columns of the table that are yielded together with the features."""
MAX_BLOCK_ROWS = 100_000
"""Maximum number of rows that are held together because they are not in the order of history."""
LARGE_TABLE_ROWS = 1_000_000
Mask = NDArray[np.bool_]
Rows = NDArray[np.float32]
Keys = NDArray[np.uint64]

log = logging.getLogger("npsrisk")


class RowChunk(Protocol):
    """A chunk of rows of a table that another process can unpack."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def to_frame(self, record: type[Consignment]) -> pd.DataFrame:
        """Return the rows in the form of `consignments.tables.read_table`."""

    def to_table(self, record: type[Consignment]) -> pa.Table:
        """Return the rows as an Arrow table in canonical form."""


class TableSource(Protocol):
    """A source of a consignment table in at least one chunk: `consignments.parquet_stream.TableStream` or `InMemoryTable`."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def take_order(self) -> pd.DataFrame:
        """Return its rows with at least the columns that define the order of history. It may be called once."""

    def read_chunks(self) -> Iterator[RowChunk]:
        """Yield its rows in order, in chunks."""

    def slice_rows(self, first: int, last: int) -> RowChunk:
        """Return the rows from `first` up to `last`, which is not included."""


@dataclass(frozen=True)
class _FrameChunk:
    rows: pd.DataFrame

    def __len__(self) -> int:
        return len(self.rows)

    def to_frame(self, record: type[Consignment]) -> pd.DataFrame:  # noqa: ARG002
        return self.rows

    def to_table(self, record: type[Consignment]) -> pa.Table:
        return to_arrow_rows(self.rows, record)


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

    def read_chunks(self) -> Iterator[RowChunk]:
        """Yield its rows in order, in chunks."""
        for begin in range(0, max(len(self.rows), 1), self.piece_rows):
            yield _FrameChunk(self.rows.iloc[begin : begin + self.piece_rows])

    def slice_rows(self, first: int, last: int) -> RowChunk:
        """Return the rows from `first` up to `last`, which is not included."""
        return _FrameChunk(self.rows.iloc[first:last])


@dataclass(frozen=True)
class _SelectedChunk:
    rows: RowChunk
    selected: Mask

    def __len__(self) -> int:
        return int(self.selected.sum())

    def to_frame(self, record: type[Consignment]) -> pd.DataFrame:
        return self.rows.to_frame(record).loc[self.selected]

    def to_table(self, record: type[Consignment]) -> pa.Table:
        return keep_rows(self.rows.to_table(record), self.selected)


@dataclass(frozen=True)
class SelectedRows:
    """A source of some rows of another source. The order of these rows stays in memory and may be taken several times.

    Attributes
    ----------
    source : TableSource
    order : DataFrame
        The order columns of the selected rows.
    selected : bool array, (rows of the source,)
    """

    source: TableSource
    order: pd.DataFrame
    selected: Mask

    @classmethod
    def from_source(cls, source: TableSource) -> "SelectedRows":
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
        return len(self.order)

    def take_order(self) -> pd.DataFrame:
        """Return the order columns."""
        return self.order

    def read_chunks(self) -> Iterator[RowChunk]:
        """Yield the rows in order, in chunks."""
        for chunk, selected in pair_with_mask(self.source, self.selected):
            yield chunk if selected.all() else _SelectedChunk(chunk, selected)

    def slice_rows(self, first: int, last: int) -> RowChunk:
        """Return the rows from `first` up to `last`, which is not included."""
        places = self._places[first:last]
        begin, end = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
        return _SelectedChunk(self.source.slice_rows(begin, end), self.selected[begin:end])

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.selected)


@dataclass(frozen=True)
class FeatureChunk:
    """A chunk of feature rows, in the order of the table.

    Attributes
    ----------
    X : float32 array, (rows, features)
        `UnfittedRows` if they were computed without fitted parameters; a model refuses those.
    context : Arrow table
        The columns `CONTEXT_COLUMNS` in canonical form.
    """

    X: Rows
    context: pa.Table

    def to_table(self, spec: Spec, shown: Sequence[int]) -> pa.Table:
        """Build an Arrow table of `consignment_id`, `sequence` if the table has it, and the shown features; NaN is null."""
        named = [name for name in ("consignment_id", SEQUENCE) if name in self.context.column_names]
        columns = [*(self.context.column(name) for name in named), *build_feature_columns(self.X, shown)]
        return pa.table(columns, [*named, *(spec.names[place] for place in shown)])


@dataclass(frozen=True)
class FeatureInputs:
    """The input tables of the feature computation.

    Attributes
    ----------
    consignments : TableSource
    history : TableSource or None
        Past consignments. They only count for history. One that is also in `consignments` counts once, as there.
    outcomes, alerts : DataFrame or None
        As `consignments.tables` reads them.
    as_of : Timestamp or None
        Outcomes and alerts that became visible later are ignored.
    state_run : StateRun or None
        Continues the history of earlier batches, and receives the next state when all rows were read.
    """

    consignments: TableSource
    history: TableSource | None = None
    outcomes: pd.DataFrame | None = None
    alerts: pd.DataFrame | None = None
    as_of: pd.Timestamp | None = None
    state_run: StateRun | None = None

    @property
    def has_history(self) -> bool:
        """Return True if there is any past consignment in addition to the given ones."""
        if self.state_run is not None and self.state_run.before is not None:
            return True
        return self.history is not None and len(self.history) > 0

    @classmethod
    def to_repeatable(cls, given: "Tables | FeatureInputs") -> "FeatureInputs":
        """Return tables as inputs that can be read several times, because the order of the consignments stays in memory.

        The order has one spelling for each consignment, that of its first row. Its outcomes get it too.
        """
        inputs = given if isinstance(given, FeatureInputs) else cls.from_tables(given)
        rows = SelectedRows.from_source(inputs.consignments)
        rows = replace(rows, order=unify_spellings(rows.order))
        if inputs.outcomes is None:
            return replace(inputs, consignments=rows)
        outcomes = adopt_spellings(inputs.outcomes, rows.order["consignment_id"])
        return replace(inputs, consignments=rows, outcomes=outcomes)

    @classmethod
    def from_tables(
        cls, given: Tables, history: pd.DataFrame | None = None, as_of: pd.Timestamp | None = None
    ) -> "FeatureInputs":
        """Build the inputs from tables in memory."""
        past = None if history is None else InMemoryTable(history)
        return cls(InMemoryTable(given.consignments), past, given.outcomes, given.alerts, as_of)


def stream_features(
    inputs: FeatureInputs,
    parameters: FeatureParameters,
    *,
    options: ComputeOptions | None = None,
    piece_rows: int = CHUNK_ROWS,
    wanted: Mask | None = None,
) -> Iterator[FeatureChunk]:
    """Compute the same bits as `compute_feature_matrix`, in chunks that do not all stay in memory.

    Only these stay in memory: identifier and times of each row, the table of history, and the keys of consignments that are
    amended, are cancelled, or have an outcome.

    Parameters
    ----------
    inputs : FeatureInputs
    parameters : FeatureParameters
    options : ComputeOptions, optional
    piece_rows : int
        Least number of consignments per chunk. It affects memory only.
    wanted : bool array, (given consignments,), optional
        Rows that get features. The others only count for history. Default: all.

    Yields
    ------
    FeatureChunk
        At least one, with the wanted rows in the order of the given table.
    """
    options = options or ComputeOptions()
    wanted = np.ones(len(inputs.consignments), dtype=bool) if wanted is None else wanted
    describer = RowBuilder(parameters, select_alerts(inputs.alerts, inputs.as_of))
    work, pipeline = ChunkBuilder(describer), describer.build_pipeline()
    fold, kept = _start_fold(inputs)
    # Memory of the first pass and of sorting stays in Arrow's pool: over a third of the total at ten million rows. Release it.
    pa.default_memory_pool().release_unused()
    line = _MergeOrder.from_rows(fold.rows, int(kept.sum()))
    blocks = line.split_blocks(piece_rows)
    if max(block.stop - block.start for block in blocks) > max(MAX_BLOCK_ROWS, piece_rows):
        if inputs.state_run is not None:
            raise _make_order_fault()
        yield from _stream_in_memory(inputs, parameters, options, piece_rows, wanted)
        return
    prepare_kernels()
    history = (
        pipeline.create_sized_history(len(line.row)) if inputs.state_run is None else inputs.state_run.history
    )
    with WorkerPool(options.jobs, len(line.row)) as workers:
        old = _Buffer(
            workers.map(work.build_keys, pair_with_mask(inputs.history, kept)),
            PartialChunk.create_empty(len(pipeline.kinds)),
        )
        new = _Buffer(workers.map(work.build_rows, pair_with_mask(inputs.consignments, wanted)))
        done = 0
        for block in blocks:
            part = line.slice_block(block)
            rows = int(part.mine.sum())
            mine = wanted[done : done + rows]
            chunk = _fold_block(
                fold, history, pipeline, part, old.take(int((~part.mine).sum())), new.take(rows), mine
            )
            done += rows
            if mine.any() or block is blocks[-1]:
                yield replace(chunk, X=parameters.fitted.mark_rows(chunk.X))
            if options.progress is not None:
                options.progress("features" if mine.any() else "history", block.stop, len(line.mine))
    if inputs.state_run is not None:
        with report_progress(options.progress, "state"):
            inputs.state_run.finish()


def list_goods_texts(frame: pd.DataFrame) -> list[str]:
    """List the goods text of each row of a `FeatureChunk`, as `features.normalization.normal_forms.get_goods_text` joins it."""
    nothing = [None] * len(frame)
    columns = (frame[name].tolist() if name in frame else nothing for name in ("description", "items"))
    return [
        join_goods_texts(
            description if isinstance(description, str) else None,
            decode_items(items) if isinstance(items, str) else (),
        )
        for description, items in zip(*columns, strict=True)
    ]


@dataclass(frozen=True)
class OrderedTables:
    """The events of the input tables: past and given consignments in one table, and outcomes.

    Attributes
    ----------
    arrivals, outcomes : ArrivalEvents, Outcomes
    kept : bool array
        True for the past consignments that count. They are the first arrivals.
    as_of_us : int or None
    """

    arrivals: ArrivalEvents
    outcomes: Outcomes
    kept: Mask
    as_of_us: int | None

    @classmethod
    def from_inputs(cls, inputs: FeatureInputs) -> "OrderedTables":
        """Read the order of the consignment tables. The long table of their order is not kept."""
        order = inputs.consignments.take_order()
        kept = np.ones(0, dtype=bool)
        if inputs.history is not None:
            past = inputs.history.take_order()
            kept = mask_past_rows(past, order)
            order = pd.concat([past[kept], order], ignore_index=True)
        found = inputs.outcomes
        if found is not None:
            found = adopt_spellings(found, order["consignment_id"])
        until = None if inputs.as_of is None else inputs.as_of.value // 1000
        return cls(build_arrival_events(order), build_outcome_events(found), kept, until)


def _start_fold(inputs: FeatureInputs) -> tuple[TableFold, Mask]:
    """Create the history fold of past and given consignments.

    Returns
    -------
    fold : TableFold
    kept : bool array
        True for the past consignments that count.
    """
    tables = OrderedTables.from_inputs(inputs)
    arrivals, outcomes = tables.arrivals, tables.outcomes
    if inputs.state_run is not None:
        fold = inputs.state_run.start_fold(arrivals, outcomes)
    else:
        fold = TableFold(arrivals, outcomes, tables.as_of_us)
    return fold, tables.kept


def _make_order_fault() -> BadInput:
    return BadInput(
        "the rows are not in the order of history",
        where="consignments",
        expected=f"rows sorted by sequence, or by received_at; up to {MAX_BLOCK_ROWS:,} rows may be out of order",
        todo="sort the table, or compute it with --history in place of --state",
    )


@dataclass(frozen=True)
class _MergeOrder:
    """The rows of the given table and of the past table, merged in the order of history.

    Attributes
    ----------
    mine : bool array, (rows,)
        True for rows of the given table.
    row : int64 array, (rows,)
        Row number in its own table.
    """

    mine: Mask
    row: NDArray[np.int64]

    @classmethod
    def from_rows(cls, rows: NDArray[np.int64], past: int) -> "_MergeOrder":
        mine = rows >= past
        return cls(mine, np.where(mine, rows - past, rows))

    def split_blocks(self, rows: int) -> list[slice]:
        """Split the rows into blocks of at least `rows` rows. Each block has the next rows of both tables, in any order.

        A table in the order of history can be split anywhere. A table that is sorted by day only is split between days.
        """
        whole = np.ones(len(self.row), dtype=bool)
        for which in (self.mine, ~self.mine):
            furthest = np.maximum.accumulate(np.where(which, self.row, -1))
            whole &= furthest + 1 == np.cumsum(which)
        cuts = np.flatnonzero(whole) + 1
        ends = [0]
        while ends[-1] < len(self.row):
            ends.append(int(cuts[np.searchsorted(cuts, min(ends[-1] + rows, len(self.row)))]))
        return [slice(*pair) for pair in pairwise(ends)] or [slice(0, 0)]

    def slice_block(self, block: slice) -> "_MergeOrder":
        """Return one block, with row numbers that begin at 0 in each table."""
        mine, row = self.mine[block], self.row[block].copy()
        for which in (mine, ~mine):
            row[which] -= row[which].min(initial=np.iinfo(np.int64).max)
        return _MergeOrder(mine, row)


@dataclass(frozen=True)
class ChunkBuilder:
    """A builder of partial chunks that also works in another process."""

    describer: RowBuilder

    def build_rows(self, piece_and_wanted: tuple[RowChunk, Mask]) -> "PartialChunk":
        """Compute the history keys, and all features of the wanted rows except the history features."""
        piece, wanted = piece_and_wanted
        rows = piece.to_table(self.describer.parameters.config.build_record_type())
        chunk = self._build_chunk(rows, wanted)
        if wanted.all():
            return chunk
        X = np.zeros((len(rows), chunk.X.shape[1]), dtype=np.float32)
        X[wanted] = chunk.X
        return replace(chunk, X=X)

    def build_keys(self, piece_and_kept: tuple[RowChunk, Mask]) -> "PartialChunk":
        """Compute the history keys of the rows that are kept."""
        piece, kept = piece_and_kept
        rows = keep_rows(piece.to_table(self.describer.parameters.config.build_record_type()), kept)
        return self._build_chunk(rows, np.zeros(len(rows), dtype=bool))

    def _build_chunk(self, rows: pa.Table, wanted: Mask) -> "PartialChunk":
        described = self.describer(rows, wanted)
        return PartialChunk(described.keys, described.counterparts, described.X, _select_context(rows))


@dataclass(frozen=True)
class PartialChunk:
    """Rows without the history features, their keys, and their context columns."""

    keys: Keys
    counterparts: Keys
    X: Rows
    context: pa.Table

    @classmethod
    def create_empty(cls, kinds: int) -> "PartialChunk":
        """Create a chunk without rows."""
        keys = np.zeros((0, kinds), dtype=np.uint64)
        return cls(keys, keys, np.zeros((0, 0), dtype=np.float32), pa.table({}))

    @classmethod
    def concatenate(cls, parts: list["PartialChunk"]) -> "PartialChunk":
        """Concatenate chunks; at least one."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.keys for part in parts]),
            np.concatenate([part.counterparts for part in parts]),
            np.concatenate([part.X for part in parts]),
            concat_rows([part.context for part in parts]),
        )

    def slice_rows(self, part: slice) -> "PartialChunk":
        """Return some of the rows."""
        first, last, _ = part.indices(len(self.keys))
        context = self.context.slice(first, last - first)
        return PartialChunk(self.keys[part], self.counterparts[part], self.X[part], context)


class _Buffer:
    """A buffer that returns computed rows in any number at a time."""

    def __init__(self, parts: Iterator[PartialChunk], first: PartialChunk | None = None) -> None:
        self._parts = parts
        self._waiting = [] if first is None else [first]

    def take(self, rows: int) -> PartialChunk:
        while not self._waiting or sum(len(part.keys) for part in self._waiting) < rows:
            self._waiting.append(next(self._parts))
        # An empty first part does not have the columns of the others.
        whole = PartialChunk.concatenate(
            [part for part in self._waiting if len(part.keys)] or self._waiting[:1]
        )
        self._waiting = [whole.slice_rows(slice(rows, None))]
        return whole.slice_rows(slice(0, rows))


def _fold_block(
    fold: TableFold,
    history: History,
    pipeline: Pipeline,
    line: _MergeOrder,
    old: PartialChunk,
    new: PartialChunk,
    wanted: Mask,
) -> FeatureChunk:
    """Merge past and given consignments in order, and compute the history features of the wanted ones of the given."""
    keys = np.empty((len(line.mine), len(pipeline.kinds)), dtype=np.uint64)
    counterparts = np.empty_like(keys)
    for which, described in ((line.mine, new), (~line.mine, old)):
        rows = line.row[which]
        keys[which], counterparts[which] = described.keys[rows], described.counterparts[rows]
    X = allocate_rows(int(wanted.sum()), len(pipeline.spec))
    X[:, : pipeline.history_at] = new.X if wanted.all() else new.X[wanted]
    out_rows = np.full(len(line.mine), -1)
    out_rows[line.mine] = np.where(wanted, np.cumsum(wanted) - 1, -1)[line.row[line.mine]]
    fold.process_arrivals(history, keys, counterparts, X, out_rows)
    return FeatureChunk(X, keep_rows(new.context, wanted))


def _select_context(rows: pa.Table) -> pa.Table:
    return rows.select([name for name in CONTEXT_COLUMNS if name in rows.column_names])


def pair_with_mask(source: TableSource | None, kept: Mask) -> Iterator[tuple[RowChunk, Mask]]:
    """Yield the chunks of a source, each with its part of the mask."""
    start = 0
    for piece in () if source is None else source.read_chunks():
        yield piece, kept[start : start + len(piece)]
        start += len(piece)


def _stream_in_memory(
    inputs: FeatureInputs,
    parameters: FeatureParameters,
    options: ComputeOptions,
    piece_rows: int,
    wanted: Mask,
) -> Iterator[FeatureChunk]:
    given, past = (
        None if source is None else _read_whole(source, parameters.config.build_record_type())
        for source in (inputs.consignments, inputs.history)
    )
    assert given is not None
    if len(given) > LARGE_TABLE_ROWS:
        log.warning(
            "%s rows are not in the order of history, so all are held in memory; sort the table by sequence, or by "
            "received_at if it has no sequence, to read it in chunks",
            f"{len(given):,}",
        )
    tables, keep = join_history(Tables(given, inputs.outcomes, inputs.alerts), past)
    keep[keep] = wanted
    matrix = compute_feature_matrix(tables, parameters, keep=keep, as_of=inputs.as_of, options=options)
    rows = tables.consignments.iloc[matrix.rows]
    context = _select_context(to_arrow_rows(rows, parameters.config.build_record_type()))
    for begin in range(0, max(len(context), 1), piece_rows):
        yield FeatureChunk(matrix.X[begin : begin + piece_rows], context.slice(begin, piece_rows))


def _read_whole(source: TableSource, record: type[Consignment]) -> pd.DataFrame:
    return pd.concat([piece.to_frame(record) for piece in source.read_chunks()], ignore_index=True)
