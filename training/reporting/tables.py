"""Tables as JSON, in the form that MLflow shows and compares."""

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from models.arrays import Row


class RunTable(NamedTuple):
    """A table of a run, with the columns that it has even without rows."""

    rows: Sequence[Row]
    columns: Sequence[str] = ()

    def to_json(self) -> str:
        """Convert the table to JSON: column names once, then the rows; unknown numbers are null."""
        columns = list(dict.fromkeys([*self.columns, *(name for row in self.rows for name in row)]))
        data = [[replace_unknown(row.get(name)) for name in columns] for row in self.rows]
        return json.dumps({"columns": columns, "data": data}, separators=(",", ":"), ensure_ascii=False)


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


def replace_unknown(value: Any) -> Any:
    """Convert a value for JSON: numbers that are unknown (NaN) become None, at any depth, and numpy's numbers Python's."""
    if isinstance(value, dict):
        return {name: replace_unknown(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [replace_unknown(each) for each in value]
    plain = value.item() if hasattr(value, "item") else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
