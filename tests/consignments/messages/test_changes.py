"""Versions, styles, envelopes and defects: what becomes of a sample if some of its text is changed."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from support.cases import read_cases
from support.messages import MESSAGES, changed, given, load

from consignments.messages.entries import Version
from consignments.messages.post.mapping import load_mapping
from consignments.messages.reading import read_entries

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
MAPPINGS = (load_mapping(MESSAGES / "itmatt.toml"),)


def read(content: bytes) -> tuple[list[dict[str, Any]], set[tuple[str, str]], set[str]]:
    """Read a message; return its rows, what it warns of, and its notes."""
    found = read_entries(content, NOW, MAPPINGS)
    assert found.rejects == ()
    versions = [each for each in found.entries if isinstance(each, Version)]
    rows = [given(msgspec.json.decode(msgspec.json.encode(each.record))) for each in versions]
    return rows, {(each.code, each.field) for row in versions for each in row.warnings}, set(found.notes)


@pytest.mark.parametrize("case", read_cases("message_changes"))
def test_a_changed_sample_is_read_as_its_line_says_and_in_all_else_as_before(case: dict[str, Any]) -> None:
    """Each line has a sample, replacements, and what is new then: fields of each row, null if missing, warnings and notes."""
    content = load(case["sample"])
    rows, warnings, notes = read(content)
    new_rows, new_warnings, new_notes = read(changed(content, *case["change"]))
    assert new_rows == [
        given(row | new) for row, new in zip(rows, case.get("rows", [{}] * len(rows)), strict=True)
    ]
    assert new_warnings - warnings == set(map(tuple, case.get("warnings", ())))
    assert new_notes - notes == set(case.get("notes", ()))
