"""The record of all tables and scratch arrays of the kernels of a row.

Kernels receive it as one pointer, and the compiler knows the size of each array. NamedTuples of arrays took twice the time. Pages that
nobody reads take no memory.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from consignments.records import MAX_ITEMS
from features.normalization.compiling import Tables
from features.normalization.letters import (
    CODE_POINTS,
    COMPOSED_BLOB,
    LATIN_BLOB,
    MAX_COMPOSED,
    MAX_LATIN,
    MAX_SPACE,
)
from features.normalization.words import (
    MARKS,
    MAX_GROUPS,
    MAX_MARK,
    MAX_PHRASE,
    MAX_PHRASES,
    SIGN_SETS,
    SLOT_COLUMNS,
    WORD_SLOTS,
)

MAX_FIELDS = 160
"""Maximum number of values of a record that a kernel reads."""
MAX_ITEM_FIELDS = 8
AIRPORTS = 26**3
DECLARED_COUNTRIES = 5
MAX_CHAPTERS = 110  # of two digits, or of one
TEXT_SLOTS = 4096
"""Places of a hash table of the descriptions of a row: a power of two, at least twice their number."""
ALL_FIELDS = MAX_FIELDS + MAX_ITEM_FIELDS
MAX_SIGN = 5  # letters that one sign of an address becomes: "#" is " apt "
MAX_WORDS = MAX_SIGN * MAX_LATIN
MAX_FORM = 32 * MAX_LATIN
"""Room for one normal form. An address line has at most ten times its letters, because a post box doubles it; a word of a name becomes at most
five times as long."""
MAX_FORMS = 4 * MAX_FORM
PLANS, PLAN_COLUMNS = 26 * 26, 6
TABLES = np.dtype(
    [
        # letters
        ("latin", np.int64, CODE_POINTS),
        ("composed", np.uint32, CODE_POINTS),
        ("lower", np.uint32, CODE_POINTS),
        ("folded", np.uint32, CODE_POINTS),
        ("upper", np.uint32, CODE_POINTS),
        ("space", np.uint8, MAX_SPACE),
        ("latin_blob", np.uint8, LATIN_BLOB),
        ("composed_blob", np.uint32, COMPOSED_BLOB),
        ("used", np.int64, 2),
        ("sounds", np.uint8, (3, 32, 4)),
        ("sound_size", np.int64, (3, 32)),
        # words
        ("words", np.int64, (WORD_SLOTS, SLOT_COLUMNS)),
        ("word_blob", np.uint8, MAX_FORMS),
        ("phrases", np.uint32, (MAX_PHRASES, MAX_PHRASE)),
        ("phrase_size", np.int64, MAX_PHRASES),
        ("phrase_range", np.int64, (MAX_GROUPS, 2)),
        ("phrase_first", np.int64, 256),
        ("signs", np.uint8, (SIGN_SETS, 256)),
        ("non_letters", np.uint8, 128),
        ("plans", np.int64, (PLANS, PLAN_COLUMNS)),
        ("calling_codes", np.uint8, (4, 1000)),
        ("marks", np.uint8, (len(MARKS), MAX_MARK)),
        ("mark_size", np.int64, len(MARKS)),
        ("airports", np.int64, AIRPORTS),
        # Scratch of a text. Arrays that one kernel receives in turn have one size, or it would be compiled for each.
        ("page", np.int64, 1),
        ("sizes", np.int64, 4),
        ("raw", np.uint32, MAX_COMPOSED),
        ("composed_text", np.uint32, MAX_COMPOSED),
        ("home", np.uint32, MAX_COMPOSED),
        ("letters", np.uint32, MAX_COMPOSED),
        ("latin_text", np.uint8, MAX_FORMS),
        ("line", np.uint8, MAX_FORMS),
        ("read_line", np.uint8, MAX_FORMS),
        ("arena", np.uint8, MAX_FORMS),
        ("town", np.uint8, MAX_FORMS),
        ("code", np.uint8, MAX_FORMS),
        ("starts", np.int64, MAX_WORDS),
        ("ends", np.int64, MAX_WORDS),
        ("roles", np.int64, MAX_WORDS),
        ("town_starts", np.int64, MAX_WORDS),
        ("town_ends", np.int64, MAX_WORDS),
        ("place_sizes", np.int64, 4),
        ("line_start", np.int64, 1),
        ("keeps_all", np.int64, 1),
        ("arena_used", np.int64, 1),
        # scratch of a row
        ("fields", np.int64, (ALL_FIELDS, 4)),
        ("numbers", np.float64, ALL_FIELDS),
        ("row_fault", np.int64, 1),
        ("row_size", np.int64, 1),
        ("kinds", np.int64, ALL_FIELDS),
        ("countries", np.int64, (DECLARED_COUNTRIES, 3)),
        ("measures", np.float64, 8),
        ("hs", np.uint32, MAX_COMPOSED),
        ("item_texts", np.int64, (MAX_ITEMS + 1, 3)),
        ("item_counts", np.int64, 6),
        ("item_sums", np.float64, 4),
        ("chapters", np.int64, MAX_CHAPTERS),
        ("text_slots", np.int64, TEXT_SLOTS),
        ("forms", np.uint8, MAX_FORMS),
        ("slots", np.int64, (MAX_FIELDS, 2)),
        ("message", np.uint8, MAX_FORMS),
        ("block", np.uint64, 16),
        ("hash", np.uint64, 8),
    ],
    align=True,
)


def create_tables() -> NDArray[Any]:
    """Create empty tables: a plain array of one record, whose type numba finds soonest."""
    return np.zeros(1, dtype=TABLES)


def get_record(tables: NDArray[Any]) -> Tables:
    """Return the record of tables, with its arrays as attributes."""
    return tables.view(np.recarray)[0]
