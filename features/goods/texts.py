"""The text of the goods in kernels: the description and the distinct descriptions of the items, joined by ' | '."""

from features.items import TEXTS
from features.normalization.compiling import START, Array, Int, Tables, kernel
from features.normalization.letters import check_composed, decode_one
from features.normalization.normal_forms import MAX_CHARACTERS, TEXT_SEPARATOR
from features.normalization.record_kernels import DESCRIPTION
from features.normalization.words import FNV_OFFSET, FNV_PRIME, HASH_MASK

SEPARATOR = tuple(map(ord, TEXT_SEPARATOR))
LENGTH = 2
"""Column of `item_texts` after start and end: the length of a text in bytes, or in characters; REPEATED if it was there before."""
REPEATED = -1


@kernel
def load_goods_text(tables: Tables, data: Array) -> Int:
    """Write the text of the goods into `letters`, as `normal_forms.join_goods_texts`. Return its size, or what is needed first.

    The composed form (NFC) of a joined text is that of its parts, because nothing composes with a separator. If Python composed the
    text, it follows the description.
    """
    text = tables.fields[DESCRIPTION]
    if text[2] >= 0:
        return _append_text(tables, data, text[2], text[3], MAX_CHARACTERS, START)
    longest, size = _share_characters(tables, data), START
    if longest < 0:
        return longest
    for place in range(tables.item_counts[TEXTS]):
        if tables.item_texts[place, LENGTH] == REPEATED:
            continue
        if place > 0:
            for sign in SEPARATOR:
                tables.letters[size] = sign
                size += 1
        start, end = tables.item_texts[place, 0], tables.item_texts[place, 1]
        size = _append_text(tables, data, start, end, longest, size)
    return size


@kernel
def _share_characters(tables: Tables, data: Array) -> Int:
    """Return the number of characters to which texts are cut so that all fit, as `normal_forms.share_characters`, or what is needed first."""
    count, used, room = tables.item_counts[TEXTS], 0, MAX_CHARACTERS + len(SEPARATOR)
    slots = 1
    while slots < 2 * count:
        slots *= 2
    for slot in range(slots):
        tables.text_slots[slot] = -1
    for place in range(count):
        tables.item_texts[place, LENGTH] = REPEATED
        if count > 1 and not _is_new_text(tables, data, place, slots - 1):
            continue
        start, end = tables.item_texts[place, 0], tables.item_texts[place, 1]
        fault = check_composed(tables, data, start, end)
        if fault < 0:
            return fault
        tables.item_texts[place, LENGTH] = end - start
        used += end - start
        room -= len(SEPARATOR)
    # A text has at most as many characters as bytes.
    return MAX_CHARACTERS if used <= room else _find_longest(tables, data, count, room)


@kernel
def _find_longest(tables: Tables, data: Array, count: Int, room: Int) -> Int:
    texts, longest, too_long = tables.item_texts, 0, room + 1
    for place in range(count):
        if texts[place, LENGTH] != REPEATED:
            texts[place, LENGTH] = _count_characters(data, texts[place, 0], texts[place, 1])
    while too_long - longest > 1:
        middle, used = (longest + too_long) // 2, 0
        for place in range(count):
            used += min(max(texts[place, LENGTH], 0), middle)
        if used <= room:
            longest = middle
        else:
            too_long = middle
    return longest


@kernel
def _count_characters(data: Array, start: Int, end: Int) -> Int:
    count, at = 0, start
    while at < end:
        _, at = decode_one(data, at)
        count += 1
    return count


@kernel
def _append_text(tables: Tables, data: Array, start: Int, end: Int, longest: Int, size: Int) -> Int:
    at, last = start, size + longest
    while at < end and size < last:
        tables.letters[size], at = decode_one(data, at)
        size += 1
    return size


@kernel
def _is_new_text(tables: Tables, data: Array, place: Int, mask: Int) -> Int:
    """Check that no text before it is equal, and keep it."""
    start, end = tables.item_texts[place, 0], tables.item_texts[place, 1]
    value = FNV_OFFSET
    for at in range(start, end):
        value = ((value ^ int(data[at])) * FNV_PRIME) & HASH_MASK
    slot = value & mask
    while tables.text_slots[slot] >= 0:
        other = tables.text_slots[slot]
        first, same = tables.item_texts[other, 0], 0
        if tables.item_texts[other, 1] - first == end - start:
            while same < end - start and data[first + same] == data[start + same]:
                same += 1
            if same == end - start:
                return False
        slot = (slot + 1) & mask
    tables.text_slots[slot] = place
    return True
