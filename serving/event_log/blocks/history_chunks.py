"""Entries in order as history needs them, in columns that are joined from the heads of blocks."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from serving.event_log.blocks.codec import KIND_BITS, UNKNOWN_KIND_BIT, EntryBlock
from serving.event_log.clock_corrections import ClockCorrections
from serving.event_log.event_rows import Columns, decode_row
from serving.event_log.events import Event

NOT_IN_HISTORY = frozenset(
    {
        "content", "features", "score", "band", "reasons", "model", "model_sha256", "spec_sha256", "asked_by",
        "history_sequence",
    }
)  # fmt: skip
"""Columns that history does not need."""
KEY_DTYPE = np.dtype("<u8")
Longs = NDArray[np.int64]
Keys = NDArray[np.uint64]
Flags = NDArray[np.bool_]


class HistoryChunk:
    """Entries of some blocks that follow one another.

    Parameters
    ----------
    blocks : sequence of EntryBlock
        At least one.
    after, until : int
        Only entries of this range; `after` excluded, `until` included.
    corrections : ClockCorrections

    Attributes
    ----------
    sequences : int64 array, (n,)
    kind_bits : int64 array, (n,)
        `KIND_BITS` of the kind of each entry.
    names : list of (str or None), (n,)
    at_us : int64 array, (n,)
        Corrected times.
    """

    def __init__(
        self, blocks: Sequence[EntryBlock], after: int, until: int, corrections: ClockCorrections
    ) -> None:
        self._blocks, self._corrections = blocks, corrections
        self._decoded: tuple[int, Sequence[Columns]] | None = None
        counts = np.array([block.count for block in blocks])
        self._block = np.repeat(np.arange(len(blocks)), counts)
        self._place = np.arange(len(self._block)) - np.repeat(np.cumsum(counts) - counts, counts)
        sequences = np.array([block.first for block in blocks])[self._block] + self._place
        self._chosen = slice(
            int(np.searchsorted(sequences, after, "right")), int(np.searchsorted(sequences, until, "right"))
        )
        self.sequences: Longs = sequences[self._chosen]
        self.names: list[str | None] = list(chain.from_iterable(block.names for block in blocks))[
            self._chosen
        ]
        self.kind_bits: Longs = np.concatenate(list(map(_find_kind_bits, blocks)))[self._chosen]
        times = np.concatenate([block.read_times() for block in blocks])[self._chosen]
        self.at_us: Longs = corrections.correct_times(self.sequences, times)

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.sequences)

    def read_keys(self, kinds: str, width: int) -> tuple[Flags, Keys, Keys]:
        """Read the history keys of the entries that have keys of some kinds.

        Parameters
        ----------
        kinds : str
            Digest of the kinds.
        width : int
            Their number.

        Returns
        -------
        bool array, (n,)
            Which entries have such keys.
        uint64 array, (n, width)
            Keys; 0 for other entries.
        uint64 array, (n, width)
            Counterparts.
        """
        same = np.zeros(len(self._block), dtype=bool)
        keys, counterparts = (np.zeros((len(self._block), width), dtype=KEY_DTYPE) for _ in range(2))
        end = 0
        for block in self._blocks:
            start, end = end, end + block.count
            here, packed = block.read_keys(kinds, 2 * width * KEY_DTYPE.itemsize)
            both = np.ascontiguousarray(packed).view(KEY_DTYPE)
            same[start:end] = here
            keys[start:end][here], counterparts[start:end][here] = both[:, :width], both[:, width:]
        return same[self._chosen], keys[self._chosen], counterparts[self._chosen]

    def read_event(self, place: int) -> Event:
        """Return an entry without the columns that history does not need; raise `ServiceFault` if its kind is unknown."""
        place += self._chosen.start
        number = int(self._block[place])
        if self._decoded is None or self._decoded[0] != number:
            rows = self._blocks[number].read_rows(NOT_IN_HISTORY)
            self._decoded = number, self._corrections.correct_rows(rows)
        return decode_row(self._decoded[1][self._place[place]])


def _find_kind_bits(block: EntryBlock) -> Longs:
    """Return `KIND_BITS` of the kind of each entry; most blocks have entries of one kind."""
    (kinds,) = block.read_columns("kind")
    if kinds.count(kinds[0]) == len(kinds):
        return np.full(len(kinds), KIND_BITS.get(kinds[0], UNKNOWN_KIND_BIT), dtype=np.int64)
    return np.array([KIND_BITS.get(kind, UNKNOWN_KIND_BIT) for kind in kinds], dtype=np.int64)
