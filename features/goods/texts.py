"""The text of the goods in kernels: the description and the distinct descriptions of the items, joined by ' | '."""

from features.goods.kernels import MAX_CHARACTERS
from features.items import TEXTS
from features.normalization.compiling import START, Array, Int, Tables, kernel
from features.normalization.letters import check_composed, decode_one
from features.normalization.record_kernels import DESCRIPTION
from features.normalization.words import FNV_OFFSET, FNV_PRIME, HASH_MASK

SEPARATOR = tuple(map(ord, " | "))


@kernel
def load_goods_text(tables: Tables, data: Array) -> Int:
    """Write the text of the goods into `letters`, cut at MAX_CHARACTERS. Return its size, or what is needed first.

    The composed form (NFC) of a joined text is that of its parts, because nothing composes with a separator. If Python composed the
    text, it follows the description.
    """
    text = tables.fields[DESCRIPTION]
    if text[2] >= 0:
        return _append_text(tables, data, text[2], text[3], START)
    count, size = tables.item_counts[TEXTS], START
    slots = 1
    while slots < 2 * count:
        slots *= 2
    for slot in range(slots):
        tables.text_slots[slot] = -1
    for place in range(count):
        if count > 1 and not _is_new_text(tables, data, place, slots - 1):
            continue
        start, end = tables.item_texts[place, 0], tables.item_texts[place, 1]
        fault = check_composed(tables, data, start, end)
        if fault < 0:
            return fault
        if place > 0:
            for sign in SEPARATOR:
                if size < MAX_CHARACTERS:
                    tables.letters[size] = sign
                    size += 1
        size = _append_text(tables, data, start, end, size)
    return size


@kernel
def _append_text(tables: Tables, data: Array, start: Int, end: Int, size: Int) -> Int:
    at = start
    while at < end and size < MAX_CHARACTERS:
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
