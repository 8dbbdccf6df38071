"""Identifier index: a compact approximate set of the consignments that the service may know.

It stores a keyed digest of each identifier with the day of its latest entry. "Unknown" is certain and needs no log access;
"may be known" needs one lookup in the log. Two identifiers may share a word if their digests agree in 40 bits. That
costs a lookup in vain, but never gives a wrong result.

A consignment last seen on 1 March 2024 may be known on 2 March 2025 (366 days later), and is unknown on 3 March 2025.
"""

from hashlib import blake2b
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from consignments.errors import ServiceFault

Words = NDArray[np.uint64]
Tags = NDArray[np.uint64]
DayNumbers = NDArray[np.int64]
KEPT_DAYS = 366
"""Days that a consignment is known, equal to `features.history.kernels.REMEMBERED_DAYS` (a test checks this)."""
DAY_BITS = 24
TAG_BITS = 64 - DAY_BITS
DAY_OFFSET = 1 << (DAY_BITS - 1)  # offset that makes every day positive, so that a word in use is never 0
FIRST_DAY = 1 - DAY_OFFSET  # a day before any date
DAY_MASK = (1 << DAY_BITS) - 1
MIN_WORDS = 1 << 12
MAX_LOAD_FACTOR = 0.75
"""Share of words in use at which expired words are removed, and the set grows if that is not enough."""
GROWTH_LOAD_FACTOR = 0.65
"""Share of words in use after removal above which the set grows, so that the next removal is far off."""


class IdentifierIndex:
    """An approximate set of identifiers, for one thread at a time, with 8 bytes per word.

    At most three quarters of the words are in use. `digest` is a keyed hash of 8 bytes: without the key nobody can recognize an
    identifier or make two collide. `words` are those of another index, for example from a snapshot; `ServiceFault` if they are not.
    """

    def __init__(self, digest: blake2b, words: Words | None = None) -> None:
        self._digest = digest
        self.words = np.zeros(MIN_WORDS, dtype=np.uint64) if words is None else words
        size = len(self.words)
        self._used = int(np.count_nonzero(self.words))
        if self.words.dtype != np.uint64 or size < MIN_WORDS or size & (size - 1) or self._used >= size:
            raise ServiceFault("the identifier index is not valid")

    def __len__(self) -> int:
        """Return the number of words in use, some of which may have expired."""
        return self._used

    def compute_tags(self, consignment_ids: list[str]) -> Tags:
        """Compute the tags of identifiers, 40 bits of their keyed digests each, uint64, (n,)."""
        copy = self._digest.copy
        parts = []
        for consignment_id in consignment_ids:
            digest = copy()
            digest.update(consignment_id.encode())
            parts.append(digest.digest())
        if not parts:
            return np.empty(0, dtype=np.uint64)
        return self.shorten_digests(np.frombuffer(b"".join(parts), dtype="<u8"))

    @staticmethod
    def shorten_digests(digests: Tags) -> Tags:
        """Return the tags of identifiers whose digests are those that the log stores, uint64, (n,)."""
        return digests >> np.uint64(DAY_BITS)

    def may_contain_each(self, tags: Tags, today: int) -> NDArray[np.bool_]:
        """Check which identifiers may have been seen in the KEPT_DAYS before a day; return bool, (n,)."""
        found: NDArray[np.bool_] = _find_all(self.words, tags, max(today - KEPT_DAYS, FIRST_DAY))
        return found

    def add_all(self, tags: Tags, days: DayNumbers) -> None:
        """Record that identifiers were seen on some days, in order; the days must not decrease."""
        if not len(tags):
            return
        if self._used + len(tags) > MAX_LOAD_FACTOR * len(self.words):
            self._make_room(len(tags), int(days[0]))
        self._used += _add_all(self.words, tags, days)

    def _make_room(self, more: int, today: int) -> None:
        """Remove expired identifiers, and enlarge the set if many remain."""
        days = (self.words & np.uint64(DAY_MASK)).astype(np.int64) - DAY_OFFSET
        kept = int(np.count_nonzero(days >= today - KEPT_DAYS))
        size = len(self.words)
        while kept + more > GROWTH_LOAD_FACTOR * size:
            size *= 2
        fresh = np.zeros(size, dtype=np.uint64)
        self._used = int(_move(self.words, fresh, today - KEPT_DAYS))
        self.words = fresh


# The kernel: open addressing with linear probing. A word is tag << DAY_BITS | day + DAY_OFFSET; 0 is free. The first bits
# of the tag give the place where a search begins. Sizes are powers of two and at least one word is free, so it ends.


@njit(cache=True, nogil=True)
def _place(words: Words, tag: Any) -> Any:
    """Return the place of a tag's word, or the free place for it."""
    size = len(words)
    bits = 0
    while (1 << bits) < size:
        bits += 1
    place = np.int64(tag >> np.uint64(TAG_BITS - bits))
    while words[place] != 0 and words[place] >> np.uint64(DAY_BITS) != tag:
        place = (place + 1) & (size - 1)
    return place


@njit(cache=True, nogil=True)
def _day(word: Any) -> Any:
    """Return the day of a word; for a free word a day before all others."""
    return np.int64(word & np.uint64(DAY_MASK)) - DAY_OFFSET


@njit(cache=True, nogil=True)
def _find_all(words: Words, tags: Tags, first_day: Any) -> Any:
    found = np.empty(len(tags), dtype=np.bool_)
    for number in range(len(tags)):
        found[number] = _day(words[_place(words, tags[number])]) >= first_day
    return found


@njit(cache=True, nogil=True)
def _add(words: Words, tag: Any, day: Any) -> Any:
    """Write a word; return 1 if its place was free, else 0."""
    place = _place(words, tag)
    new = words[place] == 0
    words[place] = tag << np.uint64(DAY_BITS) | np.uint64(day + DAY_OFFSET)
    return np.int64(new)


@njit(cache=True, nogil=True)
def _add_all(words: Words, tags: Tags, days: DayNumbers) -> Any:
    new = np.int64(0)
    for number in range(len(tags)):
        new += _add(words, tags[number], max(days[number], FIRST_DAY))
    return new


@njit(cache=True, nogil=True)
def _move(words: Words, fresh: Words, first_day: Any) -> Any:
    """Copy the words that are kept to an empty set, and return their number."""
    kept = np.int64(0)
    for place in range(len(words)):
        if words[place] != 0 and _day(words[place]) >= first_day:
            kept += _add(fresh, words[place] >> np.uint64(DAY_BITS), _day(words[place]))
    return kept
