"""Entries in order as history needs them, in columns."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.event_log.event_rows import decode_row
from serving.event_log.events import ARRIVAL_KINDS, Event, Kind
from serving.event_log.reader import NOT_IN_HISTORY, LogReader

KEY_DTYPE = np.dtype("<u8")
CHUNK_ENTRIES = 100_000
COLUMNS = ("sequence", "kind", "consignment_id", "digest", "at_us", "kinds", "keys")
Longs = NDArray[np.int64]
Keys = NDArray[np.uint64]
Flags = NDArray[np.bool_]


class HistoryChunk:
    """Entries that follow one another: `sequences` and `at_us`, int64, (n,); `names`, `packed_keys`, lists of n.

    `named` are the places of those with an identifier; `digests`, uint64, (n,), are 0 for the others.
    """

    def __init__(self, log: LogReader, columns: Sequence[Sequence[Any]]) -> None:
        self._log = log
        sequences, kinds, names, digests, at_us, self._key_kinds, packed = columns
        self.sequences: Longs = np.array(sequences, dtype=np.int64)
        self.at_us: Longs = np.array(at_us, dtype=np.int64)
        self.names, self.packed_keys = list(names), list(packed)
        self.digests: Keys = np.array([each or 0 for each in digests], dtype=np.int64).view(np.uint64)
        self.named = np.flatnonzero(np.array([each is not None for each in digests], dtype=bool))
        self._kinds = np.array(kinds)
        self.arriving = self.is_of(ARRIVAL_KINDS)

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.sequences)

    def is_of(self, kinds: Sequence[Kind]) -> Flags:
        """Return which entries are of some kinds, bool, (n,)."""
        return np.isin(self._kinds, kinds)

    def read_keys(self, kinds: str, width: int) -> tuple[Flags, Keys, Keys]:
        """Return which entries have keys of some kinds, whose number is `width`, (n,); their keys and counterparts, (n, width), 0 for others."""
        same = self.arriving & np.array([each == kinds for each in self._key_kinds], dtype=bool)
        keys, counterparts = (np.zeros((len(self), width), dtype=KEY_DTYPE) for _ in range(2))
        size = 2 * width * KEY_DTYPE.itemsize
        places = np.flatnonzero(same)
        stored = b"".join([self.packed_keys[place][:size] for place in places.tolist()])
        both = np.frombuffer(stored, dtype=KEY_DTYPE).reshape(-1, 2 * width)
        keys[places], counterparts[places] = both[:, :width], both[:, width:]
        return same, keys, counterparts

    def read_events(self, places: Sequence[int]) -> dict[int, Event]:
        """Read some entries, by their places, without the columns that history does not need."""
        numbers = self.sequences[list(places)].tolist()
        rows = self._log.read_places(numbers, NOT_IN_HISTORY)
        place_of = dict(zip(numbers, places, strict=True))
        return {place_of[row[0]]: decode_row(row) for row in rows}


def read_history_chunks(log: LogReader, after: int, until: int) -> Iterator[HistoryChunk]:
    """Read the entries after one sequence number up to another in order, some hundred thousand at a time."""
    for columns in log.read_columns(COLUMNS, after, until, size=CHUNK_ENTRIES):
        yield HistoryChunk(log, columns)
