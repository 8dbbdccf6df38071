"""Pseudonyms: numbers for names, addresses and other history keys, computed with a secret key.

The same value and key give the same number on every machine and in every run. Without the key, a number cannot be
linked to a value. Deleting the key therefore erases the values.
"""

from collections.abc import Iterable
from hashlib import blake2b
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

DATA_KEY_BYTES = 32
NUMBER_BYTES = 8
"""Length of a number. Any two of 20 million values have the same number with a probability of 1 in 90,000."""
MISSING = bytes(NUMBER_BYTES)
_MIN_NUMBER = (1).to_bytes(NUMBER_BYTES, "little")
KIND_SEPARATOR = b"\x1e"


class Pseudonyms:
    """The pseudonyms of one secret key (keyed BLAKE2b, RFC 7693)."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        derived = derive_key(key, "pseudonyms")
        self._prepared = blake2b(key=derived, digest_size=NUMBER_BYTES)
        self._by_kind: dict[str, blake2b] = {}

    def __reduce__(self) -> tuple[type["Pseudonyms"], tuple[bytes]]:
        """Return the parts from which another process of the same batch rebuilds it."""
        return type(self), (self._key,)

    def compute_digests(self, kinds: Iterable[str], values: Iterable[str]) -> list[bytes]:
        """Compute the number of each value of a kind as 8 bytes, little-endian; all zero only if the value is missing."""
        digests = []
        for kind, value in zip(kinds, values, strict=False):
            if not value:
                digests.append(MISSING)
                continue
            state = (self._by_kind.get(kind) or self._prepare_hash(kind)).copy()
            try:
                state.update(value.encode())
            except UnicodeEncodeError:
                state.update(value.encode("utf-8", "surrogatepass"))
            number = state.digest()
            digests.append(number if number != MISSING else _MIN_NUMBER)
        return digests

    def compute_number(self, kind: str, value: str) -> int:
        """Compute the number of a value, from 1 to 2**64 - 1; 0 for a missing value."""
        return int.from_bytes(self.compute_digests([kind], [value])[0], "little")

    def number_texts(self, kind: str, texts: Iterable[str]) -> NDArray[np.uint64]:
        """Compute the number of each text, as `compute_number` does."""
        digests = self.compute_digests(repeat(kind), texts)
        return np.frombuffer(b"".join(digests), np.dtype("<u8")).astype(np.uint64)

    def _prepare_hash(self, kind: str) -> blake2b:
        state = self._prepared.copy()
        state.update(kind.encode() + KIND_SEPARATOR)
        return self._by_kind.setdefault(kind, state)


def derive_key(data_key: bytes, purpose: str) -> bytes:
    """Derive a key of 32 bytes for one purpose from the data key. Keys of two purposes are independent."""
    return blake2b(purpose.encode(), key=data_key, digest_size=DATA_KEY_BYTES).digest()
