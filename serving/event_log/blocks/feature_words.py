"""Exact packing of feature rows: two bits for each word, and the words that are neither 0, nor NaN, nor 1.

    row     0.0   0.25   NaN   1.0         words of float32
    codes    0     3      1     2          four in a byte, the first in the lowest bits
    others       0.25                      in order, one row after the other

Of 627 features of a simulated consignment 121 are other words. The words are compared as bits, so -0.0 and other NaN are
other words, and each row comes back bit for bit.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

WORD_BYTES = 4
CODES_PER_BYTE = 4
ZERO, NAN, ONE = np.uint32(0), np.uint32(0x7FC00000), np.uint32(0x3F800000)
OTHER = 3
Words = NDArray[np.uint32]
Codes = NDArray[np.uint8]


class PackedWords(NamedTuple):
    """Packed rows: `codes` (n * bytes of one row) and `others` (little-endian uint32), as bytes."""

    codes: bytes
    others: bytes


def pack_words(rows: bytes, width: int) -> PackedWords:
    """Pack rows of `width` words each, which stand one after the other."""
    words = np.frombuffer(rows, dtype="<u4").reshape(-1, width)
    codes = np.zeros((len(words), -(-width // CODES_PER_BYTE)), dtype=np.uint8)
    others = np.empty(words.size, dtype="<u4")
    count = _pack(words, codes, others)
    return PackedWords(codes.tobytes(), others[:count].tobytes())


def unpack_words(packed: PackedWords, count: int, width: int) -> bytes:
    """Return `count` rows of `width` words each, one after the other.

    Raises
    ------
    ValueError
        The packed bytes are not those of so many rows.
    """
    row_bytes = -(-width // CODES_PER_BYTE)
    if len(packed.codes) != count * row_bytes or len(packed.others) % WORD_BYTES:
        raise ValueError("features of another length")
    codes = np.frombuffer(packed.codes, dtype=np.uint8)
    words = _WORDS.take(codes, axis=0).reshape(count, -1)
    places = np.flatnonzero(_IS_OTHER.take(codes, axis=0))
    others = np.frombuffer(packed.others, dtype="<u4")
    if len(places) != len(others):
        raise ValueError("another number of words")
    words.reshape(-1)[places] = others
    return words[:, :width].tobytes()


_ALL = np.arange(256)[:, None] >> np.array([0, 2, 4, 6]) & 3
_WORDS: Words = np.array([ZERO, NAN, ONE, ZERO], dtype="<u4")[_ALL]
_IS_OTHER: NDArray[np.bool_] = _ALL == OTHER


@njit(cache=True, nogil=True)
def _pack(words: Words, codes: Codes, others: Words) -> int:
    """Fill codes and others; return the number of others."""
    count = 0
    for row in range(words.shape[0]):
        for place in range(words.shape[1]):
            word = words[row, place]
            code = np.uint8(3)
            if word == 0:
                code = np.uint8(0)
            elif word == 0x7FC00000:
                code = np.uint8(1)
            elif word == 0x3F800000:
                code = np.uint8(2)
            else:
                others[count] = word
                count += 1
            codes[row, place >> 2] |= np.uint8(code << np.uint8((place & 3) << 1))
    return count
