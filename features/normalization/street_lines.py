"""Kernels of street lines: the words of `latin_text` in normal form, sorted and each once.

A line is read in the order of its rules: signs, hyphens, post boxes or Korean flats, the list of words, the numbers of flats and floors,
and the endings of street names.
"""

from features.normalization.compiling import Array, Bool, Int, Tables, kernel
from features.normalization.letters import LATIN
from features.normalization.words import (
    ADDRESS_FORM,
    ADDRESS_SIGNS,
    ADDRESS_SIZE,
    APT,
    BOX,
    BUILDING,
    COMMA,
    DONG,
    FIRST_KOREAN_ENDING,
    FIRST_POST_BOX,
    FIRST_STREET_ENDING,
    FL,
    FLAT,
    FLOOR,
    HAS_ADDRESS_FORM,
    HO,
    HYPHEN,
    LAST_KOREAN_ENDING,
    LAST_POST_BOX,
    LAST_STREET_ENDING,
    NO,
    NO_ROLE,
    NR,
    NUMBER,
    NUMBER_SIGN,
    OFFICE,
    POBOX,
    POST,
    POST_BOX_WORD,
    SLOT_FLAGS,
    SLOT_ROLE,
    SPACE,
    ST,
    append,
    append_mark,
    begins_with,
    find_word,
    is_digit,
    is_letter,
)

LETTER_B, LETTER_O, LETTER_P = (ord(letter) for letter in "bop")
# Gaps of a Shell sort (Ciura), because a hostile line may have thousands of words.
GAPS = (8119, 3301, 1348, 701, 301, 132, 57, 23, 10, 4, 1)


@kernel
def read_street_line(tables: Tables, korean: Bool) -> Int:
    """Read the line in `latin_text` into words of the arena. Return their number."""
    size = _read_signs(tables)
    count, posted = _read_words(tables, tables.line, size)
    if posted:
        count, _ = _read_words(tables, tables.read_line, _read_post_boxes(tables, size))
    elif korean and _has_mark(tables, tables.line, size, HO):
        count, _ = _read_words(tables, tables.read_line, _read_korean_flats(tables, size))
    count = _bind_numbers(tables, count)
    count = _split_endings(tables, count, FIRST_STREET_ENDING, LAST_STREET_ENDING)
    if korean:
        count = _split_endings(tables, count, FIRST_KOREAN_ENDING, LAST_KOREAN_ENDING)
    return _sort_words(tables, count)


@kernel
def _read_signs(tables: Tables) -> Int:
    """Write the letters of the line, with blanks around commas, and number signs read as flats. Return the size.

    Hyphens are resolved on the way: 101-1203 is kept, 45-gil is joined, and teheran-ro is split.
    """
    line, end, pending = tables.line, 0, False
    for at in range(tables.sizes[LATIN]):
        sign = tables.latin_text[at]
        letter = tables.signs[ADDRESS_SIGNS, sign]
        if letter == 0:
            continue
        if letter == HYPHEN:
            # After a digit, what follows decides.
            pending = end > 0 and is_digit(line[end - 1])
            if not pending:
                line[end] = SPACE
                end += 1
            continue
        if pending and is_digit(letter):
            line[end] = HYPHEN
            end += 1
        pending = False
        if sign == NUMBER_SIGN:
            line[end] = SPACE
            end = append_mark(tables, line, end + 1, APT)
            line[end] = SPACE
        elif letter == COMMA:
            line[end], line[end + 1], line[end + 2] = SPACE, COMMA, SPACE
            end += 2
        else:
            line[end] = letter
        end += 1
    return end


@kernel
def _read_words(tables: Tables, line: Array, size: Int) -> tuple[Int, Bool]:
    """Copy the words of a line into the arena, each in its normal form, which may be empty, with its role.

    Return their number, and True if one belongs to a post box.
    """
    arena, used, count, posted, start = tables.arena, 0, 0, False, 0
    while start < size:
        if line[start] == SPACE:
            start += 1
            continue
        end = start + 1
        while end < size and line[end] != SPACE:
            end += 1
        slot = find_word(tables, line, start, end)
        tables.starts[count], tables.roles[count] = used, NO_ROLE
        flags = 0
        if slot >= 0:
            flags = tables.words[slot, SLOT_FLAGS]
            posted = posted or flags & POST_BOX_WORD != 0
            tables.roles[count] = tables.words[slot, SLOT_ROLE]
        if flags & HAS_ADDRESS_FORM:
            form, length = tables.words[slot, ADDRESS_FORM], tables.words[slot, ADDRESS_SIZE]
            used = append(arena, used, tables.word_blob, form, length)
        else:
            used = append(arena, used, line, start, end - start)
        tables.ends[count] = used
        count += 1
        start = end + 1
    tables.arena_used[0] = used
    return count, posted


@kernel
def _has_mark(tables: Tables, line: Array, size: Int, mark: Int) -> Bool:
    for at in range(size):
        if begins_with(tables, line, at, size, mark):
            return True
    return False


@kernel
def _is_word_sign(letter: Int) -> Bool:
    return is_letter(letter) or is_digit(letter)


@kernel
def _skip_blank(line: Array, at: Int, size: Int) -> Int:
    return at + 1 if at < size and line[at] == SPACE else at


@kernel
def _skip_digits(line: Array, at: Int, size: Int) -> Int:
    while at < size and is_digit(line[at]):
        at += 1
    return at


@kernel
def _read_post_boxes(tables: Tables, size: Int) -> Int:
    """Copy the line into `read_line`, with each post box and its number as one word. Return the size."""
    line, read, end, at = tables.line, tables.read_line, 0, 0
    while at < size:
        number = -1
        if is_letter(line[at]) and (at == 0 or not _is_word_sign(line[at - 1])):
            number = _match_post_box(tables, line, at, size)
        if number < 0:
            read[end] = line[at]
            end += 1
            at += 1
            continue
        at = _skip_digits(line, number, size)
        read[end] = SPACE
        end = append_mark(tables, read, end + 1, POBOX)
        end = append(read, end, line, number, at - number)
        read[end] = SPACE
        end += 1
    return end


@kernel
def _match_post_box(tables: Tables, line: Array, at: Int, size: Int) -> Int:
    """Return the position of the number of a post box that begins at a position, or -1."""
    found = -1
    if line[at] == LETTER_P:
        second = _skip_blank(line, at + 1, size)
        third = _skip_blank(line, second + 1, size)
        short = second < size and line[second] == LETTER_O
        if short:  # p o box
            found = _find_box_number(tables, line, third, size, BOX)
        if found < 0 and begins_with(tables, line, at, size, POST):
            after = _skip_blank(line, at + 4, size)
            if (
                begins_with(tables, line, after, size, OFFICE)
                and after + 6 < size
                and line[after + 6] == SPACE
            ):
                found = _find_box_number(tables, line, after + 7, size, BOX)
            if found < 0:
                found = _find_box_number(tables, line, after, size, BOX)
        if found < 0 and short and third < size and line[third] == LETTER_B:  # p o b
            found = _find_number(tables, line, third + 1, size)
    for name in range(FIRST_POST_BOX, LAST_POST_BOX + 1):
        if found < 0:
            found = _find_box_number(tables, line, at, size, name)
    return found


@kernel
def _find_box_number(tables: Tables, line: Array, at: Int, size: Int, name: Int) -> Int:
    """Return the position of the number after a name of post boxes, or -1."""
    if not begins_with(tables, line, at, size, name):
        return -1
    return _find_number(tables, line, at + tables.mark_size[name], size)


@kernel
def _find_number(tables: Tables, line: Array, at: Int, size: Int) -> Int:
    """Return the position of the digits at a position, after a blank or the word for number, or -1."""
    if at < size and line[at] == SPACE:
        after = at + 1
        if begins_with(tables, line, after, size, NO) or begins_with(tables, line, after, size, NR):
            after += 2
        elif begins_with(tables, line, after, size, NUMBER):
            after += 6
        after = _skip_blank(line, after, size) if after > at + 1 else after
        if after < size and is_digit(line[after]):
            return after
        at += 1
    return at if at < size and is_digit(line[at]) else -1


@kernel
def _read_korean_flats(tables: Tables, size: Int) -> Int:
    """Copy the line into `read_line`, with 101dong 1203ho as 101-1203, and 1203ho alone as a flat. Return the size."""
    line, read, end, at = tables.line, tables.read_line, 0, 0
    while at < size:
        first = second = -1
        if is_digit(line[at]) and (at == 0 or not _is_word_sign(line[at - 1])):
            first = _skip_digits(line, at, size)
            if begins_with(tables, line, first, size, DONG):
                second = first + 4
                while second < size and (line[second] == SPACE or line[second] == COMMA):
                    second += 1
                second = second if second > first + 4 else -1
        if second >= 0:
            after = _skip_digits(line, second, size)
            if after > second and _ends_flat(tables, line, after, size):
                end = append(read, end, line, at, first - at)
                read[end] = HYPHEN
                end = append(read, end + 1, line, second, after - second)
                at = after + 2
                continue
        elif first >= 0 and _ends_flat(tables, line, first, size):
            end = append_mark(tables, read, end, APT)
            end = append(read, end, line, at, first - at)
            at = first + 2
            continue
        read[end] = line[at]
        end += 1
        at += 1
    return end


@kernel
def _ends_flat(tables: Tables, line: Array, at: Int, size: Int) -> Bool:
    return begins_with(tables, line, at, size, HO) and (at + 2 == size or not _is_word_sign(line[at + 2]))


@kernel
def _is_number(text: Array, start: Int, end: Int) -> Bool:
    return end > start and _skip_digits(text, start, end) == end


@kernel
def _add_number(tables: Tables, mark: Int, start: Int, end: Int, count: Int) -> Int:
    """Write a word and its number into the arena, as the word at `count`. Return the number of words."""
    arena = tables.arena
    tables.starts[count] = used = tables.arena_used[0]
    used = append_mark(tables, arena, used, mark)
    used = append(arena, used, arena, start, end - start)
    tables.ends[count] = tables.arena_used[0] = used
    return count + 1


@kernel
def _bind_numbers(tables: Tables, words: Int) -> Int:
    """Join flats, floors and buildings with their number, so that sorting keeps them together. Drop flats and floors without one.

    The bound words replace the words from the first on. Return their number.
    """
    arena, starts, ends, count, taken = tables.arena, tables.starts, tables.ends, 0, False
    for word in range(words):
        if taken:
            taken = False
            continue
        start, end, role = starts[word], ends[word], tables.roles[word]
        first = last = 0  # the word after it; empty at the end
        if word + 1 < words:
            first, last = starts[word + 1], ends[word + 1]
        if role == FLAT:
            taken = _is_flat_number(arena, first, last)
            if taken:
                count = _add_number(tables, APT, first, last, count)
        elif role == FLOOR:
            count, taken = _bind_floor(tables, count, first, last)
        elif role == BUILDING and _is_number(arena, first, last):
            taken = True
            # "bldg" or "blk", then its number
            used = append(arena, tables.arena_used[0], arena, start, end - start)
            starts[count] = tables.arena_used[0]
            ends[count] = tables.arena_used[0] = append(arena, used, arena, first, last - first)
            count += 1
        else:
            starts[count], ends[count] = start, end
            count += 1
    return count


@kernel
def _is_flat_number(arena: Array, start: Int, end: Int) -> Bool:
    if end == start or (end == start + 1 and arena[start] == COMMA):
        return False
    for at in range(start, end):
        if arena[at] == HYPHEN:
            return False
    return end == start + 1 or is_digit(arena[start]) or is_digit(arena[end - 1])


@kernel
def _bind_floor(tables: Tables, count: Int, first: Int, last: Int) -> tuple[Int, Bool]:
    """Add a floor to the words so far. Return their number, and True if it used the number after it."""
    arena, numbered = tables.arena, _is_number(tables.arena, first, last)
    if count > 0:
        start, end = tables.starts[count - 1], tables.ends[count - 1]
        digits = _skip_digits(arena, start, end)
        ordinal = end == digits + 2 and _is_ordinal(arena[digits], arena[digits + 1])
        if digits > start and (ordinal or (digits == end and not numbered)):
            return _add_number(tables, FL, start, digits, count - 1), False
    if numbered:
        return _add_number(tables, FL, first, last, count), True
    return count, False


@kernel
def _is_ordinal(one: Int, other: Int) -> Bool:
    """Check for st, nd, rd and th."""
    return (
        (one == 115 and other == 116)
        or (one == 110 and other == 100)
        or (one == 114 and other == 100)
        or (one == 116 and other == 104)
    )


@kernel
def _split_endings(tables: Tables, count: Int, first: Int, last: Int) -> Int:
    """Cut the endings of street names, which become words: "hauptstrasse" is "haupt" and "st". "45gil" is kept: its number names the lane."""
    arena, found = tables.arena, 0
    for word in range(count):
        start, end = tables.starts[word], tables.ends[word]
        while True:
            ending = _find_ending(tables, start, end, first, last)
            if ending < 0:
                break
            head = end - tables.mark_size[ending]
            if head == start or _is_number(arena, start, head):
                break
            found |= 1 << ending
            end = head
        tables.ends[word] = end
    # Every street ending is written "st".
    for ending in range(first, last + 1):
        if found >> ending & 1:
            tables.starts[count] = tables.arena_used[0]
            mark = ST if first == FIRST_STREET_ENDING else ending
            tables.ends[count] = tables.arena_used[0] = append_mark(tables, arena, tables.arena_used[0], mark)
            count += 1
    return count


@kernel
def _find_ending(tables: Tables, start: Int, end: Int, first: Int, last: Int) -> Int:
    """Return the first of the endings that a word has, or -1."""
    for ending in range(first, last + 1):
        size = tables.mark_size[ending]
        if end - start >= size and begins_with(tables, tables.arena, end - size, end, ending):
            return ending
    return -1


@kernel
def _is_before(arena: Array, start: Int, end: Int, other: Int, last: Int) -> Bool:
    """Check if a word sorts before another."""
    while start < end and other < last:
        if arena[start] != arena[other]:
            return arena[start] < arena[other]
        start += 1
        other += 1
    return start == end and other < last


@kernel
def _sort_words(tables: Tables, count: Int) -> Int:
    """Sort the words, and keep each once. Empty words and commas are left out. Return their number."""
    arena, starts, ends = tables.arena, tables.starts, tables.ends
    kept = 0
    for word in range(count):
        start, end = starts[word], ends[word]
        if end == start or (end == start + 1 and arena[start] == COMMA):
            continue
        starts[kept], ends[kept] = start, end
        kept += 1
    for gap in GAPS:
        for word in range(gap, kept):
            start, end, place = starts[word], ends[word], word
            while place >= gap and _is_before(arena, start, end, starts[place - gap], ends[place - gap]):
                starts[place], ends[place] = starts[place - gap], ends[place - gap]
                place -= gap
            starts[place], ends[place] = start, end
    distinct = 0
    for word in range(kept):
        start, end = starts[word], ends[word]
        if distinct == 0 or _is_before(arena, starts[distinct - 1], ends[distinct - 1], start, end):
            starts[distinct], ends[distinct] = start, end
            distinct += 1
    return distinct
