"""Files: what makes one useless is said clearly, and tables that would use up memory or time are refused in one line."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from support.cases import read_cases
from support.table_examples import written

from consignments import validation
from consignments.errors import FileFault
from consignments.files import parquet_files, raw_tables, table_files
from consignments.files.parquet_files import ParquetTable
from consignments.files.table_files import read_files
from consignments.records import Consignment
from consignments.tables import read_table, stream_table


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
    monkeypatch.setattr(table_files, "JSON_CHUNK_ROWS", 1)
    given = read_files(written(tmp_path / "a.jsonl", b'{"a": 1}\n{"a": "x"}\n'))
    assert [part.table.to_pylist() for part in given.parts] == [[{"a": 1}], [{"a": "x"}]]
    assert given.parts[1].locate_row(0) == "a.jsonl line 2"


def test_a_parquet_file_of_one_long_text_in_all_rows_is_refused_before_it_is_expanded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    rows = pa.DictionaryArray.from_arrays(pa.array([0] * 2_000), pa.array(["x" * 5_000_000]))
    parquet.write_table(pa.table({"consignment_id": rows}), path, compression="zstd")
    assert path.stat().st_size < 100_000
    for read in (ParquetTable.open, read_files):
        with pytest.raises(FileFault, match=r"consignment_id: a text is too long; got 5,000,000 bytes"):
            read(path)
    parquet.write_table(pa.table({"consignment_id": [f"{number:030d}" for number in range(60_000)]}), path)
    assert ParquetTable.open(path).rows == 60_000


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_too_many_columns_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(raw_tables, "MAX_COLUMNS", 3)
    path = tmp_path / f"wide.{suffix}"
    texts = {"csv": "a,b,c,d\n1,2,3,4\n", "jsonl": '{"a":1,"b":2}\n{"c":3,"d":4}\n'}
    if suffix == "parquet":
        parquet.write_table(pa.table({name: [1] for name in "abcd"}), path)
    else:
        path.write_text(texts[suffix])
    with pytest.raises(FileFault, match="too many columns; got 4; expected at most 3"):
        read_files(path)


def test_a_line_nested_too_deeply_is_rejected_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_text('{"a":' + "[" * 1_000_000 + "]" * 1_000_000 + '}\n{"a":1}\n')
    found = read_files(path)
    (reject,) = found.rejects
    assert (reject.place, reject.reason) == ("deep.jsonl line 1", "nested too deeply")
    assert sum(len(part.table) for part in found.parts) == 1


def test_long_lines_and_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text('{"a":1}\n{"a":"' + "x" * 100 + '"}\n')
    monkeypatch.setattr(table_files, "MAX_LINE_BYTES", 50)
    with pytest.raises(FileFault, match="line 2: a line is longer"):
        read_files(path)
    monkeypatch.setattr(table_files, "MAX_TEXT_FILE_BYTES", 50)
    with pytest.raises(FileFault, match="the file is too large"):
        read_files(path)
    parquet.write_table(pa.table({"a": ["A"]}), tmp_path / "large.parquet")
    assert read_files(tmp_path / "large.parquet").columns == ("a",)


def test_lines_with_columns_of_their_own_are_refused_before_they_make_a_table(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    rows = (dict.fromkeys(range(n, n + 100), n) for n in range(0, 50_000, 100))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tracemalloc.start()
    with pytest.raises(FileFault, match="too many columns; got 50,000"):
        read_files(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000  # 200 MB with a cell for each line and column


def write_bomb(path: Path, identifiers: list[str]) -> None:
    """Write a small file with the same long text in each row."""
    same = {"channel": "postal", "received_at": "2024-01-01T00:00:00Z", "description": "x" * 3_000}
    place = pa.array([0] * len(identifiers), type=pa.int32())
    columns = {name: pa.DictionaryArray.from_arrays(place, pa.array([text])) for name, text in same.items()}
    parquet.write_table(pa.table({"consignment_id": identifiers} | columns), path, compression="zstd")


def test_a_small_parquet_file_that_expands_to_gigabytes_is_refused_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "MIN_EXPANDED_BYTES", 1 << 24)
    monkeypatch.setattr(parquet_files, "MAX_EXPANSION", 10)
    write_bomb(tmp_path / "bomb.parquet", [f"C{number}" for number in range(10_000)])
    told = r"bomb.parquet: the table is too large in memory; got more than 16,777,216"
    with pytest.raises(FileFault, match=told):
        read_table(tmp_path / "bomb.parquet", Consignment)
    with pytest.raises(FileFault, match="the table is too large in memory"):
        list(read_files(tmp_path).parts)
    assert len(stream_table(tmp_path / "bomb.parquet", Consignment)) == 10_000, "chunks need no such memory"


def test_too_many_invalid_rows_end_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "MAX_REJECTED_BYTES", 10_000_000)
    path = tmp_path / "bomb.parquet"
    write_bomb(path, ["A"] * 10_000)
    for read in (read_table, stream_table):
        with pytest.raises(FileFault, match=r"got 2,9\d\d invalid rows so far, the last because: repeated"):
            read(path, Consignment)
