"""Letters in kernels: a text is decoded, composed (NFKC), and written in Latin letters, one code point after the other.

What a code point becomes is computed by Python's `unicodedata` and `anyascii` when a text first has one of its page of 256, so the bits
follow the interpreter's version of Unicode. Code points that may change with the one before them are marked. A kernel gives such a text
back, Python composes it, and the kernel reads it again.
"""

from functools import cache
from unicodedata import category, combining, decomposition, normalize

import numpy as np
from anyascii import anyascii

from features.normalization.compiling import START, Array, Bool, Int, Tables, inlined_kernel, kernel
from features.normalization.romanization import FINALS, FIRST_SYLLABLE, INITIALS, LAST_SYLLABLE, VOWELS
from features.normalization.words import is_ascii_space

CODE_POINTS = 0x110000
PAGE_BITS = 8
MAX_TEXT_BYTES = 2048
"""Maximum length of a text in UTF-8. The longest of a valid record has 500 characters of at most 4 bytes."""
MAX_COMPOSED = 49_152
"""Room for a composed text, and its maximum length in UTF-8: NFKC turns 3 bytes into at most 18 characters of 2 bytes."""
MAX_LATIN = 1 << 15
"""Room for a text in Latin letters. `anyascii` writes at most 42 letters for 4 bytes."""
MAX_LETTERS_OF_ONE = 64  # letters that one code point may become; the page of a longer one is refused
MAX_SPACE = 0x3001
LATIN_BLOB, COMPOSED_BLOB = 1 << 17, 1 << 16

# An entry of `latin`: bits 0-7 the number of letters, then up to six letters, else their position in `latin_blob`.
LETTER_BITS, INLINE_LETTERS = 8, 6
KNOWN, MAY_COMPOSE, DECIMAL, MAY_CHANGE, ALPHABETIC = (1 << bit for bit in range(56, 61))
PLACE_MASK = (1 << 48) - 1
# An entry of `composed`: the code point, or SEVERAL, their number from bit 24 on, and their position in `composed_blob`.
SEVERAL, COUNT_AT, POSITION_MASK = 1 << 31, 24, (1 << 24) - 1
RAW, COMPOSED, LATIN = range(3)  # of `sizes`
# Results below zero: what Python has to do before the kernel reads the row again.
NEEDS_PAGE, NEEDS_PYTHON, TOO_LONG, NEEDS_ROOM = -1, -2, -3, -4
ASCII_TEXT, OTHER_TEXT = 0, 1
ROMANIZED, TRANSLITERATED = np.int64(1), np.int64(0)
FOLDED, UPPER, AS_WRITTEN = map(np.int64, range(3))
"""How `read_letters` writes a text: with its case folded, in capitals, or as it is."""
MAX_FOLDED = 3 * MAX_TEXT_BYTES
"""Room for a text that `read_letters` writes: one code point becomes at most three."""
INITIAL, VOWEL, FINAL = map(np.int64, range(3))
_JAMO_VOWELS, _JAMO_FINALS = range(0x1161, 0x1176), range(0x11A8, 0x11C3)
_LAST_COMPOSING = 0x20000
CAPITAL_SIGMA, DOTTED_I = 0x3A3, 0x130


@cache
def list_composing() -> frozenset[str]:
    """Return the code points that a composition may join with the one before: the second ones of canonical decompositions."""
    second = {*map(chr, _JAMO_VOWELS), *map(chr, _JAMO_FINALS)}
    for code in range(_LAST_COMPOSING):
        parts = decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            second.add(chr(int(parts[1], 16)))
    return frozenset(second)


def may_compose(char: str) -> bool:
    """Check if the composed form of a character may depend on the characters before it."""
    return any(combining(each) or each in list_composing() for each in normalize("NFKC", char))


def may_change(char: str) -> bool:
    """Check if the canonical composition (NFC) of a text may change a character, or move it."""
    return normalize("NFC", char) != char or combining(char) != 0 or char in list_composing()


def fill_page(tables: Tables, page: int) -> None:
    """Fill the entries of 256 code points."""
    codes = range(page << PAGE_BITS, (page + 1) << PAGE_BITS)
    chars = list(map(chr, codes))
    lower = [char.lower() for char in chars]
    place = slice(codes.start, codes.stop)
    tables.lower[place] = [
        ord(low) if len(low) == 1 else code for low, code in zip(lower, codes, strict=True)
    ]
    tables.composed[place] = [_encode_composed(tables, normalize("NFKC", char)) for char in chars]
    tables.folded[place] = [_encode_composed(tables, char.casefold()) for char in chars]
    tables.upper[place] = [_encode_composed(tables, char.upper()) for char in chars]
    tables.latin[place] = [
        _encode_latin(tables, anyascii(char).encode("ascii")) | _get_flags(char) for char in chars
    ]


def _get_flags(char: str) -> int:
    return (
        KNOWN
        | (MAY_COMPOSE if may_compose(char) else 0)
        | (DECIMAL if category(char) == "Nd" else 0)
        | (MAY_CHANGE if may_change(char) else 0)
        | (ALPHABETIC if char.isalpha() else 0)
    )


def _encode_composed(tables: Tables, text: str) -> int:
    if len(text) == 1:
        return ord(text)
    place = int(tables.used[0])
    tables.composed_blob[place : place + len(text)] = list(map(ord, text))
    tables.used[0] += len(text)
    return SEVERAL | len(text) << COUNT_AT | place


def _encode_latin(tables: Tables, letters: bytes) -> int:
    if len(letters) > MAX_LETTERS_OF_ONE:
        raise ValueError(
            f"one code point becomes {len(letters)} letters, and a kernel has room for {MAX_LETTERS_OF_ONE}"
        )
    if len(letters) <= INLINE_LETTERS:
        return len(letters) | int.from_bytes(letters, "little") << LETTER_BITS
    place = int(tables.used[1])
    tables.latin_blob[place : place + len(letters)] = list(letters)
    tables.used[1] += len(letters)
    return len(letters) | place << LETTER_BITS


def fill_letters(tables: Tables) -> None:
    """Fill the tables that do not depend on a page: white space and the sounds of Hangul, and the page of ASCII."""
    for code in range(MAX_SPACE):
        tables.space[code] = chr(code).isspace()
    for place, sounds in enumerate((INITIALS, VOWELS, FINALS)):
        for number, sound in enumerate(sounds):
            tables.sound_size[place, number] = len(sound)
            tables.sounds[place, number, : len(sound)] = list(sound.encode())
    fill_page(tables, 0)


@kernel
def is_space(tables: Tables, code: Int) -> Bool:
    """Check for white space of any script, as `str.isspace` does."""
    return code < MAX_SPACE and tables.space[code] != 0


@inlined_kernel
def decode_one(data: Array, at: Int) -> tuple[Int, Int]:
    """Return the code point of UTF-8 that begins at a position, and the position after it."""
    byte = int(data[at])
    if byte < 0x80:
        return byte, at + 1
    if byte < 0xE0:
        return (byte & 0x1F) << 6 | (int(data[at + 1]) & 0x3F), at + 2
    if byte < 0xF0:
        code = (byte & 0x0F) << 12 | (int(data[at + 1]) & 0x3F) << 6 | (int(data[at + 2]) & 0x3F)
        return code, at + 3
    code = (byte & 0x07) << 18 | (int(data[at + 1]) & 0x3F) << 12
    return code | (int(data[at + 2]) & 0x3F) << 6 | (int(data[at + 3]) & 0x3F), at + 4


@kernel
def decode(data: Array, start: Int, end: Int, codes: Array) -> Int:
    """Write the code points of UTF-8, which may have surrogates, and return their number. The text is valid: a library wrote it."""
    size, at = 0, start
    while at < end:
        codes[size], at = decode_one(data, at)
        size += 1
    return size


@kernel
def load_text(tables: Tables, data: Array, text: Array) -> Int:
    """Load a text into `raw`, and into `latin` (ASCII) or `composed` (else). Return its kind, or what is needed first.

    `text` has the start and end of the text, and of its composed form if Python made one, else -1.
    """
    start, end = text[0], text[1]
    raw, latin = tables.raw, tables.latin_text
    high = 0
    for at in range(start, end):
        byte = int(data[at])
        high |= byte
        raw[at - start] = byte
        latin[at - start] = byte
    if high < 0x80:
        tables.sizes[RAW] = tables.sizes[LATIN] = end - start
        return ASCII_TEXT
    size = decode(data, start, end, raw)
    tables.sizes[RAW] = size
    for place in range(size):
        if tables.latin[raw[place]] & KNOWN == 0:
            tables.page[0] = raw[place] >> PAGE_BITS
            return NEEDS_PAGE
    composed = tables.composed_text
    if text[2] >= 0:
        tables.sizes[COMPOSED] = decode(data, text[2], text[3], composed)
    else:
        count = _compose(tables, raw, size, composed)
        if count < 0:
            return count
        tables.sizes[COMPOSED] = count
    for place in range(tables.sizes[COMPOSED]):
        if tables.latin[composed[place]] & KNOWN == 0:
            tables.page[0] = composed[place] >> PAGE_BITS
            return NEEDS_PAGE
    return OTHER_TEXT


@kernel
def load_stripped(tables: Tables, data: Array, text: Array) -> tuple[Int, Array, Int, Int]:
    """Load a text that Python composes if it is beyond ASCII. Return its kind or what is needed first, its code points, and their range without blanks around it."""
    kind = load_text(tables, data, text)
    codes, start, end = tables.raw, START, tables.sizes[RAW]
    if kind == OTHER_TEXT:
        codes, end = tables.composed_text, tables.sizes[COMPOSED]
        if text[2] < 0:
            kind = NEEDS_PYTHON
    if kind < 0:
        return kind, codes, START, START
    while start < end and is_ascii_space(codes[start]):
        start += 1
    while end > start and is_ascii_space(codes[end - 1]):
        end -= 1
    return kind, codes, start, end


@kernel
def read_letters(tables: Tables, data: Array, text: Array, how: Int, at: Int) -> tuple[Int, Int]:
    """Write the code points of a text into `letters` from a position on, in one case and without white space around it.

    Parameters
    ----------
    tables : Tables
    data : uint8 array
    text : int64 array, (4,)
        Start and end of the text.
    how : int
        FOLDED as `str.casefold`, UPPER as `str.upper`, or AS_WRITTEN, which keeps white space.
    at : int
        `letters` has room for MAX_FOLDED code points from there on.

    Returns
    -------
    start, end : int
        Its range in `letters`. If a page is needed first, `start` is NEEDS_PAGE.
    """
    letters, ascii_only = tables.letters, True
    end = at
    for place in range(text[0], text[1]):
        byte = int(data[place])
        ascii_only = ascii_only and byte < 0x80
        if 65 <= byte <= 90 and how == FOLDED:
            byte += 32
        elif 97 <= byte <= 122 and how == UPPER:
            byte -= 32
        letters[end] = byte
        end += 1
    if not ascii_only:
        end = _read_other_letters(tables, data, text, how, at)
        if end < 0:
            return end, end
    start = at
    if how != AS_WRITTEN:
        while start < end and is_space(tables, letters[start]):
            start += 1
        while end > start and is_space(tables, letters[end - 1]):
            end -= 1
    return start, end


@kernel
def check_composed(tables: Tables, data: Array, start: Int, end: Int) -> Int:
    """Check that the canonical composition (NFC) changes nothing of a text. Return 0, or what is needed first."""
    at = start
    while at < end:
        if data[at] < 0x80:
            at += 1
            continue
        code, at = decode_one(data, at)
        if tables.latin[code] & KNOWN == 0:
            tables.page[0] = code >> PAGE_BITS
            return NEEDS_PAGE
        if tables.latin[code] & MAY_CHANGE != 0:
            return NEEDS_PYTHON
    return 0


@kernel
def _read_other_letters(tables: Tables, data: Array, text: Array, how: Int, at: Int) -> Int:
    """Write a text beyond ASCII. Return the position after it, or NEEDS_PAGE. No case turns white space into something else."""
    letters, place = tables.letters, text[0]
    while place < text[1]:
        code, place = decode_one(data, place)
        if tables.latin[code] & KNOWN == 0:
            tables.page[0] = code >> PAGE_BITS
            return NEEDS_PAGE
        entry = int(tables.folded[code] if how == FOLDED else tables.upper[code] if how == UPPER else code)
        if entry & SEVERAL == 0:
            letters[at] = entry
            at += 1
            continue
        first = entry & POSITION_MASK
        for other in range((entry >> COUNT_AT) & 0x7F):
            letters[at] = tables.composed_blob[first + other]
            at += 1
    return at


@kernel
def is_same_text(codes: Array, one: Int, one_end: Int, other: Int, other_end: Int) -> Bool:
    """Check if two ranges of an array are equal."""
    if one_end - one != other_end - other:
        return False
    for place in range(one_end - one):
        if codes[one + place] != codes[other + place]:
            return False
    return True


@kernel
def _compose(tables: Tables, raw: Array, size: Int, composed: Array) -> Int:
    count = 0
    for place in range(size):
        code = raw[place]
        if tables.latin[code] & MAY_COMPOSE != 0:
            return NEEDS_PYTHON
        if count + MAX_LETTERS_OF_ONE > MAX_COMPOSED:
            return TOO_LONG
        entry = int(tables.composed[code])
        if entry & SEVERAL == 0:
            composed[count] = entry
            count += 1
        else:
            first = entry & POSITION_MASK
            several = (entry >> COUNT_AT) & 0x7F
            for other in range(several):
                composed[count + other] = tables.composed_blob[first + other]
            count += several
    return count


@kernel
def write_latin(tables: Tables, codes: Array, size: Int, hangul: Int) -> Int:
    """Write code points in Latin letters into `latin_text`. Return 0, or TOO_LONG. If `hangul` is ROMANIZED, syllables are written as on street signs."""
    latin, count = tables.latin_text, 0
    for place in range(size):
        code = int(codes[place])
        if count + MAX_LETTERS_OF_ONE > MAX_LATIN:
            return TOO_LONG
        if hangul == ROMANIZED and FIRST_SYLLABLE <= code <= LAST_SYLLABLE:
            count = _write_syllable(tables, code - FIRST_SYLLABLE, count)
            continue
        entry = tables.latin[code]
        length = entry & 0xFF
        if length <= INLINE_LETTERS:
            letters = entry >> LETTER_BITS
            for other in range(length):
                latin[count + other] = letters & 0xFF
                letters >>= LETTER_BITS
        else:
            first = (entry & PLACE_MASK) >> LETTER_BITS
            for other in range(length):
                latin[count + other] = tables.latin_blob[first + other]
        count += length
    tables.sizes[LATIN] = count
    return 0


@kernel
def _write_syllable(tables: Tables, number: Int, count: Int) -> Int:
    finals, vowels = 28, 21
    final = number % finals
    vowel = (number // finals) % vowels
    count = _write_sound(tables, INITIAL, number // (finals * vowels), count)
    count = _write_sound(tables, VOWEL, vowel, count)
    return _write_sound(tables, FINAL, final, count)


@kernel
def _write_sound(tables: Tables, place: Int, number: Int, count: Int) -> Int:
    size = tables.sound_size[place, number]
    for other in range(size):
        tables.latin_text[count + other] = tables.sounds[place, number, other]
    return count + size


@kernel
def read_latin(tables: Tables, data: Array, text: Array, hangul: Int) -> Int:
    """Load a text and write it in Latin letters, composed (NFKC). Return its kind, or what is needed first."""
    kind = load_text(tables, data, text)
    if kind == OTHER_TEXT:
        fault = write_latin(tables, tables.composed_text, tables.sizes[COMPOSED], hangul)
        if fault < 0:
            return fault
    return kind
