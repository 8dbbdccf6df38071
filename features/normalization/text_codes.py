"""Texts as whole numbers: the vocabularies of some lists in one hash table that kernels read.

A table belongs to a pipeline, because it has what a model learnt. So it is two arrays of any size, and not part of the record of tables.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.normalization.compiling import Array, Int, kernel
from features.normalization.words import FNV_OFFSET, FNV_PRIME, HASH_MASK

HASH, LISTED, FIRST_LETTER, SIZE, CODE, SLOT_COLUMNS = range(6)
EMPTY = -1
NO_CODE = np.int64(-1)
MIN_SLOTS = 16


class TextCodes(NamedTuple):
    """A hash table of texts.

    Attributes
    ----------
    slots : int64 array, (a power of two, SLOT_COLUMNS)
        The hash, the list (EMPTY: no text), the first letter and the number of letters, and the code of a text. At least half are empty.
    letters : uint32 array
        The code points of all texts, one text after the other.
    """

    slots: NDArray[np.int64]
    letters: NDArray[np.uint32]


def build_text_codes(lists: Sequence[Mapping[str, int]]) -> TextCodes:
    """Build the table of some lists, each a mapping from texts to codes of at least 0."""
    texts = [(place, text, code) for place, codes in enumerate(lists) for text, code in codes.items()]
    count = max(1 << (2 * len(texts)).bit_length(), MIN_SLOTS)
    slots = np.full((count, SLOT_COLUMNS), EMPTY, np.int64)
    letters: list[int] = []
    for place, text, code in texts:
        points = list(map(ord, text))
        value = _hash_points(points, place)
        slot = value % count
        while slots[slot, LISTED] != EMPTY:
            slot = (slot + 1) % count
        slots[slot] = value, place, len(letters), len(points), code
        letters += points
    return TextCodes(slots, np.array(letters, np.uint32))


def _hash_points(points: Sequence[int], place: int) -> int:
    value = FNV_OFFSET ^ place
    for point in points:
        value = ((value ^ point) * FNV_PRIME) & HASH_MASK
    return value


@kernel
def find_code(codes: TextCodes, place: Int, text: Array, start: Int, end: Int) -> Int:
    """Return the code of a text in one of the lists; NO_CODE if it is not there.

    Parameters
    ----------
    codes : TextCodes
    place : int
        Position of the list.
    text : uint32 array
    start, end : int
        Where the text is.
    """
    value = FNV_OFFSET ^ place
    for at in range(start, end):
        value = ((value ^ int(text[at])) * FNV_PRIME) & HASH_MASK
    slots, mask = codes.slots, codes.slots.shape[0] - 1
    slot = value & mask
    while slots[slot, LISTED] != EMPTY:
        if slots[slot, HASH] == value and slots[slot, LISTED] == place and slots[slot, SIZE] == end - start:
            first, same = slots[slot, FIRST_LETTER], 0
            while same < end - start and codes.letters[first + same] == text[start + same]:
                same += 1
            if same == end - start:
                return slots[slot, CODE]
        slot = (slot + 1) & mask
    return NO_CODE
