"""Tables as JSON, in the form that MLflow shows and compares."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Row = Mapping[str, Any]


class RunTable(NamedTuple):
    """A table of a run, with the columns that it has even without rows."""

    rows: Sequence[Row]
    columns: Sequence[str] = ()


def serialize_table(rows: Sequence[Row], columns: Sequence[str] = ()) -> str:
    """Convert a table to JSON: column names once, then the rows; unknown numbers are null.

    Examples
    --------
    >>> serialize_table([{"metric": "roc_auc", "value": 0.5}, {"metric": "recall", "value": float("nan")}])
    '{"columns":["metric","value"],"data":[["roc_auc",0.5],["recall",null]]}'
    """
    columns = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    data = [[replace_unknown(_to_plain(row.get(name))) for name in columns] for row in rows]
    return json.dumps({"columns": columns, "data": data}, separators=(",", ":"), ensure_ascii=False)


def write_tables(folder: Path, tables: Mapping[str, Sequence[Row] | RunTable]) -> None:
    """Write each table to `tables/NAME.json` of a folder."""
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        rows, columns = table if isinstance(table, RunTable) else (table, ())
        (folder / "tables" / f"{name}.json").write_text(serialize_table(rows, columns), encoding="utf-8")


def parse_table(content: bytes) -> list[dict[str, Any]]:
    """Read the rows of a table."""
    table = json.loads(content)
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def replace_unknown(value: Any) -> Any:
    """Replace numbers that are unknown (NaN) by None, at any depth, for JSON."""
    if isinstance(value, dict):
        return {name: replace_unknown(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [replace_unknown(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _to_plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
