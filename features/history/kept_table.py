"""The arrays in which a table of history is kept: those of the table itself, in a snapshot or a state of batches.

Sorted arrays have the keys in ascending order, in the smallest blocks, without forgotten keys and days: equal counts then give equal
bytes, in whatever order the events came.
"""

import mmap
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consignments.errors import ServiceFault
from features.history import kernels
from features.history.kernels import HistoryArrays, Longs

FORMAT_VERSION = 4
"""4: keys are linked to networks."""
TOTALS_KEY = 0
"""Key of the row that counts every known result. It is the first of a whole table."""
PART_KEYS = 1 << 20
"""Keys that are sorted and copied at a time."""
MAX_STORE_SIZE = 2**31 - 1
"""Maximum size of a store, because blocks are addressed by an int32."""


def build_state(today: int, heads: int, days: int, counterparts: int, founded: Longs | int = 0) -> Longs:
    """Build the state of a table from its latest day, its used sizes and the networks founded on each side, without free blocks."""
    state = np.zeros(kernels.STATE_SIZE, dtype=np.int64)
    state[kernels.FOUNDED :] = founded
    used = kernels.FORMAT, kernels.TODAY, kernels.HEADS_USED, kernels.DAYS_USED, kernels.OTHERS_USED
    state[[*used]] = FORMAT_VERSION, today, heads, days, counterparts
    return state


def select_keys(table: HistoryArrays, places: Longs, today: int) -> HistoryArrays:
    """Copy some keys as of a day, in this order; all but the totals must be remembered on it."""
    ends = np.full(2, kernels.FIRST_BLOCK, dtype=np.int64)
    heads = np.zeros((len(places), kernels.HEAD_WORDS), dtype=np.int32)
    kernels.copy_keys(places, today, table, table._replace(heads=heads[:0]), ends)
    days, counterparts = ends.tolist()
    state = build_state(today, len(heads), days, counterparts, table.state[kernels.FOUNDED :])
    copied = HistoryArrays(state, heads, np.zeros(days, np.int32), np.zeros(counterparts, np.uint64))
    kernels.copy_keys(places, today, table, copied, np.full_like(ends, kernels.FIRST_BLOCK))
    return copied


def sort_table(table: HistoryArrays, today: int, part_keys: int = PART_KEYS) -> Iterator[HistoryArrays]:
    """Yield the remembered keys as of a day in ascending order, in parts, so that only one of them needs memory besides the table."""
    marks = np.zeros(len(table.heads), dtype=bool)
    kernels.mark_remembered(table, today, marks)
    marks |= table.keys == TOTALS_KEY
    places = np.flatnonzero(marks)
    places = places[np.argsort(table.keys[places])]
    for begin in range(0, max(len(places), 1), part_keys):
        yield select_keys(table, places[begin : begin + part_keys], today)


def lay_parts(parts: Iterable[HistoryArrays]) -> Iterator[HistoryArrays]:
    """Yield parts whose arrays, one after the other, are those of one table: the blocks of later parts are moved."""
    days = counterparts = 0
    for part in parts:
        heads, first = part.heads.copy(), kernels.FIRST_BLOCK if days else 0
        for series in range(2):
            column = kernels.SERIES + 2 * series
            stored = heads[:, column + kernels.SIZE] & (1 << kernels.ROOM_BITS) - 1 > 0
            heads[stored, column + kernels.BLOCK] += max(days - kernels.FIRST_BLOCK, 0)
        exact = (heads[:, kernels.OTHERS_BLOCK] != kernels.NO_BLOCK) & (
            heads[:, kernels.OTHERS] < kernels.COUNTERPARTS_CAP
        )
        heads[exact, kernels.OTHERS_BLOCK] += max(counterparts - kernels.FIRST_BLOCK, 0)
        laid = part._replace(heads=heads, days=part.days[first:], counterparts=part.counterparts[first:])
        days, counterparts = days + len(laid.days), counterparts + len(laid.counterparts)
        require_addressable(days, counterparts)
        yield laid


def join_parts(parts: Iterable[HistoryArrays], today: int) -> HistoryArrays:
    """Join parts to one table as of a day; at least one."""
    states, *columns = zip(*lay_parts(parts), strict=True)
    heads, days, counterparts = map(np.concatenate, columns)
    founded = np.max(states, axis=0)[kernels.FOUNDED :]
    state = build_state(today, len(heads), len(days), len(counterparts), founded)
    return HistoryArrays(state, heads, days, counterparts)


def require_addressable(*sizes: int) -> None:
    """Refuse stores that are too large for the blocks, whose int32 would wrap silently."""
    if max(sizes) > MAX_STORE_SIZE:
        raise ServiceFault(
            "history is full: its days and counterparts cannot be addressed",
            got=f"{max(sizes):,} elements",
            expected=f"at most {MAX_STORE_SIZE:,}",
            todo="begin the history later, or divide the traffic, for example by channel; NPSRISK_MAX_HISTORY_KEYS does not help here",
        )


def release_pages(array: NDArray[Any]) -> None:
    """Release the memory of an array on disk. It is read again when it is needed."""
    base: Any = array.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
