"""Files: what makes one useless is said clearly."""

from pathlib import Path

import pytest
from support.table_examples import names_and_rows, written

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


def test_csv_holds_texts_only_so_that_no_zero_gets_lost(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", '\ufeffa,b\r\n007,NA\r\n"","x\ny"\r\n,"say ""hi"""\r\n'.encode())
    assert names_and_rows(path) == (
        ["a", "b"],
        [{"a": "007", "b": "NA"}, {"a": None, "b": "x\ny"}, {"a": None, "b": 'say "hi"'}],
    )


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_csv_file_may_separate_columns_by_semicolons_or_tabs(tmp_path: Path, mark: str) -> None:
    text = f'a{mark}"b,c"{mark}d\n1,25{mark}"x{mark}y"{mark}\n1{mark}2\n'
    given = read_files(written(tmp_path / "a.csv", text.encode()))
    assert [reject.reason for reject in given.rejects] == ["2 values, expected 3"]
    assert given.parts[0].table.to_pylist() == [{"a": "1,25", "b,c": f"x{mark}y", "d": None}]


@pytest.mark.parametrize(
    ("data", "names", "rows"),
    [
        (b'"a;b",d\n1;2,4\n', ["a;b", "d"], [{"a;b": "1;2", "d": "4"}]),
        *((b"a,b" + end, ["a", "b"], []) for end in (b"", b"\n", b"\r\n")),
        (b'a,b\n1,"2"', ["a", "b"], [{"a": "1", "b": "2"}]),
    ],
    ids=["a semicolon in a quoted name", "no line end", "a header alone", "of Windows", "no last line end"],
)
def test_a_csv_file_is_read_as_its_mark_and_quotes_say(
    tmp_path: Path, data: bytes, names: list[str], rows: list[dict[str, str]]
) -> None:
    assert names_and_rows(written(tmp_path / "a.csv", data)) == (names, rows)


def test_a_row_that_an_open_quote_joined_with_the_next_one_says_so(tmp_path: Path) -> None:
    given = read_files(written(tmp_path / "a.csv", b'a,b,c\n1,"2,3\n4,5",6,7\n8,9,10\n'))
    assert ["missing closing quote" in reject.reason for reject in given.rejects] == [True]


def test_csv_rows_of_another_length_are_rejected_by_their_number(tmp_path: Path) -> None:
    given = read_files(written(tmp_path / "a.csv", b'a,b\n1,2\n\n3\n"4\n",5\n6,7,8\n9,10\n'))
    assert [(reject.place, reject.reason, reject.row) for reject in given.rejects] == [
        ("a.csv row 2", "1 values, expected 2", "3"),
        ("a.csv row 4", "3 values, expected 2", "6,7,8"),
    ]
    (part,) = given.parts
    assert [part.locate_row(row) for row in range(3)] == ["a.csv row 1", "a.csv row 3", "a.csv row 5"]


def test_json_parts_that_cannot_be_joined_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "JSON_CHUNK_ROWS", 1)
    given = read_files(written(tmp_path / "a.jsonl", b'{"a": 1}\n{"a": "x"}\n'))
    assert [part.table.to_pylist() for part in given.parts] == [[{"a": 1}], [{"a": "x"}]]
    assert given.parts[1].locate_row(0) == "a.jsonl line 2"
