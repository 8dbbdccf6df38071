"""Quality codes of messages as features: a flag for each code, and their number.

A consignment that came as a table has no reader and no codes: its flags are missing, not false.
"""

import numpy as np

from consignments.messages.quality import QUALITY_CODES
from features.normalization.compiling import START, Array, Bool, Int, Tables, kernel
from features.normalization.letters import AS_WRITTEN, MAX_TEXT_BYTES, TOO_LONG, is_same_text, read_letters
from features.normalization.record_kernels import (
    FIRST_ITEM_FIELD,
    LIST,
    NOTHING,
    QUALITY,
    find_fields,
    read_head,
    read_value,
)
from features.normalization.tables import MAX_WORDS
from features.normalization.text_codes import TextCodes, find_code
from features.spec import Feature

QUALITY_FEATURES = (
    Feature("quality.codes", "count", "data_quality"),
    *(Feature(f"quality.{code}", "flag", "data_quality") for code in QUALITY_CODES),
)
CODE_PLACES = {code: place for place, code in enumerate(QUALITY_CODES, 1)}
"""Each code, and the position of its flag."""
QUALITY_COUNT = len(QUALITY_FEATURES)
LEVEL, ISSUED_AT = find_fields("level", "issued_at")


@kernel
def write_quality(tables: Tables, data: Array, codes: TextCodes, known: Int, row: Array) -> Int:
    """Write the number of codes and their flags, NaN if no reader judged the message. Return 0, or what is needed first.

    Parameters
    ----------
    tables : Tables
    data : uint8 array
    codes : TextCodes
    known : int
        Position of the list that CODE_PLACES is.
    row : float32 array
    """
    judged = (
        tables.kinds[QUALITY] != NOTHING
        or tables.kinds[LEVEL] != NOTHING
        or tables.kinds[ISSUED_AT] != NOTHING
    )
    for place in range(QUALITY_COUNT):
        row[place] = 0.0 if judged else np.nan
    if tables.kinds[QUALITY] != LIST:
        return 0
    count, _, at = read_head(data, tables.fields[QUALITY, 0])
    if count > MAX_WORDS:
        return TOO_LONG
    text = tables.fields[FIRST_ITEM_FIELD]
    for place in range(count):
        at = read_value(tables, data, at, FIRST_ITEM_FIELD)
        if text[1] - text[0] > MAX_TEXT_BYTES:
            return TOO_LONG
        tables.starts[place], tables.ends[place] = text[0], text[1]
        if _is_repeated(tables, data, place):
            continue
        row[0] += 1.0
        start, end = read_letters(tables, data, text, AS_WRITTEN, START)
        if start < 0:
            return start
        flag = find_code(codes, known, tables.letters, start, end)
        if flag >= 0:
            row[flag] = 1.0
    return 0


@kernel
def _is_repeated(tables: Tables, data: Array, place: Int) -> Bool:
    """Check if a code before it is equal."""
    start, end = tables.starts[place], tables.ends[place]
    for other in range(place):
        if is_same_text(data, start, end, tables.starts[other], tables.ends[other]):
            return True
    return False
