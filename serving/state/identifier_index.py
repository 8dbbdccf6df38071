"""Which consignments the service may know: a compact set of keyed digests of identifiers, each with the day it was last met.

It answers "surely unknown" without a look at the log; "perhaps known" costs one look there. Two identifiers may share a
word (their digests agree in 40 bits): that costs a look-up in vain, never a wrong answer.

A consignment last met on 1 March 2024 is perhaps known on 2 March 2025 (366 days later), and unknown on 3 March 2025.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from consignments.errors import ServiceFault
from serving.encryption.vault import KeyedHash

Words = NDArray[np.uint64]
Tags = NDArray[np.uint64]
DayNumbers = NDArray[np.int64]

KEPT_DAYS = 366
"""As long as history remembers (features.history.kernels.REMEMBERED_DAYS); a test holds them together."""
DAY_BITS = 24
TAG_BITS = 64 - DAY_BITS
DAY_OFFSET = 1 << (DAY_BITS - 1)
"""Added to a day, it makes it positive: a word in use is never 0."""
FIRST_DAY = 1 - DAY_OFFSET
"""Earlier than any date."""
DAY_MASK = (1 << DAY_BITS) - 1
MIN_WORDS = 1 << 12
MAX_LOAD_FACTOR = 0.75
"""Share of words in use at which the set is swept, and grown where that does not help."""
GROWTH_LOAD_FACTOR = 0.65
"""Share of words in use after sweeping above which it grows: the next sweep is then far off."""


class IdentifierIndex:
    """A set of identifiers, for one thread at a time; 8 bytes a word, at most three quarters of the words in use.

    Parameters
    ----------
    digest : KeyedHash
        Keyed and prepared, 8 bytes: who does not hold the key can neither tell an identifier nor make two collide.
    words : uint64 array, optional
        What `words` of another index was, as in a snapshot.

    Raises
    ------
    ServiceFault
        Where `words` are not a set's.
    """

    def __init__(self, digest: KeyedHash, words: Words | None = None) -> None:
        self._digest = digest
        self.words = np.zeros(MIN_WORDS, dtype=np.uint64) if words is None else words
        size = len(self.words)
        self._used = int(np.count_nonzero(self.words))
        if self.words.dtype != np.uint64 or size < MIN_WORDS or size & (size - 1) or self._used >= size:
            raise ServiceFault("these are not the words of an index of identifiers")

    def __len__(self) -> int:
        """Give the number of words in use; some may be of identifiers that are forgotten."""
        return self._used

    def compute_tag(self, consignment_id: str) -> int:
        """Give the 40 bits that stand for an identifier."""
        digest = self._digest.copy()
        digest.update(consignment_id.encode())
        return int.from_bytes(digest.digest(), "little") >> DAY_BITS

    def compute_tags(self, consignment_ids: list[str]) -> Tags:
        """Give the tags of many identifiers, uint64, (n,)."""
        copy = self._digest.copy
        parts = []
        for consignment_id in consignment_ids:
            digest = copy()
            digest.update(consignment_id.encode())
            parts.append(digest.digest())
        return np.frombuffer(b"".join(parts), dtype="<u8") >> np.uint64(DAY_BITS)

    def may_contain(self, tag: int, today: int) -> bool:
        """Tell whether an identifier may have been met in the KEPT_DAYS before a day."""
        return bool(_find(self.words, np.uint64(tag)) >= max(today - KEPT_DAYS, FIRST_DAY))

    def may_contain_each(self, tags: Tags, today: int) -> NDArray[np.bool_]:
        """Tell the same of many, bool, (n,)."""
        found: DayNumbers = _find_all(self.words, tags)
        return found >= max(today - KEPT_DAYS, FIRST_DAY)

    def add(self, tag: int, today: int) -> None:
        """Note that an identifier was met on a day; days never fall."""
        if self._used >= MAX_LOAD_FACTOR * len(self.words):
            self._make_room(1, today)
        self._used += _add(self.words, np.uint64(tag), max(today, FIRST_DAY))

    def add_all(self, tags: Tags, days: DayNumbers) -> None:
        """Note many, in their order; the days never fall."""
        if not len(tags):
            return
        if self._used + len(tags) > MAX_LOAD_FACTOR * len(self.words):
            self._make_room(len(tags), int(days[0]))
        self._used += _add_all(self.words, tags, np.maximum(days, FIRST_DAY))

    def _make_room(self, more: int, today: int) -> None:
        """Sweep forgotten identifiers away, and make the set larger where many are left."""
        kept = int(_count(self.words, today - KEPT_DAYS))
        size = len(self.words)
        while kept + more > GROWTH_LOAD_FACTOR * size:
            size *= 2
        fresh = np.zeros(size, dtype=np.uint64)
        self._used = int(_move(self.words, fresh, today - KEPT_DAYS))
        self.words = fresh


# The kernel. A word is tag << DAY_BITS | day + EPOCH; it stands at the place that the tag's first bits name, or
# after it; 0 is free. Sizes are powers of two and one word at least is free, so each search ends.


@njit(cache=True, nogil=True)
def _place(words: Words, tag: Any) -> Any:
    """Give the place of a tag's word, or the free one where it belongs."""
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
    """Give the day of a word; of a free one a day before all others."""
    return np.int64(word & np.uint64(DAY_MASK)) - DAY_OFFSET


@njit(cache=True, nogil=True)
def _find(words: Words, tag: Any) -> Any:
    return _day(words[_place(words, tag)])


@njit(cache=True, nogil=True)
def _find_all(words: Words, tags: Tags) -> Any:
    found = np.empty(len(tags), dtype=np.int64)
    for number in range(len(tags)):
        found[number] = _find(words, tags[number])
    return found


@njit(cache=True, nogil=True)
def _add(words: Words, tag: Any, day: Any) -> Any:
    """Write a word, and give 1 where it was free, else 0."""
    place = _place(words, tag)
    new = words[place] == 0
    words[place] = tag << np.uint64(DAY_BITS) | np.uint64(day + DAY_OFFSET)
    return np.int64(new)


@njit(cache=True, nogil=True)
def _add_all(words: Words, tags: Tags, days: DayNumbers) -> Any:
    new = np.int64(0)
    for number in range(len(tags)):
        new += _add(words, tags[number], days[number])
    return new


@njit(cache=True, nogil=True)
def _count(words: Words, first_day: Any) -> Any:
    kept = np.int64(0)
    for place in range(len(words)):
        kept += _day(words[place]) >= first_day
    return kept


@njit(cache=True, nogil=True)
def _move(words: Words, fresh: Words, first_day: Any) -> Any:
    """Write the words that are kept into an empty set, and give their number."""
    kept = np.int64(0)
    for place in range(len(words)):
        if words[place] != 0 and _day(words[place]) >= first_day:
            kept += _add(fresh, words[place] >> np.uint64(DAY_BITS), _day(words[place]))
    return kept
