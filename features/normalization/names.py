"""Kernel of names: the normal form of the name of a person or firm.

Case, script, punctuation, word order, legal forms and titles are removed. `Kim, Min-su` and `Mr Minsu Kim` have one form, `Su-min Kim` has
another: the letters are rotated to the smallest rotation, so their sequence matters and their beginning does not. A legal form that people also
carry as a name is removed only from the name of a firm: `Kim Doo Na` stays, `Acme Trading Co` is `Acme Trading Ltd`.
"""

from features.normalization.compiling import START, Array, Bool, Int, Tables, kernel
from features.normalization.letters import (
    COMPOSED,
    LATIN,
    OTHER_TEXT,
    ROMANIZED,
    is_space,
    load_text,
    write_latin,
)
from features.normalization.words import (
    FIRM_WORD,
    HAS_NAME_FORM,
    HONORIFIC_PHRASE,
    LEGAL_FORM_PHRASE,
    NAME_FORM,
    NAME_SIGNS,
    NAME_SIZE,
    PERSONAL_NAME_WORD,
    SLOT_FLAGS,
    SPACE,
    append,
    find_flags,
    find_word,
    is_letter,
    match_phrase,
)


@kernel
def write_name(tables: Tables, data: Array, text: Array, at: Int) -> Int:
    """Write the normal form of a name into `forms`, and return the position after it, or what is needed first."""
    if text[0] < 0 or text[1] == text[0]:
        return at
    kind = load_text(tables, data, text)
    if kind < 0:
        return kind
    if kind == OTHER_TEXT:
        size = _drop_phrases(tables, tables.composed_text, tables.sizes[COMPOSED])
        fault = write_latin(tables, tables.composed_text, size, ROMANIZED)
        if fault < 0:
            return fault
    count = split_words(tables, tables.latin_text, tables.sizes[LATIN], NAME_SIGNS)
    end = _join_words(tables, count, at)
    return rotate_letters(tables, tables.forms, at, end)


@kernel
def _drop_phrases(tables: Tables, codes: Array, size: Int) -> Int:
    """Replace legal forms in scripts without spaces by a blank, and drop a courtesy word at the end."""
    count = place = 0
    while place < size:
        length = match_phrase(tables, codes, place, size, LEGAL_FORM_PHRASE)
        codes[count] = SPACE if length > 0 else codes[place]
        count += 1
        place += max(length, 1)
    end = count
    while end > 0 and is_space(tables, codes[end - 1]):
        end -= 1
    for length in range(1, 3):
        if end >= length and match_phrase(tables, codes, end - length, end, HONORIFIC_PHRASE) == length:
            return end - length
    return count


@kernel
def split_words(tables: Tables, text: Array, size: Int, signs: Int) -> Int:
    """Split a text into words in the arena, its signs read by a set of signs. Return their number; `starts` and `ends` have their places."""
    arena, count, inside, used = tables.arena, 0, False, 0
    for at in range(size):
        letter = tables.signs[signs, text[at]]
        if letter == 0:
            continue
        if letter == SPACE:
            if inside:
                tables.ends[count] = used
                count += 1
                inside = False
            continue
        if not inside:
            tables.starts[count] = used
            inside = True
        arena[used] = letter
        used += 1
    if inside:
        tables.ends[count] = used
        count += 1
    return count


@kernel
def _join_words(tables: Tables, count: Int, at: Int) -> Int:
    """Join the words of a name in their normal form. If nothing is left, all words are joined as they are."""
    end = at
    if count > 1:
        for word in range(count):
            start, stop = tables.starts[word], tables.ends[word]
            slot = find_word(tables, tables.arena, start, stop)
            flags = tables.words[slot, SLOT_FLAGS] if slot >= 0 else 0
            if flags & HAS_NAME_FORM and (flags & PERSONAL_NAME_WORD == 0 or _has_firm_word(tables, count)):
                form, size = tables.words[slot, NAME_FORM], tables.words[slot, NAME_SIZE]
                end = append(tables.forms, end, tables.word_blob, form, size)
            else:
                end = append(tables.forms, end, tables.arena, start, stop - start)
    if end == at and count > 0:
        # The words of the arena follow each other without a gap.
        end = append(tables.forms, at, tables.arena, START, tables.ends[count - 1])
    return end


@kernel
def _has_firm_word(tables: Tables, count: Int) -> Bool:
    """Check if a word of the name is one that firms have and people do not."""
    for word in range(count):
        if find_flags(tables, tables.arena, tables.starts[word], tables.ends[word]) & FIRM_WORD:
            return True
    return False


@kernel
def rotate_letters(tables: Tables, forms: Array, start: Int, end: Int) -> Int:
    """Rotate a form of letters alone to its smallest rotation, which two candidates find in linear time. Return its end."""
    size = end - start
    for at in range(start, end):
        if not is_letter(forms[at]):
            return end
    one, other, same = 0, 1, 0
    while one < size and other < size and same < size:
        first, second = one + same, other + same
        left = forms[start + (first if first < size else first - size)]
        right = forms[start + (second if second < size else second - size)]
        if left == right:
            same += 1
            continue
        if left > right:
            one += same + 1
        else:
            other += same + 1
        if one == other:
            other += 1
        same = 0
    first = min(one, other)
    if first > 0:
        append(tables.arena, START, forms, start, size)
        append(forms, start, tables.arena, first, size - first)
        append(forms, start + size - first, tables.arena, START, first)
    return end
