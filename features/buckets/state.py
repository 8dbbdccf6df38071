"""The kept state of history in buckets: each bucket starts from its part of the state before, and gives its part of the next.

before-0003.*        keys of the state before in bucket 3, of all kinds
counted-05-0003.*    keys of group 5 in bucket 3 that the batch met, after it; `taken` are their rows in `before-0003`
after-0003.*         keys of the next state in bucket 3

The state does not say of which kind a key is. So a task looks up the keys that it meets, and the others of the bucket are merged in afterwards.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.buckets.work_files import compute_bucket, write_array
from features.history.kept_state import KeptState
from features.history.kept_table import create_empty, join_parts, select_keys, sort_table
from features.history.kernels import HistoryArrays
from features.history.keys import KeyKind
from features.history.state_files import load_table
from features.history.table import History

Keys = NDArray[np.uint64]
Longs = NDArray[np.int64]
TAKEN = "taken"
TOTALS = np.zeros(1, dtype=np.int64)
"""Place of the row that counts all results, in a whole table."""


@dataclass(frozen=True)
class BucketState:
    """The state before a batch, in buckets, and the place of the next one; `totals` is the row that counts all results before the batch."""

    folder: Path
    before_day: int
    today: int
    totals: HistoryArrays
    buckets: int

    @classmethod
    def split(cls, before: KeptState | None, today: int, folder: Path, buckets: int) -> "BucketState":
        """Write the table of a state in buckets."""
        table = create_empty() if before is None else before.table
        state = cls(folder, table.today, today, select_keys(table, TOTALS, table.today), buckets)
        keys = table.keys
        ends = [
            bisect_left(keys, bucket, key=lambda key: int(compute_bucket(key, buckets)))
            for bucket in range(1, buckets)
        ]
        for bucket, (begin, end) in enumerate(pairwise([0, *ends, len(keys)])):
            state._write(f"before-{bucket:04d}", select_keys(table, np.arange(begin, end), table.today))
        return state

    def start_history(
        self, kinds: tuple[KeyKind, ...], buckets: range, keys: Keys
    ) -> tuple[History, list[Longs]]:
        """Start the history of some ascending, distinct keys and their networks; return it, and their rows in each bucket of the state before."""
        before = [load_table(self.folder, f"before-{bucket:04d}") for bucket in buckets]
        known = -1
        while len(keys) > known:
            known = len(keys)
            taken = [_find_rows(table, keys) for table in before]
            links = [table.links[rows] for table, rows in zip(before, taken, strict=True)]
            keys = np.unique(np.concatenate([keys, *links]))
            keys = keys[keys > 0]
        parts = [select_keys(table, rows, self.before_day) for table, rows in zip(before, taken, strict=True)]
        return History.from_arrays(kinds, join_parts([self.totals, *parts], self.before_day)), taken

    def write_counted(self, group: int, buckets: range, history: History, taken: list[Longs]) -> None:
        """Write the keys that the batch met, each bucket apart after the totals."""
        table = join_parts(sort_table(history.get_arrays(), self.today), self.today)
        numbers = compute_bucket(table.keys[1:], self.buckets)
        for bucket, rows in zip(buckets, taken, strict=True):
            name = f"counted-{group:02d}-{bucket:04d}"
            write_array(self.folder / f"{name}.{TAKEN}.npy", rows)
            places = np.append(TOTALS, np.flatnonzero(numbers == bucket) + 1)
            self._write(name, select_keys(table, places, self.today))

    def merge(self, groups: int, bucket: int) -> None:
        """Merge the keys that the batch met with the others of a bucket."""
        before, parts = load_table(self.folder, f"before-{bucket:04d}"), []
        others = np.ones(len(before.keys), dtype=bool)
        for group in range(groups):
            name = f"counted-{group:02d}-{bucket:04d}"
            met = load_table(self.folder, name)
            first = 0 if bucket == 0 and group == 0 else 1  # all tasks count the same totals
            parts.append(select_keys(met, np.arange(first, len(met.keys)), self.today))
            others[np.load(self.folder / f"{name}.{TAKEN}.npy")] = False
        if bucket == 0:
            others[TOTALS] = False
        parts.append(select_keys(before, np.flatnonzero(others), self.before_day))
        table = sort_table(join_parts(parts, self.today), self.today)
        self._write(f"after-{bucket:04d}", join_parts(table, self.today))

    def open_merged(self, buckets: int) -> Iterator[HistoryArrays]:
        """Yield the buckets of the next table. Only the yielded one has open files."""
        for bucket in range(buckets):
            yield load_table(self.folder, f"after-{bucket:04d}")

    def _write(self, name: str, table: HistoryArrays) -> None:
        for array, content in table._asdict().items():
            write_array(self.folder / f"{name}.{array}.npy", content)


def _find_rows(table: HistoryArrays, keys: Keys) -> Longs:
    """Find the rows that a sorted table has of some ascending, distinct keys."""
    rows = np.searchsorted(table.keys, keys)
    rows = rows[rows < len(table.keys)]
    found: Longs = rows[table.keys[rows] == keys[: len(rows)]]
    return found
