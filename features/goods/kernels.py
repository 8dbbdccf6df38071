"""Numba kernels for goods texts: they compute features from the folded letters of a text and sum the weights of its n-grams.

A text is an array of code points (`encode_text`). `features.goods.character_folding` defines the fold table, and
`features.goods.lexicon` the names and words. Kernels check no bounds: every scratch array is sized from the length of the text, and a
text is cut at `MAX_CHARACTERS`. Constants that kernels share with the builders of their tables are defined here: numba rebuilds its
cache of compiled kernels only if this file changes.
"""

from codecs import utf_32_le_encode
from typing import Any, NamedTuple
from unicodedata import normalize

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
Int = Any  # a whole number, as wide as numba infers
Bool = Any
CODE_POINT = np.dtype(np.uint32)

# --- The folded form of a character: one entry of the fold table ---
# Bits 0-20 the folded code point, 21-23 its kind, 24-29 its symbol in the automaton, 30 look-alike, 31 "several".
FOLD_SIZE = 0x20000
CODE_MASK = (1 << 21) - 1
KIND_AT, KIND_MASK = 21, 7
SYMBOL_AT, SYMBOL_MASK = 24, 63
LOOKALIKE = 1 << 30  # a confusable of this letter; with DROPPED: invisible
SEVERAL = 1 << 31  # folds to several characters: their number from bit 24 on, their position below
PLACE_MASK = (1 << 24) - 1
MAX_LETTERS = 4  # maximum number of letters that one character folds to
BLANK, MARK, BREAK, LETTER, DIGIT, OTHER, DROPPED = range(7)  # kinds; BREAK separates items, OTHER: not a-z
SYMBOLS = 64  # 0 none, 1-26 letters, 27-29 digits that look like no letter, others by remainder
FIRST_OTHER_SYMBOL = 30
LAST_IDEOGRAPH = 0x3FFFF
MAX_CHARACTERS = 16_384  # maximum number of characters that are read of a text
FIRST_NON_LATIN = 0x370
FIRST_CYRILLIC, LAST_CYRILLIC = 0x400, 0x52F

# --- A term of the lexicon: one row of `terms` ---
START, LENGTH, TIER, SLOT, FAMILY, OPEN, NEXT = range(7)
TERM_COLUMNS = 7
WORD, CONTEXT, MEDICINE, CLASS, SPECIFIC = range(5)  # tiers, weakest first
CLOSED, AFTER_LETTERS, AFTER_ANY, BEFORE_ANY = 0, 1, 2, 4  # how a term may be part of a longer word
MAY_PART = 1 << 30  # in the letters of a term: its spelling has a separator before this letter
FIRST_TERM, NEXT_OUTPUT = 0, 1  # columns of `states`
NO_SLOT = -1

# --- Rules of disguise: each keeps ordinary words, quantities or part numbers from becoming a name ---
MAX_GAP_SEPARATORS = 3  # separators inside a name: "4 - CMC"
MIN_TOUCHING_LETTERS = 4  # letters of a name that may touch digits: "etizolam10mg"
MIN_SPACED_LETTERS = 4  # letters of a name that may be spaced out: "4 C M C"
MIN_SWAPPED_LETTERS = 6  # letters of a name that may have digits for letters: "k3tamine"
MAX_SWAPPED_DIGIT = ord(
    "1"
)  # O for 0 and l for 1 are digits in letters; others would find 4-PrO-MPT in "a prompt"
MIN_PARTED_LETTERS = 6  # letters of a name that may have marks anywhere: "etizo.lam"
MIN_BLANK_PARTED_LETTERS = 8  # letters of a name that may have blanks anywhere: "etizo lam"
MAX_HINT_LETTERS = (
    4  # letters of a code that is only a hint if it is written like words: "3 MMC cards", "THCO"
)
NO_GAP, GAP_OF_BLANKS, GAP_OF_MARKS, GAP_BREAKS = (
    0,
    1,
    2,
    4,
)  # separators before a letter; 3 is blanks and marks
NO_MATCH, PLAIN, DISGUISED, HINT = range(4)

# --- The features of the goods: their positions in the row, in the order of `features.goods.goods` ---
(
    DESCRIBED, NAMES_SPECIFIC, NAMES_CLASS, NAMES_MEDICINE, NAMES_CONTEXT, CONTEXT_SUPPORTED, NAMES_DISGUISED,
    NAME_TIER, NAME_FAMILY, CAS_NUMBERS, CAS_MISPRINTS, LOCANTS, CHEMISTRY_WORDS, BRACKETS, UNKNOWN_CHEMICAL,
    POWDER_WORDS, CRYSTAL_WORDS, LIQUID_WORDS, DOSE_WORDS, SAMPLE_WORDS, PRETEXT_WORDS, ADMIN_WORDS,
    COVER_INDUSTRIAL, COVER_COSMETIC, COVER_SUPPLEMENT, COVER_PLANT, COVER_FEED, TEXT_FAMILY, TEXT_FAMILIES,
    VAGUE_WHOLE, VAGUE_SHARE, CHARACTERS, TOKENS, LONGEST_TOKEN, CODED_SHARE, UPPER_SHARE, DIGIT_SHARE, MARK_SHARE,
    NON_ASCII_SHARE, LONGEST_REPEAT, INVISIBLE, LATIN, CYRILLIC, HANGUL, CJK, MIXED_SCRIPT_WORDS, INVALID,
    HS_PRESENT, HS_DIGITS, HS_CHAPTER_KNOWN, HS_VALID, HS_FAMILY, HS_TYPICAL, HS_COVER, HS_TEXT_MISMATCH,
    ITEMS, ITEM_CHAPTERS, ITEM_GAPS,
    TEXT_SCORE,
) = range(59)  # fmt: skip
AFTER_TEXT = HS_PRESENT

# --- Goods families (features.goods.hs): the words and the HS code have the same codes of families ---
MAX_FAMILIES = 32
FAMILY_MASK = MAX_FAMILIES - 1
HS_TABLE_SIZE = 1_000_000  # one entry per six-digit code: family and flags
CHAPTER_KNOWN, HEADING_KNOWN, TYPICAL, COVER, CHEMICAL = 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 9
HS_DIGITS_READ, MAX_HS_DIGITS = 6, 12  # countries add up to six digits

# --- n-grams ---
BUCKET_BITS = 18
TEXT_BUCKETS = 1 << BUCKET_BITS
MIN_NGRAM, MAX_NGRAM = 3, 5
FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a, 64 bits
HASH_MULTIPLIER = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: spreads a hash into its upper bits

SPACE, HYPHEN, COMMA, NINE, SMALL_S = (ord(char) for char in " -,9s")
HIT_TERM, HIT_TIER, HIT_DISGUISED, HIT_FIRST, HIT_LAST, HIT_COLUMNS = range(6)
VAGUE_TERM, FILE_ENDING = 1, 2  # flags of a hash in the table of vague terms


class CompactText(NamedTuple):
    """A text without separators: its letters and digits, and the gap before each (with one more gap at the end)."""

    letters: Array
    gaps: Array
    size: Int


class LexiconAutomaton(NamedTuple):
    """The compiled lexicon of `features.goods.lexicon`: an automaton and its terms."""

    goto: Array
    states: Array
    terms: Array
    spelling: Array


def encode_text(text: str) -> NDArray[np.uint32]:
    """Return the code points of a text, composed (NFC) and cut at `MAX_CHARACTERS`. Any string is safe."""
    if not text.isascii():
        text = normalize("NFC", text[:MAX_CHARACTERS])
    points, _ = utf_32_le_encode(text[:MAX_CHARACTERS], "surrogatepass")
    return np.frombuffer(points, CODE_POINT)


@njit(cache=True, nogil=True)
def fill_goods(
    codes: Array,
    fold: Array,
    goto: Array,
    states: Array,
    terms: Array,
    spelling: Array,
    vague: Array,
    hs_table: Array,
    friends: Array,
    weights: Array,
    row: Array,
    at: Int,
    hs: Int,
    hs_digits: Int,
    items: float,
    item_chapters: float,
    item_gaps: float,
) -> None:
    """Write the features of the goods of one consignment into `row`, from column `at` on.

    Parameters
    ----------
    codes : uint32 array
        The text, from `encode_text`; empty if there is none.
    fold, goto, states, terms, spelling, vague : arrays
        From `features.goods.lexicon.load_text_tables`.
    hs_table, friends : arrays
        From `features.goods.hs.build_hs_tables`.
    weights : float32 array, (TEXT_BUCKETS,) or empty
        If empty, no text score is written, and the row may end before it.
    row : float32 array
    at : Int
    hs, hs_digits : Int
        The first six digits of the HS code as a number, and the number of all its digits; 0 digits: missing.
    items, item_chapters, item_gaps : float
        Number of items, number of their HS chapters, and share of items without description or HS code; NaN: missing.
    """
    row[at + ITEMS] = items
    row[at + ITEM_CHAPTERS] = item_chapters
    row[at + ITEM_GAPS] = item_gaps
    known = _fill_hs(hs, hs_digits, hs_table, row, at)
    if codes.size == 0:
        _fill_missing_text(row, at, weights.size > 0)
        return
    for slot in range(AFTER_TEXT):
        row[at + slot] = 0.0
    row[at + DESCRIBED] = 1.0
    entries = np.empty(MAX_LETTERS * codes.size, np.uint32)
    size = _fold_codes(codes, fold, entries)
    _measure_shape(codes, fold, row, at)
    _count_tokens(entries, size, vague, row, at)
    _count_chemistry(entries, size, row, at)
    families = np.zeros(MAX_FAMILIES, np.int32)
    _find_terms(
        _strip_separators(entries, size), LexiconAutomaton(goto, states, terms, spelling), families, row, at
    )
    _fill_combined(families, known, friends, row, at)
    if weights.size:
        row[at + TEXT_SCORE] = _score_entries(entries, size, weights)


@njit(cache=True, nogil=True)
def _fill_missing_text(row: Array, at: Int, scored: bool) -> None:
    row[at + DESCRIBED] = 0.0
    for slot in range(DESCRIBED + 1, AFTER_TEXT):
        row[at + slot] = np.nan
    row[at + HS_TEXT_MISMATCH] = np.nan
    if scored:
        row[at + TEXT_SCORE] = np.nan


# --- Letters ---


@njit(cache=True, nogil=True)
def _get_code(entry: Int) -> Int:
    return entry & CODE_MASK


@njit(cache=True, nogil=True)
def _get_kind(entry: Int) -> Int:
    return (entry >> KIND_AT) & KIND_MASK


@njit(cache=True, nogil=True)
def _is_in_word(entry: Int) -> Bool:
    return LETTER <= (entry >> KIND_AT) & KIND_MASK <= OTHER


@njit(cache=True, nogil=True)
def _get_entry(code: Int, fold: Array) -> Int:
    """Return the fold entry of a code point. Beyond the table are only ideographs and invisible characters."""
    if code < FOLD_SIZE:
        return np.int64(fold[code])
    if code > LAST_IDEOGRAPH:
        return (DROPPED << KIND_AT) | LOOKALIKE
    symbol = FIRST_OTHER_SYMBOL + code % (SYMBOLS - FIRST_OTHER_SYMBOL)
    return code | (OTHER << KIND_AT) | (symbol << SYMBOL_AT)


@njit(cache=True, nogil=True)
def _fold_codes(codes: Array, fold: Array, entries: Array) -> Int:
    """Write the fold entries of all code points into `entries` (MAX_LETTERS times as long), and return their number."""
    size = 0
    for code in codes:
        entry = _get_entry(code, fold)
        if entry & SEVERAL:
            first = entry & PLACE_MASK
            for place in range(first, first + ((entry >> SYMBOL_AT) & KIND_MASK)):
                entries[size] = fold[place]
                size += 1
        elif _get_kind(entry) != DROPPED:
            entries[size] = entry
            size += 1
    return size


@njit(cache=True, nogil=True)
def _strip_separators(entries: Array, size: Int) -> CompactText:
    """Remove the separators. A gap that is too wide for a name breaks the text, as do the start, the end and `|`."""
    letters = np.empty(size, np.uint32)
    gaps = np.empty(size + 1, np.uint8)
    count = 0
    gap = GAP_BREAKS
    width = 0
    blank_before = False
    for place in range(size):
        entry = entries[place]
        kind = _get_kind(entry)
        if kind >= LETTER:
            letters[count] = entry
            gaps[count] = gap
            count += 1
            gap = NO_GAP
            width = 0
        elif not (kind == BLANK and blank_before):
            width += 1
            if kind == BREAK or width > MAX_GAP_SEPARATORS:
                gap = GAP_BREAKS
            elif gap != GAP_BREAKS:
                gap |= GAP_OF_BLANKS if kind == BLANK else GAP_OF_MARKS
        blank_before = kind == BLANK
    gaps[count] = GAP_BREAKS
    return CompactText(letters, gaps, count)


# --- Names and words ---


@njit(cache=True, nogil=True)
def _find_terms(text: CompactText, book: LexiconAutomaton, families: Array, row: Array, at: Int) -> None:
    """Run the automaton over the text. At each letter at which terms end, count the longest name and the longest word."""
    state = 0
    for end in range(text.size):
        if text.gaps[end] == GAP_BREAKS:
            state = 0
        state = book.goto[state, (text.letters[end] >> SYMBOL_AT) & SYMBOL_MASK]
        output = state if book.states[state, FIRST_TERM] >= 0 else book.states[state, NEXT_OUTPUT]
        if output >= 0:
            _count_terms(text, book, end, output, families, row, at)


@njit(cache=True, nogil=True)
def _count_terms(
    text: CompactText, book: LexiconAutomaton, end: Int, output: Int, families: Array, row: Array, at: Int
) -> None:
    """Count the longest name, word of a goods family and other word that end here."""
    name, name_tier, disguised, goods, other = _choose_terms(text, book, end, output)
    if name >= 0:
        _count_name(book.terms[name, FAMILY], name_tier, disguised, row, at)
    for word in (goods, other):
        if word >= 0:
            families[book.terms[word, FAMILY]] += 1
            if book.terms[word, SLOT] != NO_SLOT:
                row[at + book.terms[word, SLOT]] += 1.0


@njit(cache=True, nogil=True)
def _choose_terms(
    text: CompactText, book: LexiconAutomaton, end: Int, output: Int
) -> tuple[Int, Int, Bool, Int, Int]:
    """Choose the longest name, word of a goods family and other word that end here; -1 for none.

    If a name and a class pattern cover the same letters, the name counts: a listed medicine is not an unknown substance.
    """
    name, name_span, name_tier, disguised = -1, 0, 0, False
    goods, other = -1, -1
    while output >= 0:
        term = book.states[output, FIRST_TERM]
        while term >= 0:
            how = _match_term(text, book, end, term)
            tier = CONTEXT if how == HINT else book.terms[term, TIER]
            if how == NO_MATCH:
                pass
            elif tier != WORD:
                span = _measure_span(text, book, end, term)
                if span > name_span or (span == name_span and name_tier == CLASS and tier != CLASS):
                    name, name_span, name_tier, disguised = term, span, tier, how == DISGUISED
            elif book.terms[term, FAMILY]:
                goods = _choose_longer(goods, term, book)
            else:
                other = _choose_longer(other, term, book)
            term = book.terms[term, NEXT]
        output = book.states[output, NEXT_OUTPUT]
    return name, name_tier, disguised, goods, other


@njit(cache=True, nogil=True)
def locate_terms(codes: Array, fold: Array, book: LexiconAutomaton, hits: Array) -> Int:
    """Write the names and words that `fill_goods` counts in a text, with their places.

    Parameters
    ----------
    codes : uint32 array
        The text, from `encode_text`.
    fold : uint32 array
    book : LexiconAutomaton
    hits : int32 array, (n, HIT_COLUMNS)
        Filled from the top: term, tier, disguised, first and last code point.

    Returns
    -------
    int
        Hits written; those for which `hits` has no row are left out.
    """
    entries = np.empty(MAX_LETTERS * codes.size, np.uint32)
    text = _strip_separators(entries, _fold_codes(codes, fold, entries))
    owners = _find_owners(codes, fold, text.size)
    state = found = 0
    for end in range(text.size):
        if text.gaps[end] == GAP_BREAKS:
            state = 0
        state = book.goto[state, (text.letters[end] >> SYMBOL_AT) & SYMBOL_MASK]
        output = state if book.states[state, FIRST_TERM] >= 0 else book.states[state, NEXT_OUTPUT]
        if output < 0:
            continue
        name, name_tier, disguised, goods, other = _choose_terms(text, book, end, output)
        for term in (name, goods, other):
            if term >= 0 and found < len(hits):
                hits[found, HIT_TERM] = term
                hits[found, HIT_TIER] = name_tier if term == name else WORD
                hits[found, HIT_DISGUISED] = term == name and disguised
                hits[found, HIT_FIRST] = owners[end - _measure_span(text, book, end, term) + 1]
                hits[found, HIT_LAST] = owners[end]
                found += 1
    return found


@njit(cache=True, nogil=True)
def _find_owners(codes: Array, fold: Array, letters: Int) -> Array:
    """Find the code point from which each letter of the compact text came."""
    owners = np.empty(letters, np.int32)
    entries = np.empty(MAX_LETTERS, np.uint32)
    count = 0
    for place in range(codes.size):
        for each in range(_fold_codes(codes[place : place + 1], fold, entries)):
            if _get_kind(entries[each]) >= LETTER:
                owners[count] = place
                count += 1
    return owners


@njit(cache=True, nogil=True)
def _choose_longer(term: Int, other: Int, book: LexiconAutomaton) -> Int:
    if term < 0 or book.terms[other, LENGTH] > book.terms[term, LENGTH]:
        return other
    return term


@njit(cache=True, nogil=True)
def _count_name(family: Int, tier: Int, disguised: Bool, row: Array, at: Int) -> None:
    slot = NAMES_CONTEXT
    if tier == SPECIFIC:
        slot = NAMES_SPECIFIC
    elif tier == CLASS:
        slot = NAMES_CLASS
    elif tier == MEDICINE:
        slot = NAMES_MEDICINE
    row[at + slot] += 1.0
    if disguised:
        row[at + NAMES_DISGUISED] += 1.0
    if tier > row[at + NAME_TIER]:
        row[at + NAME_TIER] = tier
        row[at + NAME_FAMILY] = family


@njit(cache=True, nogil=True)
def _measure_span(text: CompactText, book: LexiconAutomaton, end: Int, term: Int) -> Int:
    """Return the number of letters that a name covers. A class pattern covers the whole word that it ends."""
    first = end - book.terms[term, LENGTH] + 1
    if book.terms[term, OPEN] & (AFTER_LETTERS | AFTER_ANY):
        while first > 0 and text.gaps[first] == NO_GAP:
            first -= 1
    return end - first + 1


@njit(cache=True, nogil=True)
def _match_term(text: CompactText, book: LexiconAutomaton, end: Int, term: Int) -> Int:
    """Check if a term that ends here by the automaton is really written here, and in which form."""
    length, start = book.terms[term, LENGTH], book.terms[term, START]
    first = end - length + 1
    parted, parted_by_blank, all_gaps, swapped, mixed = 0, 0, 0, 0, 0
    before: Int = np.int64(0)
    for step in range(length):
        entry: Int = np.int64(text.letters[first + step])
        wanted = book.spelling[start + step]
        gap = text.gaps[first + step]
        if step and gap:
            all_gaps += 1
            if not wanted & MAY_PART:
                parted += 1
                parted_by_blank += gap & GAP_OF_BLANKS
        if _get_code(entry) != wanted & CODE_MASK:
            if _get_kind(entry) == OTHER or MAX_SWAPPED_DIGIT < wanted & CODE_MASK <= NINE:
                return NO_MATCH
            swapped += 1
        if gap == NO_GAP and _get_kind(entry) == LETTER and _get_kind(before) == LETTER:
            mixed += ((entry ^ before) & LOOKALIKE) != 0
        before = entry
    opening, tier = book.terms[term, OPEN], book.terms[term, TIER]
    spaced = all_gaps == length - 1 and length >= MIN_SPACED_LETTERS
    if not (_can_start(text, first, length, opening, spaced) and _can_end(text, end, length, opening)):
        return NO_MATCH
    if parted or swapped:
        if tier <= CONTEXT or (swapped and length < MIN_SWAPPED_LETTERS):
            return NO_MATCH
        return DISGUISED if not parted or spaced or _may_part(length, opening, parted_by_blank) else NO_MATCH
    if tier <= CONTEXT:
        return PLAIN
    if length <= MAX_HINT_LETTERS and _looks_like_words(text, first, length, all_gaps):
        return HINT
    return DISGUISED if mixed else PLAIN


@njit(cache=True, nogil=True)
def _may_part(length: Int, opening: Int, parted_by_blank: Int) -> Bool:
    shortest = MIN_BLANK_PARTED_LETTERS if parted_by_blank else MIN_PARTED_LETTERS
    return opening == CLOSED and length >= shortest


@njit(cache=True, nogil=True)
def _looks_like_words(text: CompactText, first: Int, length: Int, all_gaps: Int) -> Bool:
    """Check if a short code is written as a number and a word (`3 MMC`), or as a plain word (`THCO`)."""
    if all_gaps:
        return all_gaps == 1 and text.gaps[first + 1] == GAP_OF_BLANKS
    latin = 0
    for place in range(first, first + length):
        latin += _get_kind(text.letters[place]) == LETTER
    return latin == length


@njit(cache=True, nogil=True)
def _can_start(text: CompactText, first: Int, length: Int, opening: Int, spaced: Bool) -> Bool:
    """Check if a term may begin at `first`: at the start of a word, or inside it if the term is open."""
    if opening & AFTER_ANY:
        return True
    gap = text.gaps[first]
    if opening & AFTER_LETTERS:
        return gap in (NO_GAP, GAP_OF_MARKS) or (spaced and gap != GAP_BREAKS)
    kind = _get_kind(text.letters[first])
    if gap != NO_GAP or kind == OTHER:
        return True
    return kind == LETTER and length >= MIN_TOUCHING_LETTERS and _get_kind(text.letters[first - 1]) != LETTER


@njit(cache=True, nogil=True)
def _can_end(text: CompactText, end: Int, length: Int, opening: Int) -> Bool:
    """Check if a term may end at `end`: at the end of a word, before a plural s, or anywhere if it is open."""
    if opening & BEFORE_ANY or text.gaps[end + 1] != NO_GAP:
        return True
    kind, after = _get_kind(text.letters[end]), text.letters[end + 1]
    if kind == OTHER:
        return True
    if kind != LETTER or length < MIN_TOUCHING_LETTERS:
        return False
    return _get_kind(after) != LETTER or (_get_code(after) == SMALL_S and text.gaps[end + 2] != NO_GAP)


# --- Words that are no names: vague terms, chemistry, shape ---


@njit(cache=True, nogil=True)
def _update_hash(value: Int, code: Int) -> Int:
    return (np.uint64(value) ^ np.uint64(code)) * np.uint64(FNV_PRIME)


@njit(cache=True, nogil=True)
def _look_up_vague(value: Int, vague: Array) -> Int:
    """Return the flags of a hash in the table of vague terms; 0: not found."""
    mask = vague.shape[0] - 1
    place = np.int64((value * np.uint64(HASH_MULTIPLIER)) >> np.uint64(40)) & mask
    while vague[place, 1] != 0:
        if vague[place, 0] == value:
            return np.int64(vague[place, 1])
        place = (place + 1) & mask
    return 0


@njit(cache=True, nogil=True)
def _count_tokens(entries: Array, size: Int, vague: Array, row: Array, at: Int) -> None:
    """Count the words, the vague words, and the items that have only a vague term."""
    nothing = np.uint64(FNV_OFFSET)
    word, word_but_last, item, item_but_last = nothing, nothing, nothing, nothing
    words, vague_words, coded, longest, items, vague_items, endings = 0, 0, 0, 0, 0, 0, 0
    length, digits, words_in_item, last = 0, 0, 0, 0
    for place in range(size + 1):
        kind = _get_kind(entries[place]) if place < size else BREAK
        if kind >= LETTER:
            if length == 0 and words_in_item:
                item = _update_hash(item, SPACE)
            last = _get_code(entries[place])
            word_but_last, item_but_last = word, item
            word, item = _update_hash(word, last), _update_hash(item, last)
            length += 1
            digits += kind == DIGIT
            continue
        if length:
            words += 1
            words_in_item += 1
            longest = max(longest, length)
            coded += 0 < digits < length
            vague_words += _look_up_vague(word, vague) != 0 or (
                last == SMALL_S and _look_up_vague(word_but_last, vague) != 0
            )
            word, length, digits = nothing, 0, 0
        if kind == BREAK and words_in_item:
            said = _look_up_vague(item, vague)
            items += 1
            vague_items += said != 0 or (last == SMALL_S and _look_up_vague(item_but_last, vague) != 0)
            endings += said == FILE_ENDING
            item, words_in_item = nothing, 0
    row[at + TOKENS] = words
    row[at + LONGEST_TOKEN] = longest
    if words:
        row[at + CODED_SHARE] = coded / words
        row[at + VAGUE_SHARE] = vague_words / words
        row[at + VAGUE_WHOLE] = vague_items == items
        if endings == items:
            row[at + INVALID] = 1.0


@njit(cache=True, nogil=True)
def _count_chemistry(entries: Array, size: Int, row: Array, at: Int) -> None:
    """Count CAS numbers, locants (the `2,5-` of `2,5-dimethoxy`) and opening brackets."""
    place = 0
    while place < size:
        code = _get_code(entries[place])
        row[at + BRACKETS] += code == 40 or code == 91 or code == 123  # ( [ {
        after = place
        if _get_kind(entries[place]) == DIGIT and (place == 0 or not _is_in_word(entries[place - 1])):
            after = _count_cas(entries, size, place, row, at)
            if after == place:
                after = _skip_locant(entries, size, place)
                row[at + LOCANTS] += after > place
        place = max(after, place + 1)


@njit(cache=True, nogil=True)
def _skip_digits(entries: Array, size: Int, place: Int) -> Int:
    """Return the position after the digits that begin here."""
    while place < size and _get_kind(entries[place]) == DIGIT:
        place += 1
    return place


@njit(cache=True, nogil=True)
def _is_code(entries: Array, size: Int, place: Int, code: Int) -> Bool:
    return place < size and _get_code(entries[place]) == code


@njit(cache=True, nogil=True)
def _count_cas(entries: Array, size: Int, place: Int, row: Array, at: Int) -> Int:
    """Count a CAS number (2-7 digits, 2 digits, check digit) that begins here, and return the position after it.

    The check digit is the sum of the other digits, each times its position from the right, modulo 10.
    """
    first = _skip_digits(entries, size, place)
    second = _skip_digits(entries, size, first + 1)
    after = second + 2
    fits = (
        2 <= first - place <= 7
        and _is_code(entries, size, first, HYPHEN)
        and second - first == 3
        and _is_code(entries, size, second, HYPHEN)
        and _skip_digits(entries, size, second + 1) == after
        and not _is_code(entries, size, after, HYPHEN)
        and not (after < size and _is_in_word(entries[after]))
        and not (place > 0 and _get_code(entries[place - 1]) == HYPHEN)
    )
    if not fits:
        return place
    total, weight = 0, 0
    for step in range(second - 1, place - 1, -1):
        if step != first:
            weight += 1
            total += weight * (_get_code(entries[step]) - 48)
    misprint = total % 10 != _get_code(entries[second + 1]) - 48
    row[at + (CAS_MISPRINTS if misprint else CAS_NUMBERS)] += 1.0
    return after


@njit(cache=True, nogil=True)
def _skip_locant(entries: Array, size: Int, place: Int) -> Int:
    """Return the position after the locant that begins here: numbers of one or two digits, a hyphen, three letters."""
    start = place
    while True:
        after = _skip_digits(entries, size, place)
        if not 1 <= after - place <= 2:
            return start
        if not _is_code(entries, size, after, COMMA):
            break
        place = after + 1
    if not _is_code(entries, size, after, HYPHEN) or after + 3 >= size:
        return start
    for step in range(1, 4):
        if _get_kind(entries[after + step]) != LETTER:
            return start
    return after


@njit(cache=True, nogil=True)
def _measure_shape(codes: Array, fold: Array, row: Array, at: Int) -> None:
    """Write the shape of the text, which does not depend on its words."""
    inked, upper, digits, marks, beyond, letters, invisible, mixed = 0, 0, 0, 0, 0, 0, 0, 0
    run, longest_run, before = 0, 0, np.int64(-1)
    plain_in_word, lookalike_in_word = False, False
    for place in range(codes.size):
        code: Int = np.int64(codes[place])
        entry: Int = _get_entry(code, fold)
        if entry & SEVERAL:
            entry = np.int64(fold[entry & PLACE_MASK])
        kind = _get_kind(entry)
        lookalike = code >= FIRST_NON_LATIN and entry & LOOKALIKE != 0
        invisible += kind == DROPPED and entry & LOOKALIKE != 0
        if kind == DROPPED:
            continue
        run = run + 1 if code == before else 1
        before = code
        if kind == BLANK:
            run = 0
        longest_run = max(longest_run, run)
        inked += kind != BLANK
        upper += 65 <= code <= 90  # A to Z
        digits += kind == DIGIT
        marks += kind in (MARK, BREAK)
        beyond += code > 127
        letters += kind in (LETTER, OTHER) and not (code < 128 and entry & LOOKALIKE)
        if kind < LETTER:
            mixed += plain_in_word and lookalike_in_word
            plain_in_word, lookalike_in_word = False, False
        elif lookalike:
            lookalike_in_word = True
        elif kind == LETTER and code < 128 and not entry & LOOKALIKE:
            plain_in_word = True
        _mark_script(code, kind, row, at)
    row[at + CHARACTERS] = codes.size
    row[at + LONGEST_REPEAT] = longest_run
    row[at + INVISIBLE] = invisible
    row[at + MIXED_SCRIPT_WORDS] = mixed + (plain_in_word and lookalike_in_word)
    row[at + INVALID] = letters == 0 or (longest_run >= 3 and longest_run == inked)
    if inked:
        row[at + UPPER_SHARE] = upper / inked
        row[at + DIGIT_SHARE] = digits / inked
        row[at + MARK_SHARE] = marks / inked
        row[at + NON_ASCII_SHARE] = beyond / inked


@njit(cache=True, nogil=True)
def _mark_script(code: Int, kind: Int, row: Array, at: Int) -> None:
    if kind == LETTER:
        if code < FIRST_NON_LATIN:
            row[at + LATIN] = 1.0
        elif FIRST_CYRILLIC <= code <= LAST_CYRILLIC:
            row[at + CYRILLIC] = 1.0
    elif kind == OTHER:
        if 0xAC00 <= code <= 0xD7A3:
            row[at + HANGUL] = 1.0
        elif 0x2E80 <= code <= 0x9FFF or code > 0xFFFF:
            row[at + CJK] = 1.0


# --- HS code, and text and code combined ---


@njit(cache=True, nogil=True)
def _fill_hs(hs: Int, digits: Int, hs_table: Array, row: Array, at: Int) -> Int:
    """Write the features of the HS code, and return its table entry; 0 if there is none."""
    if digits <= 0 or hs < 0:
        row[at + HS_PRESENT] = 0.0
        for slot in range(HS_PRESENT + 1, HS_TEXT_MISMATCH + 1):
            row[at + slot] = np.nan
        return 0
    for _ in range(digits, HS_DIGITS_READ):
        hs *= 10
    entry = np.int64(hs_table[hs]) if hs < HS_TABLE_SIZE else 0
    family = entry & FAMILY_MASK
    row[at + HS_PRESENT] = 1.0
    row[at + HS_DIGITS] = digits
    row[at + HS_CHAPTER_KNOWN] = entry & CHAPTER_KNOWN != 0
    row[at + HS_VALID] = entry & HEADING_KNOWN != 0 and HS_DIGITS_READ <= digits <= MAX_HS_DIGITS
    row[at + HS_FAMILY] = family if family else np.nan
    row[at + HS_TYPICAL] = entry & TYPICAL != 0
    row[at + HS_COVER] = entry & COVER != 0
    return entry


@njit(cache=True, nogil=True)
def _fill_combined(families: Array, known: Int, friends: Array, row: Array, at: Int) -> None:
    """Write the combined features: the family of the text, and the agreement of the HS code with it."""
    spoken, most, family, several = 0, 0, 0, 0
    for code in range(1, MAX_FAMILIES):
        if families[code]:
            spoken |= 1 << code
            several += 1
            if families[code] > most:
                most, family = families[code], code
    row[at + TEXT_FAMILIES] = several
    row[at + TEXT_FAMILY] = family if family else np.nan
    of_hs = known & FAMILY_MASK
    row[at + HS_TEXT_MISMATCH] = np.nan
    if spoken and of_hs:
        row[at + HS_TEXT_MISMATCH] = friends[of_hs] & spoken == 0
    if row[at + NAME_TIER] == 0.0:
        row[at + NAME_FAMILY] = np.nan
    chemistry, locants = row[at + CHEMISTRY_WORDS], row[at + LOCANTS]
    named = row[at + NAMES_SPECIFIC] + row[at + NAMES_CLASS] + row[at + NAMES_MEDICINE]
    shaped = chemistry >= 2 or (chemistry >= 1 and locants >= 1) or row[at + CAS_NUMBERS] >= 1
    row[at + UNKNOWN_CHEMICAL] = shaped and named == 0
    supported = (
        row[at + POWDER_WORDS] + row[at + CRYSTAL_WORDS] > 0
        or known & CHEMICAL != 0
        or chemistry + locants > 0
        or row[at + CAS_NUMBERS] > 0
    )
    row[at + CONTEXT_SUPPORTED] = supported and row[at + NAMES_CONTEXT] > 0


# --- n-grams: 3 to 5 characters of words joined by single spaces ---


@njit(cache=True, nogil=True)
def _find_buckets(entries: Array, size: Int, buckets: Array) -> Int:
    """Write the distinct buckets of the n-grams of a text in the order of their first occurrence, and return their number."""
    chars = np.empty(size + 2, np.uint32)
    count = _write_words(entries, size, chars)
    slots = 256
    while slots < 2 * (MAX_NGRAM - MIN_NGRAM + 1) * count:
        slots *= 2
    seen = np.full(slots, -1, np.int32)
    found = 0
    for first in range(count - MIN_NGRAM + 1):
        value = np.uint64(FNV_OFFSET)
        for place in range(first, min(first + MAX_NGRAM, count)):
            value = _update_hash(value, chars[place])
            if place - first + 1 < MIN_NGRAM:
                continue
            bucket = np.int64((value * np.uint64(HASH_MULTIPLIER)) >> np.uint64(64 - BUCKET_BITS))
            slot = bucket & (slots - 1)
            while seen[slot] >= 0 and seen[slot] != bucket:
                slot = (slot + 1) & (slots - 1)
            if seen[slot] < 0:
                seen[slot] = bucket
                buckets[found] = bucket
                found += 1
    return found


@njit(cache=True, nogil=True)
def _write_words(entries: Array, size: Int, chars: Array) -> Int:
    """Write the words with one space before, between and after them, and return the number of characters."""
    chars[0] = SPACE
    count = 1
    for place in range(size):
        if _is_in_word(entries[place]):
            chars[count] = _get_code(entries[place])
            count += 1
        elif chars[count - 1] != SPACE:
            chars[count] = SPACE
            count += 1
    if chars[count - 1] != SPACE:
        chars[count] = SPACE
        count += 1
    return count


@njit(cache=True, nogil=True)
def _score_entries(entries: Array, size: Int, weights: Array) -> float:
    """Sum the weights of the distinct buckets of a text, divided by the square root of their number."""
    buckets = np.empty((MAX_NGRAM - MIN_NGRAM + 1) * (size + 2), np.int32)
    count = _find_buckets(entries, size, buckets)
    total = 0.0
    for place in range(count):
        total += weights[buckets[place]]
    return total / np.sqrt(count) if count else 0.0


@njit(cache=True, nogil=True)
def score_text(codes: Array, fold: Array, weights: Array) -> float:
    """Compute the text score of one text, as `fill_goods` does."""
    entries = np.empty(MAX_LETTERS * codes.size, np.uint32)
    return _score_entries(entries, _fold_codes(codes, fold, entries), weights)


@njit(cache=True, nogil=True)
def count_buckets(codes: Array, fold: Array, counts: Array, weight: float) -> None:
    """Add `weight` to every distinct bucket of a text."""
    entries = np.empty(MAX_LETTERS * codes.size, np.uint32)
    size = _fold_codes(codes, fold, entries)
    buckets = np.empty((MAX_NGRAM - MIN_NGRAM + 1) * (size + 2), np.int32)
    for place in range(_find_buckets(entries, size, buckets)):
        counts[buckets[place]] += weight
