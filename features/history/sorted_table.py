"""The table of history in the order of its keys: equal counts give equal bytes, in whatever order the events came.

`features.history.table` places keys and tiles in the order in which they came, with gaps. A kept state uses this form. It
has no forgotten keys, and no days that are no longer remembered. Keys are hashes, so the keys of a bucket, which share
their highest bits, follow each other.
"""

import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consignments.errors import ServiceFault
from features.history.kernels import (
    COUNTERPARTS_CAP,
    COUNTERS,
    EVER,
    FIRST_ARRIVAL,
    FIRST_BLOCK,
    HEAD_WORDS,
    NO_DAY,
    OF_ARRIVALS,
    OF_RESULTS,
    OTHERS,
    OTHERS_BLOCK,
    REMEMBERED_DAYS,
    ROOM_BITS,
    SERIES,
    TOTALS_PLACE,
)
from features.history.keys import KeyKind
from features.history.table import History

Longs = NDArray[np.int64]
Words = NDArray[np.int32]
Keys = NDArray[np.uint64]
TILE_WORDS = (2, COUNTERS)
"""Words of a tile of each series: the day, and its counts of arrivals or of the four classes of results."""
EVER_OF = (slice(0, 1), slice(1, COUNTERS))
"""Counters of each series among those of a key."""
TOTALS_KEY = 0
"""Key of the row that counts every known result. It is the first."""
ROW_ARRAYS = ("key", "first_day", "ever", "sizes")
"""Names of the arrays of a table with an element for each key."""
ELEMENT_ARRAYS = ("arrivals", "results", "counterparts")
"""Names of the arrays with several elements for each key, as many as `sizes` says."""
TABLE_ARRAYS = ROW_ARRAYS + ELEMENT_ARRAYS
PART_KEYS = 1 << 20
"""Keys that are sorted, or placed in the table of history, at a time: they take some 300 bytes each."""
MAX_PARTS = 1 << 8
PART_NUMBER = np.dtype(np.uint16)
KEY_BITS = 64


@dataclass(frozen=True)
class SortedTable:
    """The counts by key, in ascending order of the keys.

    Attributes
    ----------
    key : uint64 array, (keys,)
        The first is TOTALS_KEY.
    first_day : int32 array, (keys,)
        Day of the first arrival; NO_DAY if there is none.
    ever : int32 array, (keys, COUNTERS)
    sizes : uint16 array, (keys, 3)
        Number of days with arrivals, number of days with results, and number of counterparts (at most COUNTERPARTS_CAP).
    arrivals : int32 array, (days of all keys, 2)
        Day and count, key by key, in the order of the days.
    results : int32 array, (days of all keys, COUNTERS)
        Day and count of each class.
    counterparts : uint64 array
        Of keys with fewer than COUNTERPARTS_CAP, ascending in each key.
    """

    key: Keys
    first_day: Words
    ever: Words
    sizes: NDArray[np.uint16]
    arrivals: Words
    results: Words
    counterparts: Keys

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in TABLE_ARRAYS}

    @classmethod
    def create_empty(cls) -> "SortedTable":
        """Create the table of a history without events."""
        return cls(
            key=np.array([TOTALS_KEY], dtype=np.uint64),
            first_day=np.array([NO_DAY], dtype=np.int32),
            ever=np.zeros((1, COUNTERS), dtype=np.int32),
            sizes=np.zeros((1, 3), dtype=np.uint16),
            arrivals=np.zeros((0, TILE_WORDS[OF_ARRIVALS]), dtype=np.int32),
            results=np.zeros((0, TILE_WORDS[OF_RESULTS]), dtype=np.int32),
            counterparts=np.zeros(0, dtype=np.uint64),
        )

    @classmethod
    def concatenate(cls, parts: Sequence["SortedTable"]) -> "SortedTable":
        """Concatenate the rows of tables, in this order."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in TABLE_ARRAYS))

    def split(self, ends: Iterable[int]) -> Iterator["SortedTable"]:
        """Yield the rows up to each of some ascending ends. Only the yielded rows are read."""
        first = np.zeros(4, dtype=np.int64)
        for end in ends:
            begin, *starts = first.tolist()
            first[0] = end
            first[1:] += _count_elements(self.sizes[begin:end]).sum(axis=0)
            rows = (getattr(self, name)[begin:end] for name in ROW_ARRAYS)
            elements = (
                getattr(self, name)[start:stop]
                for name, start, stop in zip(ELEMENT_ARRAYS, starts, first[1:].tolist(), strict=True)
            )
            yield SortedTable(*rows, *elements)

    def select(self, rows: Longs) -> "SortedTable":
        """Return some rows, in this order."""
        counted = _count_elements(self.sizes)
        starts, counted = (np.cumsum(counted, axis=0) - counted)[rows], counted[rows]
        elements = []
        for number, name in enumerate(ELEMENT_ARRAYS):
            group, place = _number_within(counted[:, number])
            elements.append(getattr(self, name)[starts[group, number] + place])
        return SortedTable(*(getattr(self, name)[rows] for name in ROW_ARRAYS), *elements)

    def forget(self, today: int) -> "SortedTable":
        """Return the table as of a day, without the days that are no longer remembered, and without forgotten keys."""
        oldest, rows, sizes = today - REMEMBERED_DAYS, np.arange(len(self.key)), self.sizes.copy()
        tiles = []
        for series, days in enumerate((self.arrivals, self.results)):
            remembered = days[:, 0] >= oldest
            group = np.repeat(rows, self.sizes[:, series])[remembered]
            sizes[:, series] = np.bincount(group, minlength=len(rows))
            tiles.append(days[remembered])
        is_alive, is_totals = sizes[:, :2].any(axis=1), self.key == TOTALS_KEY
        nothing = is_totals & ~is_alive
        table = replace(
            self,
            first_day=np.where(nothing, np.int32(NO_DAY), self.first_day),
            ever=np.where(nothing[:, np.newaxis], np.int32(0), self.ever),
            sizes=sizes,
            arrivals=tiles[0],
            results=tiles[1],
        )
        return table.select(np.flatnonzero(is_alive | is_totals))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "SortedTable":
        """Build a table from the result of `to_arrays`.

        Raises
        ------
        ServiceFault
            The arrays do not belong together.
        """
        table = cls(*(arrays[name] for name in TABLE_ARRAYS))
        lengths = [len(getattr(table, name)) for name in ELEMENT_ARRAYS]
        fits = _count_elements(table.sizes).sum(axis=0).tolist() == lengths
        rows = {len(part) for part in (table.key, table.first_day, table.ever, table.sizes)}
        keys = table.key.view(np.uint64)
        if not fits or len(rows) != 1 or not len(keys) or not (keys[1:] > keys[:-1]).all():
            raise ServiceFault("the arrays of the history table do not belong together")
        return table

    @classmethod
    def from_history(cls, history: History, today: int) -> "SortedTable":
        """Sort the table of history as of a day, which is not before the latest day of its events."""
        return cls.concatenate(list(cls.split_history(history, today)))

    @classmethod
    def split_history(
        cls, history: History, today: int, part_keys: int = PART_KEYS
    ) -> Iterator["SortedTable"]:
        """Yield what `from_history` returns in parts, so that only one of them needs memory besides the table of history.

        Parameters
        ----------
        history : History
            It must not change before the last part was read.
        today : int
        part_keys : int
            Keys of a part, about: keys are hashes, and those of a part share their highest bits.
        """
        views = history.get_views()
        heads, oldest = views["heads"], today - REMEMBERED_DAYS
        parts = min(1 << (len(heads) // part_keys).bit_length(), MAX_PARTS)
        number = _number_parts(heads, views["days"], oldest, parts, part_keys)
        for part in range(parts):
            yield cls._sort_heads(heads[number == part], views["days"], views["counterparts"], oldest)

    @classmethod
    def _sort_heads(cls, heads: Words, days: Words, others: Keys, oldest: int) -> "SortedTable":
        """Sort some heads, which may be changed, and gather their tiles and counterparts."""
        heads = heads[np.argsort(_get_keys(heads))]
        totals = heads[:1][_get_keys(heads[:1]) == TOTALS_KEY]
        if len(totals) and not _is_remembered(totals, days, oldest)[0]:
            heads[0] = 0
            heads[0, FIRST_ARRIVAL] = NO_DAY
        series = [_gather_tiles(heads, days, number, oldest) for number in (OF_ARRIVALS, OF_RESULTS)]
        counted = heads[:, OTHERS].astype(np.int64)
        return cls(
            key=_get_keys(heads).copy(),
            first_day=heads[:, FIRST_ARRIVAL].copy(),
            ever=heads[:, EVER : EVER + COUNTERS].copy(),
            sizes=np.stack([series[0][1], series[1][1], counted], axis=1).astype(np.uint16),
            arrivals=series[0][0],
            results=series[1][0],
            counterparts=_gather_counterparts(heads, others, counted),
        )

    def to_history(self, kinds: tuple[KeyKind, ...], today: int, *, part_keys: int = PART_KEYS) -> History:
        """Build the table of history that continues after a day. Only a part of this table is in memory at a time if it is on disk."""
        return History.from_parts(kinds, today, len(self.key), self._lay_parts(part_keys))

    def _lay_parts(self, part_keys: int) -> Iterator[tuple[Words, Words, Keys]]:
        """Yield heads, tiles and counterparts of the keys in parts. Blocks count from the start of the whole stores."""
        laid_days = laid_others = FIRST_BLOCK
        keys = len(self.key)
        for part in self.split([*range(part_keys, keys, part_keys), keys]):
            heads, days, others = part._lay_heads(laid_days, laid_others)
            for array in self.to_arrays().values():
                release_pages(array)
            yield heads, days, others
            laid_days += len(days)
            laid_others += len(others)

    def _lay_heads(self, laid_days: int, laid_others: int) -> tuple[Words, Words, Keys]:
        """Return the heads of all keys, and the blocks that follow those that were laid before."""
        heads = np.zeros((len(self.key), HEAD_WORDS), dtype=np.int32)
        heads[:, :2] = np.ascontiguousarray(self.key).view(np.int32).reshape(-1, 2)
        heads[:, FIRST_ARRIVAL], heads[:, EVER : EVER + COUNTERS] = self.first_day, self.ever
        arrivals, used = _lay_tiles(heads, self.ever, self.arrivals, self.sizes[:, 0], OF_ARRIVALS, laid_days)
        results, used = _lay_tiles(heads, self.ever, self.results, self.sizes[:, 1], OF_RESULTS, used)
        days = np.zeros(used - laid_days, dtype=np.int32)
        for tiles, positions in (arrivals, results):
            for word in range(tiles.shape[1]):
                days[positions + (word - laid_days)] = tiles[:, word]
        return heads, days, _lay_counterparts(heads, self.counterparts, self.sizes[:, 2], laid_others)


def release_pages(array: NDArray[Any]) -> None:
    """Release the memory of an array on disk. It is read again when it is needed."""
    base: Any = array.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)


def _count_elements(sizes: NDArray[np.uint16]) -> Longs:
    """Return the number of arrivals, results and counterparts that are stored for each row; int64, (rows, 3)."""
    counted = sizes.astype(np.int64)
    counted[counted[:, 2] >= COUNTERPARTS_CAP, 2] = 0
    return counted


def _read_series(heads: Words, series: int) -> tuple[Longs, Longs, Longs]:
    """Return block (or day), number of tiles, and room of a series of all heads."""
    size = heads[:, SERIES + 2 * series + 1].astype(np.int64)
    block = heads[:, SERIES + 2 * series].astype(np.int64)
    return block, size >> ROOM_BITS, size & ((1 << ROOM_BITS) - 1)


def _get_keys(heads: Words) -> Keys:
    """Return a view of the keys of heads."""
    keys: Keys = heads.view(np.uint64)[:, 0]
    return keys


def _number_parts(heads: Words, days: Words, oldest: int, parts: int, slice_rows: int) -> NDArray[np.uint16]:
    """Return the part of each key by its highest bits; `parts` for a forgotten key. The totals are in the first part."""
    number = np.empty(len(heads), dtype=PART_NUMBER)
    shift = np.uint64(KEY_BITS + 1 - parts.bit_length())
    for begin in range(0, len(heads), slice_rows):
        some = heads[begin : begin + slice_rows]
        place = (_get_keys(some) >> shift).astype(PART_NUMBER) if parts > 1 else 0
        number[begin : begin + slice_rows] = np.where(_is_remembered(some, days, oldest), place, parts)
    number[TOTALS_PLACE] = 0
    return number


def _is_remembered(heads: Words, days: Words, oldest: int) -> NDArray[np.bool_]:
    """Mark the heads with an arrival or a result that is remembered."""
    remembered: NDArray[np.bool_] = (_find_last_days(heads, days, OF_ARRIVALS) >= oldest) | (
        _find_last_days(heads, days, OF_RESULTS) >= oldest
    )
    return remembered


def _find_last_days(heads: Words, days: Words, series: int) -> Longs:
    """Return the latest day of a series of each head; NO_DAY if it has none."""
    block, used, room = _read_series(heads, series)
    stored = (used > 0) & (room > 0)
    last = np.where(used > 0, block, NO_DAY)
    last[stored] = days[block[stored] + (used[stored] - 1) * TILE_WORDS[series]]
    return last


def _number_within(sizes: Longs) -> tuple[Longs, Longs]:
    """Return, for elements that follow each other in groups of these sizes, the group and the number in the group of each."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    return group, np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _gather_tiles(heads: Words, days: Words, series: int, oldest: int) -> tuple[Words, Longs]:
    """Return the remembered tiles of a series of all heads in order, and their number for each head."""
    words = TILE_WORDS[series]
    block, used, room = _read_series(heads, series)
    group, number = _number_within(used)
    implied = room[group] == 0
    start = np.where(implied, 0, block[group] + number * words)
    tiles = np.stack([days[start + word] for word in range(words)], axis=1)
    tiles[implied, 0] = block[group[implied]]
    counts = heads[:, EVER : EVER + COUNTERS][:, EVER_OF[series]]
    tiles[implied, 1:] = counts[group[implied]]
    remembered = tiles[:, 0] >= oldest
    return tiles[remembered], np.bincount(group[remembered], minlength=len(heads))


def _gather_counterparts(heads: Words, others: Keys, counted: Longs) -> Keys:
    """Return the counterparts of all heads, ascending within each."""
    exact = np.where(counted < COUNTERPARTS_CAP, counted, 0)
    group, number = _number_within(exact)
    found: Keys = others[heads[group, OTHERS_BLOCK] + number]
    ordered: Keys = found[np.lexsort((found, group))]
    return ordered


def _lay_tiles(
    heads: Words, ever: Words, tiles: Words, sizes: NDArray[np.uint16], series: int, start: int
) -> tuple[tuple[Words, Longs], int]:
    """Write blocks of a series into the heads; return the tiles that need a place with it, and the end of the blocks.

    A series has no block if its only day has all its counts, or if it has no counts.
    """
    used, words = sizes.astype(np.int64), TILE_WORDS[series]
    counts = ever[:, EVER_OF[series]]
    group, number = _number_within(used)
    first = np.zeros((len(heads), words), dtype=np.int32)
    first[group[number == 0]] = tiles[number == 0]
    implied = (first[:, 1:] == counts).all(axis=1) & (used <= 1)
    room = np.where(implied, 0, np.maximum(_compute_room(used), 1))
    lengths = np.where(implied, 0, words << room)
    block = start + np.cumsum(lengths) - lengths
    heads[:, SERIES + 2 * series] = np.where(implied, first[:, 0], block)
    heads[:, SERIES + 2 * series + 1] = used << ROOM_BITS | room
    stored = ~implied[group]
    return (tiles[stored], (block[group] + number * words)[stored]), start + int(lengths.sum())


def _lay_counterparts(heads: Words, counterparts: Keys, sizes: NDArray[np.uint16], start: int) -> Keys:
    """Write the blocks of counterparts into the heads, and return the content of these blocks, from `start` on."""
    counted = sizes.astype(np.int64)
    exact = np.where(counted < COUNTERPARTS_CAP, counted, 0)
    lengths = np.where(exact > 0, 1 << _compute_room(exact), 0)
    block = np.cumsum(lengths) - lengths
    heads[:, OTHERS_BLOCK], heads[:, OTHERS] = np.where(exact > 0, start + block, 0), counted
    others = np.zeros(int(lengths.sum()), dtype=np.uint64)
    group, number = _number_within(exact)
    others[block[group] + number] = counterparts
    return others


def _compute_room(used: Longs) -> Longs:
    """Compute the smallest r with 1 << r at least `used`."""
    room: Longs = np.ceil(np.log2(np.maximum(used, 1))).astype(np.int64)
    return room
