"""Exact packing of a feature row: two bits for each word, and the words that are neither 0, nor NaN, nor 1.

    row     0.0   0.25   NaN   1.0         words of float32
    width   4                              two bytes
    codes    0     3      1     2          four in a byte, the first in the lowest bits
    others       0.25                      in order

Of 627 features of a simulated consignment 121 are other words. The words are compared as bits, so -0.0 and other NaN are
other words, and each row comes back bit for bit.
"""

import numpy as np
from numpy.typing import NDArray

WIDTH_BYTES, CODES_PER_BYTE = 2, 4
ZERO, NAN, ONE = np.uint32(0), np.uint32(0x7FC00000), np.uint32(0x3F800000)
OTHER = np.uint8(3)
Floats = NDArray[np.float32]
_ALL = np.arange(256)[:, None] >> np.array([0, 2, 4, 6]) & OTHER
_WORDS: NDArray[np.uint32] = np.array([ZERO, NAN, ONE, ZERO], dtype="<u4")[_ALL]
_IS_OTHER: NDArray[np.bool_] = _ALL == OTHER


def pack_rows(X: Floats) -> list[bytes]:
    """Pack each of the rows of a matrix, (n, features)."""
    rows, width = X.shape
    words = np.ascontiguousarray(X, dtype="<f4").view("<u4")
    is_nonzero = words != ZERO
    # The bits of a code: the low one for NaN, the high one for 1, both for another word.
    low, high = is_nonzero & (words != ONE), is_nonzero & (words != NAN)
    is_other = low & high
    packed = np.packbits(np.stack([low, high], axis=2).reshape(rows, -1), axis=1, bitorder="little")
    others = words[is_other].tobytes()
    ends = 4 * np.cumsum(np.count_nonzero(is_other, axis=1))
    head = width.to_bytes(WIDTH_BYTES, "little")
    start, made = 0, []
    for place, end in enumerate(ends.tolist()):
        made.append(head + packed[place].tobytes() + others[start:end])
        start = end
    return made


def unpack_row(packed: bytes) -> Floats:
    """Return the row of packed features; raise `ValueError` if they are not those of one row."""
    width = int.from_bytes(packed[:WIDTH_BYTES], "little")
    end = WIDTH_BYTES - (-width // CODES_PER_BYTE)
    codes, others = np.frombuffer(packed[WIDTH_BYTES:end], np.uint8), np.frombuffer(packed[end:], "<u4")
    words = _WORDS.take(codes, axis=0).reshape(-1)
    places = np.flatnonzero(_IS_OTHER.take(codes, axis=0).reshape(-1))
    if len(words) < width or len(places) != len(others):
        raise ValueError("packed features of another length")
    words[places] = others
    return words[:width].view("<f4")
