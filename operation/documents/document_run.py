"""Records for MLflow of the documents of an operation: the page, and the same numbers as metrics and tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from training.reporting.mlflow_tracking import RunRecord
from training.reporting.tables import RunTable

PAGE_FILE = "report.html"
EXCLUDED_FROM_MLFLOW = frozenset(("text",))
"""Columns that partners write in their own words. They stay out of MLflow."""


def build_document_record(kind: str, page: str, numbers: Mapping[str, Any], summary: str) -> RunRecord:
    """Build the record of a document: `brief`, `plan` or `debrief`, the tag `kind` and the first part of the names of metrics.

    Of the plain JSON values, each list of objects becomes `tables/NAME.json`, each number a metric, and each text a parameter. The
    page becomes `report.html`.
    """
    return RunRecord(
        name=f"{kind} {_find_date(numbers)}".rstrip(),
        description=summary.replace("\n", "\n\n"),
        tags={"kind": kind, **({"target": str(numbers["target"])} if "target" in numbers else {})},
        params={name: value for name, value in numbers.items() if isinstance(value, str)},
        metrics={f"{kind}/{name}": value for name, value in flatten_numbers(numbers).items()},
        tables={name: RunTable(rows) for name, rows in list_tables(numbers).items()},
        files={PAGE_FILE: page},
    )


def flatten_numbers(numbers: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a document by name, those of an object inside it under `OBJECT/NAME`.

    Examples
    --------
    >>> flatten_numbers({"known": 4, "total": {"positives": 2, "rate": None}, "alerts": [{"matched": 1}], "target": "nps"})
    {'known': 4.0, 'total/positives': 2.0}
    """
    found: dict[str, float] = {}
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            found |= {f"{name}/{part}": number for part, number in flatten_numbers(value).items()}
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found[name] = float(value)
    return found


def list_tables(numbers: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """List the tables of a document by name, those of an object inside it under `OBJECT_NAME`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            found |= {f"{name}_{part}": rows for part, rows in list_tables(value).items()}
        elif _is_table(value):
            found[name] = [
                {column: cell for column, cell in row.items() if column not in EXCLUDED_FROM_MLFLOW}
                for row in value
            ]
    return found


def _is_table(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and bool(value) and all(
        isinstance(row, Mapping) for row in value
    )  # fmt: skip


def _find_date(numbers: Mapping[str, Any]) -> str:
    """Return the day on which the period of a document ends."""
    end = numbers.get("ends")
    return end[:10] if isinstance(end, str) else ""
