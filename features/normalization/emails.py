"""Kernel of e-mail addresses: lower case, no +tags, and no dots if the provider ignores them.

Python composes and folds the case of an address beyond ASCII before the kernel reads it.
"""

import numpy as np

from features.normalization.compiling import START, Array, Bool, Int, Tables, kernel
from features.normalization.letters import is_space, load_stripped
from features.normalization.words import (
    GMAIL,
    GMAIL_DOMAIN,
    MAILTO,
    append,
    append_mark,
    begins_with,
    find_flags,
    to_lower,
)

LESS, GREATER, DOT, AT, PLUS = (np.int64(ord(sign)) for sign in "<>.@+")


@kernel
def write_email(tables: Tables, data: Array, text: Array, at: Int) -> Int:
    """Write the normal form of an e-mail address into `forms`, and return the position after it, or what is needed first."""
    if text[0] < 0 or text[1] == text[0]:
        return at
    kind, codes, start, end = load_stripped(tables, data, text)
    if kind < 0:
        return kind
    for place in range(start, end):
        codes[place] = to_lower(codes[place])
    start = max(start, _find_last(codes, start, end, LESS) + 1)
    if begins_with(tables, codes, start, end, MAILTO):
        start += tables.mark_size[MAILTO]
    while start < end and _is_edge(tables, codes[start]):
        start += 1
    while end > start and _is_edge(tables, codes[end - 1]):
        end -= 1
    return _write_mailbox(tables, codes, start, end, at)


@kernel
def _write_mailbox(tables: Tables, codes: Array, start: Int, end: Int, at: Int) -> Int:
    sign = _find_last(codes, start, end, AT)
    if sign < 0:
        return encode(tables.forms, at, codes, start, end)
    stop = start
    while stop < sign and codes[stop] != PLUS:
        stop += 1
    if stop == start:
        stop = sign
    # The domain is written into the arena, to look it up. If the provider ignores dots, they are left out.
    size = encode(tables.arena, START, codes, sign + 1, end)
    gmail = find_flags(tables, tables.arena, START, size) & GMAIL_DOMAIN != 0
    local = at
    if gmail:
        for place in range(start, stop):
            if codes[place] != DOT:
                local = encode(tables.forms, local, codes, place, place + 1)
    if local == at:
        local = encode(tables.forms, at, codes, start, stop)
    tables.forms[local] = AT
    if gmail:
        return append_mark(tables, tables.forms, local + 1, GMAIL)
    return append(tables.forms, local + 1, tables.arena, START, size)


@kernel
def _is_edge(tables: Tables, code: Int) -> Bool:
    return code == GREATER or code == DOT or is_space(tables, code)


@kernel
def _find_last(codes: Array, start: Int, end: Int, sign: Int) -> Int:
    for place in range(end - 1, start - 1, -1):
        if codes[place] == sign:
            return place
    return -1


@kernel
def encode(target: Array, at: Int, codes: Array, start: Int, end: Int) -> Int:
    """Write code points as UTF-8, surrogates too, and return the position after them."""
    for place in range(start, end):
        code = int(codes[place])
        if code < 0x80:
            target[at] = code
            at += 1
            continue
        if code < 0x800:
            target[at] = 0xC0 | code >> 6
            at += 1
        elif code < 0x10000:
            target[at] = 0xE0 | code >> 12
            target[at + 1] = 0x80 | (code >> 6) & 0x3F
            at += 2
        else:
            target[at] = 0xF0 | code >> 18
            target[at + 1] = 0x80 | (code >> 12) & 0x3F
            target[at + 2] = 0x80 | (code >> 6) & 0x3F
            at += 3
        target[at] = 0x80 | code & 0x3F
        at += 1
    return at
