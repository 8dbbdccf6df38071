"""Files: what makes one useless is said clearly."""

from pathlib import Path
from typing import Any

import pytest
from support.cases import read_cases
from support.table_examples import written

from consignments.errors import FileFault
from consignments.files import table_files as files
from consignments.files.table_files import read_files


@pytest.mark.parametrize("case", read_cases("useless_files"))
def test_a_useless_file_is_refused_with_a_reason(tmp_path: Path, case: dict[str, Any]) -> None:
    """Each line has a name, a text with its encoding unless that is UTF-8, and words of the reason."""
    data = case["text"].encode(case.get("encoding", "utf-8"))
    with pytest.raises(FileFault, match=case["words"]) as fault:
        read_files(written(tmp_path / case["name"], data))
    assert case["name"] in str(fault.value)
    with pytest.raises(FileFault, match="no such file"):
        read_files(tmp_path / f"no {case['name']}")


@pytest.mark.parametrize("case", read_cases("csv_texts"))
def test_a_csv_text_is_read_as_texts(tmp_path: Path, case: dict[str, Any]) -> None:
    """Each line has a text, what is read and from which places, and what is rejected with its place and reason."""
    given = read_files(written(tmp_path / "a.csv", case["text"].encode()))
    (part,) = given.parts
    assert part.table.column_names == case["names"]
    assert [list(row.values()) for row in part.table.to_pylist()] == case["rows"]
    assert [part.locate_row(row) for row in range(len(case["rows"]))] == case["places"]
    assert [[each.place, each.reason, each.row] for each in given.rejects] == case["rejects"]


def test_json_parts_that_cannot_be_joined_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "JSON_CHUNK_ROWS", 1)
    given = read_files(written(tmp_path / "a.jsonl", b'{"a": 1}\n{"a": "x"}\n'))
    assert [part.table.to_pylist() for part in given.parts] == [[{"a": 1}], [{"a": "x"}]]
    assert given.parts[1].locate_row(0) == "a.jsonl line 2"
