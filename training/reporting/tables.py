"""Tables as JSON, in the form that MLflow shows and compares."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from models.arrays import Row


class RunTable(NamedTuple):
    """A table of a run, with the columns that it has even without rows."""

    rows: Sequence[Row]
    columns: Sequence[str] = ()

    def to_json(self) -> str:
        """Convert the table to JSON: column names once, then the rows; unknown numbers are null."""
        columns = list(dict.fromkeys([*self.columns, *(name for row in self.rows for name in row)]))
        data = [[row.get(name) for name in columns] for row in self.rows]
        return encode_plain({"columns": columns, "data": data}).decode()


def parse_table(content: bytes | None) -> list[dict[str, Any]]:
    """Read the rows of a table; none if there is no such file."""
    if content is None:
        return []
    table = json.loads(content)
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def format_setting(value: Any, separator: str = ", ") -> str:
    """Format a setting for people; the parts of a list in a list are joined by plus signs."""
    if isinstance(value, list | tuple):
        return separator.join(format_setting(each, " + ") for each in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not set" if value is None else str(value)


def encode_plain(value: Any) -> bytes:
    """Encode a value as JSON: numbers that are unknown (NaN) are null, and numpy's numbers as Python's."""
    return msgspec.json.encode(value, enc_hook=lambda number: number.item())
