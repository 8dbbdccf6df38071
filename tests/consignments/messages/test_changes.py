"""What becomes of a sample if some of its text is changed: a defect is a code, a note or a warning, and no reason to refuse."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from support.messages import MESSAGES, ROOT, changed, given, load

from consignments.messages.entries import Version
from consignments.messages.post.mapping import load_mapping
from consignments.messages.reading import read_entries

NOW = datetime(2026, 4, 1, tzinfo=UTC)
MAPPINGS = (load_mapping(MESSAGES / "itmatt.toml"),)
CASES = (ROOT / "tests" / "data" / "message_changes.jsonl").read_text(encoding="utf-8").splitlines()


def describe(content: bytes) -> dict[str, Any]:
    found = read_entries(content, NOW, MAPPINGS)
    assert found.rejects == ()
    versions = [each for each in found.entries if isinstance(each, Version)]
    return {
        "rows": [given(msgspec.to_builtins(each.record)) for each in versions],
        "warnings": {(each.code, each.field) for version in versions for each in version.warnings},
        "notes": set(found.notes),
    }


@pytest.mark.parametrize("line", CASES)
def test_a_changed_sample_is_read_as_its_line_says(line: str) -> None:
    """Each line has a sample, a change, fields of the first row, and what is new: codes of each row, warnings, notes."""
    case = json.loads(line)
    before, after = map(describe, (load(case["sample"]), changed(load(case["sample"]), case["change"])))
    fields = case.get("fields", {})
    assert {name: after["rows"][0].get(name) for name in fields} == fields
    new = [
        sorted({*row.get("quality", ())} - {*old.get("quality", ())})
        for old, row in zip(before["rows"], after["rows"], strict=True)
    ]
    assert new == case.get("quality", [[]] * len(new))
    assert after["warnings"] - before["warnings"] == set(map(tuple, case.get("warnings", ())))
    assert after["notes"] - before["notes"] == set(case.get("notes", ()))
