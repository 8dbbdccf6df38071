"""Texts in CSV that a spreadsheet would run as formulas: written with an apostrophe, and read without it.

=HYPERLINK("http://example.org")   is written as   '=HYPERLINK("http://example.org")
'=1                                is written as   ''=1, so that both are read back as they were
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from consignments.columns import get_type_family

_FORMULA = r"^('*[=+\-@\t\r])"
_QUOTED = r"^'('*[=+\-@\t\r])"


def quote_formulas(table: Any) -> Any:
    """Add an apostrophe to each text that begins like a formula, after any apostrophes."""
    return _replace(table, _FORMULA, r"'\1")


def unquote_formulas(table: Any) -> Any:
    """Remove the apostrophes that `quote_formulas` adds."""
    return _replace(table, _QUOTED, r"\1")


def _replace(table: Any, pattern: str, replacement: str) -> Any:
    for place, column in enumerate(table.schema):
        if get_type_family(column.type) == "text" and not pa.types.is_dictionary(column.type):
            values = table.column(place)
            if pc.any(pc.match_substring_regex(values, pattern)).as_py():
                changed = pc.replace_substring_regex(values, pattern, replacement)
                table = table.set_column(place, column, changed)
    return table
