"""Parquet: a directory is one table of its partitions, and a damaged file is refused."""

import errno
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from support.table_examples import names_and_rows, parquet_file, written

from consignments.errors import FileFault
from consignments.files.parquet_files import ParquetTable
from consignments.files.part_folder import PartFolder
from consignments.files.part_manifest import identify_tables
from consignments.files.table_files import read_files


def test_a_parquet_file_that_is_cut_or_has_a_broken_middle_is_refused(tmp_path: Path) -> None:
    whole = parquet_file(tmp_path / "a.parquet", a=[f"text {n}" for n in range(1000)]).read_bytes()
    with pytest.raises(FileFault, match="truncated"):
        read_files(written(tmp_path / "cut.parquet", whole[: len(whole) // 2]))
    with pytest.raises(FileFault, match="cannot be read as Parquet"):
        names_and_rows(written(tmp_path / "broken.parquet", whole[:10] + bytes(390) + whole[400:]))


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
    assert list(read_files(tmp_path / "t").parts)[1].locate_row(1) == "t/year=2025/office=007/2.parquet row 2"
    with pytest.raises(FileFault, match="no Parquet files"):
        read_files(written(tmp_path / "other" / "a.csv", b"a\n1\n").parent)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": ["x"], "b": [1]}, "column a; got text; expected numbers, as in t/1.parquet"),
        ({"a": [1]}, "column b; got no such column; expected numbers"),
        ({"a": [1], "b": [1], "c": [1]}, "column c; got numbers; expected no such column"),
        ({"a": [1], "b": [datetime(2024, 3, 4)]}, "column b; got times"),
    ],
)
def test_a_part_with_another_schema_is_refused(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    parquet_file(tmp_path / "t" / "1.parquet", a=[1], b=[2])
    parquet_file(tmp_path / "t" / "2.parquet", **columns)
    with pytest.raises(FileFault, match=words):
        read_files(tmp_path / "t")


def test_partitions_that_differ_only_in_what_is_missing_are_alike(tmp_path: Path) -> None:
    parquet_file(tmp_path / "t" / "1.parquet", a=[1], b=["x"])
    parquet_file(tmp_path / "t" / "2.parquet", a=[1.5], b=pa.nulls(1))
    assert names_and_rows(tmp_path / "t")[1] == [{"a": 1, "b": "x"}, {"a": 1.5, "b": None}]


def make_years(folder: Path) -> Path:
    """Make a table of three years: one in a folder, one behind a symbolic link, one with a suffix in capitals."""
    parquet_file(folder / "elsewhere" / "a.parquet", a=[2])
    parquet_file(folder / "t" / "year=2023" / "a.parquet", a=[1])
    parquet_file(folder / "t" / "year=2025" / "A.PARQUET", a=[3])
    (folder / "t" / "year=2024").symlink_to(folder / "elsewhere")
    return folder / "t"


def test_a_partition_behind_a_link_counts_once_and_one_behind_a_hidden_link_does_not(tmp_path: Path) -> None:
    table = make_years(tmp_path)
    assert [row["year"] for row in names_and_rows(table)[1]] == ["2023", "2024", "2025"]
    before = identify_tables({"t": table})
    (table / "_latest").symlink_to(table / "year=2025")
    assert ParquetTable.open(table).rows == 3
    assert identify_tables({"t": table}) == before
    parquet_file(tmp_path / "elsewhere" / "a.parquet", a=[4])
    assert identify_tables({"t": table}) != before
    parquet_file(table / ".versions" / "7" / "a.parquet", a=[1])
    (table / "year=2026").symlink_to(table / ".versions" / "7")
    assert ParquetTable.open(table).rows == 4


@pytest.mark.parametrize("target", [".", "year=2023"])
def test_a_link_that_repeats_a_folder_is_refused(tmp_path: Path, target: str) -> None:
    table = make_years(tmp_path)
    (table / "year=2026").symlink_to(table / target)
    for use in (ParquetTable.open, lambda table: identify_tables({"t": table})):
        with pytest.raises(FileFault, match="twice, by a symbolic link; got the same folder as"):
            use(table)


def test_a_link_to_a_folder_that_is_gone_is_refused(tmp_path: Path) -> None:
    table = make_years(tmp_path)
    (tmp_path / "elsewhere").rename(tmp_path / "unmounted")
    with pytest.raises(FileFault, match=r"year=2024: a symbolic link leads nowhere; got .*elsewhere"):
        read_files(table)
    (table / "year=2024").rename(table / "_2024")
    assert ParquetTable.open(table).rows == 2
    assert identify_tables({"t": table})


def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_years(tmp_path)
    scan = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith(("year=2023", "_work")):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    (table / "_work").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(FileFault, match="year=2023: the folder cannot be read; got Permission denied"):
        read_files(table)


def test_a_table_in_parts_below_the_folder_is_compared_with_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    for year in (2024, 2025):
        with PartFolder.open(tmp_path / "t" / f"year={year}", {}) as parts:
            parts.write(lambda first: [pa.table({"a": [1, 2]})])
    assert ParquetTable.open(tmp_path / "t").rows == 4
    extra = parquet_file(tmp_path / "t" / "year=2024" / "more" / "a.parquet", a=[3])
    with pytest.raises(FileFault, match=r"more/a\.parquet: this file is not in the manifest"):
        ParquetTable.open(tmp_path / "t")
    extra.unlink()
    (tmp_path / "t" / "year=2025" / "part-00000.parquet").unlink()
    with pytest.raises(FileFault, match=r"year=2025/part-00000\.parquet: a part of the table cannot be read"):
        read_files(tmp_path / "t")


def test_names_that_are_not_utf_8_are_refused_with_the_file(tmp_path: Path) -> None:
    named = tmp_path / "columns.parquet"
    parquet.write_table(pa.table({"QQQQ": [1]}), named, store_schema=False)
    named.write_bytes(named.read_bytes().replace(b"QQQQ", b"QQ\xe9Q"))
    folder, strange = tmp_path / "t", tmp_path / "t" / os.fsdecode(b"caf\xe9.parquet")
    parquet_file(folder / "a.parquet", a=[1]).rename(strange)
    odd = r"caf\\xe9\.parquet"
    for path, name in ((named, "columns.parquet"), (strange, odd), (folder, odd)):
        for read in (read_files, ParquetTable.open):
            with pytest.raises(FileFault, match=rf"{name}: the name of the file or of a column is not UTF-8"):
                read(path)
    before = identify_tables({"t": folder})
    (folder / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"1")
    assert identify_tables({"t": folder}) != before
