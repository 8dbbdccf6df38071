"""Tables are written whole or not at all."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from support.table_examples import names_and_rows, written

from consignments.errors import FileFault
from consignments.files.table_writers import write_chunks, write_table

FRAME = pd.DataFrame(
    {
        "a": pd.Series(["x", None, 'q"\n,'], dtype="str"),
        "n": [1.0, None, 0.1],
        "t": pd.to_datetime(["2024-03-04T09:00:00.000001Z", None, "2024-03-05T00:00:00.000000Z"]),
        "items": ['[{"description":"b","quantity":2.0}]', None, "[]"],
    }
)


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


def test_parquet_holds_items_as_lists_and_csv_lists_as_json_and_times_in_utc(tmp_path: Path) -> None:
    write_table(FRAME, tmp_path / "a.parquet")
    column = parquet.read_table(tmp_path / "a.parquet").column("items")
    assert pa.types.is_list(column.type)
    assert [None if row is None else len(row) for row in column.to_pylist()] == [1, None, 0]
    seoul = pd.Series([datetime(2024, 3, 4, 9, tzinfo=UTC)]).dt.tz_convert("Asia/Seoul")
    reasons = [[{"code": "route", "contribution": 0.5}]]
    write_table(pd.DataFrame({"r": reasons, "t": seoul}), tmp_path / "a.csv")
    (row,) = names_and_rows(tmp_path / "a.csv")[1]
    assert row == {"r": '[{"code":"route","contribution":0.5}]', "t": "2024-03-04T09:00:00.000000Z"}


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
    ("name", "words"), [("a.xls", "unknown table format"), ("none/a.csv", "cannot be written")]
)
def test_a_place_that_cannot_be_written_to_is_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(FileFault, match=words):
        write_table(FRAME, tmp_path / name)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_an_error_of_the_rows_is_not_one_of_the_disk(tmp_path: Path, suffix: str) -> None:
    def give_rows() -> Iterator[pd.DataFrame]:
        yield FRAME
        raise OSError("Timed out trying to connect")

    with pytest.raises(OSError, match=r"^Timed out"):
        write_chunks(give_rows(), tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_is_on_disk_before_it_has_its_name(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[str, bool]] = []
    path = tmp_path / f"a{suffix}"

    def record(descriptor: int) -> None:
        flushed.append((Path(f"/proc/self/fd/{descriptor}").readlink().suffix, path.exists()))

    monkeypatch.setattr(os, "fsync", record)
    write_table(FRAME, path)
    assert flushed == [(".part", False), ("", True)]


def test_no_text_of_a_csv_table_is_a_formula_for_a_spreadsheet_and_all_are_read_back(tmp_path: Path) -> None:
    formulas = ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\tx", "=1\n=2"]
    texts = [*formulas, "'=1", "''@", "'plain", "a=1", "-", "'", "日本", None]
    written_to = tmp_path / "table.csv"
    write_table(pd.DataFrame({"consignment_id": texts, "gross_weight_kg": [-1.5] * len(texts)}), written_to)
    text = written_to.read_text()
    assert "'=HYPERLINK(1)" in text
    assert ",-1.5" in text, "a number is no text"
    cells = [line.split(",")[0].strip('"') for line in text.splitlines()[1:]]
    assert not [cell for cell in cells if cell[:1] in ("+", "-", "@", "\t")]
    assert [row["consignment_id"] for row in names_and_rows(written_to)[1]] == texts
