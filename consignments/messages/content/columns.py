"""Columns of a record taken from a message by a table of paths: one path for each column, converted by what the column holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from consignments.messages.content.paths import find_text
from consignments.messages.content.values import Doubts, Fields, parse_any_number, read_country
from consignments.records import Consignment, Item, get_fields

NUMBERS = frozenset(
    field.name for record in (Consignment, Item) for field in get_fields(record) if field.kind == "number"
)
COUNTRY_ENDING = "country"


def convert_text(column: str, text: str | None, doubts: Doubts, of: str = "") -> Any:
    """Convert a text to the value of a column: a number, the code of a country, or the text as it is."""
    if text is None:
        return None
    if column in NUMBERS:
        return parse_any_number(text, doubts, of + column)
    return read_country(text, of + column, doubts) if column.endswith(COUNTRY_ENDING) else text


def read_columns(levels: Sequence[Any], paths: Mapping[str, str], doubts: Doubts, of: str = "") -> Fields:
    """Read all columns of a table; `of` begins their fields in warnings."""
    return {
        column: convert_text(column, find_text(levels, path), doubts, of) for column, path in paths.items()
    }
