"""Kernels that compute the indicators of a row and look them up: the same values and hashes as `features.indicators`.

Each value is written as bytes into `message`. A value that a kernel has no room for marks the row, and Python computes it.
"""

import numpy as np

from features.history.key_kernels import hash_message
from features.normalization.compiling import START, Array, Bool, Int, Tables, kernel
from features.normalization.emails import encode
from features.normalization.letters import UPPER, read_letters
from features.normalization.names import rotate_letters
from features.normalization.record_kernels import find_fields, has_text
from features.normalization.text_hashes import has_hash
from features.normalization.words import SPACE, append, is_digit, is_letter
from features.row_slots import ACCOUNT_SLOT, ADDRESS, EMAIL, FIRST_SIDE, OTHER_SIDE, PHONE
from features.row_slots import NAME as NAME_SLOT

(
    NAME,
    NAME_AND_PLACE,
    WHOLE_ADDRESS,
    PREMISES,
    STREET,
    WHOLE_PHONE,
    LOCAL_NUMBER,
    WHOLE_EMAIL,
    MAILBOX,
    ACCOUNT,
) = map(np.int64, range(10))
"""Indicators in the order of `features.indicators.values.INDICATORS`."""
KEY_WORDS = 8
KEY_COLUMNS = KEY_WORDS + 1
"""Columns of the keys of indicators: the state of BLAKE2b after the block of the key, and the number of the indicator."""
MIN_NAME_CONSONANTS = 4
MIN_LOCAL_LETTERS = 6
LOCAL_PHONE_DIGITS = 8
WEAK_LETTERS = tuple(b"aeiouhwy")
MAX_FIGURES = 64
BAR, AT_SIGN = ord("|"), ord("@")
NOT_READ = np.int64(-1)
SENDER_COUNTRY, CONSIGNEE_COUNTRY = find_fields("sender_country", "consignee_country")


@kernel
def has_indicator(tables: Tables, data: Array, indicator_keys: Array, hashes: Array) -> Bool:
    """Check if a party of the row may have a known indicator.

    Parameters
    ----------
    tables : Tables
        With the forms and codes of the row.
    data : uint8 array
    indicator_keys : uint64 array, (keys, KEY_COLUMNS)
        Keys of one indicator stand together.
    hashes : uint64 array
        The first eight bytes of each known indicator, from `features.normalization.text_hashes.TextHashes`.
    """
    for side in range(2):
        size, written = START, NOT_READ
        for place in range(indicator_keys.shape[0]):
            indicator = np.int64(indicator_keys[place, KEY_WORDS])
            if indicator != written:
                size, written = _write_value(tables, data, side, indicator), indicator
            if size < 0:
                return True
            if size == 0:
                continue
            state = indicator_keys[place]
            if has_hash(hashes, hash_message(state, tables.message, size, tables.hash, tables.block)):
                return True
    return False


@kernel
def _write_value(tables: Tables, data: Array, side: Int, indicator: Int) -> Int:
    """Write the value of an indicator into `message`. Return its size, 0 if it is missing, or NOT_READ."""
    first = FIRST_SIDE if side == 0 else OTHER_SIDE
    if indicator == NAME:
        return _write_name(tables, data, first, SENDER_COUNTRY if side == 0 else CONSIGNEE_COUNTRY)
    if indicator == NAME_AND_PLACE:
        return _write_name_and_place(tables, first)
    if indicator == PREMISES:
        return _write_premises(tables, first)
    if indicator == STREET:
        return _write_street(tables, first)
    if indicator == LOCAL_NUMBER:
        return _write_local_number(tables, first)
    if indicator == MAILBOX:
        return _write_mailbox(tables, first)
    if indicator == ACCOUNT:
        return _copy_slot(tables, ACCOUNT_SLOT, START) if side == 0 else START
    slot = ADDRESS if indicator == WHOLE_ADDRESS else PHONE if indicator == WHOLE_PHONE else EMAIL
    return _copy_slot(tables, first + slot, START)


@kernel
def _copy_slot(tables: Tables, slot: Int, at: Int) -> Int:
    start = tables.slots[slot, 0]
    return append(tables.message, at, tables.forms, start, tables.slots[slot, 1] - start)


@kernel
def _is_missing(tables: Tables, slot: Int) -> Bool:
    return tables.slots[slot, 1] == tables.slots[slot, 0]


@kernel
def _write_name(tables: Tables, data: Array, first: Int, country: Int) -> Int:
    """Write country and name."""
    if _is_missing(tables, first + NAME_SLOT):
        return START
    at = START
    if has_text(tables, country):
        start, end = read_letters(tables, data, tables.fields[country], UPPER, START)
        if start < 0:
            return NOT_READ
        at = encode(tables.message, at, tables.letters, start, end)
    tables.message[at] = BAR
    return _copy_slot(tables, first + NAME_SLOT, at + 1)


@kernel
def _find_line(tables: Tables, first: Int) -> tuple[Int, Int, Int]:
    """Return where the postcode or city of an address begins, where its street line begins, and where it ends."""
    start, end = tables.slots[first + ADDRESS, 0], tables.slots[first + ADDRESS, 1]
    line = end
    while line > start and tables.forms[line - 1] != BAR:
        line -= 1
    code = line - 1
    while code > start and tables.forms[code - 1] != BAR:
        code -= 1
    return code, line, end


@kernel
def _write_name_and_place(tables: Tables, first: Int) -> Int:
    """Write country, postcode or city, and the consonants of the name."""
    if _is_missing(tables, first + NAME_SLOT) or _is_missing(tables, first + ADDRESS):
        return START
    code, line, _ = _find_line(tables, first)
    if code == line - 1:
        return START
    address, name = tables.slots[first + ADDRESS, 0], tables.slots[first + NAME_SLOT, 0]
    at = append(tables.message, START, tables.forms, address, line - address)
    end = _write_consonants(tables, name, tables.slots[first + NAME_SLOT, 1], at)
    return end if end > at else START


@kernel
def _write_consonants(tables: Tables, start: Int, end: Int, at: Int) -> Int:
    """Write the consonants of a name, which has no beginning; nothing if they are few. A name with digits stays whole."""
    message = tables.message
    for place in range(start, end):
        if not is_letter(tables.forms[place]):
            return append(message, at, tables.forms, start, end - start)
    after = _drop_weak_letters(tables, start, end, at)
    if after - at > 1 and message[at] == message[after - 1]:
        after -= 1
    return rotate_letters(tables, message, at, after) if after - at >= MIN_NAME_CONSONANTS else at


@kernel
def _drop_weak_letters(tables: Tables, start: Int, end: Int, at: Int) -> Int:
    """Write the letters of a form without vowels and the like, and without repeats of the letter before."""
    before = SPACE
    for place in range(start, end):
        letter = int(tables.forms[place])
        if letter in WEAK_LETTERS:
            continue
        if letter != before:
            tables.message[at] = letter
            at += 1
        before = letter
    return at


@kernel
def _find_word_end(tables: Tables, start: Int, end: Int) -> tuple[Int, Int, Bool]:
    """Return the end of the word of a street line that begins here, and how many of its signs are letters, and if any is a digit."""
    letters, digit, at = 0, False, start
    while at < end and tables.forms[at] != SPACE:
        letters += 1 if is_letter(tables.forms[at]) else 0
        digit = digit or is_digit(tables.forms[at])
        at += 1
    return at, letters, digit


@kernel
def _write_premises(tables: Tables, first: Int) -> Int:
    """Write country, postcode or city, and the words with digits."""
    if _is_missing(tables, first + ADDRESS):
        return START
    code, line, end = _find_line(tables, first)
    if code == line - 1:
        return START
    address = tables.slots[first + ADDRESS, 0]
    begin = at = append(tables.message, START, tables.forms, address, line - address)
    while line < end:
        after, _, digit = _find_word_end(tables, line, end)
        if digit:
            if at > begin:
                tables.message[at] = SPACE
                at += 1
            at = append(tables.message, at, tables.forms, line, after - line)
        line = after + 1
    return at if at > begin else START


@kernel
def _write_street(tables: Tables, first: Int) -> Int:
    """Write country, the sorted numbers of the street line, and the consonants of its longest word."""
    if _is_missing(tables, first + ADDRESS):
        return START
    code, line, end = _find_line(tables, first)
    count = _sort_figures(tables, line, end)
    if count <= 0:
        return count
    address = tables.slots[first + ADDRESS, 0]
    at = append(tables.message, START, tables.forms, address, code - address)
    for place in range(count):
        if place > 0:
            tables.message[at] = SPACE
            at += 1
        start = tables.starts[place]
        at = append(tables.message, at, tables.forms, start, tables.ends[place] - start)
    tables.message[at] = BAR
    longest, longest_end = line, line
    while line < end:
        after, letters, _ = _find_word_end(tables, line, end)
        if letters == after - line and letters > longest_end - longest:
            longest, longest_end = line, after
        line = after + 1
    after = _drop_weak_letters(tables, longest, longest_end, at + 1)
    return after if after - at > 2 else START


@kernel
def _sort_figures(tables: Tables, start: Int, end: Int) -> Int:
    """Find the numbers of a street line and sort them as texts. Return how many there are, or NOT_READ; `starts` and `ends` have their places."""
    count, at = 0, start
    while at < end:
        after = at
        while after < end and is_digit(tables.forms[after]):
            after += 1
        if after > at:
            if count == MAX_FIGURES:
                return NOT_READ
            place = count
            while place > 0 and _is_before(
                tables, at, after, tables.starts[place - 1], tables.ends[place - 1]
            ):
                tables.starts[place], tables.ends[place] = tables.starts[place - 1], tables.ends[place - 1]
                place -= 1
            tables.starts[place], tables.ends[place] = at, after
            count += 1
        at = after + 1
    return count


@kernel
def _is_before(tables: Tables, one: Int, one_end: Int, other: Int, other_end: Int) -> Bool:
    """Check if a part of the forms sorts before another one."""
    while one < one_end and other < other_end:
        if tables.forms[one] != tables.forms[other]:
            return tables.forms[one] < tables.forms[other]
        one += 1
        other += 1
    return one == one_end and other < other_end


@kernel
def _write_local_number(tables: Tables, first: Int) -> Int:
    """Write the last digits of a phone."""
    start, at = tables.slots[first + PHONE, 0], tables.slots[first + PHONE, 1]
    count = START
    while at > start and count < LOCAL_PHONE_DIGITS:
        at -= 1
        if is_digit(tables.forms[at]):
            count += 1
            tables.message[LOCAL_PHONE_DIGITS - count] = tables.forms[at]
    return count if count == LOCAL_PHONE_DIGITS else START


@kernel
def _write_mailbox(tables: Tables, first: Int) -> Int:
    """Write the letters and digits of an e-mail before the first @."""
    size = START
    for place in range(tables.slots[first + EMAIL, 0], tables.slots[first + EMAIL, 1]):
        letter = int(tables.forms[place])
        if letter == AT_SIGN:
            break
        if is_letter(letter) or is_digit(letter) or 65 <= letter <= 90:
            tables.message[size] = letter
            size += 1
    return size if size >= MIN_LOCAL_LETTERS else START
