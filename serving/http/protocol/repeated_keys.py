"""Keys that occur twice in one JSON object. Decoders keep the last value, so two readers may see two records."""

import json
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

MAX_DEPTH = 64
MAX_KEYS = 512
"""Maximum number of keys in the open objects that the kernel compares; beyond, the exact check decides."""
HASH_START, HASH_FACTOR = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
"""Parameters of the 64-bit FNV-1a hash."""
_hashes, _starts = np.empty(MAX_KEYS, dtype=np.uint64), np.empty(MAX_DEPTH, dtype=np.int64)
"""Scratch arrays of the kernel. Only the thread of the event loop reads bodies."""
QUOTE, BACKSLASH, COLON = ord('"'), ord("\\"), ord(":")
OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY = ord("{"), ord("}"), ord("["), ord("]")
SPACE = ord(" ")


class _RepeatedKey(Exception):
    """A key occurs twice in one object."""


def find_repeated_key(body: bytes | memoryview, depth: int = MAX_DEPTH) -> str | None:
    """Find a key that occurs twice in one object of a valid JSON text; return None if there is none.

    Parameters
    ----------
    body : bytes
        Valid JSON in UTF-8.
    depth : int
        Only objects down to this depth are checked; 1 is the outermost object.

    Examples
    --------
    >>> find_repeated_key(b'{"a": {"b": 1}, "b": 2}'), find_repeated_key(b'{"a": [{"b": 1, "\\u0062": 2}]}')
    (None, 'b')
    """
    return _find_exactly(bytes(body), depth) if may_repeat_key(body, depth) else None


def may_repeat_key(body: bytes | memoryview, depth: int = MAX_DEPTH) -> bool:
    """Check whether a key may occur twice in one object of a valid JSON text; False is certain."""
    return bool(_may_repeat(np.frombuffer(body, dtype=np.uint8), depth, _hashes, _starts))


def _find_exactly(body: bytes, depth: int) -> str | None:
    if depth < MAX_DEPTH:
        # Objects are built from the inside, so only the outermost one is the last.
        pairs: list[list[tuple[str, Any]]] = []
        json.loads(body, object_pairs_hook=pairs.append)
        return _find_twice(pairs[-1]) if pairs else None
    try:
        json.loads(body, object_pairs_hook=_refuse_repeated)
    except _RepeatedKey as found:
        return str(found)
    except RecursionError:
        return None  # no record is nested so deeply
    return None


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    twice = _find_twice(pairs)
    if twice is not None:
        raise _RepeatedKey(twice)


def _find_twice(pairs: list[tuple[str, Any]]) -> str | None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key
        seen.add(key)
    return None


@njit(cache=True, nogil=True)
def _may_repeat(
    text: NDArray[np.uint8], most: int, hashes: NDArray[np.uint64], starts: NDArray[np.int64]
) -> bool:
    """Return False only if no object down to a depth has a key twice; the text is valid JSON.

    `hashes` and `starts` are scratch arrays: of the keys in the open objects, and where those of each depth begin.
    """
    depth, keys, place, size = 0, 0, np.uint64(0), np.uint64(len(text))
    one = np.uint64(1)
    while place < size:
        letter = text[place]
        place += one
        if letter == QUOTE:
            begin, escaped = place, False
            while text[place] != QUOTE:
                if text[place] == BACKSLASH:
                    escaped = True
                    place += one
                place += one
            end = place
            place += one
            while place < size and text[place] <= SPACE:
                place += one
            if place == size or text[place] != COLON or depth > most:
                continue
            if escaped or keys == len(hashes):
                return True
            digest = HASH_START
            for at in range(begin, end):
                digest = (digest ^ np.uint64(text[at])) * HASH_FACTOR
            for earlier in range(starts[depth - 1], keys):
                if hashes[earlier] == digest:
                    return True
            hashes[keys] = digest
            keys += 1
        elif letter in (OPEN_OBJECT, OPEN_ARRAY):
            if depth == len(starts):
                return True
            starts[depth] = keys
            depth += 1
        elif letter in (CLOSE_OBJECT, CLOSE_ARRAY):
            depth -= 1
            keys = starts[depth]
    return False
