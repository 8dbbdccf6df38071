"""Features of large tables, piece by piece: the bits of `compute_feature_matrix`, whatever the pieces and the processes.

Tables that lie in the order of history, by days at least, are read, described, folded and given on a piece at a time;
descriptions may be made by other processes, the fold runs in its order in this one. A table in another order is taken
whole.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from consignments.items import decode_items
from consignments.records import Consignment
from consignments.validation import SEQUENCE
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
    select_alerts,
)
from features.history.ordering import HistoryFold
from features.normalization.normal_forms import join_goods_texts
from features.pipeline import Pipeline
from features.spec import Spec
from features.workers import WorkerPool

CHUNK_ROWS = 10_000
CONTEXT_COLUMNS = ("consignment_id", SEQUENCE, "channel", "office", "received_at", "description", "items")
"""Columns that are given on beside the features."""
MAX_BLOCK_ROWS = 100_000
"""Rows that may have to be held together because they lie in another order among themselves."""
LARGE_TABLE_ROWS = 1_000_000
Mask = NDArray[np.bool_]
Rows = NDArray[np.float32]
Keys = NDArray[np.uint64]

log = logging.getLogger("npsrisk")


class RowChunk(Protocol):
    """Some rows of a table, which another process may unpack."""

    def __len__(self) -> int:
        """Give the number of rows."""

    def to_frame(self, record: type[Consignment]) -> pd.DataFrame:
        """Give the rows as `consignments.tables.read_table` does."""


class TableSource(Protocol):
    """A consignment table that is given piece by piece, at least one: `consignments.parquet_stream.TableStream`, `InMemoryTable`."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def take_order(self) -> pd.DataFrame:
        """Give its rows, with at least the columns that tell the order of history; asked for once."""

    def read_chunks(self) -> Iterator[RowChunk]:
        """Give its rows in order."""


@dataclass(frozen=True)
class _FrameChunk:
    rows: pd.DataFrame

    def __len__(self) -> int:
        return len(self.rows)

    def to_frame(self, record: type[Consignment]) -> pd.DataFrame:  # noqa: ARG002
        return self.rows


@dataclass(frozen=True)
class InMemoryTable:
    """A checked table in memory as a source."""

    rows: pd.DataFrame
    piece_rows: int = CHUNK_ROWS

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def take_order(self) -> pd.DataFrame:
        """Give its rows."""
        return self.rows

    def read_chunks(self) -> Iterator[RowChunk]:
        """Give its rows in order."""
        for begin in range(0, max(len(self.rows), 1), self.piece_rows):
            yield _FrameChunk(self.rows.iloc[begin : begin + self.piece_rows])


@dataclass(frozen=True)
class FeatureChunk:
    """Feature rows of some consignments, in the order of their table.

    Attributes
    ----------
    X : float32 array, (rows, features)
        `UnfittedRows` if they were computed without fitted parameters; a model refuses those.
    frame : DataFrame
        The columns `CONTEXT_COLUMNS`, its rows counted from 0.
    """

    X: Rows
    frame: pd.DataFrame

    def to_table(self, spec: Spec, shown: Sequence[int]) -> pd.DataFrame:
        """Give some of the features by name, after `consignment_id` and, where the table has it, `sequence`."""
        rows = self.frame[[name for name in ("consignment_id", SEQUENCE) if name in self.frame]]
        names = [spec.names[place] for place in shown]
        return pd.concat([rows, pd.DataFrame(np.asarray(self.X)[:, shown], columns=names)], axis=1)


@dataclass(frozen=True)
class FeatureInputs:
    """What features of consignments are computed from.

    Attributes
    ----------
    consignments : Source
    history : Source or None
        Past consignments, which only join the history; one that is also given counts once, as given.
    outcomes, alerts : DataFrame or None
        As `consignments.tables` reads them.
    as_of : Timestamp or None
        Outcomes and alerts that became visible later are hidden.
    """

    consignments: TableSource
    history: TableSource | None = None
    outcomes: pd.DataFrame | None = None
    alerts: pd.DataFrame | None = None
    as_of: pd.Timestamp | None = None

    @property
    def has_history(self) -> bool:
        """Whether there is any past consignment beyond those given."""
        return self.history is not None and len(self.history) > 0

    @classmethod
    def from_tables(
        cls, given: Tables, history: pd.DataFrame | None = None, as_of: pd.Timestamp | None = None
    ) -> "FeatureInputs":
        """Take tables in memory."""
        past = None if history is None else InMemoryTable(history)
        return cls(InMemoryTable(given.consignments), past, given.outcomes, given.alerts, as_of)


def stream_features(
    inputs: FeatureInputs,
    parameters: FeatureParameters,
    *,
    options: ComputeOptions | None = None,
    piece_rows: int = CHUNK_ROWS,
) -> Iterator[FeatureChunk]:
    """Compute the features of `compute_feature_matrix`, to the bit, in memory that does not grow with the rows.

    What stays in memory: identifier and moments of each row, the table of history, and the keys of consignments that
    come again, are cancelled, or have an outcome.

    Parameters
    ----------
    inputs : FeatureInputs
    parameters : FeatureParameters
    options : ComputeOptions, optional
    piece_rows : int
        Consignments of a piece, at least; changes nothing but memory.

    Yields
    ------
    FeatureChunk
        At least one; in the order of the given table.
    """
    options = options or ComputeOptions()
    describer = RowBuilder(parameters, select_alerts(inputs.alerts, inputs.as_of))
    work, pipeline = _ChunkBuilder(describer), describer.build_pipeline()
    fold, kept = _start_fold(inputs, pipeline)
    # What looking and ordering took, over a third of all at ten million rows, lies in Arrow's pool and is of no more use.
    pa.default_memory_pool().release_unused()
    line = _MergeOrder.from_rows(fold.rows, int(kept.sum()))
    blocks = line.split_blocks(piece_rows)
    if max(block.stop - block.start for block in blocks) > max(MAX_BLOCK_ROWS, piece_rows):
        yield from _stream_in_memory(inputs, parameters, options, piece_rows)
        return
    with WorkerPool(options.jobs, len(line.row)) as workers:
        old = _Buffer(
            workers.map(work.build_keys, _pair_with_mask(inputs.history, kept)),
            _PartialChunk.create_empty(len(pipeline.kinds)),
        )
        new = _Buffer(workers.map(work.build_rows, inputs.consignments.read_chunks()))
        for block in blocks:
            part = line.slice_block(block)
            chunk = _fold_block(
                fold, pipeline, part, old.take(int((~part.mine).sum())), new.take(int(part.mine.sum()))
            )
            yield replace(chunk, X=parameters.fitted.mark_rows(chunk.X))
            if options.progress is not None:
                options.progress("features", block.stop, len(line.mine))


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


def _start_fold(inputs: FeatureInputs, pipeline: Pipeline) -> tuple[HistoryFold, Mask]:
    """Begin the fold of past and given consignments; the order of the tables, which is long, is not kept.

    Returns
    -------
    fold : Fold
    kept : bool array
        Which of the past consignments join.
    """
    order = inputs.consignments.take_order()
    kept = np.ones(0, dtype=bool)
    if inputs.history is not None:
        past = inputs.history.take_order()
        kept = mask_past_rows(past, order)
        order = pd.concat([past[kept], order], ignore_index=True)
    until = None if inputs.as_of is None else inputs.as_of.value // 1000
    outcomes = build_outcome_events(inputs.outcomes)
    return HistoryFold(
        pipeline.create_sized_history(len(order)), build_arrival_events(order), outcomes, until
    ), kept


@dataclass(frozen=True)
class _MergeOrder:
    """How the rows of the given table and of its history follow one another in the order of history.

    Attributes
    ----------
    mine : bool array, (rows,)
        Whether each is of the given table.
    row : int64 array, (rows,)
        Its row in its own table.
    """

    mine: Mask
    row: NDArray[np.int64]

    @classmethod
    def from_rows(cls, rows: NDArray[np.int64], past: int) -> "_MergeOrder":
        mine = rows >= past
        return cls(mine, np.where(mine, rows - past, rows))

    def split_blocks(self, rows: int) -> list[slice]:
        """Cut into blocks of at least so many rows, each of which takes the next rows of both tables, in any order.

        A table in the order of history can be cut anywhere; one whose days are in order, and not their rows, by days.
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
        """Give a block, its rows counted from the first of it in each table."""
        mine, row = self.mine[block], self.row[block].copy()
        for which in (mine, ~mine):
            row[which] -= row[which].min(initial=np.iinfo(np.int64).max)
        return _MergeOrder(mine, row)


@dataclass(frozen=True)
class _ChunkBuilder:
    """Describes pieces of a table, in this process or in another."""

    describer: RowBuilder

    def build_rows(self, piece: RowChunk) -> "_PartialChunk":
        """Give keys and all features but those of history."""
        frame = piece.to_frame(self.describer.parameters.config.build_record_type())
        return self._build_chunk(frame, np.ones(len(frame), dtype=bool))

    def build_keys(self, piece_and_kept: tuple[RowChunk, Mask]) -> "_PartialChunk":
        """Give the keys of the rows that are kept."""
        piece, kept = piece_and_kept
        frame = piece.to_frame(self.describer.parameters.config.build_record_type())[kept]
        return self._build_chunk(frame, np.zeros(len(frame), dtype=bool))

    def _build_chunk(self, frame: pd.DataFrame, wanted: Mask) -> "_PartialChunk":
        described = self.describer(frame, wanted)
        return _PartialChunk(described.keys, described.counterparts, described.X, _select_context(frame))


@dataclass(frozen=True)
class _PartialChunk:
    keys: Keys
    counterparts: Keys
    X: Rows
    frame: pd.DataFrame

    @classmethod
    def create_empty(cls, kinds: int) -> "_PartialChunk":
        keys = np.zeros((0, kinds), dtype=np.uint64)
        return cls(keys, keys, np.zeros((0, 0), dtype=np.float32), pd.DataFrame())

    @classmethod
    def concatenate(cls, parts: list["_PartialChunk"]) -> "_PartialChunk":
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.keys for part in parts]),
            np.concatenate([part.counterparts for part in parts]),
            np.concatenate([part.X for part in parts]),
            pd.concat([part.frame for part in parts], ignore_index=True),
        )

    def slice_rows(self, part: slice) -> "_PartialChunk":
        frame = self.frame.iloc[part].reset_index(drop=True)
        return _PartialChunk(self.keys[part], self.counterparts[part], self.X[part], frame)


class _Buffer:
    """Gives described rows in any number at a time."""

    def __init__(self, parts: Iterator[_PartialChunk], first: _PartialChunk | None = None) -> None:
        self._parts = parts
        self._waiting = [] if first is None else [first]

    def take(self, rows: int) -> _PartialChunk:
        while not self._waiting or sum(len(part.keys) for part in self._waiting) < rows:
            self._waiting.append(next(self._parts))
        # An empty part in front has not the columns of the others.
        whole = _PartialChunk.concatenate(
            [part for part in self._waiting if len(part.keys)] or self._waiting[:1]
        )
        self._waiting = [whole.slice_rows(slice(rows, None))]
        return whole.slice_rows(slice(0, rows))


def _fold_block(
    fold: HistoryFold, pipeline: Pipeline, line: _MergeOrder, old: _PartialChunk, new: _PartialChunk
) -> FeatureChunk:
    """Put past and given consignments in their order, and read the history of the given ones."""
    keys = np.empty((len(line.mine), len(pipeline.kinds)), dtype=np.uint64)
    counterparts = np.empty_like(keys)
    for which, described in ((line.mine, new), (~line.mine, old)):
        rows = line.row[which]
        keys[which], counterparts[which] = described.keys[rows], described.counterparts[rows]
    X = np.empty((len(new.keys), len(pipeline.spec)), dtype=np.float32)
    X[:, : pipeline.history_at] = new.X
    fold.process_arrivals(keys, counterparts, X, np.where(line.mine, line.row, -1))
    return FeatureChunk(X, new.frame)


def _select_context(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[[name for name in CONTEXT_COLUMNS if name in frame]].reset_index(drop=True)


def _pair_with_mask(source: TableSource | None, kept: Mask) -> Iterator[tuple[RowChunk, Mask]]:
    """Give the pieces of a source with the part of a mask that is theirs."""
    start = 0
    for piece in () if source is None else source.read_chunks():
        yield piece, kept[start : start + len(piece)]
        start += len(piece)


def _stream_in_memory(
    inputs: FeatureInputs, parameters: FeatureParameters, options: ComputeOptions, piece_rows: int
) -> Iterator[FeatureChunk]:
    given, past = (
        None if source is None else _read_whole(source, parameters.config.build_record_type())
        for source in (inputs.consignments, inputs.history)
    )
    assert given is not None
    if len(given) > LARGE_TABLE_ROWS:
        log.warning(
            "%s rows do not lie in the order of history and are held in memory together; sorted by sequence or, "
            "without one, by received_at, they would be taken piece by piece",
            f"{len(given):,}",
        )
    tables, keep = join_history(Tables(given, inputs.outcomes, inputs.alerts), past)
    matrix = compute_feature_matrix(tables, parameters, keep=keep, as_of=inputs.as_of, options=options)
    frame = _select_context(tables.consignments.iloc[matrix.rows])
    for begin in range(0, max(len(frame), 1), piece_rows):
        part = slice(begin, begin + piece_rows)
        yield FeatureChunk(matrix.X[part], frame.iloc[part].reset_index(drop=True))


def _read_whole(source: TableSource, record: type[Consignment]) -> pd.DataFrame:
    return pd.concat([piece.to_frame(record) for piece in source.read_chunks()], ignore_index=True)
