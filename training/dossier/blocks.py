"""Blocks of content in a field of the dossier: sentences, and tables whose values keep their full precision in the JSON."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

MAX_SHOWN_ROWS = 30
"""Rows of a table on the page; the JSON has all."""


class Column(NamedTuple):
    """A column of a table.

    Attributes
    ----------
    key, title : str
        Name in the JSON, heading on the page.
    form : {"text", "figure", "number", "decimal"}
        How the page formats its values: as they are, as shares, as counts, or with three significant digits.
    """

    key: str
    title: str
    form: str = "text"


class ShownColumn(NamedTuple):
    """A column as the page shows it: its place in the rows, and those of the ends of its interval (None without one)."""

    column: Column
    place: int
    low: int | None
    high: int | None


class Block(NamedTuple):
    """One block: sentences, then a table, each of which may be empty.

    Attributes
    ----------
    sentences : tuple of str
    columns : tuple of Column
    rows : tuple of tuple
        Values in the order of the columns; None is unknown.
    """

    sentences: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()

    @property
    def shown_columns(self) -> list[ShownColumn]:
        """Return the columns of the page: `KEY_low` and `KEY_high` are shown in the cell of `KEY`."""
        places = {column.key: place for place, column in enumerate(self.columns)}
        return [
            ShownColumn(column, place, places.get(f"{column.key}_low"), places.get(f"{column.key}_high"))
            for place, column in enumerate(self.columns)
            if not column.key.endswith(("_low", "_high"))
        ]

    @property
    def shown_rows(self) -> tuple[tuple[Any, ...], ...]:
        """Return the rows that the page shows."""
        return self.rows[:MAX_SHOWN_ROWS]

    @property
    def hidden(self) -> int:
        """Return the number of rows that only the JSON has."""
        return len(self.rows) - len(self.shown_rows)

    def to_plain(self) -> dict[str, Any]:
        """Convert the block to plain values for JSON."""
        plain: dict[str, Any] = {"sentences": list(self.sentences)} if self.sentences else {}
        if self.columns:
            plain["columns"] = [column.key for column in self.columns]
            plain["rows"] = [[_to_plain_value(value) for value in row] for row in self.rows]
        return plain


def build_table(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]], *sentences: str) -> list[Block]:
    """Build a block with a table of mappings; no block if there is no row.

    Parameters
    ----------
    columns : sequence of Column
        Keys that a row lacks are unknown.
    rows : iterable of mapping
    *sentences : str
        Before the table.
    """
    values = tuple(tuple(row.get(column.key) for column in columns) for row in rows)
    return [Block(sentences, tuple(columns), values)] if values else []


def build_pairs(pairs: Mapping[str, Any], *sentences: str) -> list[Block]:
    """Build a block with a table of names and values; values that are None or empty are left out."""
    known = [{"name": name, "value": value} for name, value in pairs.items() if value not in (None, "", ())]
    return build_table((Column("name", "what"), Column("value", "value", "number")), known, *sentences)


def _to_plain_value(value: Any) -> Any:
    """Convert a value; a number that is not finite is unknown."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
