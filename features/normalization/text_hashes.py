"""Texts as hashes of 64 bits (FNV-1a), and a set of them that grows and that kernels search.

A set says "perhaps" or "no". Two texts have equal hashes once in some billions of millions, and then the set has one that nobody added.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from features.normalization.compiling import Array, Bool, Int, kernel

FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
HASH_MASK = (1 << 64) - 1
NO_HASH = 0
"""An empty slot. A text whose hash it is has the hash 1."""
ZERO_64, ONE_64, HALF_BITS = np.uint64(NO_HASH), np.uint64(1), np.uint64(32)
MIN_SLOTS = 16


def hash_text(text: str | Iterable[int], place: int = 0) -> int:
    """Compute the hash of a text, or of whole numbers, in one of several lists, as kernels do with `start_hash` and `update_hash`."""
    value = FNV_OFFSET ^ int(place)
    for code in map(ord, text) if isinstance(text, str) else text:
        value = ((value ^ code) * FNV_PRIME) & HASH_MASK
    return value


class TextHashes:
    """A set of hashes to which hashes are only added.

    Attributes
    ----------
    slots : uint64 array, (a power of two,)
        What kernels search: at least half are `NO_HASH`. It is another array after the set grew.
    """

    def __init__(self) -> None:
        self.slots: NDArray[np.uint64] = np.zeros(MIN_SLOTS, np.uint64)
        self._count = 0

    def add(self, value: int) -> None:
        """Add a hash; a repeat changes nothing."""
        if 2 * (self._count + 1) > len(self.slots):
            known = self.slots[self.slots != NO_HASH].tolist()
            self.slots, self._count = np.zeros(2 * len(self.slots), np.uint64), 0
            self._insert(known)
        self._insert([value])

    def _insert(self, values: Iterable[int]) -> None:
        slots, mask = self.slots, len(self.slots) - 1
        for each in values:
            value = each or 1
            slot = (value ^ value >> 32) & mask
            while slots[slot] != NO_HASH and slots[slot] != value:
                slot = (slot + 1) & mask
            self._count += int(slots[slot] == NO_HASH)
            slots[slot] = value


@kernel
def start_hash(place: Int) -> Int:
    """Return the hash of '' in one of several lists."""
    return np.uint64(FNV_OFFSET) ^ np.uint64(place)


@kernel
def update_hash(value: Int, code: Int) -> Int:
    """Return the hash of a text after one more code point."""
    return (np.uint64(value) ^ np.uint64(code)) * np.uint64(FNV_PRIME)


@kernel
def has_hash(slots: Array, value: Int) -> Bool:
    """Check if a hash was added to `TextHashes.slots`."""
    wanted = value if value != ZERO_64 else ONE_64
    mask = slots.shape[0] - 1
    slot = np.int64((wanted ^ (wanted >> HALF_BITS)) & np.uint64(mask))
    while slots[slot] != ZERO_64:
        if slots[slot] == wanted:
            return True
        slot = (slot + 1) & mask
    return False


@kernel
def has_text_hash(slots: Array, place: Int, text: Array, start: Int, end: Int) -> Bool:
    """Check if the hash of a text in one of several lists was added.

    Parameters
    ----------
    slots : uint64 array
        From `TextHashes`.
    place : int
        The list.
    text : uint8 or uint32 array
        Code points.
    start, end : int
        Where the text is.
    """
    value = start_hash(place)
    for at in range(start, end):
        value = update_hash(value, text[at])
    return has_hash(slots, value)
