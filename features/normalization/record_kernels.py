"""Kernels that read the values of a record from MessagePack, and write codes and numbers as text.

A row is an array of values: a text, a number, nil, or a text together with the same text as Python composed it.
"""

import math

import numpy as np

from features.normalization.compiling import Array, Int, Tables, kernel
from features.normalization.letters import (
    LATIN,
    MAX_COMPOSED,
    MAX_TEXT_BYTES,
    NEEDS_PYTHON,
    TOO_LONG,
    TRANSLITERATED,
    read_latin,
)
from features.normalization.tables import MAX_FIELDS
from features.normalization.words import SPACE, append, is_ascii_space, to_lower

NOTHING, TEXT, NUMBER = range(3)
BYTES_2, BYTES_4, BYTES_8 = np.int64(2), np.int64(4), np.int64(8)
NIL, FALSE, TRUE, FLOAT_64 = 0xC0, 0xC2, 0xC3, 0xCB
FIXED_ARRAY, ARRAY_16, PAIR = 0x90, 0xDC, 0x92
FIXED_STRING, STRING_8, STRING_16, STRING_32 = 0xA0, 0xD9, 0xDA, 0xDB
BINARY_8, BINARY_16, BINARY_32 = 0xC4, 0xC5, 0xC6
UINT_8, UINT_16, UINT_32, UINT_64 = 0xCC, 0xCD, 0xCE, 0xCF
MANTISSA_BITS, EXPONENT_BIAS, MAX_EXPONENT = 52, 1075, 2047
POINT, ZERO = ord("."), ord("0")
MAX_EXACT, MAX_DECIMALS, MIN_PLAIN = 1e15, 12, 1e-4
"""Numbers that are written in a kernel: at most 15 digits and 12 decimals, without an exponent. Python writes the others."""


@kernel
def read_row(tables: Tables, data: Array, at: Int) -> Int:
    """Find the values of a row that begins at a position. Return the position after it.

    `row_fault` has what is needed first, else 0. A text is longer than the longest of a valid record: TOO_LONG.
    """
    count, at = _read_count(data, at)
    tables.row_fault[0] = TOO_LONG if count > MAX_FIELDS else 0
    for place in range(count):
        field = min(place, MAX_FIELDS - 1)
        text = tables.fields[field]
        text[0], text[1], text[2], text[3] = -1, -1, -1, -1
        paired = int(data[at]) == PAIR
        at = _read_value(tables, data, at + 1 if paired else at, field)
        if text[0] >= 0 and text[1] - text[0] > MAX_TEXT_BYTES:
            tables.row_fault[0] = TOO_LONG
        if paired:
            size, begin = _read_size(data, at)
            text[2], text[3] = begin, begin + size
            at = begin + size
            if size > MAX_COMPOSED:
                tables.row_fault[0] = TOO_LONG
    return at


@kernel
def _read_big_endian(data: Array, at: Int, size: Int) -> Int:
    number = 0
    for place in range(size):
        number = number << 8 | int(data[at + place])
    return number


@kernel
def _read_count(data: Array, at: Int) -> tuple[Int, Int]:
    head = int(data[at])
    if head == ARRAY_16:
        return _read_big_endian(data, at + 1, BYTES_2), at + 3
    return head - FIXED_ARRAY, at + 1


@kernel
def _read_size(data: Array, at: Int) -> tuple[Int, Int]:
    """Return the size of a text and the position of its first byte; -1 if there is no text."""
    head = int(data[at])
    if FIXED_STRING <= head < NIL:
        return head - FIXED_STRING, at + 1
    if head == STRING_8 or head == BINARY_8:
        return int(data[at + 1]), at + 2
    if head == STRING_16 or head == BINARY_16:
        return _read_big_endian(data, at + 1, BYTES_2), at + 3
    if head == STRING_32 or head == BINARY_32:
        return _read_big_endian(data, at + 1, BYTES_4), at + 5
    return -1, at


@kernel
def _read_value(tables: Tables, data: Array, at: Int, field: Int) -> Int:
    """Read a value of a row. Return the position after it."""
    size, begin = _read_size(data, at)
    if size >= 0:
        tables.kinds[field] = TEXT
        tables.fields[field, 0], tables.fields[field, 1] = begin, begin + size
        return begin + size
    head = int(data[at])
    tables.kinds[field] = NUMBER
    if head == NIL:
        tables.kinds[field] = NOTHING
        return at + 1
    if head == FLOAT_64:
        tables.numbers[field] = _read_float(data, at + 1)
        return at + 9
    if UINT_8 <= head <= UINT_64:
        width = 1 << (head - UINT_8)
        number = _read_big_endian(data, at + 1, width)
        tables.numbers[field] = float(number) if number >= 0 else math.nan
        return at + 1 + width
    tables.numbers[field] = math.nan  # Python writes other numbers
    if head < FIXED_ARRAY - 0x10:
        tables.numbers[field] = float(head)
        return at + 1
    if head == FALSE or head == TRUE or head >= 0xE0:
        return at + 1
    return at + 1 + (1 << (head - 0xD0))  # a negative number


@kernel
def _read_float(data: Array, at: Int) -> float:
    """Read a float of eight bytes; NaN for a negative one and one that is not finite, which Python writes."""
    bits = _read_big_endian(data, at, BYTES_8)
    exponent, mantissa = (bits >> MANTISSA_BITS) & MAX_EXPONENT, bits & ((1 << MANTISSA_BITS) - 1)
    if exponent == MAX_EXPONENT or (bits < 0 and (exponent != 0 or mantissa != 0)):
        return math.nan
    if exponent == 0:
        return math.ldexp(float(mantissa), 1 - EXPONENT_BIAS)
    return math.ldexp(float(mantissa | (1 << MANTISSA_BITS)), exponent - EXPONENT_BIAS)


@kernel
def write_code(tables: Tables, data: Array, field: Int, at: Int) -> Int:
    """Write a text in small letters of ASCII with single blanks, or a number as Python does. Return the position after it."""
    text = tables.fields[field]
    if tables.kinds[field] == NUMBER:
        return write_number(tables, field, at)
    if text[0] < 0 or text[1] == text[0]:
        return at
    fault = read_latin(tables, data, text, TRANSLITERATED)
    if fault < 0:
        return fault
    end, blank = at, False
    for place in range(tables.sizes[LATIN]):
        letter = int(tables.latin_text[place])
        if is_ascii_space(letter):
            blank = end > at
            continue
        if blank:
            tables.forms[end] = SPACE
            end += 1
            blank = False
        tables.forms[end] = to_lower(letter)
        end += 1
    return end


@kernel
def write_number(tables: Tables, field: Int, at: Int) -> Int:
    """Write a number as `repr` does, or copy the text that Python wrote. Return the position after it, or NEEDS_PYTHON.

    A number is a whole number over a power of ten. The fewest decimals that give back its bits are those of `repr`: with at most 15
    digits no other number has them.
    """
    number = tables.numbers[field]
    if not number < MAX_EXACT or (number < MIN_PLAIN and number != 0.0):
        return NEEDS_PYTHON
    scale = 1.0
    for decimals in range(MAX_DECIMALS + 1):
        whole = np.rint(number * scale)
        if whole >= MAX_EXACT:
            return NEEDS_PYTHON
        if whole / scale == number:
            return _write_decimal(tables, int(whole), decimals, at)
        scale *= 10.0
    return NEEDS_PYTHON


@kernel
def _write_decimal(tables: Tables, whole: Int, decimals: Int, at: Int) -> Int:
    if decimals == 0:
        whole *= 10
        decimals = 1
    size, rest = 1, whole // 10
    while rest > 0:
        size += 1
        rest //= 10
    size = max(size, decimals + 1)
    end = at + size + 1
    for place in range(size + 1):
        if place == decimals:
            tables.forms[end - 1 - place] = POINT
        else:
            tables.forms[end - 1 - place] = ZERO + whole % 10
            whole //= 10
    return end


@kernel
def copy_text(tables: Tables, data: Array, field: Int, at: Int) -> Int:
    """Copy a text as it is, and return the position after it."""
    text = tables.fields[field]
    if text[0] < 0:
        return at
    return append(tables.forms, at, data, text[0], text[1] - text[0])
