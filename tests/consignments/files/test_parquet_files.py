"""Parquet: a directory is one table of its partitions, and a damaged file is refused."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.table_examples import names_and_rows, parquet_file, written

from consignments.errors import FileFault
from consignments.files.table_files import read_files


def test_a_parquet_file_cut_in_half_is_refused(tmp_path: Path) -> None:
    whole = parquet_file(tmp_path / "a.parquet", a=list(range(1000))).read_bytes()
    with pytest.raises(FileFault, match="truncated"):
        read_files(written(tmp_path / "cut.parquet", whole[: len(whole) // 2]))


def test_a_parquet_file_with_a_broken_middle_is_refused(tmp_path: Path) -> None:
    whole = bytearray(parquet_file(tmp_path / "a.parquet", a=[f"text {n}" for n in range(1000)]).read_bytes())
    whole[10:400] = bytes(390)
    with pytest.raises(FileFault, match="cannot be read as Parquet"):
        read_files(written(tmp_path / "broken.parquet", bytes(whole)))


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
