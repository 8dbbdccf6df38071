"""Entries in order as history needs them, in columns that are joined from the heads of blocks."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

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
Longs = NDArray[np.int64]


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
        kinds, names, moments = zip(
            *(block.read_columns("kind", "consignment_id", "at_us") for block in blocks), strict=True
        )
        self.sequences: Longs = sequences[self._chosen]
        self.names: list[str | None] = _join(names)[self._chosen]
        bits = [KIND_BITS.get(kind, UNKNOWN_KIND_BIT) for kind in _join(kinds)[self._chosen]]
        self.kind_bits: Longs = np.array(bits, dtype=np.int64)
        self.at_us: Longs = corrections.correct_times(
            self.sequences, np.array(_join(moments)[self._chosen], dtype=np.int64)
        )

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.sequences)

    @cached_property
    def keys(self) -> tuple[list[str | None], list[bytes | None]]:
        """Return the digest of the kinds of history keys of each entry, and its keys."""
        kinds, keys = zip(*(block.read_columns("kinds", "keys") for block in self._blocks), strict=True)
        return _join(kinds)[self._chosen], _join(keys)[self._chosen]

    def read_event(self, place: int) -> Event:
        """Return an entry without the columns that history does not need; raise `ServiceFault` if its kind is unknown."""
        place += self._chosen.start
        number = int(self._block[place])
        if self._decoded is None or self._decoded[0] != number:
            rows = self._blocks[number].read_rows(NOT_IN_HISTORY)
            self._decoded = number, self._corrections.correct_rows(rows)
        return decode_row(self._decoded[1][self._place[place]])


def _join(parts: Sequence[Sequence[Any]]) -> list[Any]:
    joined: list[Any] = []
    for part in parts:
        joined += part
    return joined
