"""A document of an operation: facts become a page, a JSON file with the same numbers, and a run in MLflow."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from consignments.files.whole_files import PUBLIC_MODE, replace_file
from operation.yields import YieldCounts
from training.evaluation.estimate import Estimate
from training.reporting.html import render_page
from training.reporting.mlflow_tracking import RunRecord
from training.reporting.tables import RunTable, encode_plain

TEMPLATES = Path(__file__).parent / "templates"
PAGE_FILE = "report.html"
EXCLUDED_FROM_MLFLOW = frozenset(("text",))
"""Columns that partners write in their own words. They stay out of MLflow."""


class Document(NamedTuple):
    """A `brief`, `plan` or `debrief`: its page, its numbers as plain JSON values, and a summary for a terminal."""

    kind: str
    page: str
    numbers: dict[str, Any]
    summary: str

    @classmethod
    def render(cls, kind: str, facts: Any, summary: str, **values: Any) -> "Document":
        """Render the page, self-contained HTML that prints: its template has the name of the kind, as the facts in it."""
        page = render_page(f"{kind}.html", TEMPLATES, **{kind: facts}, summary=summary.split("\n"), **values)
        return cls(kind, page, to_plain(facts), summary)

    def write(self, out: Path) -> Path:
        """Write the page and the JSON file of the same name, and return the second."""
        beside = out.with_suffix(".json")
        replace_file(out, self.page.encode(), PUBLIC_MODE)
        replace_file(beside, (json.dumps(self.numbers, indent=1) + "\n").encode(), PUBLIC_MODE)
        return beside

    def to_record(self) -> RunRecord:
        """Build the record of the run: tables, metrics and parameters from the document, the page as `report.html`."""
        kind, numbers = self.kind, self.numbers
        end = numbers.get("ends")
        return RunRecord(
            name=f"{kind} {end[:10] if isinstance(end, str) else ''}".rstrip(),
            description=self.summary.replace("\n", "\n\n"),
            tags={"kind": kind, **({"target": str(numbers["target"])} if "target" in numbers else {})},
            params={name: value for name, value in numbers.items() if isinstance(value, str)},
            metrics={f"{kind}/{name}": value for name, value in flatten_numbers(numbers).items()},
            tables={name: RunTable(rows) for name, rows in list_tables(numbers).items()},
            files={PAGE_FILE: self.page},
        )


def to_plain(value: Any) -> Any:
    """Convert facts to plain JSON values: records to objects, times to ISO 8601, an estimate to NAME, NAME_low and NAME_high."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    if hasattr(value, "_asdict"):
        value = value._asdict()
    elif is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if not isinstance(value, Mapping):
        if isinstance(value, list | tuple):
            return [to_plain(each) for each in value]
        return msgspec.json.decode(encode_plain(value))
    plain: dict[str, Any] = {}
    for name, each in value.items():
        if isinstance(each, Estimate):
            ends = {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
            plain |= to_plain(ends)
        elif isinstance(each, YieldCounts):
            plain |= each._asdict()
        else:
            plain[name] = to_plain(each)
    return plain


def flatten_numbers(numbers: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a document by name, those of an object inside it under `OBJECT/NAME`."""
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
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return is_list and bool(value) and all(isinstance(row, Mapping) for row in value)
