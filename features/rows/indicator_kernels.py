"""Kernels that compute the indicators of a row and look them up: the same values and hashes as `features.indicators`.

Each value is written as bytes into `message`. A value that a kernel has no room for marks the row, and Python computes it.
"""

import numpy as np

from features.history.key_kernels import hash_message
from features.normalization.compiling import START, Array, Bool, Int, Tables, kernel
from features.normalization.letters import UPPER, read_letters
from features.normalization.names import rotate_letters
from features.normalization.record_kernels import find_fields, has_text
from features.normalization.text_hashes import has_hash
from features.normalization.words import SPACE, append, is_digit, is_letter
from features.rows.slots import ACCOUNT_SLOT, ADDRESS, EMAIL, OTHER_SIDE, PHONE
from features.rows.slots import NAME as NAME_SLOT

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
    first = side * OTHER_SIDE
    if indicator == NAME_AND_PLACE or indicator == PREMISES or indicator == STREET:
        return _write_of_address(tables, first, indicator)
    if indicator == LOCAL_NUMBER:
        return _write_local_number(tables, first)
    if indicator == MAILBOX:
        return _write_mailbox(tables, first)
    slot, at = first + EMAIL, START
    if indicator == WHOLE_ADDRESS:
        slot = first + ADDRESS
    elif indicator == WHOLE_PHONE:
        slot = first + PHONE
    elif indicator == ACCOUNT:
        slot = ACCOUNT_SLOT
    elif indicator == NAME:
        slot = first + NAME_SLOT
    start, end = tables.slots[slot, 0], tables.slots[slot, 1]
    if start == end or (indicator == ACCOUNT and side == 1):
        return START
    if indicator == NAME:
        at = _write_country(tables, data, SENDER_COUNTRY if side == 0 else CONSIGNEE_COUNTRY)
    return append(tables.message, at, tables.forms, start, end - start) if at >= 0 else at


@kernel
def _write_country(tables: Tables, data: Array, country: Int) -> Int:
    """Write a country and a bar. Return the position after it; NOT_READ if the country is not in ASCII."""
    size = 0
    if has_text(tables, country):
        start, end = read_letters(tables, data, tables.fields[country], UPPER, START)
        if start < 0:
            return NOT_READ
        for place in range(start, end):
            if tables.letters[place] > 0x7F:
                return NOT_READ
            tables.message[size] = tables.letters[place]
            size += 1
    tables.message[size] = BAR
    return size + 1


@kernel
def _write_of_address(tables: Tables, first: Int, indicator: Int) -> Int:
    """Write a value that begins with the country of an address, and in most cases its postcode or city."""
    start, end = tables.slots[first + ADDRESS, 0], tables.slots[first + ADDRESS, 1]
    if start == end:
        return START
    line = end
    while line > start and tables.forms[line - 1] != BAR:
        line -= 1
    code = line - 1
    while code > start and tables.forms[code - 1] != BAR:
        code -= 1
    street = indicator == STREET
    if not street and code == line - 1:
        return START
    at = append(tables.message, START, tables.forms, start, (code if street else line) - start)
    if street:
        return _write_street(tables, line, end, at)
    if indicator == PREMISES:
        return _write_premises(tables, line, end, at)
    name, name_end = tables.slots[first + NAME_SLOT, 0], tables.slots[first + NAME_SLOT, 1]
    after = _write_consonants(tables, name, name_end, at) if name_end > name else at
    return after if after > at else START


@kernel
def _write_consonants(tables: Tables, start: Int, end: Int, at: Int) -> Int:
    """Write the consonants of a name, which has no beginning; nothing if they are few. A name with digits stays whole."""
    message = tables.message
    for place in range(start, end):
        if not is_letter(int(tables.forms[place])):
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
def _write_premises(tables: Tables, line: Int, end: Int, at: Int) -> Int:
    """Write the words of a street line that have digits. Return 0 if there is none."""
    begin, word, digit = at, at, False
    for place in range(line, end + 1):
        letter = int(tables.forms[place]) if place < end else SPACE
        tables.message[at] = letter
        at += 1
        digit = digit or is_digit(letter)
        if letter == SPACE:
            word = at = at if digit else word
            digit = False
    return at - 1 if at > begin else START


@kernel
def _write_street(tables: Tables, line: Int, end: Int, at: Int) -> Int:
    """Write the sorted numbers of a street line, and the consonants of its longest word. Return 0 if there is neither."""
    count = _sort_figures(tables, line, end)
    if count <= 0:
        return count
    for figure in range(count):
        for place in range(tables.starts[figure], tables.ends[figure]):
            tables.message[at] = tables.forms[place]
            at += 1
        tables.message[at] = SPACE
        at += 1
    tables.message[at - 1] = BAR
    longest, longest_end, word, letters = line, line, line, 0
    for place in range(line, end + 1):
        letter = int(tables.forms[place]) if place < end else SPACE
        letters += 1 if is_letter(letter) else 0
        if letter == SPACE:
            if letters == place - word and letters > longest_end - longest:
                longest, longest_end = word, place
            word, letters = place + 1, 0
    after = _drop_weak_letters(tables, longest, longest_end, at)
    return after if after - at > 1 else START


@kernel
def _sort_figures(tables: Tables, start: Int, end: Int) -> Int:
    """Find the numbers of a street line and sort them as texts. Return how many there are, or NOT_READ; `starts` and `ends` have their places."""
    count, at = 0, start
    while at < end:
        after = at
        while after < end and is_digit(int(tables.forms[after])):
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
        if is_digit(int(tables.forms[at])):
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
