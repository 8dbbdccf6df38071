"""The items of a consignment in kernels: their sums and gaps, their descriptions, and the HS code of the goods."""

from consignments.records import MAX_ITEMS
from features.normalization.compiling import Array, Int, Tables, kernel
from features.normalization.letters import (
    DECIMAL,
    KNOWN,
    LETTER_BITS,
    NEEDS_PAGE,
    PAGE_BITS,
    TOO_LONG,
    decode_one,
)
from features.normalization.record_kernels import (
    FIRST_ITEM_FIELD,
    ITEM_FIELDS,
    ITEMS,
    LIST,
    NOTHING,
    TEXT,
    find_fields,
    get_number,
    has_text,
    read_head,
    read_value,
    skip_text,
)

GOODS, HS_CODE = find_fields("description", "hs_code")
DESCRIPTION, QUANTITY, WEIGHT, VALUE, HS = (
    FIRST_ITEM_FIELD + ITEM_FIELDS.index(name)
    for name in ("description", "quantity", "net_weight_kg", "value", "hs_code")
)
NOT_GIVEN = -1
KINDS, TEXTS, INCOMPLETE, GAPS, CHAPTERS, HS_DIGITS = range(6)
"""Columns of `item_counts`: the items (NOT_GIVEN if there is no list of them), the texts of the goods that are not '' (its description and those of
items), items without description, quantity, weight or value, items without description or HS code, distinct chapters, and the digits of the
goods' HS code."""
SUM_OF_VALUES, SUM_OF_WEIGHTS, SUM_OF_QUANTITIES, LARGEST_VALUE = range(4)
"""Columns of `item_sums`. A sum is NaN if the value of any item is missing."""
ONE_DIGIT = 100  # chapters of one digit stand behind those of two
ZERO = ord("0")


@kernel
def read_items(tables: Tables, data: Array) -> Int:
    """Read the items of a row, and the digits of its HS code. Return 0, or what is needed first.

    If there are more items than in a valid record: TOO_LONG.
    """
    counts = tables.item_counts
    for place in range(len(counts)):
        counts[place] = 0
    for place in range(len(tables.item_sums)):
        tables.item_sums[place] = 0.0
    digits = _read_digits(tables, data, HS_CODE)
    if digits < 0:
        return digits
    _keep_digits(tables, digits)
    _keep_text(tables, GOODS)
    if tables.kinds[ITEMS] != LIST:
        counts[KINDS] = NOT_GIVEN
        return 0
    count, _, at = read_head(data, tables.fields[ITEMS, 0])
    if count > MAX_ITEMS:
        return TOO_LONG
    counts[KINDS] = count
    for place in range(len(tables.chapters)):
        tables.chapters[place] = 0
    for _ in range(count):
        at = _read_item(tables, data, at)
        fault = _count_item(tables, data)
        if fault < 0:
            return fault
        _add_item(tables)
    return 0


@kernel
def _read_item(tables: Tables, data: Array, at: Int) -> Int:
    count, keyed, at = read_head(data, at)
    for place in range(count):
        at = read_value(tables, data, skip_text(data, at) if keyed else at, FIRST_ITEM_FIELD + place)
    return at


@kernel
def _count_item(tables: Tables, data: Array) -> Int:
    """Count the item that was read, and keep where its description is. Return 0, or what is needed first."""
    counts = tables.item_counts
    _keep_text(tables, DESCRIPTION)
    if not has_text(tables, DESCRIPTION) or not has_text(tables, HS):
        counts[GAPS] += 1
    incomplete = not has_text(tables, DESCRIPTION)
    for field in (QUANTITY, WEIGHT, VALUE):
        incomplete = incomplete or tables.kinds[field] == NOTHING
    counts[INCOMPLETE] += 1 if incomplete else 0
    digits = _read_digits(tables, data, HS)
    if digits < 0:
        return digits
    chapter = _find_chapter(tables, digits)
    if chapter >= 0 and tables.chapters[chapter] == 0:
        tables.chapters[chapter] = 1
        counts[CHAPTERS] += 1
    if counts[HS_DIGITS] == 0:
        _keep_digits(tables, digits)
    return 0


@kernel
def _keep_text(tables: Tables, field: Int) -> None:
    """Keep where a text of the goods is, unless it is missing or ''."""
    if has_text(tables, field):
        count = tables.item_counts[TEXTS]
        tables.item_texts[count, 0], tables.item_texts[count, 1] = (
            tables.fields[field, 0],
            tables.fields[field, 1],
        )
        tables.item_counts[TEXTS] += 1


@kernel
def _add_item(tables: Tables) -> None:
    sums, value = tables.item_sums, get_number(tables, VALUE)
    sums[SUM_OF_VALUES] += value
    sums[SUM_OF_WEIGHTS] += get_number(tables, WEIGHT)
    sums[SUM_OF_QUANTITIES] += get_number(tables, QUANTITY)
    if value > sums[LARGEST_VALUE]:
        sums[LARGEST_VALUE] = value


@kernel
def _find_chapter(tables: Tables, digits: Int) -> Int:
    """Return the number of the chapter of the code that was read last, -1 if it has no digits."""
    if digits == 0:
        return -1
    first = int(tables.letters[0]) - ZERO
    return ONE_DIGIT + first if digits == 1 else 10 * first + int(tables.letters[1]) - ZERO


@kernel
def _keep_digits(tables: Tables, digits: Int) -> None:
    """Keep the code that was read last as that of the goods."""
    for place in range(digits):
        tables.hs[place] = tables.letters[place]
    tables.item_counts[HS_DIGITS] = digits


@kernel
def _read_digits(tables: Tables, data: Array, field: Int) -> Int:
    """Write the digits of an HS code into `letters` as ASCII, those of any script. Return their number, or what is needed first.

    An item's code has any length: what is too long is cut.
    """
    count = 0
    if tables.kinds[field] != TEXT:
        return count
    at, end = tables.fields[field, 0], tables.fields[field, 1]
    while at < end and count < len(tables.hs):
        code, at = decode_one(data, at)
        if tables.latin[code] & KNOWN == 0:
            tables.page[0] = code >> PAGE_BITS
            return NEEDS_PAGE
        if tables.latin[code] & DECIMAL != 0:
            # One letter: the digit.
            tables.letters[count] = (tables.latin[code] >> LETTER_BITS) & 0xFF
            count += 1
    return count
