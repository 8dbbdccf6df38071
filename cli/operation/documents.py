"""Document of an operation: a page for people, and a JSON file of the same name with its numbers."""

import json
from pathlib import Path
from typing import Any

from cli.output import print_result


def write_document(out: Path, page: str, numbers: dict[str, Any], summary: str, *, as_json: bool) -> None:
    """Write the page and its JSON file, and print the result."""
    beside = out.with_suffix(".json")
    out.write_text(page, encoding="utf-8")
    beside.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    print_result(
        {"out": str(out), "numbers": str(beside), **numbers}, as_json, f"{summary}\n-> {out}, {beside}"
    )
