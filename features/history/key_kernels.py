"""Kernels of history keys: keyed BLAKE2b (RFC 7693) of the values of a consignment, equal to `features.history.pseudonyms`."""

from typing import Any

import numpy as np

from features.history.blake2b_rounds import LAST_BLOCK, compress
from features.normalization.compiling import START, Array, Int, Tables, kernel
from features.normalization.letters import TOO_LONG
from features.normalization.tables import MAX_FIELDS, MAX_FORMS
from features.normalization.words import append

BLOCK_BYTES, WORD_BYTES, BLOCK_WORDS = 128, 8, 16
PART_SEPARATOR = 0x1F
MAX_KINDS, MAX_PARTS, MAX_PREFIXES = 128, 64, 1 << 14
PREFIX, PREFIX_SIZE, COUNTERPART, PARTS, FIRST_PART = range(5)
"""Columns of a kind in `KEY_PLAN`: its prefix, its counterpart or NO_COUNTERPART, the number of parts, then each part as 2 * slot + required."""
NO_COUNTERPART = -1
ZERO_64, ONE_64, BYTE_BITS = np.uint64(0), np.uint64(1), np.uint64(8)
KEY_PLAN = np.dtype(
    [
        ("count", np.int64),  # of kinds
        ("declared", np.int64),  # columns that only declared keys use
        ("fields", np.int64, MAX_FIELDS),  # the field of each of them in a record
        ("kinds", np.int64, (MAX_KINDS, FIRST_PART + MAX_PARTS)),
        ("prefixes", np.uint8, MAX_PREFIXES),  # the kinds with their separator, one after the other
        ("start", np.uint64, 8),  # the state of BLAKE2b after the block of the key
    ],
    align=True,
)


@kernel
def write_keys(tables: Tables, plan: Any, keys: Array, counterparts: Array) -> Int:
    """Write the keys of a row and their counterparts, 0 if missing. Return 0, or TOO_LONG.

    Parameters
    ----------
    tables : Tables
        `slots` has the place of each value in `forms`.
    plan : record of KEY_PLAN
    keys, counterparts : uint64 array, (kinds,)
    """
    for kind in range(plan.count):
        size = _join_parts(tables, plan, kind)
        if size < 0:
            return size
        keys[kind] = (
            hash_message(plan.start, tables.message, size, tables.hash, tables.block) if size > 0 else ZERO_64
        )
    for kind in range(plan.count):
        other = plan.kinds[kind, COUNTERPART]
        counterparts[kind] = keys[other] if other >= 0 else ZERO_64
    return 0


@kernel
def _join_parts(tables: Tables, plan: Any, kind: Int) -> Int:
    """Write the kind and the parts of its value into `message`. Return the size: 0 if a required part or every part is missing."""
    parts = plan.kinds[kind]
    given, size = False, parts[PREFIX_SIZE]
    for place in range(parts[PARTS]):
        part = parts[FIRST_PART + place]
        length = tables.slots[part >> 1, 1] - tables.slots[part >> 1, 0]
        if length == 0 and part & 1:
            return 0
        given = given or length > 0
        size += length + 1
    if not given:
        return 0
    if size + BLOCK_BYTES > MAX_FORMS:
        return TOO_LONG
    end = append(tables.message, START, plan.prefixes, parts[PREFIX], parts[PREFIX_SIZE])
    for place in range(parts[PARTS]):
        slot = parts[FIRST_PART + place] >> 1
        if place > 0:
            tables.message[end] = PART_SEPARATOR
            end += 1
        first = tables.slots[slot, 0]
        end = append(tables.message, end, tables.forms, first, tables.slots[slot, 1] - first)
    return end


@kernel
def hash_message(start: Array, message: Array, size: Int, state: Array, block: Array) -> Int:
    """Compute the number of a message: the first eight bytes of its hash, and 1 in place of 0, which is a missing value.

    Parameters
    ----------
    start : uint64 array, (8,) or longer
        The state after the key, from `features.history.blake2b.compute_key_state`.
    message : uint8 array
        Has room for BLOCK_BYTES more than `size`, which are overwritten.
    size : int
        At least 1.
    state, block : uint64 arrays, (8,) and (BLOCK_WORDS,)
        Scratch.
    """
    for place in range(8):
        state[place] = start[place]
    # Whole blocks: what is behind the message is zero.
    padded = (size + BLOCK_BYTES - 1) // BLOCK_BYTES * BLOCK_BYTES
    for place in range(size, padded):
        message[place] = 0
    for at in range(0, padded, BLOCK_BYTES):
        for word in range(BLOCK_WORDS):
            number, first = ZERO_64, at + word * WORD_BYTES
            for place in range(WORD_BYTES - 1, -1, -1):
                number = (number << BYTE_BITS) | np.uint64(message[first + place])
            block[word] = number
        last = at + BLOCK_BYTES >= size
        counted = BLOCK_BYTES + (size if last else at + BLOCK_BYTES)
        compress(state, block, np.uint64(counted), LAST_BLOCK if last else ZERO_64)
    return state[0] if state[0] != ZERO_64 else ONE_64
