"""Kernels that search a row for what alerts ask for, so that Python compares only rows that an alert may match.

`features.alerts.index` keeps each alert under its most selective pattern. Here the same values of a row are looked up in a set of hashes. A row may be
marked though no alert matches it, but a row that an alert matches is always marked: what a kernel cannot read marks the row.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.items import HS_DIGITS, TEXTS
from features.normalization.compiling import START, Array, Bool, Int, Tables, kernel
from features.normalization.letters import (
    LATIN,
    MAX_TEXT_BYTES,
    NEEDS_PAGE,
    TRANSLITERATED,
    UPPER,
    read_latin,
    read_letters,
)
from features.normalization.record_kernels import FIRST_ITEM_FIELD, find_fields, has_text
from features.normalization.text_hashes import (
    MIN_SLOTS,
    TextHashes,
    has_hash,
    has_text_hash,
    hash_text,
    start_hash,
    update_hash,
)
from features.normalization.words import HYPHEN, SPACE, is_digit, is_letter, to_lower
from features.route import read_places
from features.rows.form_buffer import NO_FORMS, FormBuffer
from features.rows.indicator_kernels import KEY_COLUMNS, has_indicator
from features.rows.slots import ADDRESS, NAME, OTHER_SIDE

# Lists of the values by which alerts are found, that of a sender before that of a consignee: names, words of streets, words of goods with their first and last letters, and codes.
BUCKETS = 11
(
    SENDERS, CONSIGNEES, SENDER_STREETS, CONSIGNEE_STREETS, WORDS, STARTS, ENDS, PARTS, PLACES, PRODUCTS, DEPARTURES
) = map(np.int64, range(BUCKETS))  # fmt: skip
TEXT_LISTS = sum(1 << int(place) for place in (WORDS, STARTS, ENDS, PARTS))
GRAM_LETTERS = np.int64(3)
"""Number of first or last letters by which words with wildcards are looked up."""
MAX_PART_LETTERS = np.int64(7)
"""Most letters by which a part of a word is looked up: with one byte each, they are one whole number."""
PART_MASK = (1 << 8 * int(MAX_PART_LETTERS)) - 1
LENGTHS_AT = np.int64(16)
"""From this bit of `AlertTables.lists` on, there is a flag for each number of letters by which a part is looked up."""
BAR, UNDERSCORE = ord("|"), ord("_")
QUOTES = (ord("'"), ord("`"))
(DEPARTURE,) = find_fields("departure_country")
POSSIBLE, IMPOSSIBLE = np.int64(1), np.int64(0)


class AlertTables(NamedTuple):
    """The values by which the known alerts are found.

    Attributes
    ----------
    lists : int
        A flag for each list that has any value, and the flags of LENGTHS_AT.
    hashes : uint64 array
        The values of all lists, and the first eight bytes of indicators; from `features.normalization.text_hashes.TextHashes`.
    indicator_keys : uint64 array, (keys, KEY_COLUMNS)
        The keys of the kinds of indicators that are known.
    """

    lists: int
    hashes: NDArray[np.uint64]
    indicator_keys: NDArray[np.uint64]


class AlertSearch(NamedTuple):
    """A search for rows that an alert may match.

    Attributes
    ----------
    tables : AlertTables
    candidates : uint8 array, (rows,)
        Receives 1 if an alert may match a row, else 0. Empty: nothing is searched.
    forms : FormBuffer
        Receives the normal forms of the rows that are marked; of all rows if nothing is searched and it is not empty.
    """

    tables: AlertTables
    candidates: NDArray[np.uint8]
    forms: FormBuffer

    def list_candidates(self) -> list[int]:
        """List the rows that are marked."""
        found: list[int] = np.flatnonzero(self.candidates).tolist()
        return found

    @classmethod
    def create(cls, tables: AlertTables, rows: int) -> "AlertSearch":
        """Create a search of some rows."""
        return cls(tables, np.zeros(rows, np.uint8), FormBuffer(rows))


class AlertValues:
    """The values by which alerts are found. They are only added: a value of an alert that has ended marks rows for nothing.

    Attributes
    ----------
    lists : int
        That of `AlertTables`.
    hashes : TextHashes
    """

    def __init__(self) -> None:
        self.lists, self.hashes = 0, TextHashes()

    def add(self, place: int, key: str) -> None:
        """Add a value to a list. In the lists of letters, it is found by its first ones."""
        self.lists |= 1 << int(place)
        if place not in (STARTS, ENDS, PARTS):
            self.hashes.add(hash_text(key, place))
            return
        letters = key[:MAX_PART_LETTERS].encode("ascii")
        self.hashes.add(hash_text((int.from_bytes(letters, "big"),), place))
        if place == PARTS:
            self.lists |= 1 << int(LENGTHS_AT) + len(letters)

    def add_indicator(self, prefix: int) -> None:
        """Add the first eight bytes of an indicator."""
        self.hashes.add(prefix)


NO_SEARCH = AlertSearch(
    AlertTables(0, np.zeros(MIN_SLOTS, np.uint64), np.zeros((0, KEY_COLUMNS), np.uint64)),
    np.zeros(0, np.uint8),
    NO_FORMS,
)


@kernel
def find_candidate(tables: Tables, data: Array, alerts: AlertTables) -> Int:
    """Return 1 if an alert may match the row, 0 if none can, or what is needed first.

    Parameters
    ----------
    tables : Tables
        With the items, forms and codes of the row.
    data : uint8 array
    alerts : AlertTables
    """
    if _has_party(tables, alerts) or _has_product(tables, alerts):
        return POSSIBLE
    found = _search_route(tables, data, alerts)
    if found == IMPOSSIBLE and alerts.lists & TEXT_LISTS:
        found = _search_goods(tables, data, alerts)
    if found == IMPOSSIBLE and alerts.indicator_keys.shape[0] > 0:
        found = POSSIBLE if has_indicator(tables, data, alerts.indicator_keys, alerts.hashes) else IMPOSSIBLE
    return found


@kernel
def _is_used(alerts: AlertTables, place: Int) -> Bool:
    return alerts.lists >> place & 1 != 0


@kernel
def _has_party(tables: Tables, alerts: AlertTables) -> Bool:
    """Look the names up, and the streets: all words of a line, which is behind the last bar of an address, because an alert has each of them."""
    for side in range(2):
        name, address = side * OTHER_SIDE + NAME, side * OTHER_SIDE + ADDRESS
        if _is_used(alerts, SENDERS + side) and _has_form(
            tables, alerts, SENDERS + side, tables.slots[name, 0], tables.slots[name, 1]
        ):
            return True
        first, end = tables.slots[address, 1], tables.slots[address, 1]
        while first > tables.slots[address, 0] and tables.forms[first - 1] != BAR:
            first -= 1
        found = first < end and _is_used(alerts, SENDER_STREETS + side)
        while found and first < end:
            last = first
            while last < end and tables.forms[last] != SPACE:
                last += 1
            found = _has_form(tables, alerts, SENDER_STREETS + side, first, last)
            first = last + 1
        if found:
            return True
    return False


@kernel
def _has_form(tables: Tables, alerts: AlertTables, place: Int, start: Int, end: Int) -> Bool:
    return has_text_hash(alerts.hashes, place, tables.forms, start, end)


@kernel
def _has_product(tables: Tables, alerts: AlertTables) -> Bool:
    """Look the first digits of the HS code up, however many an alert gives."""
    if not _is_used(alerts, PRODUCTS):
        return False
    value = start_hash(PRODUCTS)
    for at in range(tables.item_counts[HS_DIGITS]):
        value = update_hash(value, tables.hs[at])
        if has_hash(alerts.hashes, value):
            return True
    return False


@kernel
def _search_route(tables: Tables, data: Array, alerts: AlertTables) -> Int:
    """Look the departure and the places of the route up. Return 1, 0, or what is needed first."""
    if _is_used(alerts, DEPARTURES) and has_text(tables, DEPARTURE):
        start, end = read_letters(tables, data, tables.fields[DEPARTURE], UPPER, START)
        if start < 0:
            return start
        if has_text_hash(alerts.hashes, DEPARTURES, tables.letters, start, end):
            return POSSIBLE
    if not _is_used(alerts, PLACES):
        return IMPOSSIBLE
    places = read_places(tables, data)
    for place in range(places):
        start, end = tables.starts[place], tables.ends[place]
        if has_text_hash(alerts.hashes, PLACES, tables.letters, start, end):
            return POSSIBLE
    return places if places < 0 else IMPOSSIBLE


@kernel
def _search_goods(tables: Tables, data: Array, alerts: AlertTables) -> Int:
    """Look the words of all texts of the goods up. Return 1, 0, or what is needed first.

    A text that is longer than those of other fields, or that Python must compose, marks the row.
    """
    # The item that was read last is not needed any more.
    text = tables.fields[FIRST_ITEM_FIELD]
    for place in range(tables.item_counts[TEXTS]):
        text[0], text[1] = tables.item_texts[place, 0], tables.item_texts[place, 1]
        text[2], text[3] = -1, -1
        if text[1] - text[0] > MAX_TEXT_BYTES:
            return POSSIBLE
        kind = read_latin(tables, data, text, TRANSLITERATED)
        if kind == NEEDS_PAGE:
            return kind
        if kind < 0 or _has_word(tables, alerts):
            return POSSIBLE
    return IMPOSSIBLE


@kernel
def _has_word(tables: Tables, alerts: AlertTables) -> Bool:
    """Look the words of the text in `latin_text` up: whole, and by some letters. `features.alerts.patterns` splits texts in the same way."""
    latin, size = tables.latin_text, tables.sizes[LATIN]
    value, length, recent = start_hash(WORDS), 0, 0
    for at in range(size + 1):
        letter = to_lower(int(latin[at])) if at < size else SPACE
        if is_letter(letter) or is_digit(letter):
            value, length, recent = update_hash(value, letter), length + 1, (recent << 8 | letter) & PART_MASK
            if length == GRAM_LETTERS and _has_letters(alerts, STARTS, recent, GRAM_LETTERS):
                return True
            if _is_used(alerts, PARTS) and _has_part(alerts, recent, length):
                return True
        elif letter in QUOTES or (letter == HYPHEN and _is_in_name(latin, size, at)):
            continue
        elif length > 0:
            if _is_used(alerts, WORDS) and has_hash(alerts.hashes, value):
                return True
            if length >= GRAM_LETTERS and _has_letters(alerts, ENDS, recent, GRAM_LETTERS):
                return True
            value, length = start_hash(WORDS), 0
    return False


@kernel
def _has_letters(alerts: AlertTables, place: Int, recent: Int, count: Int) -> Bool:
    """Look the last letters of those that were read up, one byte each."""
    if not _is_used(alerts, place):
        return False
    letters = recent & ((np.int64(1) << 8 * count) - 1)
    return has_hash(alerts.hashes, update_hash(start_hash(place), letters))


@kernel
def _has_part(alerts: AlertTables, recent: Int, length: Int) -> Bool:
    """Look the last letters up, as many as any part has."""
    for count in range(1, min(length, MAX_PART_LETTERS) + 1):
        if alerts.lists >> (LENGTHS_AT + count) & 1 and _has_letters(alerts, PARTS, recent, count):
            return True
    return False


@kernel
def _is_in_name(latin: Array, size: Int, at: Int) -> Bool:
    """Check for a hyphen inside the name of a substance: next to a digit, or after a single letter."""
    if at == 0 or at + 1 == size or not (_is_in_word(latin, at - 1) and _is_in_word(latin, at + 1)):
        return False
    before, after = int(latin[at - 1]), int(latin[at + 1])
    if is_digit(before) or is_digit(after):
        return True
    return before != UNDERSCORE and (at == 1 or not _is_in_word(latin, at - 2))


@kernel
def _is_in_word(latin: Array, at: Int) -> Bool:
    letter = to_lower(int(latin[at]))
    return is_letter(letter) or is_digit(letter) or letter == UNDERSCORE
