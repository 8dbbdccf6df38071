"""The table of history: day counts by key, read and updated by one kernel for a million events and for one.

The rules (docs: what history means)
    A *step* adds a count to the day tiles of all keys of a consignment, or takes it out: an arrival, or a known result.
    D, *today*, is the latest day of any event so far. History remembers the days from D-366 on. An event of an earlier
    day is not counted, and can no longer be taken out.
    A key exists from its first counted event for as long as a remembered day holds one; then it is forgotten whole.
    *Ever* means since then. Nothing here depends on when memory is cleaned up.
    A reading on day d looks at ages d - day; an age below zero (days may go backwards) counts as zero.

Days: 2024-03-01 is day 19783. A key last seen on that day is remembered on 2025-03-02 (D-366) and new on 2025-03-03.
All counts are integers, so their order does not matter; decayed counts sum from the newest day to the oldest.
"""

from collections.abc import Mapping
from itertools import accumulate, repeat
from operator import mul
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from consignments.errors import BadSetting, ServiceFault
from features.keys import KeyKind
from features.readings import READINGS, features_of

# Whatever a kernel uses stands in this file: its compiled form is kept on disk, and only this file's changes renew it.
REMEMBERED_DAYS = 366
WINDOW_DAYS = (1, 7, 30, 90, 365)
"""A window of w days on day d holds the days d-w+1 to d."""
DAILY_DECAY = (0.9057236642639067, 0.977159968434245)
"""Half-lives of 7 and 30 days: 0.5 ** (1 / 7) and 0.5 ** (1 / 30), as literals, the same numbers on every machine."""
PACE_DAYS = 7
NORM_DAYS = 90
MANY_COUNTERPARTS = 9
"""Distinct counterparts are counted exactly to 8; 9 stands for nine or more."""
RATE_STRENGTH = 10.0
"""A key's own share of finds weighs as much as the common one after this many known inspections (assumed)."""
PRIOR_STRENGTH = 100.0
"""The common share of finds weighs as much as the first guess after this many known inspections (assumed)."""
FIRST_GUESS = (0.01, 0.01, 0.05)
"""Share of inspections that find nps, controlled_drug, any_offence before any result is known (assumed)."""

# What is counted: arrivals, and known results by class.
ARRIVALS, NPS, CONTROLLED_DRUG, OTHER_OFFENCE, CLEAR = range(5)
COUNTERS = 5
TARGETS = 3
RESULTS = {"nps": NPS, "controlled_drug": CONTROLLED_DRUG, "other_offence": OTHER_OFFENCE, "clear": CLEAR}

# Places of the readings (features.readings) in their block of the row.
(
    NEW,
    ARRIVALS_IN,
    _,
    _,
    _,
    _,
    ARRIVALS_EVER,
    SINCE_FIRST,
    SINCE_LAST,
    DECAYED,
    _,
    VELOCITY,
    COUNTERPARTS,
    INSPECTIONS,
    _,
    FINDS,
    _,
    _,
    _,
    _,
    _,
    SINCE_FIND,
    RATES,
    _,
    _,
) = range(len(READINGS))
WIDTH = len(READINGS)

STEP = np.dtype(
    [
        ("change", "<i4"),
        ("counter", "<i4"),
        ("row", "<i8"),
        ("out_row", "<i8"),
        ("day", "<i4"),
        ("today", "<i4"),
    ]
)
"""One step: +1 or -1 on a counter, for the keys in `row`; an arrival is read into `out_row` first, unless that is -1."""

# A key's head: 14 int32. Its arrivals and its results are two *series* of day tiles. A series of a single day needs no
# tile: the head's counts are that day's, and it stands where the block would.
KEY_LOW, KEY_HIGH, FIRST_ARRIVAL, EVER = range(4)
SERIES = EVER + COUNTERS
BLOCK, SIZE = 0, 1
OTHERS_BLOCK = SERIES + 4
OTHERS = OTHERS_BLOCK + 1
HEAD_WORDS = OTHERS + 1
ROOM_BITS = 4
_ROOM = (1 << ROOM_BITS) - 1
"""SIZE is the number of tiles in use, times 16, plus the room: 0 for no block, r for a block of 1 << r tiles."""
MOST_ROOM = 9
MOST_TILES = 1 << MOST_ROOM
OF_ARRIVALS, OF_RESULTS = 0, 1
TILE_WORDS = (2, COUNTERS)
"""A tile is a day and its counts: of arrivals, or of each class of results."""
DESK = 0
"""The tile on which a series without tiles is laid out to be read; no block holds it."""
MOST_OTHERS = MANY_COUNTERPARTS - 1

NO_DAY = -(2**31)
NOWHERE = -1
EVERYBODY = 0
"""Place of the key that counts every known result; the common shares come from it."""
HASH_FACTOR = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio: Fibonacci hashing (Knuth, vol. 3, 6.4)."""

# The state of the table itself: a few numbers, and for each store how much of it is used and its lists of free blocks.
FORMAT, TODAY, HEADS_USED, STORES = range(4)
USED, FREE = 0, 1
STORE_SIZE = 1 + MOST_ROOM + 1
OTHERS_STORE = STORES + 2 * STORE_SIZE
STATE_SIZE = STORES + 3 * STORE_SIZE
FORMAT_VERSION = 1

MOST_BLOCKS = 2**31 - 1
"""Blocks are found by an int32."""

GROWTH = 1.5
SWEEP_DAYS = 30
"""Forgotten keys are cleared away at most this often before the table grows; what is read does not depend on it."""
Steps = NDArray[Any]
Keys = NDArray[np.uint64]
Rows = NDArray[np.float32]
Words = NDArray[np.int32]
State = NDArray[np.int64]
Index = NDArray[np.uint32]
Number = Any
"""A number inside a kernel: numba infers its type, and its width."""


def _decay_table() -> NDArray[np.float64]:
    """Give the weight of a count by its age in days, (ages, half-lives), by multiplication alone: the same everywhere."""
    columns = [list(accumulate(repeat(daily, REMEMBERED_DAYS), mul, initial=1.0)) for daily in DAILY_DECAY]
    return np.array(columns, dtype=np.float64).T.copy()


DECAY = _decay_table()


class History:
    """Day counts by key, in a table that grows.

    Parameters
    ----------
    kinds : tuple of KeyKind
        One column of keys each.
    capacity : int
        Keys for which there is room at first.
    max_keys : int or None
        Bound of memory: at most this many keys at once (about 120 bytes each). None: as far as memory goes.

    Attributes
    ----------
    features : tuple of Feature
        All readings of all kinds, in the order in which they are written.

    Raises
    ------
    BadSetting
        Where `max_keys` has no room for the keys of a single consignment.
    """

    def __init__(
        self, kinds: tuple[KeyKind, ...], *, capacity: int = 1 << 16, max_keys: int | None = None
    ) -> None:
        if max_keys is not None and max_keys < len(kinds):
            raise BadSetting(
                "history has no room for a single consignment",
                got=f"max_keys {max_keys}",
                expected=f"at least {len(kinds)}, better a million and more",
            )
        self.kinds = kinds
        self.features = features_of(kinds)
        self.max_keys = max_keys
        self._most_heads = None if max_keys is None else max_keys + 2
        self._step_keys = len(kinds) + 1
        self._swept_on = NO_DAY
        self._state = np.zeros(STATE_SIZE, dtype=np.int64)
        self._state[FORMAT] = FORMAT_VERSION
        self._state[TODAY] = NO_DAY
        self._state[HEADS_USED] = EVERYBODY + 1
        self._state[STORES + USED] = self._state[STORES + STORE_SIZE + USED] = DESK + 1
        heads = max(capacity, len(kinds)) + 2
        self._heads = np.zeros((_least(heads, self._most_heads), HEAD_WORDS), dtype=np.int32)
        self._index = np.zeros(_index_size(len(self._heads)), dtype=np.uint32)
        least = self._step_keys * MOST_TILES + 1
        self._tiles, self._results = (np.zeros((least, words), dtype=np.int32) for words in TILE_WORDS)
        self._others = np.zeros(max(capacity, self._step_keys * MOST_OTHERS), dtype=np.uint64)

    def __len__(self) -> int:
        """Give the number of keys in the table; some of them may be forgotten and not yet cleared away."""
        return int(self._state[HEADS_USED]) - 1

    @property
    def width(self) -> int:
        """Number of readings of one consignment."""
        return len(self.kinds) * WIDTH

    @property
    def today(self) -> int:
        """The latest day of any event so far."""
        return int(self._state[TODAY])

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the table holds, room to grow included."""
        return sum(part.nbytes for part in (self._index, *self._parts))

    @property
    def _parts(self) -> tuple[Words, Words, Words, Keys]:
        return self._heads, self._tiles, self._results, self._others

    def run(self, steps: Steps, keys: Keys, counterparts: Keys, out: Rows | None = None, at: int = 0) -> None:
        """Take steps, one after the other.

        Parameters
        ----------
        steps : STEP array, (n,)
            `today` never falls, and is never before `day`.
        keys, counterparts : uint64 array, (rows, kinds)
            0 is missing; row of each step.
        out : float32 array, (out rows, columns), optional
            Where arrivals that ask for it are read, at `out_row`, from column `at` on.
        at : int

        Raises
        ------
        ServiceFault
            The table is full. The steps before were taken; call `reserve` first where all or none shall be.
        ValueError
            An array of another shape or type, or a step that breaks the rules above.
        """
        rows = out if out is not None else _NO_ROWS
        self._check(steps, keys, counterparts, rows, at)
        done = 0
        while done < len(steps):
            reached = _take_steps(
                steps,
                done,
                keys,
                counterparts,
                rows,
                at,
                self._index,
                *self._parts,
                self._state,
            )
            if reached < 0:
                raise ValueError(f"bad step {-reached - 1}: {steps[-reached - 1]}")
            done = reached
            if done < len(steps):
                self._make_room(1)

    def reserve(self, steps: int) -> None:
        """Make room for so many steps, so that taking them cannot fail; `ServiceFault` where there is none."""
        if not _has_room(self._index, *self._parts, self._state, steps * self._step_keys):
            self._make_room(steps)

    def clear_away(self) -> None:
        """Give the memory of forgotten keys back to the table. Readings stay as they were."""
        _sweep(self._index, *self._parts, self._state)
        self._swept_on = self.today

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give a copy of the state as plain arrays, for a snapshot."""
        state = self._state
        return {
            "kinds": _names_array(self.kinds),
            "state": state.copy(),
            "heads": self._heads[: state[HEADS_USED]].copy(),
            "tiles": self._tiles[: state[STORES + USED]].copy(),
            "results": self._results[: state[STORES + STORE_SIZE + USED]].copy(),
            "counterparts": self._others[: state[OTHERS_STORE + USED]].copy(),
        }

    @classmethod
    def from_arrays(
        cls, kinds: tuple[KeyKind, ...], arrays: Mapping[str, NDArray[Any]], *, max_keys: int | None = None
    ) -> "History":
        """Restore what `to_arrays` gave.

        Raises
        ------
        ServiceFault
            Where the snapshot is of other keys or another version of the table; rebuild it from the log.
        """
        state = arrays["state"]
        if len(state) != STATE_SIZE or state[FORMAT] != FORMAT_VERSION:
            raise _bad_snapshot("it was written by another version of npsrisk")
        if arrays["kinds"].tobytes() != _names_array(kinds).tobytes():
            raise _bad_snapshot("it has other keys than the model")
        history = cls(kinds, capacity=len(arrays["heads"]), max_keys=max_keys)
        history._state[:] = state
        history._heads = _restored(arrays["heads"], history._heads)
        history._tiles = _restored(arrays["tiles"], history._tiles)
        history._results = _restored(arrays["results"], history._results)
        history._others = _restored(arrays["counterparts"], history._others)
        history._fill_index()
        return history

    def _check(self, steps: Steps, keys: Keys, counterparts: Keys, out: Rows, at: int) -> None:
        """Check once outside what the kernel, which checks no bounds of columns, relies on."""
        expected = (
            (steps, STEP, 1),
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
        if out is not _NO_ROWS and not 0 <= at <= out.shape[1] - self.width:
            raise ValueError(f"no room for {self.width} readings from column {at} of {out.shape[1]}")

    def _make_room(self, steps: int) -> None:
        """Make room for the keys of so many steps, whatever they need."""
        keys = steps * self._step_keys
        if self._state[HEADS_USED] + keys > len(self._heads):
            self._make_room_for_heads(keys)
        used = self._state[STORES + USED :: STORE_SIZE]
        self._tiles = _roomy(self._tiles, used[0] + keys * MOST_TILES)
        self._results = _roomy(self._results, used[1] + keys * MOST_TILES)
        self._others = _roomy(self._others, used[2] + keys * MOST_OTHERS)
        if max(len(self._tiles), len(self._results), len(self._others)) >= MOST_BLOCKS:
            raise self._full()

    def _make_room_for_heads(self, keys: int) -> None:
        """Clear away what is forgotten, then grow, then refuse."""
        at_most = self._most_heads is not None and len(self._heads) >= self._most_heads
        if self.today - self._swept_on >= (1 if at_most else SWEEP_DAYS):
            self.clear_away()
        needed = int(self._state[HEADS_USED]) + keys
        if GROWTH * needed > len(self._heads):
            self._heads = _roomy(self._heads, max(needed, len(self._heads) + 1), self._most_heads)
            self._fill_index()
        if needed > len(self._heads):
            raise self._full()

    def _fill_index(self) -> None:
        if len(self._index) < _index_size(len(self._heads)):
            self._index = np.zeros(_index_size(len(self._heads)), dtype=np.uint32)
        _fill_index(self._index, self._heads, self._state)

    def _full(self) -> ServiceFault:
        return ServiceFault(
            "history is full",
            got=f"{len(self)} keys in use",
            expected=f"room for the {len(self.kinds)} keys of one more consignment"
            + ("" if self.max_keys is None else f" within {self.max_keys}"),
            todo="raise the bound of keys where memory allows, at about 120 bytes a key",
        )


_NO_ROWS = np.empty((0, 0), dtype=np.float32)


def _names_array(kinds: tuple[KeyKind, ...]) -> NDArray[np.uint8]:
    return np.frombuffer("\n".join(kind.name for kind in kinds).encode(), dtype=np.uint8)


def _bad_snapshot(what: str) -> ServiceFault:
    return ServiceFault(
        f"this snapshot of history cannot be used: {what}", todo="drop it; history is rebuilt from the log"
    )


def _index_size(heads: int) -> int:
    """Give the smallest power of two of which at most half is used."""
    return 1 << (2 * heads - 1).bit_length()


def _least(size: int, most: int | None) -> int:
    return size if most is None else min(size, most)


def _roomy(store: Any, needed: int, most: int | None = None) -> Any:
    """Give a store with room for so many, itself where it has it; a larger one grows by half, and to `most`."""
    if needed <= len(store):
        return store
    grown = np.zeros(
        (_least(max(int(needed), int(GROWTH * len(store))), most), *store.shape[1:]), store.dtype
    )
    grown[: len(store)] = store
    return grown


def _restored(used: Any, store: Any) -> Any:
    """Put what a snapshot holds at the start of a store."""
    store = _roomy(store, len(used))
    store[: len(used)] = used
    return store


# The kernel. index: slot -> place + 1; heads: place -> words; tiles, results, others: stores of blocks; state.


@njit(cache=True, nogil=True)
def _take_steps(
    steps: Steps,
    start: Number,
    keys: Keys,
    counterparts: Keys,
    out: Rows,
    at: Number,
    index: Index,
    heads: Words,
    tiles: Words,
    results: Words,
    others: Keys,
    state: State,
) -> Number:
    """Take the steps from `start` on; give the number of the step reached, or -1 - number of a bad step."""
    kinds = keys.shape[1]
    places = np.empty(kinds, dtype=np.int64)
    common = np.empty(TARGETS, dtype=np.float64)
    for number in range(start, len(steps)):
        step = steps[number]
        row, out_row, day, today = step.row, step.out_row, step.day, step.today
        if today < day or today < state[TODAY] or row < 0 or row >= len(keys) or out_row >= len(out):
            return -1 - number
        if not _has_room(index, heads, tiles, results, others, state, kinds + 1):
            return number
        state[TODAY] = today
        arrival = step.counter == ARRIVALS and step.change > 0
        for kind in range(kinds):
            places[kind] = _find(index, heads, keys[row, kind])
        if arrival and out_row >= 0:
            _read_common(heads, results, day, today, common)
            for kind in range(kinds):
                column = at + kind * WIDTH
                if keys[row, kind] == 0:
                    out[out_row, column : column + WIDTH] = np.nan
                else:
                    _read(heads, tiles, results, places[kind], day, today, common, out[out_row], column)
        if day < today - REMEMBERED_DAYS:
            continue
        series, store = (OF_ARRIVALS, tiles) if step.counter == ARRIVALS else (OF_RESULTS, results)
        for kind in range(kinds):
            if keys[row, kind] == 0 or (places[kind] == NOWHERE and step.change < 0):
                continue
            place = places[kind]
            if place == NOWHERE:
                place = _settle(index, heads, state, keys[row, kind])
            if not _exists(heads, tiles, results, place, today):
                if step.change < 0:
                    continue
                _begin(heads, tiles, results, others, state, place)
            _count(heads, store, state, place, series, day, today, step.counter, step.change)
            if arrival and counterparts[row, kind] != 0:
                _meet(heads, others, state, place, counterparts[row, kind])
        if step.counter != ARRIVALS:
            if step.change > 0 and not _exists(heads, tiles, results, EVERYBODY, today):
                _begin(heads, tiles, results, others, state, EVERYBODY)
            _count(heads, results, state, EVERYBODY, OF_RESULTS, day, today, step.counter, step.change)
    return len(steps)


@njit(cache=True, nogil=True)
def _has_room(
    index: Index, heads: Words, tiles: Words, results: Words, others: Keys, state: State, keys: int
) -> Number:
    """Tell whether so many keys can be counted, whatever they need."""
    most = keys * MOST_TILES
    return (
        state[HEADS_USED] + keys <= len(heads)
        and 2 * (state[HEADS_USED] + keys) <= len(index)
        and state[STORES + USED] + most <= len(tiles)
        and state[STORES + STORE_SIZE + USED] + most <= len(results)
        and state[OTHERS_STORE + USED] + keys * MOST_OTHERS <= len(others)
    )


@njit(cache=True, nogil=True)
def _slot(index: Index, key: Number) -> Number:
    return np.int64((key * np.uint64(HASH_FACTOR)) >> np.uint64(32)) & (len(index) - 1)


@njit(cache=True, nogil=True)
def _find(index: Index, heads: Words, key: Number) -> Number:
    low, high = np.int32(key & np.uint64(0xFFFFFFFF)), np.int32(key >> np.uint64(32))
    slot = _slot(index, key)
    while index[slot] != 0:
        place = np.int64(index[slot]) - 1
        if heads[place, KEY_LOW] == low and heads[place, KEY_HIGH] == high:
            return place
        slot = (slot + 1) & (len(index) - 1)
    return NOWHERE


@njit(cache=True, nogil=True)
def _settle(index: Index, heads: Words, state: State, key: Number) -> Number:
    """Give a new place to a key, or its place where it got one within the same step."""
    place = _find(index, heads, key)
    if place != NOWHERE:
        return place
    place = state[HEADS_USED]
    state[HEADS_USED] += 1
    heads[place, :] = 0
    heads[place, KEY_LOW] = np.int32(key & np.uint64(0xFFFFFFFF))
    heads[place, KEY_HIGH] = np.int32(key >> np.uint64(32))
    _note(index, key, place)
    return place


@njit(cache=True, nogil=True)
def _note(index: Index, key: Number, place: Number) -> None:
    slot = _slot(index, key)
    while index[slot] != 0:
        slot = (slot + 1) & (len(index) - 1)
    index[slot] = place + 1


@njit(cache=True, nogil=True)
def _last(heads: Words, tiles: Words, place: Number, series: Number) -> Number:
    """Give the latest day with a count in a series."""
    block, size = heads[place, SERIES + 2 * series + BLOCK], heads[place, SERIES + 2 * series + SIZE]
    if size >> ROOM_BITS == 0:
        return NO_DAY
    if size & _ROOM == 0:
        return block
    return tiles[block + (size >> ROOM_BITS) - 1, 0]


@njit(cache=True, nogil=True)
def _exists(heads: Words, tiles: Words, results: Words, place: Number, today: Number) -> Number:
    return (
        _last(heads, tiles, place, OF_ARRIVALS) >= today - REMEMBERED_DAYS
        or _last(heads, results, place, OF_RESULTS) >= today - REMEMBERED_DAYS
    )


@njit(cache=True, nogil=True)
def _begin(heads: Words, tiles: Words, results: Words, others: Keys, state: State, place: Number) -> None:
    """Begin a key anew, with nothing of what it was."""
    _free_all(heads, tiles, results, others, state, place)
    heads[place, KEY_HIGH + 1 :] = 0
    heads[place, FIRST_ARRIVAL] = NO_DAY


@njit(cache=True, nogil=True)
def _free_all(heads: Words, tiles: Words, results: Words, others: Keys, state: State, place: Number) -> None:
    room = heads[place, SERIES + SIZE] & _ROOM
    if room > 0:
        _free_tiles(tiles, state, OF_ARRIVALS, heads[place, SERIES + BLOCK], room)
    room = heads[place, SERIES + 2 + SIZE] & _ROOM
    if room > 0:
        _free_tiles(results, state, OF_RESULTS, heads[place, SERIES + 2 + BLOCK], room)
    if 0 < heads[place, OTHERS] < MANY_COUNTERPARTS:
        _free_others(others, state, heads[place, OTHERS_BLOCK], _others_room(heads[place, OTHERS]))


@njit(cache=True, nogil=True)
def _count(
    heads: Words,
    tiles: Words,
    state: State,
    place: Number,
    series: Number,
    day: Number,
    today: Number,
    counter: Number,
    change: Number,
) -> None:
    """Add to a counter of a day, or take out what was added."""
    at = SERIES + 2 * series
    if heads[place, at + SIZE] == 0:
        if change < 0:
            return
        heads[place, at + BLOCK] = day
        heads[place, at + SIZE] = 1 << ROOM_BITS
    if heads[place, at + SIZE] & _ROOM == 0 and heads[place, at + BLOCK] == day:
        heads[place, EVER + counter] += change
        if _is_empty(heads[place], EVER + series, tiles.shape[1] - 1):
            heads[place, at + SIZE] = 0
    else:
        tile = _tile_of(heads, tiles, state, place, series, day, today, change > 0)
        if tile == NOWHERE:
            return
        heads[place, EVER + counter] += change
        tiles[tile, 1 + counter - series] += change
        if _is_empty(tiles[tile], 1, tiles.shape[1] - 1):
            _drop_tile(heads, tiles, place, series, tile)
    if counter == ARRIVALS:
        _follow_first(heads, tiles, place, day, change)


@njit(cache=True, nogil=True)
def _is_empty(words: Words, start: Number, length: Number) -> Number:
    for place in range(start, start + length):  # noqa: SIM110
        if words[place] != 0:
            return False
    return True


@njit(cache=True, nogil=True)
def _tile_of(
    heads: Words,
    tiles: Words,
    state: State,
    place: Number,
    series: Number,
    day: Number,
    today: Number,
    make: bool,
) -> Number:
    """Give the tile of a day, by search from the newest; a new one in its order where there is none."""
    at = SERIES + 2 * series
    if heads[place, at + SIZE] & _ROOM == 0:
        if not make:
            return NOWHERE
        _unfold(heads, tiles, state, place, series)
    block, used = np.int64(heads[place, at + BLOCK]), heads[place, at + SIZE] >> ROOM_BITS
    rank = used
    while rank > 0 and tiles[block + rank - 1, 0] > day:
        rank -= 1
    if rank > 0 and tiles[block + rank - 1, 0] == day:
        return block + rank - 1
    if not make:
        return NOWHERE
    if used == 1 << (heads[place, at + SIZE] & _ROOM):
        gone = _widen(heads, tiles, state, place, series, today)
        rank -= gone
        used -= gone
        block = np.int64(heads[place, at + BLOCK])
    for tile in range(block + used, block + rank, -1):
        tiles[tile, :] = tiles[tile - 1, :]
    tiles[block + rank, :] = 0
    tiles[block + rank, 0] = day
    heads[place, at + SIZE] += 1 << ROOM_BITS
    return block + rank


@njit(cache=True, nogil=True)
def _unfold(heads: Words, tiles: Words, state: State, place: Number, series: Number) -> None:
    """Write down the tile of a one-day series."""
    at = SERIES + 2 * series
    block = _new_tiles(tiles, state, series, 1)
    tiles[block, 0] = heads[place, at + BLOCK]
    for counter in range(tiles.shape[1] - 1):
        tiles[block, 1 + counter] = heads[place, EVER + series + counter]
    heads[place, at + BLOCK] = block
    heads[place, at + SIZE] = 1 << ROOM_BITS | 1


@njit(cache=True, nogil=True)
def _widen(heads: Words, tiles: Words, state: State, place: Number, series: Number, today: Number) -> Number:
    """Make room in a full block: drop the days no longer remembered, or double it. Give the number of days dropped.

    Fewer days are remembered than the largest block has tiles.
    """
    at = SERIES + 2 * series
    old, room = np.int64(heads[place, at + BLOCK]), heads[place, at + SIZE] & _ROOM
    used = heads[place, at + SIZE] >> ROOM_BITS
    gone = _forgotten(tiles, old, used, today)
    new = old
    if gone == 0:
        new = _new_tiles(tiles, state, series, room + 1)
    for rank in range(gone, used):
        tiles[new + rank - gone, :] = tiles[old + rank, :]
    if gone == 0:
        _free_tiles(tiles, state, series, old, room)
        room += 1
    heads[place, at + BLOCK] = new
    heads[place, at + SIZE] = (used - gone) << ROOM_BITS | room
    return gone


@njit(cache=True, nogil=True)
def _forgotten(tiles: Words, block: Number, used: Number, today: Number) -> Number:
    gone = 0
    while gone < used and tiles[block + gone, 0] < today - REMEMBERED_DAYS:
        gone += 1
    return gone


@njit(cache=True, nogil=True)
def _drop_tile(heads: Words, tiles: Words, place: Number, series: Number, tile: Number) -> None:
    at = SERIES + 2 * series
    heads[place, at + SIZE] -= 1 << ROOM_BITS
    end = np.int64(heads[place, at + BLOCK]) + (heads[place, at + SIZE] >> ROOM_BITS)
    for rank in range(tile, end):
        tiles[rank, :] = tiles[rank + 1, :]


@njit(cache=True, nogil=True)
def _follow_first(heads: Words, tiles: Words, place: Number, day: Number, change: Number) -> None:
    """Keep the day of the first arrival. Where it is taken out, all others are on remembered days: tiles know the next."""
    if change > 0:
        if heads[place, FIRST_ARRIVAL] == NO_DAY or day < heads[place, FIRST_ARRIVAL]:
            heads[place, FIRST_ARRIVAL] = day
    elif day == heads[place, FIRST_ARRIVAL]:
        begin, end = _lay_out(heads, tiles, place, OF_ARRIVALS, day + REMEMBERED_DAYS)
        heads[place, FIRST_ARRIVAL] = tiles[begin, 0] if begin < end else NO_DAY


@njit(cache=True, nogil=True)
def _new_tiles(tiles: Words, state: State, series: Number, room: Number) -> Number:
    """Give the start of a block of 1 << room tiles, a used one where there is one."""
    store = STORES + series * STORE_SIZE
    block = state[store + FREE + room]
    if block != 0:
        state[store + FREE + room] = tiles[block, 0]
        return block
    block = state[store + USED]
    state[store + USED] += 1 << room
    return block


@njit(cache=True, nogil=True)
def _free_tiles(tiles: Words, state: State, series: Number, block: Number, room: Number) -> None:
    store = STORES + series * STORE_SIZE
    tiles[block, 0] = state[store + FREE + room]
    state[store + FREE + room] = block


@njit(cache=True, nogil=True)
def _meet(heads: Words, others: Keys, state: State, place: Number, counterpart: Number) -> None:
    """Note a counterpart, unless it is known or there are many."""
    count = np.int64(heads[place, OTHERS])
    if count == MANY_COUNTERPARTS:
        return
    block = np.int64(heads[place, OTHERS_BLOCK])
    for rank in range(count):
        if others[block + rank] == counterpart:
            return
    heads[place, OTHERS] += 1
    if count == MOST_OTHERS:
        _free_others(others, state, block, _others_room(count))
        return
    if count & (count - 1) == 0:  # none yet, or a full block of 1, 2 or 4
        wider = _new_others(others, state, _others_room(count + 1))
        for rank in range(count):
            others[wider + rank] = others[block + rank]
        if count > 0:
            _free_others(others, state, block, _others_room(count))
        heads[place, OTHERS_BLOCK] = wider
        block = wider
    others[block + count] = counterpart


@njit(cache=True, nogil=True)
def _others_room(count: Number) -> Number:
    """Give r for the block of 1 << r counterparts that holds so many."""
    room = 0
    while 1 << room < count:
        room += 1
    return room


@njit(cache=True, nogil=True)
def _new_others(others: Keys, state: State, room: Number) -> Number:
    block = state[OTHERS_STORE + FREE + room] - 1
    if block >= 0:
        state[OTHERS_STORE + FREE + room] = np.int64(others[block])
        return block
    block = state[OTHERS_STORE + USED]
    state[OTHERS_STORE + USED] += 1 << room
    return block


@njit(cache=True, nogil=True)
def _free_others(others: Keys, state: State, block: Number, room: Number) -> None:
    others[block] = np.uint64(state[OTHERS_STORE + FREE + room])
    state[OTHERS_STORE + FREE + room] = block + 1


@njit(cache=True, nogil=True)
def _lay_out(heads: Words, tiles: Words, place: Number, series: Number, today: Number) -> Any:
    """Give start and end of a series' remembered tiles; a single day is laid out on the desk."""
    block, size = (
        np.int64(heads[place, SERIES + 2 * series + BLOCK]),
        heads[place, SERIES + 2 * series + SIZE],
    )
    used = np.int64(size >> ROOM_BITS)
    if used > 0 and size & _ROOM == 0:
        tiles[DESK, 0] = block
        for counter in range(tiles.shape[1] - 1):
            tiles[DESK, 1 + counter] = heads[place, EVER + series + counter]
        block = DESK
    return block + _forgotten(tiles, block, used, today), block + used


@njit(cache=True, nogil=True)
def _read_common(
    heads: Words, results: Words, day: Number, today: Number, common: NDArray[np.float64]
) -> None:
    """Read the common share of finds for each target, as known now."""
    known, nps, drugs, offences, _ = _sum_results(heads, results, EVERYBODY, day, today)
    common[0] = (nps + PRIOR_STRENGTH * FIRST_GUESS[0]) / (known + PRIOR_STRENGTH)
    common[1] = (drugs + PRIOR_STRENGTH * FIRST_GUESS[1]) / (known + PRIOR_STRENGTH)
    common[2] = (offences + PRIOR_STRENGTH * FIRST_GUESS[2]) / (known + PRIOR_STRENGTH)


@njit(cache=True, nogil=True)
def _sum_results(heads: Words, results: Words, place: Number, day: Number, today: int) -> Any:
    """Give inspections, finds of each target, and the day of the last find, within the longest window."""
    begin, end = _lay_out(heads, results, place, OF_RESULTS, today)
    nps = drugs = offences = clears = 0
    last_find = NO_DAY
    for tile in range(begin, end):
        finds = results[tile, NPS] + results[tile, CONTROLLED_DRUG] + results[tile, OTHER_OFFENCE]
        if finds > 0:
            last_find = results[tile, 0]
        if day - results[tile, 0] < WINDOW_DAYS[-1]:
            nps += results[tile, NPS]
            drugs += results[tile, CONTROLLED_DRUG]
            offences += finds
            clears += results[tile, CLEAR]
    return offences + clears, nps, drugs, offences, last_find


@njit(cache=True, nogil=True)
def _read(
    heads: Words,
    tiles: Words,
    results: Words,
    place: Number,
    day: Number,
    today: Number,
    common: NDArray[np.float64],
    out: Rows,
    column: Number,
) -> None:
    """Write the readings of one key."""
    if place == NOWHERE or not _exists(heads, tiles, results, place, today):
        _read_new(common, out, column)
        return
    first = np.int64(heads[place, FIRST_ARRIVAL])
    finds = (
        heads[place, EVER + NPS] + heads[place, EVER + CONTROLLED_DRUG] + heads[place, EVER + OTHER_OFFENCE]
    )
    out[column + NEW] = 1.0 if heads[place, EVER + ARRIVALS] == 0 else 0.0
    out[column + ARRIVALS_EVER] = heads[place, EVER + ARRIVALS]
    out[column + SINCE_FIRST] = _since(first, day)
    out[column + COUNTERPARTS] = heads[place, OTHERS]
    out[column + INSPECTIONS + 1] = finds + heads[place, EVER + CLEAR]
    out[column + FINDS + 1] = heads[place, EVER + NPS]
    out[column + FINDS + 3] = heads[place, EVER + CONTROLLED_DRUG]
    out[column + FINDS + 5] = finds
    _read_arrivals(heads, tiles, place, day, today, first, out, column)
    known, nps, drugs, offences, last_find = _sum_results(heads, results, place, day, today)
    out[column + INSPECTIONS] = known
    out[column + FINDS] = nps
    out[column + FINDS + 2] = drugs
    out[column + FINDS + 4] = offences
    out[column + SINCE_FIND] = _since(last_find, day)
    out[column + RATES] = (nps + RATE_STRENGTH * common[0]) / (known + RATE_STRENGTH)
    out[column + RATES + 1] = (drugs + RATE_STRENGTH * common[1]) / (known + RATE_STRENGTH)
    out[column + RATES + 2] = (offences + RATE_STRENGTH * common[2]) / (known + RATE_STRENGTH)


@njit(cache=True, nogil=True)
def _read_new(common: NDArray[np.float64], out: Rows, column: Number) -> None:
    """Write the readings of a key that was never seen, or is forgotten."""
    out[column : column + WIDTH] = 0.0
    out[column + NEW] = 1.0
    out[column + SINCE_FIRST] = np.nan
    out[column + SINCE_LAST] = np.nan
    out[column + SINCE_FIND] = np.nan
    out[column + VELOCITY] = 1.0
    for target in range(TARGETS):
        out[column + RATES + target] = RATE_STRENGTH * common[target] / RATE_STRENGTH


@njit(cache=True, nogil=True)
def _read_arrivals(
    heads: Words,
    tiles: Words,
    place: Number,
    day: Number,
    today: Number,
    first: Number,
    out: Rows,
    column: int,
) -> None:
    """Write windows, decayed counts, and what follows from them; from the newest tile to the oldest."""
    begin, end = _lay_out(heads, tiles, place, OF_ARRIVALS, today)
    out[column + SINCE_LAST] = _since(np.int64(tiles[end - 1, 0]), day) if end > begin else np.nan
    tile = end - 1
    arrivals = 0
    fast = slow = 0.0
    pace = norm = 0
    for window in range(len(WINDOW_DAYS)):
        while tile >= begin and day - tiles[tile, 0] < WINDOW_DAYS[window]:
            count = tiles[tile, 1]
            age = max(day - tiles[tile, 0], 0)
            arrivals += count
            fast += DECAY[age, 0] * count
            slow += DECAY[age, 1] * count
            tile -= 1
        out[column + ARRIVALS_IN + window] = arrivals
        if WINDOW_DAYS[window] == PACE_DAYS:
            pace = arrivals
        if WINDOW_DAYS[window] == NORM_DAYS:
            norm = arrivals
    out[column + DECAYED] = fast
    out[column + DECAYED + 1] = slow
    out[column + VELOCITY] = _velocity(pace, norm, first, day)


@njit(cache=True, nogil=True)
def _since(past: Number, day: Number) -> Number:
    return np.nan if past == NO_DAY else np.float64(max(day - past, 0))


@njit(cache=True, nogil=True)
def _velocity(pace: Number, norm: Number, first: Number, day: Number) -> Number:
    """Give this week's arrivals against the key's usual week, one added to both."""
    known_days = PACE_DAYS if first == NO_DAY else min(max(day - first + 1, PACE_DAYS), NORM_DAYS)
    return (pace + 1.0) / (norm * PACE_DAYS / known_days + 1.0)


@njit(cache=True, nogil=True)
def _sweep(index: Index, heads: Words, tiles: Words, results: Words, others: Keys, state: State) -> None:
    """Free what forgotten keys held, and close the gaps."""
    kept = 1
    for place in range(1, state[HEADS_USED]):
        if _exists(heads, tiles, results, place, state[TODAY]):
            heads[kept, :] = heads[place, :]
            kept += 1
        else:
            _free_all(heads, tiles, results, others, state, place)
    state[HEADS_USED] = kept
    _fill_index(index, heads, state)


@njit(cache=True, nogil=True)
def _fill_index(index: Index, heads: Words, state: State) -> None:
    index[:] = 0
    for place in range(1, state[HEADS_USED]):
        low = np.uint64(heads[place, KEY_LOW]) & np.uint64(0xFFFFFFFF)
        key = low | (np.uint64(heads[place, KEY_HIGH]) & np.uint64(0xFFFFFFFF)) << np.uint64(32)
        _note(index, key, place)
