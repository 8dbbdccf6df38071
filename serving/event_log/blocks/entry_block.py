"""A block of entries that was read, whatever its form: `serving.event_log.blocks.column_blocks` or `row_blocks`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.event_log.blocks.columns import Flags, Matrix
from serving.event_log.blocks.frames import build_damage_fault
from serving.event_log.event_rows import Columns, EventRow
from serving.event_log.events import EMPTY, NOT_READ

Longs = NDArray[np.int64]
MAX_BLOCK_ENTRIES = 64
(
    SEQUENCE, KIND, NAME, AT, RECORDED, CONTENT, PLAIN, SEALED, KEY_KINDS, KEYS, FEATURES, SCORE, BAND, REASONS, MODEL,
    MODEL_SHA256, SPEC_SHA256, ASKED_BY, HISTORY,
) = range(len(EventRow._fields))  # fmt: skip
"""Places of the columns of an entry."""
BODY_COLUMNS = frozenset({"plain", "sealed", "features"})
"""Columns that arrivals have in the body."""


class BlobPair(NamedTuple):
    """The two blobs of a block."""

    head: bytes
    body: bytes


class EntryBlock(ABC):
    """A block that was read.

    Parameters
    ----------
    first, last : int
        Sequence numbers of the first and the last entry.
    body : bytes or None
        None if it was not read.

    Raises
    ------
    DamagedBlock
        A blob does not hold what was written; every method may raise it.
    """

    __slots__ = ("body", "count", "first", "last")

    def __init__(self, first: int, last: int, body: bytes | None) -> None:
        self.first, self.last, self.count, self.body = first, last, last - first + 1, body
        if not 0 < self.count <= MAX_BLOCK_ENTRIES:
            raise build_damage_fault(first, f"{self.count:,} entries")

    @property
    @abstractmethod
    def names(self) -> list[str | None]:
        """Return the identifier of each entry, None if it has none."""

    @property
    @abstractmethod
    def hashes(self) -> list[bytes]:
        """Return the hash of each entry."""

    @abstractmethod
    def needs_body(self, kinds: str) -> bool:
        """Check whether arrivals have history keys of other kinds, so that keys must be computed from their fields."""

    @abstractmethod
    def read_columns(self, *names: str) -> list[Sequence[Any]]:
        """Return some columns of the head: texts, numbers or bytes of each entry."""

    @abstractmethod
    def read_times(self) -> Longs:
        """Return `at_us` of each entry, int64, (n,)."""

    @abstractmethod
    def read_keys(self, kinds: str, width: int) -> tuple[Flags, Matrix]:
        """Return which entries have history keys of some kinds, bool, (n,), and the first bytes of theirs, uint8, (m, width)."""

    @abstractmethod
    def read_rows(self, without: frozenset[str] = frozenset()) -> list[Columns]:
        """Return the columns of all entries, in order.

        Parameters
        ----------
        without : frozenset of str
            Columns that are not needed: those of bytes are NOT_READ, `sealed` and others None. Entries that are not arrivals
            may have them nevertheless. Without the body, an arrival whose content was removed still has an empty `plain`.
        """

    def read_row(self, place: int, without: frozenset[str] = frozenset()) -> Columns:
        """Return the columns of one entry, as `read_rows` does."""
        return self.read_rows(without)[place]


def mark_plain(plain: bytes) -> bytes:
    """Return what the head holds of `plain` of an arrival, which is in the body."""
    return NOT_READ if plain else EMPTY
