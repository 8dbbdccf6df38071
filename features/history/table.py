"""The table of history: day counts by key, read and updated by the same kernel for one event and for a million.

Rules (docs: what history means)
    A *step* adds a count to the day tiles of all keys of a consignment, or removes it: an arrival, or a known result.
    D, *today*, is the latest day of any event so far. History remembers the days from D-366 on. An event of an earlier
    day is not counted, and can no longer be removed.
    A key exists from its first counted event, as long as a remembered day has an event. Then it is forgotten completely.
    *Ever* means since the first counted event. Readings do not depend on the time at which memory is cleaned up.
    A reading on day d uses ages d - day. A negative age (days may go backwards) counts as zero.

Days: 2024-03-01 is day 19783. A key last seen on that day is remembered on 2025-03-02 (D-366) and new on 2025-03-03.
All counts are integers, so their order does not matter; decayed counts sum from the newest day to the oldest.
"""

from typing import Any

import numpy as np

from consignments.errors import BadSetting, ServiceFault
from features.history import kernels
from features.history.kept_table import FORMAT_VERSION, build_state, release_pages, require_addressable
from features.history.kernels import HistoryArrays, Keys, Rows, Steps
from features.history.keys import KeyKind
from features.table import SIDES

GROWTH_RATIO = 0.25
MAX_GROWTH_BYTES = 1 << 26
"""Maximum growth of a store in bytes. A store grows in place, so that many growth steps are cheap."""
SWEEP_DAYS = 30
"""Minimum number of days between two purges of forgotten keys before the table grows. Readings do not depend on it."""
COPIED_ROWS = 1 << 20
EXPECTED_NEW_KEYS = 2
"""Assumed number of new history keys per consignment."""


class History:
    """The day counts by key in a table that grows, about 120 bytes each; for one thread at a time."""

    def __init__(
        self, kinds: tuple[KeyKind, ...], *, capacity: int = 1 << 16, max_keys: int | None = None
    ) -> None:
        joins = [_number_side(kind) if kind.joins else kernels.NO_SIDE for kind in kinds]
        self._joins = np.array(joins, np.int64)
        self._sides = np.array([_number_side(kind) for kind in kinds if kind.read], np.int64)
        self._new_keys = len(kinds) + kernels.count_networks(self._joins)
        if max_keys is not None and max_keys < self._new_keys:
            got, expected = f"max_keys {max_keys}", f"at least {self._new_keys}; a million or more is usual"
            raise BadSetting("history has no room for a single consignment", got=got, expected=expected)
        self.kinds = kinds
        self.max_keys = max_keys
        self._most_heads = None if max_keys is None else max_keys + kernels.TOTALS_PLACE + 1
        self._swept_on = self._full_on = kernels.NO_DAY
        places = np.zeros((2, kernels.PREFETCH_STEPS, len(kinds)), dtype=np.int64)
        removed = np.zeros((2, len(kinds)), dtype=np.uint64)
        self._scratch = places[0], places[1], removed, np.full(kernels.COMMON_TODAY + 1, np.nan)
        heads = _limit_size(max(capacity, self._new_keys) + kernels.TOTALS_PLACE + 1, self._most_heads)
        self._slots = np.zeros(_compute_slots_needed(heads), dtype=np.uint32)
        self._table = HistoryArrays(
            build_state(kernels.NO_DAY, kernels.TOTALS_PLACE + 1, kernels.FIRST_BLOCK, kernels.FIRST_BLOCK),
            np.zeros((heads, kernels.HEAD_WORDS), dtype=np.int32),
            np.zeros(kernels.FIRST_BLOCK, dtype=np.int32),
            np.zeros(kernels.FIRST_BLOCK, dtype=np.uint64),
        )
        self._grow_blocks()

    @classmethod
    def create_sized(cls, kinds: tuple[KeyKind, ...], consignments: int) -> "History":
        """Create an empty history with capacity for the keys of a number of consignments, so that it seldom grows."""
        return cls(kinds, capacity=max(EXPECTED_NEW_KEYS * consignments, 1 << 16))

    def __len__(self) -> int:
        """Return the number of keys in the table, including forgotten keys that are not purged yet."""
        return self._used_heads - 1

    @property
    def width(self) -> int:
        """Return the number of readings of one consignment."""
        return len(self._sides) * kernels.WIDTH + kernels.NETWORKS_WIDTH + kernels.SIDES_WIDTH

    @property
    def today(self) -> int:
        """Return the latest day of any event so far."""
        return int(self._table.state[kernels.TODAY])

    @property
    def nbytes(self) -> int:
        """Return the bytes of memory that the table uses, including room to grow."""
        return sum(part.nbytes for part in (self._slots, *self._table[1:]))

    @property
    def _used_heads(self) -> int:
        return int(self._table.state[kernels.HEADS_USED])

    def run(self, steps: Steps, keys: Keys, counterparts: Keys, out: Rows | None = None) -> None:
        """Apply steps and write the readings of arrivals to the last columns of `out`; a full table raises `ServiceFault`."""
        rows = out if out is not None else _NO_ROWS
        at = 0 if out is None else out.shape[-1] - self.width
        self._check_arrays(steps, keys, counterparts, rows)
        done, before = 0, self._used_heads
        while done < len(steps):
            table = self._slots, self._table, self._sides, self._joins, *self._scratch
            reached = kernels.apply_steps(steps, done, keys, counterparts, rows, at, *table)
            if reached < 0:
                raise ValueError(f"bad step {-reached - 1}: {steps[-reached - 1]}")
            done = reached
            if done < len(steps):
                more = max(self._used_heads - before, 0) * (len(steps) - done) // (done + 1)
                self._make_room(int(steps[done]["today"]), more)

    def reserve(self, today: int) -> None:
        """Make room for the keys of one more consignment on the day `today`; if there is none, raise `ServiceFault` and change nothing."""
        if self._used_heads + self._new_keys > len(self._table.heads):
            self._make_room_for_heads(today)

    def has_room(self, consignments: int) -> bool:
        """Check if the keys of this many more consignments are sure to fit within `max_keys`."""
        needed = self._used_heads + consignments * self._new_keys
        return self._most_heads is None or needed <= self._most_heads

    def purge_forgotten(self) -> None:
        """Purge forgotten keys, so that the table can reuse their memory. Readings do not change."""
        kernels.purge_keys(self._slots, self._table)
        self._swept_on = self.today

    def get_arrays(self) -> HistoryArrays:
        """Return the arrays of the table without a copy. They are valid only until its next change."""
        state, heads, days, counterparts = self._table
        used = state[kernels.DAYS_USED], state[kernels.OTHERS_USED]
        return HistoryArrays(state, heads[: self._used_heads], days[: used[0]], counterparts[: used[1]])

    @classmethod
    def from_arrays(
        cls, kinds: tuple[KeyKind, ...], arrays: HistoryArrays, *, max_keys: int | None = None
    ) -> "History":
        """Restore a table from `get_arrays` or a kept form of it; raise `ServiceFault` if its arrays do not fit."""
        state, sizes = arrays.state, [len(array) for array in arrays[1:]]
        if len(state) != kernels.STATE_SIZE or state[kernels.FORMAT] != FORMAT_VERSION:
            raise _make_arrays_fault("it was written by another version of npsrisk")
        if state[[kernels.HEADS_USED, kernels.DAYS_USED, kernels.OTHERS_USED]].tolist() != sizes:
            raise _make_arrays_fault("its arrays do not belong together")
        require_addressable(*sizes[1:])
        history = cls(kinds, capacity=len(arrays.heads), max_keys=max_keys)
        history._table.state[:] = state
        for used, store in zip(arrays[1:], history._table[1:], strict=True):
            _restore_store(used, store)
        history._fill_slots()
        return history

    def _check_arrays(self, steps: Steps, keys: Keys, counterparts: Keys, out: Rows) -> None:
        """Check the arrays once, because the kernel checks no bounds of columns."""
        expected = (
            (steps, kernels.STEP, 1),
            (keys, np.dtype(np.uint64), 2),
            (counterparts, np.dtype(np.uint64), 2),
            (out, np.dtype(np.float32), 2),
        )
        for array, dtype, dimensions in expected:
            if array.dtype != dtype or array.ndim != dimensions or not array.flags.c_contiguous:
                raise ValueError(
                    f"expected a contiguous {dtype} array of {dimensions} dimensions, "
                    f"got {array.dtype} {array.shape}"
                )
        kinds = len(self.kinds)
        if keys.shape[1] != kinds or counterparts.shape != keys.shape:
            raise ValueError(
                f"expected {kinds} columns of keys and of counterparts, got {keys.shape}, {counterparts.shape}"
            )
        if out is not _NO_ROWS and out.shape[1] < self.width:
            raise ValueError(f"no room for {self.width} readings in {out.shape[1]} columns")

    def _make_room(self, today: int, more: int) -> None:
        """Make room for one step on the day `today`: for its tiles and counterparts or, if they have room, for keys, and for `more` of them."""
        if not self._grow_blocks():
            self._make_room_for_heads(today, more)
        require_addressable(len(self._table.days), len(self._table.counterparts))

    def _grow_blocks(self) -> bool:
        """Make room for the most tiles and counterparts that one step can need; return False if there was enough."""
        table, kinds = self._table, len(self.kinds)
        days = int(table.state[kernels.DAYS_USED]) + kernels.compute_room_of_step(kinds)
        others = int(table.state[kernels.OTHERS_USED]) + kinds * kernels.MAX_EXACT_COUNTERPARTS
        if len(table.days) >= days and len(table.counterparts) >= others:
            return False
        _grow_store(table.days, days)
        _grow_store(table.counterparts, others)
        return True

    def _make_room_for_heads(self, today: int, more: int = 0) -> None:
        """Purge the keys that are forgotten on the day `today`, and then grow. Raise before anything is changed."""
        needed = self._used_heads + self._new_keys
        bounded = self._most_heads is not None and needed > self._most_heads
        if bounded and not self._would_make_room(needed, today):
            raise ServiceFault(
                "history is full",
                got=f"{len(self)} keys in use",
                expected=f"room for the {self._new_keys} keys of one more consignment within {self.max_keys}",
                todo="raise NPSRISK_MAX_HISTORY_KEYS if memory allows; a key takes about 120 bytes",
            )
        if bounded or today - self._swept_on >= SWEEP_DAYS:
            self._table.state[kernels.TODAY] = max(today, self.today)
            self.purge_forgotten()
            needed = self._used_heads + self._new_keys
        if not bounded and needed + _compute_growth(self._table.heads) > len(self._table.heads):
            _grow_store(self._table.heads, len(self._table.heads) + self._new_keys + more, self._most_heads)
            if len(self._slots) < _compute_slots_needed(len(self._table.heads)):
                self._fill_slots()

    def _would_make_room(self, needed: int, today: int) -> bool:
        """Check if a purge on a day makes enough room. A day is tried once."""
        if today <= self._full_on:
            return False
        if needed - kernels.count_forgotten(self._table, today) <= len(self._table.heads):
            return True
        self._full_on = today
        return False

    def _fill_slots(self) -> None:
        if len(self._slots) < _compute_slots_needed(len(self._table.heads)):
            self._slots = np.zeros(_compute_slots_needed(len(self._table.heads)), dtype=np.uint32)
        kernels.fill_slots(self._slots, self._table)


def _number_side(kind: KeyKind) -> int:
    return kernels.NO_SIDE if kind.side is None else SIDES.index(kind.side)


_NO_ROWS = np.empty((0, 0), dtype=np.float32)


def _make_arrays_fault(what: str) -> ServiceFault:
    return ServiceFault(
        f"the kept table of history cannot be used: {what}",
        todo="delete the snapshot, and history is rebuilt from the log; or begin a new state from --history",
    )


def _compute_slots_needed(heads: int) -> int:
    """Compute the smallest power of two of which at most half is used."""
    return 1 << (2 * heads - 1).bit_length()


def _limit_size(size: int, most: int | None) -> int:
    return size if most is None else min(size, most)


def _compute_growth(store: Any) -> int:
    return int(min(GROWTH_RATIO * len(store), MAX_GROWTH_BYTES // store.strides[0]))


def _grow_store(store: Any, needed: int, most: int | None = None) -> None:
    """Grow a store to room for `needed` elements, in place and to at most `most`, because a copy would need the memory of both."""
    if needed > len(store):
        size = _limit_size(max(int(needed), len(store) + _compute_growth(store)), most)
        store.resize((size, *store.shape[1:]), refcheck=False)


def _restore_store(used: Any, store: Any) -> None:
    """Copy a kept array, which may be on disk, to the start of a store."""
    _grow_store(store, len(used))
    for begin in range(0, len(used), COPIED_ROWS):
        piece = used[begin : begin + COPIED_ROWS]
        store[begin : begin + len(piece)] = piece
        release_pages(used)
