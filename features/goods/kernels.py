"""Numba kernels for goods texts: they compute features from the folded letters of a text and sum the weights of its n-grams.

3,460 names and words are searched in each text; plain Python takes twelve times as long. A text is an array of code points
(`features.goods.tables`). `features.goods.character_folding` defines the fold table, and `features.goods.lexicon` the names and words. The entry
points at the end check the sizes of what they receive: every scratch array is sized from the longest text. Constants that kernels share
with the builders of their tables are defined here. This file imports nothing of npsrisk: numba compiles it again only if it changes itself.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
Int = Any  # a whole number, as wide as numba infers
Bool = Any
Tables = Any
"""The record of `features.goods.tables.load_goods_tables`. A kernel receives one pointer."""

kernel = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)  # type: ignore[call-overload]
"""Decorator of a kernel that only kernels call. It has no cache and no wrapper of its own: both would cost a third of the compilation."""
entry_point = njit(error_model="numpy", cache=True, _nrt=False)  # type: ignore[call-overload]
"""Decorator of a kernel that Python calls. It holds the interpreter's lock, because all calls share the scratch arrays."""

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
# O for 0 and l for 1 are digits in letters; others would find 4-PrO-MPT in "a prompt".
MAX_SWAPPED_DIGIT = ord("1")
MIN_PARTED_LETTERS = 6  # letters of a name that may have marks anywhere: "etizo.lam"
MIN_BLANK_PARTED_LETTERS = 8  # letters of a name that may have blanks anywhere: "etizo lam"
MAX_HINT_LETTERS = 4  # letters of a code that is a hint if it is written like words: "3 MMC cards", "THCO"
NO_GAP, GAP_OF_BLANKS, GAP_OF_MARKS, GAP_BREAKS = 0, 1, 2, 4  # separators before a letter, as bits
NO_MATCH, PLAIN, DISGUISED, HINT = range(4)

# --- The features of the goods: their positions in the row, in the order of `features.toml` ---
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
# Japan adds three digits, others an even number. Another odd number of digits has lost one.
ODD_HS_DIGITS = 9

# --- n-grams ---
BUCKET_BITS = 18
TEXT_BUCKETS = 1 << BUCKET_BITS
MIN_NGRAM, MAX_NGRAM = 3, 5
HASH_MULTIPLIER = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: spreads a hash into its upper bits

# --- Hashes of words and n-grams (FNV-1a) ---
FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3

SPACE, HYPHEN, COMMA, NINE, SMALL_S = (np.int64(ord(char)) for char in " -,9s")
NO_TERM, BEGIN = np.int64(-1), np.int64(0)
HIT_TERM, HIT_TIER, HIT_DISGUISED, HIT_FIRST, HIT_LAST, HIT_COLUMNS = range(6)
VAGUE_TERM, FILE_ENDING = 1, 2  # flags of a hash in the table of vague terms
REFUSED = np.int64(-1)


@kernel
def update_hash(value: Int, code: Int) -> Int:
    """Return the hash of a text after one more code point."""
    return (np.uint64(value) ^ np.uint64(code)) * np.uint64(FNV_PRIME)


@kernel
def _write_goods(codes: Array, tables: Tables, weights: Array, hs: Int, hs_digits: Int, row: Array) -> None:
    """Write the features of the goods of one consignment but those of its items."""
    known = _fill_hs(hs, hs_digits, tables.hs_codes, row)
    if codes.size == 0:
        _fill_missing_text(row)
        return
    for slot in range(AFTER_TEXT):
        row[slot] = 0.0
    row[DESCRIBED] = 1.0
    size = _fold_codes(codes, tables.fold, tables.entries)
    _measure_shape(codes, tables.fold, row)
    _count_tokens(tables.entries, size, tables.vague, row)
    _count_chemistry(tables.entries, size, row)
    for family in range(MAX_FAMILIES):
        tables.families[family] = 0
    _find_terms(tables, _strip_separators(tables, size), row)
    _fill_combined(tables.families, known, tables.friends, row)
    row[TEXT_SCORE] = _score_entries(tables, size, weights)


@kernel
def _fill_missing_text(row: Array) -> None:
    row[DESCRIBED] = 0.0
    for slot in range(DESCRIBED + 1, AFTER_TEXT):
        row[slot] = np.nan
    row[HS_TEXT_MISMATCH] = np.nan
    row[TEXT_SCORE] = np.nan


# --- Letters ---


@kernel
def _get_code(entry: Int) -> Int:
    return entry & CODE_MASK


@kernel
def _get_kind(entry: Int) -> Int:
    return (entry >> KIND_AT) & KIND_MASK


@kernel
def _is_in_word(entry: Int) -> Bool:
    return LETTER <= (entry >> KIND_AT) & KIND_MASK <= OTHER


@kernel
def _get_entry(code: Int, fold: Array) -> Int:
    """Return the fold entry of a code point. Beyond the table are only ideographs and invisible characters."""
    if code < FOLD_SIZE:
        return np.int64(fold[code])
    if code > LAST_IDEOGRAPH:
        return (DROPPED << KIND_AT) | LOOKALIKE
    symbol = FIRST_OTHER_SYMBOL + code % (SYMBOLS - FIRST_OTHER_SYMBOL)
    return code | (OTHER << KIND_AT) | (symbol << SYMBOL_AT)


@kernel
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


@kernel
def _strip_separators(tables: Tables, size: Int) -> Int:
    """Write the letters and digits into `letters`, and the gap before each into `gaps`; return their number."""
    entries, letters, gaps = tables.entries, tables.letters, tables.gaps
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
    return count


# --- Names and words ---


@kernel
def _find_terms(tables: Tables, size: Int, row: Array) -> None:
    """Run the automaton over the text. At each letter at which terms end, count the longest name and the longest word."""
    state = 0
    for end in range(size):
        if tables.gaps[end] == GAP_BREAKS:
            state = 0
        state = tables.goto[state, (tables.letters[end] >> SYMBOL_AT) & SYMBOL_MASK]
        output = state if tables.states[state, FIRST_TERM] >= 0 else tables.states[state, NEXT_OUTPUT]
        if output >= 0:
            _count_terms(tables, end, output, row)


@kernel
def _count_terms(tables: Tables, end: Int, output: Int, row: Array) -> None:
    """Count the longest name, word of a goods family and other word that end here."""
    name, name_tier, disguised, goods, other = _choose_terms(tables, end, output)
    if name >= 0:
        _count_name(tables.terms[name, FAMILY], name_tier, disguised, row)
    for word in (goods, other):
        if word >= 0:
            tables.families[tables.terms[word, FAMILY]] += 1
            if tables.terms[word, SLOT] != NO_SLOT:
                row[tables.terms[word, SLOT]] += 1.0


@kernel
def _choose_terms(tables: Tables, end: Int, output: Int) -> tuple[Int, Int, Bool, Int, Int]:
    """Choose the longest name, word of a goods family and other word that end here; -1 for none, and a listed name before its class."""
    name, name_span, name_tier, disguised = NO_TERM, 0, 0, False
    goods = other = NO_TERM
    while output >= 0:
        term = tables.states[output, FIRST_TERM]
        while term >= 0:
            how = _match_term(tables, end, term)
            tier = CONTEXT if how == HINT else tables.terms[term, TIER]
            if how == NO_MATCH:
                pass
            elif tier != WORD:
                span = _measure_span(tables, end, term)
                if span > name_span or (span == name_span and name_tier == CLASS and tier != CLASS):
                    name, name_span, name_tier, disguised = term, span, tier, how == DISGUISED
            elif tables.terms[term, FAMILY]:
                goods = _choose_longer(goods, term, tables)
            else:
                other = _choose_longer(other, term, tables)
            term = tables.terms[term, NEXT]
        output = tables.states[output, NEXT_OUTPUT]
    return name, name_tier, disguised, goods, other


@kernel
def _find_owners(codes: Array, tables: Tables, owners: Array) -> None:
    """Write the code point from which each letter in `letters` came."""
    count = 0
    for place in range(codes.size):
        for each in range(_fold_codes(codes[place : place + 1], tables.fold, tables.entries)):
            if _get_kind(tables.entries[each]) >= LETTER:
                owners[count] = place
                count += 1


@kernel
def _choose_longer(term: Int, other: Int, tables: Tables) -> Int:
    if term < 0 or tables.terms[other, LENGTH] > tables.terms[term, LENGTH]:
        return other
    return term


@kernel
def _count_name(family: Int, tier: Int, disguised: Bool, row: Array) -> None:
    slot = NAMES_CONTEXT
    if tier == SPECIFIC:
        slot = NAMES_SPECIFIC
    elif tier == CLASS:
        slot = NAMES_CLASS
    elif tier == MEDICINE:
        slot = NAMES_MEDICINE
    row[slot] += 1.0
    if disguised:
        row[NAMES_DISGUISED] += 1.0
    if tier > row[NAME_TIER]:
        row[NAME_TIER] = tier
        row[NAME_FAMILY] = family


@kernel
def _measure_span(tables: Tables, end: Int, term: Int) -> Int:
    """Return the number of letters that a name covers. A class pattern covers the whole word that it ends."""
    first = end - tables.terms[term, LENGTH] + 1
    if tables.terms[term, OPEN] & (AFTER_LETTERS | AFTER_ANY):
        while first > 0 and tables.gaps[first] == NO_GAP:
            first -= 1
    return end - first + 1


@kernel
def _match_term(tables: Tables, end: Int, term: Int) -> Int:
    """Check if a term that ends here by the automaton is really written here, and in which form."""
    length, start = tables.terms[term, LENGTH], tables.terms[term, START]
    first = end - length + 1
    parted, swapped, mixed = 0, 0, 0
    parted_by_blank = all_gaps = BEGIN
    before: Int = np.int64(0)
    for step in range(length):
        entry: Int = np.int64(tables.letters[first + step])
        wanted = tables.spelling[start + step]
        gap = tables.gaps[first + step]
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
    opening, tier = tables.terms[term, OPEN], tables.terms[term, TIER]
    spaced = all_gaps == length - 1 and length >= MIN_SPACED_LETTERS
    if not (_can_start(tables, first, length, opening, spaced) and _can_end(tables, end, length, opening)):
        return NO_MATCH
    if parted or swapped:
        if tier <= CONTEXT or (swapped and length < MIN_SWAPPED_LETTERS):
            return NO_MATCH
        return DISGUISED if not parted or spaced or _may_part(length, opening, parted_by_blank) else NO_MATCH
    if tier <= CONTEXT:
        return PLAIN
    if length <= MAX_HINT_LETTERS and _looks_like_words(tables, first, length, all_gaps):
        return HINT
    return DISGUISED if mixed else PLAIN


@kernel
def _may_part(length: Int, opening: Int, parted_by_blank: Int) -> Bool:
    shortest = MIN_BLANK_PARTED_LETTERS if parted_by_blank else MIN_PARTED_LETTERS
    return opening == CLOSED and length >= shortest


@kernel
def _looks_like_words(tables: Tables, first: Int, length: Int, all_gaps: Int) -> Bool:
    """Check if a short code is written as a number and a word (`3 MMC`), or as a plain word (`THCO`)."""
    if all_gaps:
        return all_gaps == 1 and tables.gaps[first + 1] == GAP_OF_BLANKS
    latin = 0
    for place in range(first, first + length):
        latin += _get_kind(tables.letters[place]) == LETTER
    return latin == length


@kernel
def _can_start(tables: Tables, first: Int, length: Int, opening: Int, spaced: Bool) -> Bool:
    """Check if a term may begin at `first`: at the start of a word, or inside it if the term is open."""
    if opening & AFTER_ANY:
        return True
    gap = tables.gaps[first]
    if opening & AFTER_LETTERS:
        return gap in (NO_GAP, GAP_OF_MARKS) or (spaced and gap != GAP_BREAKS)
    kind = _get_kind(tables.letters[first])
    if gap != NO_GAP or kind == OTHER:
        return True
    return (
        kind == LETTER and length >= MIN_TOUCHING_LETTERS and _get_kind(tables.letters[first - 1]) != LETTER
    )


@kernel
def _can_end(tables: Tables, end: Int, length: Int, opening: Int) -> Bool:
    """Check if a term may end at `end`: at the end of a word, before a plural s, or anywhere if it is open."""
    if opening & BEFORE_ANY or tables.gaps[end + 1] != NO_GAP:
        return True
    kind, after = _get_kind(tables.letters[end]), tables.letters[end + 1]
    if kind == OTHER:
        return True
    if kind != LETTER or length < MIN_TOUCHING_LETTERS:
        return False
    return _get_kind(after) != LETTER or (_get_code(after) == SMALL_S and tables.gaps[end + 2] != NO_GAP)


# --- Words that are no names: vague terms, chemistry, shape ---


@kernel
def _look_up_vague(value: Int, vague: Array) -> Int:
    """Return the flags of a hash in the table of vague terms; 0: not found."""
    mask = vague.shape[0] - 1
    place = np.int64((value * np.uint64(HASH_MULTIPLIER)) >> np.uint64(40)) & mask
    while vague[place, 1] != 0:
        if vague[place, 0] == value:
            return np.int64(vague[place, 1])
        place = (place + 1) & mask
    return 0


@kernel
def _count_tokens(entries: Array, size: Int, vague: Array, row: Array) -> None:
    """Count the words, the vague words, and the items that have only a vague term."""
    nothing = np.uint64(FNV_OFFSET)
    word, word_but_last, item, item_but_last = nothing, nothing, nothing, nothing
    words, vague_words, coded, longest, items, vague_items, endings = 0, 0, 0, 0, 0, 0, 0
    length, digits, words_in_item, last = 0, 0, 0, 0
    for place in range(size + 1):
        kind = _get_kind(entries[place]) if place < size else BREAK
        if kind >= LETTER:
            if length == 0 and words_in_item:
                item = update_hash(item, SPACE)
            last = _get_code(entries[place])
            word_but_last, item_but_last = word, item
            word, item = update_hash(word, last), update_hash(item, last)
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
    row[TOKENS] = words
    row[LONGEST_TOKEN] = longest
    if words:
        row[CODED_SHARE] = coded / words
        row[VAGUE_SHARE] = vague_words / words
        row[VAGUE_WHOLE] = vague_items == items
        if endings == items:
            row[INVALID] = 1.0


@kernel
def _count_chemistry(entries: Array, size: Int, row: Array) -> None:
    """Count CAS numbers, locants (the `2,5-` of `2,5-dimethoxy`) and opening brackets."""
    place = BEGIN
    while place < size:
        code = _get_code(entries[place])
        row[BRACKETS] += code == 40 or code == 91 or code == 123  # ( [ {
        after = place
        if _get_kind(entries[place]) == DIGIT and (place == 0 or not _is_in_word(entries[place - 1])):
            after = _count_cas(entries, size, place, row)
            if after == place:
                after = _skip_locant(entries, size, place)
                row[LOCANTS] += after > place
        place = max(after, place + 1)


@kernel
def _skip_digits(entries: Array, size: Int, place: Int) -> Int:
    """Return the position after the digits that begin here."""
    while place < size and _get_kind(entries[place]) == DIGIT:
        place += 1
    return place


@kernel
def _is_code(entries: Array, size: Int, place: Int, code: Int) -> Bool:
    return place < size and _get_code(entries[place]) == code


@kernel
def _count_cas(entries: Array, size: Int, place: Int, row: Array) -> Int:
    """Count a CAS number with its check digit (position times digit from the right, modulo 10); return the position after it."""
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
    row[CAS_MISPRINTS if misprint else CAS_NUMBERS] += 1.0
    return after


@kernel
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


@kernel
def _measure_shape(codes: Array, fold: Array, row: Array) -> None:
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
        _mark_script(code, kind, row)
    row[CHARACTERS] = codes.size
    row[LONGEST_REPEAT] = longest_run
    row[INVISIBLE] = invisible
    row[MIXED_SCRIPT_WORDS] = mixed + (plain_in_word and lookalike_in_word)
    row[INVALID] = letters == 0 or (longest_run >= 3 and longest_run == inked)
    if inked:
        row[UPPER_SHARE] = upper / inked
        row[DIGIT_SHARE] = digits / inked
        row[MARK_SHARE] = marks / inked
        row[NON_ASCII_SHARE] = beyond / inked


@kernel
def _mark_script(code: Int, kind: Int, row: Array) -> None:
    if kind == LETTER:
        if code < FIRST_NON_LATIN:
            row[LATIN] = 1.0
        elif FIRST_CYRILLIC <= code <= LAST_CYRILLIC:
            row[CYRILLIC] = 1.0
    elif kind == OTHER:
        if 0xAC00 <= code <= 0xD7A3:
            row[HANGUL] = 1.0
        elif 0x2E80 <= code <= 0x9FFF or code > 0xFFFF:
            row[CJK] = 1.0


# --- HS code, and text and code combined ---


@kernel
def _fill_hs(hs: Int, digits: Int, hs_table: Array, row: Array) -> Int:
    """Write the features of the HS code, and return its table entry; 0 if there is none."""
    if digits <= 0 or hs < 0:
        row[HS_PRESENT] = 0.0
        for slot in range(HS_PRESENT + 1, HS_TEXT_MISMATCH + 1):
            row[slot] = np.nan
        return 0
    for _ in range(digits, HS_DIGITS_READ):
        hs *= 10
    entry = np.int64(hs_table[hs]) if hs < HS_TABLE_SIZE else 0
    family = entry & FAMILY_MASK
    row[HS_PRESENT] = 1.0
    row[HS_DIGITS] = digits
    row[HS_CHAPTER_KNOWN] = entry & CHAPTER_KNOWN != 0
    whole = HS_DIGITS_READ <= digits <= MAX_HS_DIGITS and (digits % 2 == 0 or digits == ODD_HS_DIGITS)
    row[HS_VALID] = entry & HEADING_KNOWN != 0 and whole
    row[HS_FAMILY] = family if family else np.nan
    row[HS_TYPICAL] = entry & TYPICAL != 0
    row[HS_COVER] = entry & COVER != 0
    return entry


@kernel
def _fill_combined(families: Array, known: Int, friends: Array, row: Array) -> None:
    """Write the combined features: the family of the text, and the agreement of the HS code with it."""
    spoken, most, family, several = 0, 0, 0, 0
    for code in range(1, MAX_FAMILIES):
        if families[code]:
            spoken |= 1 << code
            several += 1
            if families[code] > most:
                most, family = families[code], code
    row[TEXT_FAMILIES] = several
    row[TEXT_FAMILY] = family if family else np.nan
    of_hs = known & FAMILY_MASK
    row[HS_TEXT_MISMATCH] = np.nan
    if spoken and of_hs:
        row[HS_TEXT_MISMATCH] = friends[of_hs] & spoken == 0
    if row[NAME_TIER] == 0.0:
        row[NAME_FAMILY] = np.nan
    chemistry, locants = row[CHEMISTRY_WORDS], row[LOCANTS]
    named = row[NAMES_SPECIFIC] + row[NAMES_CLASS] + row[NAMES_MEDICINE]
    shaped = chemistry >= 2 or (chemistry >= 1 and locants >= 1) or row[CAS_NUMBERS] >= 1
    row[UNKNOWN_CHEMICAL] = shaped and named == 0
    chemical = known & CHEMICAL != 0 or chemistry + locants > 0 or row[CAS_NUMBERS] > 0
    supported = chemical or row[POWDER_WORDS] + row[CRYSTAL_WORDS] > 0
    row[CONTEXT_SUPPORTED] = supported and row[NAMES_CONTEXT] > 0


# --- n-grams: 3 to 5 characters of words joined by single spaces ---


@kernel
def _find_buckets(tables: Tables, size: Int) -> Int:
    """Write the distinct buckets of the n-grams of a text into `buckets` in order, and return their number."""
    chars, seen, buckets = tables.chars, tables.seen, tables.buckets
    count = _write_words(tables.entries, size, chars)
    slots = 256
    while slots < 2 * (MAX_NGRAM - MIN_NGRAM + 1) * count:
        slots *= 2
    for slot in range(slots):
        seen[slot] = -1
    found = 0
    for first in range(count - MIN_NGRAM + 1):
        value = np.uint64(FNV_OFFSET)
        for place in range(first, min(first + MAX_NGRAM, count)):
            value = update_hash(value, chars[place])
            if place - first + 1 < MIN_NGRAM:
                continue
            bucket: Int = np.int64((value * np.uint64(HASH_MULTIPLIER)) >> np.uint64(64 - BUCKET_BITS))
            slot = bucket & (slots - 1)
            while seen[slot] >= 0 and seen[slot] != bucket:
                slot = (slot + 1) & (slots - 1)
            if seen[slot] < 0:
                seen[slot] = bucket
                buckets[found] = bucket
                found += 1
    return found


@kernel
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


@kernel
def _score_entries(tables: Tables, size: Int, weights: Array) -> Any:
    """Sum the weights of the distinct buckets of a text, divided by the square root of their number."""
    count = _find_buckets(tables, size)
    total = 0.0
    for place in range(count):
        total += float(weights[tables.buckets[place]])
    return total / np.sqrt(count) if count else 0.0


# --- Entry points: each does nothing and returns a number below 0 if an array has another size than kernels rely on ---


@kernel
def _fits(codes: Array, tables: Tables, by_bucket: Array) -> Bool:
    """Check that a text has room in the scratch arrays, and that there is a number for each bucket."""
    return codes.size * MAX_LETTERS <= tables.entries.size and by_bucket.size == TEXT_BUCKETS


@entry_point
def write_goods(codes: Array, all_tables: Array, weights: Array, hs: Int, hs_digits: Int, row: Array) -> Int:
    """Write the features of the goods of one consignment but those of its items."""
    if not _fits(codes, all_tables[0], weights) or row.size != TEXT_SCORE + 1:
        return REFUSED
    _write_goods(codes, all_tables[0], weights, hs, hs_digits, row)
    return 0


@entry_point
def locate_terms(codes: Array, all_tables: Array, hits: Array) -> Int:
    """Write the names and words that `write_goods` counts in a text, with their places, and return their number."""
    tables = all_tables[0]
    if codes.size * MAX_LETTERS > tables.entries.size or hits.shape[1] != HIT_COLUMNS:
        return REFUSED
    size = _strip_separators(tables, _fold_codes(codes, tables.fold, tables.entries))
    owners = tables.buckets
    _find_owners(codes, tables, owners)
    state = found = 0
    for end in range(size):
        if tables.gaps[end] == GAP_BREAKS:
            state = 0
        state = tables.goto[state, (tables.letters[end] >> SYMBOL_AT) & SYMBOL_MASK]
        output = state if tables.states[state, FIRST_TERM] >= 0 else tables.states[state, NEXT_OUTPUT]
        if output < 0:
            continue
        name, name_tier, disguised, goods, other = _choose_terms(tables, end, output)
        for term in (name, goods, other):
            if term >= 0 and found < len(hits):
                hits[found, HIT_TERM] = term
                hits[found, HIT_TIER] = name_tier if term == name else WORD
                hits[found, HIT_DISGUISED] = term == name and disguised
                hits[found, HIT_FIRST] = owners[end - _measure_span(tables, end, term) + 1]
                hits[found, HIT_LAST] = owners[end]
                found += 1
    return found


@entry_point
def score_text(codes: Array, all_tables: Array, weights: Array) -> Any:
    """Compute the text score of one text, as `write_goods` does; NaN if it is refused."""
    tables = all_tables[0]
    if not _fits(codes, tables, weights):
        return np.nan
    return _score_entries(tables, _fold_codes(codes, tables.fold, tables.entries), weights)


@entry_point
def count_buckets(codes: Array, all_tables: Array, counts: Array, weight: float) -> Int:
    """Add `weight` to every distinct bucket of a text."""
    tables = all_tables[0]
    if not _fits(codes, tables, counts):
        return REFUSED
    size = _fold_codes(codes, tables.fold, tables.entries)
    for place in range(_find_buckets(tables, size)):
        counts[tables.buckets[place]] += weight
    return 0
