"""Files: what makes one useless is said clearly, and nothing is left half-written."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from consignments import table_files as files
from consignments.errors import FileFault
from consignments.table_files import read_files, write_table


def names_and_rows(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    parts = read_files(path).parts
    return parts[0].table.column_names, [row for part in parts for row in part.table.to_pylist()]


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def parquet_file(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.jsonl", b"", "the file is empty"),
        ("a.parquet", b"", "the file is empty"),
        ("a.xlsx", b"x", "unknown kind of table"),
        ("a.csv", b"a,b\n1,\xff\n", "line 2: is not UTF-8"),
        ("a.csv", "a,b\n1,é\n".encode("latin-1"), "line 2: is not UTF-8"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "is not UTF-8"),
        ("a.csv", b"a,b\n1,2\n3,\x004\n", "line 3: holds NUL bytes"),
        ("a.jsonl", b'{"a": 1}\n\x00', "line 2: holds NUL bytes"),
        ("a.csv", b"a,b\n1,2\n3", "row 2: the file ends in the middle of a row"),
        ("a.csv", b'a,b\n1,2\n3,"fo', "row 2: a quote is opened and never closed"),
        ("a.csv", b'a,b\n1,"stray\n3,4\n', "row 1: a quote is opened and never closed"),
        ("a.csv", b'a,b\n1,"', "a quote is opened and never closed"),
        ("a.csv", "a,b\n1,é".encode()[:-1], "the file ends in the middle of a row"),
        ("a.csv", b"a,b,a\n1,2,3\n", "columns repeat; got a"),
        ("a.jsonl", b'{"a": 1}\n{"a": 2', "line 2: the file ends in the middle of a row"),
        ("a.jsonl", b"PAR1 no json\n", "no line is a JSON object"),
        ("a.jsonl", b'[{"a": 1}]\n', "no line is a JSON object"),
        ("a.parquet", b"a,b\n1,2\n", "cannot be read as Parquet"),
    ],
)
def test_a_useless_file_is_refused_with_its_reason(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    with pytest.raises(FileFault, match=words) as fault:
        read_files(written(tmp_path / name, data))
    assert name in str(fault.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFault, match="no such file"):
        read_files(tmp_path / "nowhere.csv")


def test_a_parquet_file_cut_in_half_is_refused(tmp_path: Path) -> None:
    whole = parquet_file(tmp_path / "a.parquet", a=list(range(1000))).read_bytes()
    with pytest.raises(FileFault, match="cut in half"):
        read_files(written(tmp_path / "cut.parquet", whole[: len(whole) // 2]))


def test_a_parquet_file_with_a_broken_middle_is_refused(tmp_path: Path) -> None:
    whole = bytearray(parquet_file(tmp_path / "a.parquet", a=[f"text {n}" for n in range(1000)]).read_bytes())
    whole[10:400] = bytes(390)
    with pytest.raises(FileFault, match="cannot be read as Parquet"):
        read_files(written(tmp_path / "broken.parquet", bytes(whole)))


def test_csv_holds_texts_only_so_that_no_zero_gets_lost(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", '\ufeffa,b\r\n007,NA\r\n"","x\ny"\r\n,"say ""hi"""\r\n'.encode())
    assert names_and_rows(path) == (
        ["a", "b"],
        [{"a": "007", "b": "NA"}, {"a": None, "b": "x\ny"}, {"a": None, "b": 'say "hi"'}],
    )


@pytest.mark.parametrize("data", [b"a,b", b"a,b\n", b"a,b\r\n"])
def test_a_csv_file_of_a_header_alone_is_an_empty_table(tmp_path: Path, data: bytes) -> None:
    assert names_and_rows(written(tmp_path / "a.csv", data)) == (["a", "b"], [])


def test_a_csv_file_may_end_without_a_line_end(tmp_path: Path) -> None:
    assert names_and_rows(written(tmp_path / "a.csv", b'a,b\n1,"2"'))[1] == [{"a": "1", "b": "2"}]


def test_csv_rows_of_another_length_are_rejected_by_their_number(tmp_path: Path) -> None:
    given = read_files(written(tmp_path / "a.csv", b'a,b\n1,2\n\n3\n"4\n",5\n6,7,8\n9,10\n'))
    assert [(reject.place, reject.reason, reject.row) for reject in given.rejects] == [
        ("a.csv row 2", "1 values, expected 2", "3"),
        ("a.csv row 4", "3 values, expected 2", "6,7,8"),
    ]
    (part,) = given.parts
    assert [part.locate_row(row) for row in range(3)] == ["a.csv row 1", "a.csv row 3", "a.csv row 5"]


def test_a_bad_json_line_is_rejected_by_its_number(tmp_path: Path) -> None:
    given = read_files(written(tmp_path / "a.jsonl", b'{"a": 1}\n\n{"a": \n[1]\n{"b": "x"}'))
    assert [(reject.place, reject.reason) for reject in given.rejects] == [
        ("a.jsonl line 3", "not JSON"),
        ("a.jsonl line 4", "not a JSON object"),
    ]
    assert [row for part in given.parts for row in part.table.to_pylist()] == [
        {"a": 1, "b": None},
        {"a": None, "b": "x"},
    ]
    assert given.parts[-1].locate_row(len(given.parts[-1].table) - 1) == "a.jsonl line 5"


def test_json_pieces_that_cannot_be_joined_stay_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "JSON_CHUNK_ROWS", 1)
    given = read_files(written(tmp_path / "a.jsonl", b'{"a": 1}\n{"a": "x"}\n'))
    assert [part.table.to_pylist() for part in given.parts] == [[{"a": 1}], [{"a": "x"}]]
    assert given.parts[1].locate_row(0) == "a.jsonl line 2"


def test_a_directory_is_one_table_of_its_partitions(tmp_path: Path) -> None:
    parquet_file(tmp_path / "t" / "year=2024" / "office=Incheon%20Air" / "1.parquet", a=[1])
    parquet_file(tmp_path / "t" / "year=2025" / "office=007" / "2.parquet", a=[2, None])
    parquet_file(tmp_path / "t" / "year=2025" / "office=__HIVE_DEFAULT_PARTITION__" / "3.parquet", a=[3])
    parquet_file(tmp_path / "t" / "_temporary" / "9.parquet", other=["x"])
    (tmp_path / "t" / "_SUCCESS").touch()
    assert names_and_rows(tmp_path / "t") == (
        ["a", "year", "office"],
        [
            {"a": 1, "year": "2024", "office": "Incheon Air"},
            {"a": 2, "year": "2025", "office": "007"},
            {"a": None, "year": "2025", "office": "007"},
            {"a": 3, "year": "2025", "office": None},
        ],
    )
    assert read_files(tmp_path / "t").parts[1].locate_row(1) == "t/year=2025/office=007/2.parquet row 2"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": ["x"], "b": [1]}, "column a; got text; expected numbers, as in t/1.parquet"),
        ({"a": [1]}, "column b; got no such column; expected numbers"),
        ({"a": [1], "b": [1], "c": [1]}, "column c; got numbers; expected no such column"),
        ({"a": [1], "b": [datetime(2024, 3, 4)]}, "column b; got times"),
    ],
)
def test_a_partition_with_another_schema_is_refused(
    tmp_path: Path, columns: dict[str, Any], words: str
) -> None:
    parquet_file(tmp_path / "t" / "1.parquet", a=[1], b=[2])
    parquet_file(tmp_path / "t" / "2.parquet", **columns)
    with pytest.raises(FileFault, match=words):
        read_files(tmp_path / "t")


def test_partitions_that_differ_only_in_what_is_missing_are_alike(tmp_path: Path) -> None:
    parquet_file(tmp_path / "t" / "1.parquet", a=[1], b=["x"])
    parquet_file(tmp_path / "t" / "2.parquet", a=[1.5], b=pa.nulls(1))
    assert len(read_files(tmp_path / "t").parts) == 2


def test_a_directory_without_parquet_files_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", b"a\n1\n")
    with pytest.raises(FileFault, match="no Parquet files"):
        read_files(tmp_path)


FRAME = pd.DataFrame(
    {
        "a": pd.Series(["x", None, 'q"\n,'], dtype="str"),
        "n": [1.0, None, 0.1],
        "t": pd.to_datetime(["2024-03-04T09:00:00.000001Z", None, "2024-03-05T00:00:00.000000Z"]).as_unit(
            "us"
        ),
        "items": ['[{"description":"b","quantity":2.0}]', None, "[]"],
    }
)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_same_table_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        write_table(FRAME, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_csv_and_json_lines_are_written_as_the_interface_says(tmp_path: Path) -> None:
    write_table(FRAME, tmp_path / "a.csv")
    write_table(FRAME.iloc[:1], tmp_path / "a.jsonl")
    first, second = (tmp_path / "a.csv").read_text().splitlines()[:2]
    assert first == '"a","n","t","items"'
    assert second == '"x",1,"2024-03-04T09:00:00.000001Z","[{""description"":""b"",""quantity"":2.0}]"'
    assert (tmp_path / "a.jsonl").read_text() == (
        '{"a":"x","n":1.0,"t":"2024-03-04T09:00:00.000001Z","items":[{"description":"b","quantity":2.0,'
        '"net_weight_kg":null,"value":null,"hs_code":null,"origin_country":null}]}\n'
    )


def test_parquet_holds_items_as_lists_of_structs(tmp_path: Path) -> None:
    write_table(FRAME, tmp_path / "a.parquet")
    column = parquet.read_table(tmp_path / "a.parquet").column("items")
    assert pa.types.is_list(column.type)
    assert [None if row is None else len(row) for row in column.to_pylist()] == [1, None, 0]


def test_lists_in_a_column_become_json_text_in_csv(tmp_path: Path) -> None:
    reasons = [[{"code": "route", "contribution": 0.5}], None]
    write_table(pd.DataFrame({"reasons": reasons}), tmp_path / "a.csv")
    assert names_and_rows(tmp_path / "a.csv")[1] == [{"reasons": '[{"code":"route","contribution":0.5}]'}]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_failed_writing_leaves_the_old_table_and_nothing_else(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / f"a{suffix}", b"old")

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(FileFault, match="No space left"):
        write_table(FRAME, path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("name", "words"), [("a.xls", "unknown kind of table"), ("none/a.csv", "cannot be written")]
)
def test_a_place_that_cannot_be_written_to_is_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(FileFault, match=words):
        write_table(FRAME, tmp_path / name)


def test_times_are_utc_in_meaning_whatever_their_zone_was(tmp_path: Path) -> None:
    seoul = pd.DataFrame({"t": pd.Series([datetime(2024, 3, 4, 9, tzinfo=UTC)]).dt.tz_convert("Asia/Seoul")})
    write_table(seoul, tmp_path / "a.csv")
    assert names_and_rows(tmp_path / "a.csv")[1] == [{"t": "2024-03-04T09:00:00.000000Z"}]
