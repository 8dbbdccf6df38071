"""Files: what makes one useless is said clearly."""

from pathlib import Path
from typing import Any

import pytest
from support.cases import read_cases
from support.table_examples import written

from consignments.errors import FileFault
from consignments.files import table_files as files
from consignments.files.table_files import read_files


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.jsonl", b"", "the file is empty"),
        ("a.parquet", b"", "the file is empty"),
        ("a.xlsx", b"x", "unknown table format"),
        ("a.csv", b"a,b\n1,\xff\n", "line 2: the file is not UTF-8"),
        ("a.csv", "a,b\n1,é\n".encode("latin-1"), "line 2: the file is not UTF-8.*iconv -f CP1252 -t UTF-8"),
        ("a.csv", b'a;b\n1;2\n3;"fo', "row 2: an opening quote has no closing quote"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "the file is not UTF-8"),
        ("a.csv", b"a,b\n1,2\n3,\x004\n", "line 3: the file contains NUL bytes"),
        ("a.jsonl", b'{"a": 1}\n\x00', "line 2: the file contains NUL bytes"),
        ("a.csv", b"a,b\n1,2\n3", "row 2: the file is truncated: it ends in the middle of a row"),
        ("a.csv", b'a,b\n1,2\n3,"fo', "row 2: an opening quote has no closing quote"),
        ("a.csv", b'a,b\n1,"stray\n3,4\n', "row 1: an opening quote has no closing quote"),
        ("a.csv", b'a,b\n1,"', "an opening quote has no closing quote"),
        ("a.csv", "a,b\n1,é".encode()[:-1], "the file is truncated: it ends in the middle of a row"),
        ("a.csv", b"a,b,a\n1,2,3\n", "a column name occurs twice; got a"),
        ("a.jsonl", b'{"a": 1}\n{"a": 2', "line 2: the file is truncated: it ends in the middle of a row"),
        ("a.jsonl", b"PAR1 no json\n", "no line is a JSON object"),
        ("a.jsonl", b'[{"a": 1}]\n', "no line is a JSON object"),
        ("a.parquet", b"a,b\n1,2\n", "cannot be read as Parquet"),
    ],
)
def test_a_useless_file_is_refused_with_a_reason(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    with pytest.raises(FileFault, match=words) as fault:
        read_files(written(tmp_path / name, data))
    assert name in str(fault.value)
    with pytest.raises(FileFault, match="no such file"):
        read_files(tmp_path / f"no {name}")


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
