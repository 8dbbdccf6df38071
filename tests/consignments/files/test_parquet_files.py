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


def test_a_parquet_file_cut_in_half_is_refused(tmp_path: Path) -> None:
    whole = parquet_file(tmp_path / "a.parquet", a=list(range(1000))).read_bytes()
    with pytest.raises(FileFault, match="truncated"):
        read_files(written(tmp_path / "cut.parquet", whole[: len(whole) // 2]))


def test_a_parquet_file_with_a_broken_middle_is_refused(tmp_path: Path) -> None:
    whole = bytearray(parquet_file(tmp_path / "a.parquet", a=[f"text {n}" for n in range(1000)]).read_bytes())
    whole[10:400] = bytes(390)
    with pytest.raises(FileFault, match="cannot be read as Parquet"):
        names_and_rows(written(tmp_path / "broken.parquet", bytes(whole)))


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
    assert names_and_rows(tmp_path / "t")[1] == [{"a": 1, "b": "x"}, {"a": 1.5, "b": None}]


def test_a_directory_without_parquet_files_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", b"a\n1\n")
    with pytest.raises(FileFault, match="no Parquet files"):
        read_files(tmp_path)


def make_years(folder: Path) -> Path:
    """Make a table of three years: one in a folder, one behind a symbolic link, one with a suffix in capitals."""
    parquet_file(folder / "elsewhere" / "a.parquet", a=[2])
    parquet_file(folder / "t" / "year=2023" / "a.parquet", a=[1])
    parquet_file(folder / "t" / "year=2025" / "A.PARQUET", a=[3])
    (folder / "t" / "year=2024").symlink_to(folder / "elsewhere")
    return folder / "t"


def test_no_partition_of_a_directory_is_left_out(tmp_path: Path) -> None:
    table = make_years(tmp_path)
    assert [row["year"] for row in names_and_rows(table)[1]] == ["2023", "2024", "2025"]
    assert ParquetTable.open(table).rows == 3


def test_a_partition_behind_a_link_changes_the_hash_of_the_table(tmp_path: Path) -> None:
    table = make_years(tmp_path)
    before = identify_tables({"t": table})
    parquet_file(tmp_path / "elsewhere" / "a.parquet", a=[4])
    assert identify_tables({"t": table}) != before


def test_hidden_links_are_not_followed(tmp_path: Path) -> None:
    table = make_years(tmp_path)
    before = identify_tables({"t": table})
    (table / "_latest").symlink_to(table / "year=2025")
    assert ParquetTable.open(table).rows == 3
    assert identify_tables({"t": table}) == before


def test_a_version_behind_a_link_is_read_once(tmp_path: Path) -> None:
    parquet_file(tmp_path / "t" / ".versions" / "7" / "a.parquet", a=[1])
    (tmp_path / "t" / "current").symlink_to(tmp_path / "t" / ".versions" / "7")
    assert ParquetTable.open(tmp_path / "t").rows == 1
    assert identify_tables({"t": tmp_path / "t"})


@pytest.mark.parametrize("target", [".", "year=2023"])
def test_a_link_that_repeats_a_folder_is_refused(tmp_path: Path, target: str) -> None:
    table = make_years(tmp_path)
    (table / "year=2026").symlink_to(table / target)
    with pytest.raises(FileFault, match="twice, by a symbolic link; got the same folder as"):
        ParquetTable.open(table)
    with pytest.raises(FileFault, match="twice, by a symbolic link"):
        identify_tables({"t": table})


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
    named = parquet_file(tmp_path / "columns.parquet", QQQQ=[1])
    table = pa.table({"QQQQ": [1]})
    parquet.write_table(table, named, store_schema=False)
    named.write_bytes(named.read_bytes().replace(b"QQQQ", b"QQ\xe9Q"))
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/t/caf\xe9.parquet"))
    parquet_file(tmp_path / "t" / "a.parquet", a=[1]).rename(strange)
    for path, name in (
        (named, "columns.parquet"),
        (strange, r"caf\\xe9\.parquet"),
        (tmp_path / "t", r"caf\\xe9\.parquet"),
    ):
        for read in (read_files, ParquetTable.open):
            with pytest.raises(FileFault, match=rf"{name}: the name of the file or of a column is not UTF-8"):
                read(path)


def test_a_folder_with_a_name_that_is_not_utf_8_has_a_hash(tmp_path: Path) -> None:
    written(tmp_path / "a.parquet", b"1")
    before = identify_tables({"t": tmp_path})
    written(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")), b"1")
    assert identify_tables({"t": tmp_path}) != before
