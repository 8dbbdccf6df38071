"""Kernels of postal addresses: country, postcode (else city), and the sorted words of the street line in normal form.

The number of a flat, a floor or a post box stays with its word. Words of city, postcode and country in the street line are dropped.
"""

import numpy as np

from features.normalization.compiling import START, Array, Bool, Int, Tables, kernel
from features.normalization.emails import encode
from features.normalization.letters import (
    LATIN,
    RAW,
    ROMANIZED,
    TRANSLITERATED,
    is_space,
    load_stripped,
    load_text,
    read_latin,
)
from features.normalization.names import split_words
from features.normalization.street_lines import read_street_line
from features.normalization.words import (
    NAME_SIGNS,
    SPACE,
    append,
    is_digit,
    is_letter,
    to_lower,
)

BAR = ord("|")
KOREA, US = (tuple(map(np.int64, code)) for code in (b"KR", b"US"))
# Of `place_sizes`: what an address is in, before its street line is read.
HOME, CODE, TOWN, POSTCODE = range(4)
US_ZIP_LENGTH = 5


@kernel
def write_address(tables: Tables, data: Array, address: Array, city: Array, postcode: Array, at: Int) -> Int:
    """Write the normal form of an address into `forms`, and return the position after it, or what is needed first.

    `read_home` has read the country. The form is empty without a street line.
    """
    if address[0] < 0 or address[1] == address[0]:
        return at
    fault = _read_code(tables, data, postcode)
    if fault >= 0:
        fault = _read_town(tables, data, city)
    if fault >= 0:
        fault = _read_postcode_parts(tables, data, postcode)
    if fault >= 0:
        fault = read_latin(tables, data, address, ROMANIZED)
    if fault < 0:
        return fault
    count = read_street_line(tables, is_home(tables, *KOREA))
    if count == 0:
        return at
    return _join_address(tables, count, at)


@kernel
def read_home(tables: Tables, data: Array, country: Array) -> Int:
    """Read a country into `home`, without blanks around it and in capitals. Python does so beyond ASCII."""
    tables.place_sizes[HOME] = 0
    if country[0] < 0 or country[1] == country[0]:
        return 0
    kind, codes, start, end = load_stripped(tables, data, country)
    if kind < 0:
        return kind
    for place in range(start, end):
        code = int(codes[place])
        tables.home[place - start] = code - 32 if is_letter(code) else code
    tables.place_sizes[HOME] = end - start
    return 0


@kernel
def is_home(tables: Tables, first: Int, second: Int) -> Bool:
    """Check if the country has a code of two letters."""
    return tables.place_sizes[HOME] == 2 and tables.home[0] == first and tables.home[1] == second


@kernel
def _read_code(tables: Tables, data: Array, postcode: Array) -> Int:
    """Read the letters and digits of a postcode into `code`; of a US one the first five."""
    tables.place_sizes[CODE] = 0
    if postcode[0] < 0 or postcode[1] == postcode[0]:
        return 0
    fault = read_latin(tables, data, postcode, TRANSLITERATED)
    if fault < 0:
        return fault
    size = 0
    for at in range(tables.sizes[LATIN]):
        letter = to_lower(int(tables.latin_text[at]))
        if is_letter(letter) or is_digit(letter):
            tables.code[size] = letter
            size += 1
    if is_home(tables, *US):
        size = min(size, US_ZIP_LENGTH)
    tables.place_sizes[CODE] = size
    return 0


@kernel
def _read_town(tables: Tables, data: Array, city: Array) -> Int:
    """Read the words of a city into `town`."""
    tables.place_sizes[TOWN] = 0
    if city[0] < 0 or city[1] == city[0]:
        return 0
    fault = read_latin(tables, data, city, ROMANIZED)
    if fault < 0:
        return fault
    count = split_words(tables, tables.latin_text, tables.sizes[LATIN], NAME_SIGNS)
    if count > 0:
        append(tables.town, START, tables.arena, START, tables.ends[count - 1])
    for word in range(count):
        tables.town_starts[word], tables.town_ends[word] = tables.starts[word], tables.ends[word]
    tables.place_sizes[TOWN] = count
    return 0


@kernel
def _read_postcode_parts(tables: Tables, data: Array, postcode: Array) -> Int:
    """Add the parts of a postcode with a blank to the words of the city, because a street line may repeat them."""
    count = tables.place_sizes[TOWN]
    tables.place_sizes[POSTCODE] = count
    if postcode[0] < 0 or postcode[1] == postcode[0]:
        return 0
    kind = load_text(tables, data, postcode)
    if kind < 0:
        return kind
    used = tables.town_ends[count - 1] if count > 0 else 0
    inside, plain, blank = False, True, False
    for place in range(tables.sizes[RAW] + 1):
        code = int(tables.raw[place]) if place < tables.sizes[RAW] else 0
        ends = place == tables.sizes[RAW]
        blank = blank or code == SPACE
        if not ends and not is_space(tables, code):
            if not inside:
                tables.town_starts[count] = used
                inside, plain = True, True
            lower = int(tables.lower[code])
            # A street line has only words of ASCII. Others are not repeated in it.
            plain = plain and lower < 0x80
            tables.town[used] = lower & 0x7F
            used += 1
        elif inside:
            inside = False
            tables.town_ends[count] = used
            count += 1 if plain else 0
    if blank:
        tables.place_sizes[POSTCODE] = count
    return 0


@kernel
def _is_repeated(tables: Tables, start: Int, end: Int) -> Bool:
    """Check if a word of a street line repeats postcode, country or city."""
    size = end - start
    if size == tables.place_sizes[CODE] and _is_same(tables.code, START, tables.arena, start, size):
        return True
    if size == tables.place_sizes[HOME]:
        same = 0
        while same < size and tables.lower[tables.home[same]] == tables.arena[start + same]:
            same += 1
        if same == size:
            return True
    for word in range(tables.place_sizes[POSTCODE]):
        first = tables.town_starts[word]
        if tables.town_ends[word] - first == size and _is_same(tables.town, first, tables.arena, start, size):
            return True
    return False


@kernel
def _is_same(one: Array, first: Int, other: Array, second: Int, size: Int) -> Bool:
    for place in range(size):
        if one[first + place] != other[second + place]:
            return False
    return True


@kernel
def _join_address(tables: Tables, count: Int, at: Int) -> Int:
    """Write country, postcode or city, and the words that repeat neither. If all words do, or `keeps_all` is set, all are written."""
    kept = 0
    for word in range(count):
        kept += 0 if _is_repeated(tables, tables.starts[word], tables.ends[word]) else 1
    if tables.keeps_all[0] != 0:
        kept = 0
    end = encode(tables.forms, at, tables.home, START, tables.place_sizes[HOME])
    tables.forms[end] = BAR
    end += 1
    if tables.place_sizes[CODE] > 0:
        end = append(tables.forms, end, tables.code, START, tables.place_sizes[CODE])
    else:
        for word in range(tables.place_sizes[TOWN]):
            first = tables.town_starts[word]
            end = append(tables.forms, end, tables.town, first, tables.town_ends[word] - first)
    tables.forms[end] = BAR
    end += 1
    tables.line_start[0] = end
    for word in range(count):
        start, stop = tables.starts[word], tables.ends[word]
        if kept > 0 and _is_repeated(tables, start, stop):
            continue
        if end > tables.line_start[0]:
            tables.forms[end] = SPACE
            end += 1
        end = append(tables.forms, end, tables.arena, start, stop - start)
    return end
