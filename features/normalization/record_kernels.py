"""Kernels that read the fields of a record from MessagePack, and write codes and numbers as text.

A row is a record: a map of its fields in their order, or an array of their values that Python prepared. In an array a value may be a pair:
itself, and the text that Python made of it, because a kernel cannot compose a text or write this number.
"""

import numpy as np

from consignments.records import Consignment, Item
from features.normalization.compiling import Array, Bool, Int, Tables, kernel
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

FIELDS = Consignment.__struct_fields__
"""The fields of a record in their order. Declared columns follow."""


def find_fields(*names: str) -> list[Int]:
    """Return the positions of some fields in a record, as numbers of numpy, which are arguments of kernels."""
    return [np.int64(FIELDS.index(name)) for name in names]


DESCRIPTION, ITEMS, QUALITY = find_fields("description", "items", "quality")
ITEM_FIELDS = Item.__struct_fields__
FIRST_ITEM_FIELD = np.int64(MAX_FIELDS)
"""The fields of the item that is being read stand behind those of the record."""
NOTHING, TEXT, NUMBER, LIST = range(4)
"""Kinds of values. A time is the number of its UTC day, since 1970-01-01."""
BYTES_2, BYTES_4, BYTES_8 = np.int64(2), np.int64(4), np.int64(8)
FIXED_MAP, FIXED_ARRAY, FIXED_STRING, NIL, FALSE, TRUE = 0x80, 0x90, 0xA0, 0xC0, 0xC2, 0xC3
BINARY_8, BINARY_16, BINARY_32 = 0xC4, 0xC5, 0xC6
EXTENSION_8, FLOAT_64, UINT_8, UINT_64, INT_8, INT_64 = 0xC7, 0xCB, 0xCC, 0xCF, 0xD0, 0xD3
FIXED_EXTENSION_4, FIXED_EXTENSION_8 = 0xD6, 0xD7
STRING_8, STRING_16, STRING_32 = 0xD9, 0xDA, 0xDB
ARRAY_16, ARRAY_32, MAP_16, MAP_32, NEGATIVE = 0xDC, 0xDD, 0xDE, 0xDF, 0xE0
PAIR = FIXED_ARRAY + 2
SECONDS_PER_DAY = 86_400
SECONDS_MASK = (1 << 34) - 1
"""A timestamp of eight bytes has its seconds in the lower 34 bits, and nanoseconds above."""
DAYS_BEFORE_1970 = 719_468
"""Days from 1 March of year 0 to 1970-01-01."""
SIGN_MASK = (1 << 63) - 1
POINT, ZERO = ord("."), ord("0")
MAX_EXACT, MAX_DECIMALS, MIN_PLAIN = 1e15, 12, 1e-4
"""Numbers that are written in a kernel: at most 15 digits and 12 decimals, without an exponent. Python writes the others."""


@kernel
def read_row(tables: Tables, data: Array, at: Int) -> Int:
    """Find the values of a row that begins at a position. Return the position after it.

    `row_fault` has what is needed first, else 0. A text that is longer than the longest of a valid record, or more columns than there is
    room for: TOO_LONG. The description of goods, and the texts in lists, have any length.
    """
    count, keyed, at = read_head(data, at)
    tables.row_fault[0] = TOO_LONG if count > MAX_FIELDS else 0
    for place in range(count):
        field = min(place, MAX_FIELDS - 1)
        text = tables.fields[field]
        text[2], text[3] = -1, -1
        if keyed:
            at = skip_text(data, at)
        paired = not keyed and int(data[at]) == PAIR and field != ITEMS and field != QUALITY
        at = read_value(tables, data, at + 1 if paired else at, field)
        if tables.kinds[field] == TEXT and text[1] - text[0] > MAX_TEXT_BYTES and field != DESCRIPTION:
            tables.row_fault[0] = TOO_LONG
        if paired:
            size, begin = _read_size(data, at)
            text[2], text[3] = begin, begin + size
            at = begin + size
            if size > MAX_COMPOSED and field != DESCRIPTION:
                tables.row_fault[0] = TOO_LONG
    for field in range(count, tables.row_size[0]):
        _set_missing(tables, field)
    tables.row_size[0] = min(count, MAX_FIELDS)
    return at


@kernel
def _set_missing(tables: Tables, field: Int) -> None:
    tables.kinds[field] = NOTHING
    for place in range(4):
        tables.fields[field, place] = -1


@kernel
def _read_big_endian(data: Array, at: Int, size: Int) -> Int:
    number = 0
    for place in range(size):
        number = number << 8 | int(data[at + place])
    return number


@kernel
def _read_signed(data: Array, at: Int, size: Int) -> Int:
    number = int(data[at])
    if number > 127:
        number -= 256
    for place in range(1, size):
        number = number << 8 | int(data[at + place])
    return number


@kernel
def read_head(data: Array, at: Int) -> tuple[Int, Bool, Int]:
    """Read the head of a map or an array. Return the number of values, if they have keys, and the position of the first; -1 if it is neither."""
    head = int(data[at])
    if FIXED_MAP <= head < FIXED_STRING:
        return head & 0x0F, head < FIXED_ARRAY, at + 1
    if head == ARRAY_16 or head == MAP_16:
        return _read_big_endian(data, at + 1, BYTES_2), head == MAP_16, at + 3
    if head == ARRAY_32 or head == MAP_32:
        return _read_big_endian(data, at + 1, BYTES_4), head == MAP_32, at + 5
    return -1, False, at


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
def skip_text(data: Array, at: Int) -> Int:
    """Return the position after a text."""
    size, begin = _read_size(data, at)
    return begin + size


@kernel
def read_value(tables: Tables, data: Array, at: Int, field: Int) -> Int:
    """Read a value of a row or of an item: its kind, and where its text is, or its number. Return the position after it."""
    text = tables.fields[field]
    size, begin = _read_size(data, at)
    if size >= 0:
        tables.kinds[field] = TEXT
        text[0], text[1] = begin, begin + size
        return begin + size
    text[0], text[1] = -1, -1
    head = int(data[at])
    if head == NIL:
        tables.kinds[field] = NOTHING
        return at + 1
    if FIXED_MAP <= head < FIXED_STRING or ARRAY_16 <= head <= MAP_32:
        tables.kinds[field] = LIST
        text[0], text[1] = at, _skip_list(data, at)
        return text[1]
    after = _skip_scalar(data, at)
    tables.kinds[field] = NUMBER
    if head == EXTENSION_8 or FIXED_EXTENSION_4 <= head <= FIXED_EXTENSION_8:
        tables.numbers[field] = _read_day(data, at)
    elif head == FLOAT_64:
        tables.numbers[field] = _read_float(data, at + 1)
    elif UINT_8 <= head <= UINT_64:
        number = _read_big_endian(data, at + 1, after - at - 1)
        tables.numbers[field] = float(number) if number >= 0 else float(np.uint64(number))
    elif INT_8 <= head <= INT_64:
        tables.numbers[field] = float(_read_signed(data, at + 1, after - at - 1))
    elif head == FALSE or head == TRUE:
        tables.numbers[field] = float(head - FALSE)
    else:
        tables.numbers[field] = float(head if head < NEGATIVE else head - 256)
    return after


@kernel
def _skip_scalar(data: Array, at: Int) -> Int:
    """Return the position after a number or a time."""
    head = int(data[at])
    if head == FLOAT_64:
        return at + 9
    if UINT_8 <= head <= UINT_64:
        return at + 1 + (1 << (head - UINT_8))
    if INT_8 <= head <= INT_64:
        return at + 1 + (1 << (head - INT_8))
    if head == FIXED_EXTENSION_4 or head == FIXED_EXTENSION_8:
        return at + (6 if head == FIXED_EXTENSION_4 else 10)
    if head == EXTENSION_8:
        return at + 3 + int(data[at + 1])
    return at + 1


@kernel
def _skip_list(data: Array, at: Int) -> Int:
    """Return the position after a map or an array, whatever is in it."""
    todo = 1
    while todo > 0:
        todo -= 1
        count, keyed, begin = read_head(data, at)
        if count >= 0:
            todo += 2 * count if keyed else count
            at = begin
            continue
        size, begin = _read_size(data, at)
        at = begin + size if size >= 0 else _skip_scalar(data, at)
    return at


@kernel
def _read_day(data: Array, at: Int) -> float:
    """Read the UTC day of a time, since 1970-01-01."""
    head = int(data[at])
    if head == FIXED_EXTENSION_4:
        seconds = _read_big_endian(data, at + 2, BYTES_4)
    elif head == FIXED_EXTENSION_8:
        seconds = _read_big_endian(data, at + 2, BYTES_8) & SECONDS_MASK
    else:
        seconds = _read_signed(data, at + 7, BYTES_8)
    return float(seconds // SECONDS_PER_DAY)


@kernel
def _read_float(data: Array, at: Int) -> float:
    """Read a float of eight bytes. All numbers that are none become one."""
    number = np.int64(_read_big_endian(data, at, BYTES_8) & SIGN_MASK).view(np.float64)
    if number != number:
        return np.nan
    return -number if data[at] > 127 else number


@kernel
def read_date(data: Array, at: Int) -> float:
    """Read the day of a date, YYYY-MM-DD, since 1970-01-01.

    The days before a month are counted in years that begin in March, so that the leap day is the last one (H. Hinnant,
    "chrono-compatible low-level date algorithms").
    """
    year = 0
    for place in range(4):
        year = 10 * year + int(data[at + place]) - ZERO
    month = 10 * (int(data[at + 5]) - ZERO) + int(data[at + 6]) - ZERO
    day = 10 * (int(data[at + 8]) - ZERO) + int(data[at + 9]) - ZERO
    if month <= 2:
        year -= 1
        month += 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1
    return float(days - DAYS_BEFORE_1970)


@kernel
def get_number(tables: Tables, field: Int) -> float:
    """Return the number of a field; NaN if it is missing."""
    return tables.numbers[field] if tables.kinds[field] == NUMBER else np.nan


@kernel
def has_text(tables: Tables, field: Int) -> Bool:
    """Check if a field has a text that is not ''."""
    return tables.kinds[field] == TEXT and tables.fields[field, 1] > tables.fields[field, 0]


@kernel
def write_code(tables: Tables, data: Array, field: Int, at: Int) -> Int:
    """Write a text in small letters of ASCII with single blanks, or a number as Python does. Return the position after it."""
    text = tables.fields[field]
    if tables.kinds[field] == NUMBER:
        return write_number(tables, data, field, at)
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
def write_number(tables: Tables, data: Array, field: Int, at: Int) -> Int:
    """Write a number as `repr` does, or copy the text that Python wrote. Return the position after it, or NEEDS_PYTHON.

    A number is a whole number over a power of ten. The fewest decimals that give back its bits are those of `repr`: with at most 15
    digits no other number has them.
    """
    text = tables.fields[field]
    if text[2] >= 0:
        return append(tables.forms, at, data, text[2], text[3] - text[2])
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
