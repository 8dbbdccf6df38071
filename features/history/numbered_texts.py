"""Numbers of many texts of one kind, from an Arrow array: those of `features.history.pseudonyms`, computed by a kernel."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.history import blake2b_rounds, key_kernels
from features.history.key_kernels import BLOCK_BYTES, BLOCK_WORDS, hash_message
from features.history.pseudonyms import KIND_SEPARATOR, Pseudonyms
from features.normalization import compiling, words
from features.normalization.compiling import START, Array, Int, build_digest, entry_point
from features.normalization.words import append

BYTE = np.dtype(np.uint8)


def number_texts(pseudonyms: Pseudonyms, kind: str, texts: pa.Array) -> NDArray[np.uint64]:
    """Compute the number of each text, as `Pseudonyms.compute_number` does.

    Parameters
    ----------
    pseudonyms : Pseudonyms
    kind : str
    texts : Arrow array of large_string, (n,)
        Without missing values. An empty text has the number 0.

    Returns
    -------
    uint64 array, (n,)
    """
    if texts.null_count:
        raise ValueError("a missing text has no number")
    numbers = np.zeros(len(texts), np.uint64)
    if not len(texts):
        return numbers
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    letters = np.frombuffer(data, BYTE) if data is not None else np.zeros(0, BYTE)
    prefix = np.frombuffer(kind.encode() + KIND_SEPARATOR, BYTE)
    message = np.empty(len(prefix) + int(np.diff(ends).max()) + BLOCK_BYTES, BYTE)
    state, block = np.empty(8, np.uint64), np.empty(BLOCK_WORDS, np.uint64)
    _hash_texts(pseudonyms.start_state, prefix, letters, ends, message, state, block, numbers)
    return numbers


def _build_entry_point(digest: int) -> Any:
    @entry_point
    def hash_texts(
        start: Array,
        prefix: Array,
        letters: Array,
        ends: Array,
        message: Array,
        state: Array,
        block: Array,
        numbers: Array,
    ) -> Int:
        """Write the number of each text that is not empty. `message` has room for the prefix, the longest text and a block."""
        if digest < 0:
            return START
        size = append(message, START, prefix, START, prefix.size)
        for place in range(numbers.size):
            length = ends[place + 1] - ends[place]
            if length > 0:
                append(message, size, letters, ends[place], length)
                numbers[place] = hash_message(start, message, size + length, state, block)
        return START

    return hash_texts


_hash_texts = _build_entry_point(
    build_digest(
        [__file__, blake2b_rounds.__file__, key_kernels.__file__, words.__file__, compiling.__file__]
    )
)
