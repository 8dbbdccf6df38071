"""The kept state of history in buckets: each bucket starts from its part of the state before, and gives its part of the next.

before-0003.*        keys of the state before in bucket 3, of all kinds
counted-05-0003.*    keys of kind 5 in bucket 3 that the batch met, after it; `taken` are their rows in `before-0003`
after-0003.*         keys of the next state in bucket 3

The state does not say of which kind a key is. So a task looks up the keys that it meets, and the others of the bucket are merged in afterwards.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.buckets.work_files import compute_bucket, write_array
from features.history.kept_state import KeptState
from features.history.kernels import NO_DAY
from features.history.keys import KeyKind
from features.history.sorted_table import TABLE_ARRAYS, SortedTable
from features.history.table import History

Keys = NDArray[np.uint64]
Longs = NDArray[np.int64]
TAKEN = "taken"


@dataclass(frozen=True)
class BucketState:
    """The state before a batch, in buckets, and the place of the next one.

    Attributes
    ----------
    folder : Path
    before_day, today : int
        Latest days of all events before and after the batch.
    totals : SortedTable
        The row that counts all results before the batch.
    """

    folder: Path
    before_day: int
    today: int
    totals: SortedTable

    @classmethod
    def split(cls, before: KeptState | None, today: int, folder: Path, buckets: int) -> "BucketState":
        """Write the table of a state in buckets."""
        table = SortedTable.create_empty() if before is None else before.table
        before_day = NO_DAY if before is None else before.header.today
        state = cls(folder, before_day, today, next(table.split([1])))
        ends = [
            bisect_left(table.key, bucket, key=lambda key: int(compute_bucket(key, buckets)))
            for bucket in range(1, buckets + 1)
        ]
        for bucket, part in enumerate(table.split(ends)):
            state._write(f"before-{bucket:04d}", part)
        return state

    def start_history(self, kind: KeyKind, bucket: int, keys: Keys) -> tuple[History, Longs]:
        """Start the history of some keys.

        Parameters
        ----------
        kind : KeyKind
        bucket : int
        keys : uint64 array
            Ascending and distinct.

        Returns
        -------
        history : History
        taken : int64 array
            Rows of these keys in the state before.
        """
        before = self.open(f"before-{bucket:04d}")
        rows = np.searchsorted(before.key, keys)
        rows = rows[rows < len(before.key)]
        taken = rows[before.key[rows] == keys[: len(rows)]]
        table = SortedTable.concatenate([self.totals, before.select(taken)])
        return table.to_history((kind,), self.before_day), taken

    def write_counted(self, kind: int, bucket: int, history: History, taken: Longs) -> None:
        """Write the keys that the batch met."""
        name = f"counted-{kind:02d}-{bucket:04d}"
        write_array(self.folder / f"{name}.{TAKEN}.npy", taken)
        self._write(name, SortedTable.from_history(history, self.today))

    def merge(self, kinds: int, bucket: int) -> None:
        """Merge the keys that the batch met with the others of a bucket."""
        before = self.open(f"before-{bucket:04d}")
        others = np.ones(len(before.key), dtype=bool)
        parts = []
        for kind in range(kinds):
            name = f"counted-{kind:02d}-{bucket:04d}"
            totals, met = self._open_counted(name)
            parts.append(met)
            others[np.load(self.folder / f"{name}.{TAKEN}.npy")] = False
        if bucket == 0:  # all tasks count the same totals
            others[0] = False
            parts.append(totals)
        parts.append(before.select(np.flatnonzero(others)).forget(self.today))
        table = SortedTable.concatenate(parts)
        self._write(f"after-{bucket:04d}", table.select(np.argsort(table.key)))

    def open_merged(self, buckets: int) -> Iterator[SortedTable]:
        """Yield the buckets of the next table. Only the yielded one has open files."""
        for bucket in range(buckets):
            yield self.open(f"after-{bucket:04d}")

    def open(self, name: str) -> SortedTable:
        """Open a table; its arrays are read from disk when they are needed."""
        paths = [self.folder / f"{name}.{array}.npy" for array in TABLE_ARRAYS]
        return SortedTable(*(np.load(path, mmap_mode="r") for path in paths))

    def _open_counted(self, name: str) -> tuple[SortedTable, SortedTable]:
        """Open the totals, and the keys, that a task has counted."""
        table = self.open(name)
        totals, met = table.split([1, len(table.key)])
        return totals, met

    def _write(self, name: str, table: SortedTable) -> None:
        for array in TABLE_ARRAYS:
            write_array(self.folder / f"{name}.{array}.npy", getattr(table, array))
