"""Words and phrases in kernels: the plain lists of the product as one hash table, and phrases of scripts without spaces.

The lists stay where they are used; `features.row` puts them together. A word has flags, a normal form among names, and one among the
words of an address.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from features.normalization.compiling import Array, Bool, Int, Tables, kernel

WORD_SLOTS = 4096
SLOT_MASK = WORD_SLOTS - 1
MAX_WORD = 32
SLOT_HASH, SLOT_START, SLOT_SIZE, SLOT_FLAGS, NAME_FORM, NAME_SIZE, ADDRESS_FORM, ADDRESS_SIZE, SLOT_ROLE = (
    range(9)
)
SLOT_COLUMNS = 9
NO_WORD = -1
FNV_OFFSET, FNV_PRIME, HASH_MASK = 0x811C9DC5, 0x01000193, 0xFFFFFFFF  # FNV-1a, 32 bits
# Flags of a word that the normal forms use. `features.parties` defines those of its lists.
HAS_NAME_FORM, HAS_ADDRESS_FORM, POST_BOX_WORD, GMAIL_DOMAIN, PERSONAL_NAME_WORD, FIRM_WORD = (
    1 << place for place in range(6)
)
FIRST_PARTY_FLAG = 1 << 6
# Roles in an address: words that take the number after them.
NO_ROLE, FLAT, FLOOR, BUILDING = range(4)

MAX_PHRASES, MAX_PHRASE = 128, 12
# Groups of phrases.
LEGAL_FORM_PHRASE, HONORIFIC_PHRASE = map(np.int64, range(2))
FIRST_PARTY_GROUP = 2
MAX_GROUPS = 16

# Letters that kernels compare with or write, by their number.
MARKS = (
    "box", "pobox", "post", "office", "number", "no", "nr", "apt", "fl", "st", "ho", "dong",
    "postfach", "postbus", "apartado", "casilla", "boite postale", "saseoham",
    "strasse", "straat", "str",
    "daero", "ro", "gil", "gu",
    "mailto:", "gmail.com", "gift", "sale",
)  # fmt: skip
(
    BOX, POBOX, POST, OFFICE, NUMBER, NO, NR, APT, FL, ST, HO, DONG,
    FIRST_POST_BOX, _, _, _, _, LAST_POST_BOX,
    FIRST_STREET_ENDING, _, LAST_STREET_ENDING,
    FIRST_KOREAN_ENDING, _, _, LAST_KOREAN_ENDING,
    MAILTO, GMAIL, GIFT, SALE,
) = map(np.int64, range(len(MARKS)))  # fmt: skip
MAX_MARK = 16

# Signs of a text: what becomes of each byte. Zero: it is left out.
NAME_SIGNS, KIND_SIGNS, ADDRESS_SIGNS = map(np.int64, range(3))
SIGN_SETS = 3
SPACE, HYPHEN, COMMA, NUMBER_SIGN = (ord(sign) for sign in " -,#")


class WordLists(NamedTuple):
    """The lists that the table of words is built from.

    Attributes
    ----------
    flags : mapping
        Flag to its words.
    name_forms, address_forms : mapping
        Word to its normal form; '' if it is left out.
    roles : mapping
        Word in normal form to its role in an address.
    phrases : mapping
        Group to its phrases.
    """

    flags: Mapping[int, Iterable[str]]
    name_forms: Mapping[str, str]
    address_forms: Mapping[str, str]
    roles: Mapping[str, int]
    phrases: Mapping[Int, Iterable[str]]


def hash_letters(letters: bytes) -> int:
    """Compute the hash of a word as `find_word` does."""
    number = FNV_OFFSET
    for letter in letters:
        number = ((number ^ letter) * FNV_PRIME) & HASH_MASK
    return number


def fill_words(tables: Tables, lists: WordLists) -> None:
    """Fill the hash table of words, and the phrases.

    Raises
    ------
    ValueError
        If a list is too long for the table, or a word for a kernel.
    """
    words = {*lists.name_forms, *lists.address_forms, *lists.roles, *lists.address_forms.values()} - {""}
    words.update(word for each in lists.flags.values() for word in each)
    if 2 * len(words) > WORD_SLOTS or max(map(len, words)) > MAX_WORD:
        raise ValueError(
            f"{len(words)} words of at most {max(map(len, words))} letters: a kernel has {WORD_SLOTS} places"
        )
    used = 0
    for word in sorted(words):
        letters = word.encode("ascii")
        slot = hash_letters(letters) % WORD_SLOTS
        while tables.words[slot, SLOT_SIZE]:
            slot = (slot + 1) % WORD_SLOTS
        row = tables.words[slot]
        used = _keep_letters(tables, row, SLOT_START, SLOT_SIZE, letters, used)
        row[SLOT_HASH] = hash_letters(letters)
        flags = sum(flag for flag, listed in lists.flags.items() if word in listed)
        if word in lists.name_forms:
            flags |= HAS_NAME_FORM
            used = _keep_letters(
                tables, row, NAME_FORM, NAME_SIZE, lists.name_forms[word].encode("ascii"), used
            )
        if word in lists.address_forms:
            flags |= HAS_ADDRESS_FORM
            form = lists.address_forms[word]
            used = _keep_letters(tables, row, ADDRESS_FORM, ADDRESS_SIZE, form.encode("ascii"), used)
        row[SLOT_FLAGS] = flags
        row[SLOT_ROLE] = lists.roles.get(lists.address_forms.get(word, word), NO_ROLE)
    for place, mark in enumerate(MARKS):
        tables.marks[place, : len(mark)] = list(mark.encode("ascii"))
        tables.mark_size[place] = len(mark)
    _fill_phrases(tables, lists.phrases)


def _keep_letters(tables: Tables, row: Array, start: int, size: int, letters: bytes, used: int) -> int:
    tables.word_blob[used : used + len(letters)] = list(letters)
    row[start], row[size] = used, len(letters)
    return used + len(letters)


def _fill_phrases(tables: Tables, phrases: Mapping[Int, Iterable[str]]) -> None:
    place = 0
    for group, listed in phrases.items():
        tables.phrase_range[group, 0] = place
        for phrase in listed:
            if place == MAX_PHRASES or not 0 < len(phrase) <= MAX_PHRASE:
                raise ValueError(f"no room for the phrase {phrase!r}")
            tables.phrases[place, : len(phrase)] = list(map(ord, phrase))
            tables.phrase_size[place] = len(phrase)
            tables.phrase_first[ord(phrase[0]) & 0xFF] |= 1 << group
            place += 1
        tables.phrase_range[group, 1] = place


def fill_signs(tables: Tables, place: Int, letters: bytes, omitted: bytes) -> None:
    """Fill one set of signs from the table that `bytes.translate` uses, and the bytes that it leaves out."""
    for code in range(256):
        tables.signs[place, code] = 0 if code in omitted else letters[code]


@kernel
def find_word(tables: Tables, text: Array, start: Int, end: Int) -> Int:
    """Return the row of a word in the table of words; NO_WORD if it is in no list."""
    size = end - start
    if size > MAX_WORD or size <= 0:
        return NO_WORD
    number = FNV_OFFSET
    for at in range(start, end):
        number = ((number ^ int(text[at])) * FNV_PRIME) & HASH_MASK
    slot = number & SLOT_MASK
    words = tables.words
    while words[slot, SLOT_SIZE] != 0:
        if words[slot, SLOT_HASH] == number and words[slot, SLOT_SIZE] == size:
            first, place = words[slot, SLOT_START], 0
            while place < size and tables.word_blob[first + place] == text[start + place]:
                place += 1
            if place == size:
                return slot
        slot = (slot + 1) & SLOT_MASK
    return NO_WORD


@kernel
def find_flags(tables: Tables, text: Array, start: Int, end: Int) -> Int:
    """Return the flags of a word, 0 if it is in no list."""
    slot = find_word(tables, text, start, end)
    return tables.words[slot, SLOT_FLAGS] if slot >= 0 else 0


@kernel
def match_phrase(tables: Tables, codes: Array, at: Int, end: Int, group: Int) -> Int:
    """Return the length of a phrase of the group that begins at a position; 0 if there is none."""
    code = codes[at]
    if tables.phrase_first[int(code) & 0xFF] >> group & 1 == 0:
        return 0
    for place in range(tables.phrase_range[group, 0], tables.phrase_range[group, 1]):
        size = tables.phrase_size[place]
        if code != tables.phrases[place, 0] or at + size > end:
            continue
        same = 1
        while same < size and codes[at + same] == tables.phrases[place, same]:
            same += 1
        if same == size:
            return size
    return 0


@kernel
def has_phrase(tables: Tables, codes: Array, end: Int, group: Int) -> Bool:
    """Check if a text has a phrase of the group."""
    for at in range(end):
        if match_phrase(tables, codes, at, end, group) > 0:
            return True
    return False


@kernel
def is_digit(code: Int) -> Bool:
    """Check for a digit of ASCII."""
    return 48 <= code <= 57


@kernel
def is_ascii_space(code: Int) -> Bool:
    """Check for white space of ASCII, as `str.isspace` does."""
    return code == SPACE or 9 <= code <= 13 or 28 <= code <= 31


@kernel
def to_lower(code: Int) -> Int:
    """Return the small letter of a capital of ASCII, and other code points as they are."""
    return code + 32 if 65 <= code <= 90 else code


@kernel
def is_letter(code: Int) -> Bool:
    """Check for a small letter of ASCII."""
    return 97 <= code <= 122


@kernel
def append(target: Array, at: Int, source: Array, start: Int, size: Int) -> Int:
    """Copy some bytes, and return the position after them."""
    for place in range(size):
        target[at + place] = source[start + place]
    return at + size


@kernel
def begins_with(tables: Tables, codes: Array, at: Int, end: Int, mark: Int) -> Bool:
    """Check if a mark is at a position."""
    size = tables.mark_size[mark]
    if at < 0 or at + size > end:
        return False
    for place in range(size):
        if codes[at + place] != tables.marks[mark, place]:
            return False
    return True


@kernel
def append_mark(tables: Tables, target: Array, at: Int, mark: Int) -> Int:
    """Write a mark, and return the position after it."""
    size = tables.mark_size[mark]
    for place in range(size):
        target[at + place] = tables.marks[mark, place]
    return at + size
