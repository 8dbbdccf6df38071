"""Features of large tables, piece by piece: the bits of `feature_matrix`, whatever the pieces and the processes.

Tables that lie in the order of history, by days at least, are read, described, folded and given on a piece at a time;
descriptions may be made by other processes, the fold runs in its order in this one. A table in another order is taken
whole.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from consignments.records import Consignment
from consignments.validation import SEQUENCE
from features.batch import (
    Describer,
    Progress,
    Tables,
    alerts_as_of,
    arrivals_of,
    feature_matrix,
    is_past,
    joined,
    outcome_events_of,
)
from features.config import FeatureConfig
from features.fitted import Fitted
from features.history.ordering import Fold
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from features.spec import Spec
from features.workers import Workers

PIECE_ROWS = 10_000
CARRIED = ("consignment_id", SEQUENCE, "channel", "office", "received_at")
"""Columns that are given on beside the features."""
MOST_BLOCK_ROWS = 100_000
"""Rows that may have to be held together because they lie in another order among themselves."""
MANY_ROWS = 1_000_000
Mask = NDArray[np.bool_]
Rows = NDArray[np.float32]
Keys = NDArray[np.uint64]

log = logging.getLogger("npsrisk")


class Piece(Protocol):
    """Some rows of a table, which another process may unpack."""

    def __len__(self) -> int:
        """Give the number of rows."""

    def frame(self, record: type[Consignment]) -> pd.DataFrame:
        """Give the rows as `consignments.tables.read_table` does."""


class Source(Protocol):
    """A consignment table that is given piece by piece, at least one: `consignments.parquet_stream.TableStream`, `InMemory`."""

    def take_order(self) -> pd.DataFrame:
        """Give its rows, with at least the columns that tell the order of history; asked for once."""

    def pieces(self) -> Iterator[Piece]:
        """Give its rows in order."""


@dataclass(frozen=True)
class _Slice:
    rows: pd.DataFrame

    def __len__(self) -> int:
        return len(self.rows)

    def frame(self, record: type[Consignment]) -> pd.DataFrame:  # noqa: ARG002
        return self.rows


@dataclass(frozen=True)
class InMemory:
    """A checked table in memory as a source."""

    rows: pd.DataFrame
    piece_rows: int = PIECE_ROWS

    def take_order(self) -> pd.DataFrame:
        """Give its rows."""
        return self.rows

    def pieces(self) -> Iterator[Piece]:
        """Give its rows in order."""
        for begin in range(0, max(len(self.rows), 1), self.piece_rows):
            yield _Slice(self.rows.iloc[begin : begin + self.piece_rows])


@dataclass(frozen=True)
class FeaturePiece:
    """Feature rows of some consignments, in the order of their table.

    Attributes
    ----------
    X : float32 array, (rows, features)
    frame : DataFrame
        The columns `CARRIED`, its rows counted from 0.
    """

    X: Rows
    frame: pd.DataFrame

    def table(self, spec: Spec, shown: Sequence[int]) -> pd.DataFrame:
        """Give some of the features by name, after `consignment_id` and, where the table has it, `sequence`."""
        rows = self.frame[[name for name in ("consignment_id", SEQUENCE) if name in self.frame]]
        names = [spec.names[place] for place in shown]
        return pd.concat([rows, pd.DataFrame(self.X[:, shown], columns=names)], axis=1)


@dataclass(frozen=True)
class World:
    """What features of consignments are computed from.

    Attributes
    ----------
    consignments : Source
    history : Source or None
        Past consignments, which only join the history; one that is also given counts once, as given.
    outcomes, alerts : DataFrame or None
        As `consignments.tables` reads them.
    """

    consignments: Source
    history: Source | None = None
    outcomes: pd.DataFrame | None = None
    alerts: pd.DataFrame | None = None


def feature_pieces(
    world: World,
    config: FeatureConfig,
    fitted: Fitted,
    pseudonyms: Pseudonyms,
    *,
    as_of: pd.Timestamp | None = None,
    jobs: int = 1,
    piece_rows: int = PIECE_ROWS,
    progress: Progress | None = None,
) -> Iterator[FeaturePiece]:
    """Compute the features of `feature_matrix`, to the bit, in memory that does not grow with the rows.

    What stays in memory: identifier and moments of each row, the table of history, and the keys of consignments that
    come again, are cancelled, or have an outcome.

    Parameters
    ----------
    world : World
    config, fitted, pseudonyms, as_of
        As of `feature_matrix`.
    jobs : int
        Processes that describe consignments; changes nothing but time.
    piece_rows : int
        Consignments of a piece, at least; changes nothing but memory.
    progress : callable, optional

    Yields
    ------
    FeaturePiece
        At least one; in the order of the given table.
    """
    given, past = world.consignments, world.history
    describer = Describer(config, fitted, pseudonyms, alerts_as_of(world.alerts, as_of))
    work, pipeline = _Pieces(describer), describer.pipeline()
    fold, kept = _ordered(world, pipeline, as_of)
    # What looking and ordering took, over a third of all at ten million rows, lies in Arrow's pool and is of no more use.
    pa.default_memory_pool().release_unused()
    line = _Line.of(fold.rows, int(kept.sum()))
    blocks = line.blocks(piece_rows)
    if max(block.stop - block.start for block in blocks) > max(MOST_BLOCK_ROWS, piece_rows):
        yield from _in_memory(world, config, fitted, pseudonyms, as_of, jobs, piece_rows, progress)
        return
    with Workers(jobs, len(line.row)) as workers:
        old = _Buffer(workers.map(work.keys, _cut(past, kept)), _Described.nothing(len(pipeline.kinds)))
        new = _Buffer(workers.map(work.rows, given.pieces()))
        for block in blocks:
            part = line.part(block)
            yield _folded(
                fold, pipeline, part, old.take(int((~part.mine).sum())), new.take(int(part.mine.sum()))
            )
            if progress is not None:
                progress("features", block.stop, len(line.mine))


def _ordered(world: World, pipeline: Pipeline, as_of: pd.Timestamp | None) -> tuple[Fold, Mask]:
    """Begin the fold of past and given consignments; the order of the tables, which is long, is not kept.

    Returns
    -------
    fold : Fold
    kept : bool array
        Which of the past consignments join.
    """
    order = world.consignments.take_order()
    kept = np.ones(0, dtype=bool)
    if world.history is not None:
        past = world.history.take_order()
        kept = is_past(past, order)
        order = pd.concat([past[kept], order], ignore_index=True)
    until = None if as_of is None else as_of.value // 1000
    outcomes = outcome_events_of(world.outcomes)
    return Fold(pipeline.history_of(len(order)), arrivals_of(order), outcomes, until), kept


@dataclass(frozen=True)
class _Line:
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
    def of(cls, rows: NDArray[np.int64], past: int) -> "_Line":
        mine = rows >= past
        return cls(mine, np.where(mine, rows - past, rows))

    def blocks(self, rows: int) -> list[slice]:
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

    def part(self, block: slice) -> "_Line":
        """Give a block, its rows counted from the first of it in each table."""
        mine, row = self.mine[block], self.row[block].copy()
        for which in (mine, ~mine):
            row[which] -= row[which].min(initial=np.iinfo(np.int64).max)
        return _Line(mine, row)


@dataclass(frozen=True)
class _Pieces:
    """Describes pieces of a table, in this process or in another."""

    describer: Describer

    def rows(self, piece: Piece) -> "_Described":
        """Give keys and all features but those of history."""
        frame = piece.frame(self.describer.config.record_type())
        return self._described(frame, np.ones(len(frame), dtype=bool))

    def keys(self, piece_and_kept: tuple[Piece, Mask]) -> "_Described":
        """Give the keys of the rows that are kept."""
        piece, kept = piece_and_kept
        frame = piece.frame(self.describer.config.record_type())[kept]
        return self._described(frame, np.zeros(len(frame), dtype=bool))

    def _described(self, frame: pd.DataFrame, wanted: Mask) -> "_Described":
        described = self.describer(frame, wanted)
        return _Described(described.keys, described.counterparts, described.X, _carried(frame))


@dataclass(frozen=True)
class _Described:
    keys: Keys
    counterparts: Keys
    X: Rows
    frame: pd.DataFrame

    @classmethod
    def nothing(cls, kinds: int) -> "_Described":
        keys = np.zeros((0, kinds), dtype=np.uint64)
        return cls(keys, keys, np.zeros((0, 0), dtype=np.float32), pd.DataFrame())

    @classmethod
    def together(cls, parts: list["_Described"]) -> "_Described":
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.keys for part in parts]),
            np.concatenate([part.counterparts for part in parts]),
            np.concatenate([part.X for part in parts]),
            pd.concat([part.frame for part in parts], ignore_index=True),
        )

    def cut(self, part: slice) -> "_Described":
        frame = self.frame.iloc[part].reset_index(drop=True)
        return _Described(self.keys[part], self.counterparts[part], self.X[part], frame)


class _Buffer:
    """Gives described rows in any number at a time."""

    def __init__(self, parts: Iterator[_Described], first: _Described | None = None) -> None:
        self._parts = parts
        self._waiting = [] if first is None else [first]

    def take(self, rows: int) -> _Described:
        while not self._waiting or sum(len(part.keys) for part in self._waiting) < rows:
            self._waiting.append(next(self._parts))
        # An empty part in front has not the columns of the others.
        whole = _Described.together([part for part in self._waiting if len(part.keys)] or self._waiting[:1])
        self._waiting = [whole.cut(slice(rows, None))]
        return whole.cut(slice(0, rows))


def _folded(fold: Fold, pipeline: Pipeline, line: _Line, old: _Described, new: _Described) -> FeaturePiece:
    """Put past and given consignments in their order, and read the history of the given ones."""
    keys = np.empty((len(line.mine), len(pipeline.kinds)), dtype=np.uint64)
    counterparts = np.empty_like(keys)
    for which, described in ((line.mine, new), (~line.mine, old)):
        rows = line.row[which]
        keys[which], counterparts[which] = described.keys[rows], described.counterparts[rows]
    X = np.empty((len(new.keys), len(pipeline.spec)), dtype=np.float32)
    X[:, : pipeline.history_at] = new.X
    fold.take(keys, counterparts, X, pipeline.history_at, np.where(line.mine, line.row, -1))
    return FeaturePiece(X, new.frame)


def _carried(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[[name for name in CARRIED if name in frame]].reset_index(drop=True)


def _cut(source: Source | None, kept: Mask) -> Iterator[tuple[Piece, Mask]]:
    """Give the pieces of a source with the part of a mask that is theirs."""
    start = 0
    for piece in () if source is None else source.pieces():
        yield piece, kept[start : start + len(piece)]
        start += len(piece)


def _in_memory(
    world: World,
    config: FeatureConfig,
    fitted: Fitted,
    pseudonyms: Pseudonyms,
    as_of: pd.Timestamp | None,
    jobs: int,
    piece_rows: int,
    progress: Progress | None,
) -> Iterator[FeaturePiece]:
    given, past = (
        None if source is None else _whole(source, config.record_type())
        for source in (world.consignments, world.history)
    )
    assert given is not None
    if len(given) > MANY_ROWS:
        log.warning(
            "%s rows do not lie in the order of history and are held in memory together; sorted by sequence or, "
            "without one, by received_at, they would be taken piece by piece",
            f"{len(given):,}",
        )
    tables, keep = joined(Tables(given, world.outcomes, world.alerts), past)
    matrix = feature_matrix(
        tables, config, fitted, pseudonyms, keep=keep, as_of=as_of, jobs=jobs, progress=progress
    )
    frame = _carried(tables.consignments.iloc[matrix.rows])
    for begin in range(0, max(len(frame), 1), piece_rows):
        part = slice(begin, begin + piece_rows)
        yield FeaturePiece(matrix.X[part], frame.iloc[part].reset_index(drop=True))


def _whole(source: Source, record: type[Consignment]) -> pd.DataFrame:
    return pd.concat([piece.frame(record) for piece in source.pieces()], ignore_index=True)
