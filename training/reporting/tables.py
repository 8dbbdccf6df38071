"""Tables as JSON, in the form that MLflow shows and compares."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any


def serialize_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Convert a table to JSON: column names once, then the rows; unknown numbers are null.

    Parameters
    ----------
    rows : sequence of dict
    columns : sequence of str
        Columns that are always present, even if no row has them; they come first.

    Examples
    --------
    >>> serialize_table([{"metric": "roc_auc", "value": 0.5}, {"metric": "recall", "value": float("nan")}])
    '{"columns":["metric","value"],"data":[["roc_auc",0.5],["recall",null]]}'
    """
    columns = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    data = [[_to_json_value(row.get(name)) for name in columns] for row in rows]
    return json.dumps({"columns": columns, "data": data}, separators=(",", ":"), ensure_ascii=False)


def _to_json_value(value: Any) -> Any:
    """Convert a value to its JSON form."""
    if isinstance(value, float) and value != value:
        return None
    return value.item() if hasattr(value, "item") else value


def replace_unknown(value: Any) -> Any:
    """Replace numbers that are unknown (NaN) by None, at any depth, for JSON."""
    if isinstance(value, dict):
        return {name: replace_unknown(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [replace_unknown(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
