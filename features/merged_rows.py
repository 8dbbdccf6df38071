"""Two tables of consignments read as one, in the order of history, in chunks."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.validation import SEQUENCE
from features.batch import mask_past_rows
from features.streams import CHUNK_ROWS, RowChunk, SelectedRows

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class MergedRows:
    """A source of the rows of two sources.

    They follow each other by `sequence`, else by `received_at`, in blocks of CHUNK_ROWS. If a source has another order, its rows stay
    behind those of the other one. The order of the rows stays in memory and may be taken several times.

    Attributes
    ----------
    first, second : SelectedRows
    """

    first: SelectedRows
    second: SelectedRows

    @classmethod
    def from_sources(cls, first: SelectedRows, second: SelectedRows) -> "MergedRows":
        """Merge two sources. Without `sequence`, a consignment of both is that of the second one."""
        return cls(first.select(mask_past_rows(first.order, second.order)), second)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.first) + len(self.second)

    def take_order(self) -> pd.DataFrame:
        """Return the order columns."""
        return self._order

    def read_chunks(self) -> Iterator[RowChunk]:
        """Yield the rows in order, in chunks."""
        yield from self._read_rows(self._rows)

    def slice_rows(self, first: int, last: int) -> RowChunk:
        """Return the rows from `first` up to `last`, which is not included; they must be of one source."""
        (chunk,) = self._read_rows(self._rows[first:last])
        return chunk

    @cached_property
    def _rows(self) -> Positions:
        """Return the rows in order: their numbers in the first source, or in the second one after those of the first."""
        orders = [source.order for source in (self.first, self.second)]
        by = SEQUENCE if SEQUENCE in orders[1] else "received_at"
        times = [order[by].to_numpy() for order in orders]
        rows = np.arange(len(self))
        if any((part[1:] < part[:-1]).any() for part in times):
            return rows
        block = np.empty_like(rows)
        block[np.argsort(np.concatenate(times), kind="stable")] = rows // CHUNK_ROWS
        return np.argsort(block, kind="stable")

    @cached_property
    def _order(self) -> pd.DataFrame:
        both = pd.concat([self.first.order, self.second.order], ignore_index=True)
        return both.iloc[self._rows].reset_index(drop=True)

    def _read_rows(self, rows: Positions) -> Iterator[RowChunk]:
        """Yield rows in runs of consecutive numbers of one source, in chunks; at least one chunk."""
        if not len(rows):
            yield self.second.slice_rows(0, 0)
            return
        is_second = rows >= len(self.first)
        begins = np.flatnonzero((np.diff(rows, prepend=-2) != 1) | np.diff(is_second, prepend=False))
        for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(rows)], strict=True):
            source, number = (self.first, int(rows[begin]))
            if is_second[begin]:
                source, number = self.second, number - len(self.first)
            for done in range(0, end - begin, CHUNK_ROWS):
                yield source.slice_rows(number + done, number + min(done + CHUNK_ROWS, end - begin))
