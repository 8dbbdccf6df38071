"""A table read piece by piece is the table read whole: rows, rejects, report."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.examples import day, make_consignment

from consignments.errors import FileFault
from consignments.files.table_writers import write_table
from consignments.parquet_stream import ORDER_COLUMNS, TableStream, stream_table
from consignments.records import Consignment
from consignments.tables import build_frame, read_table


def frame(rows: int) -> pd.DataFrame:
    made = build_frame(
        [make_consignment(f"C{n}", received_at=day(n / 7), pieces=n % 3) for n in range(rows)], Consignment
    )
    return made.assign(note=[f"n{n}" for n in range(rows)])


def with_faults(table: pd.DataFrame) -> pd.DataFrame:
    """Rows 3 and 11 are at fault; C5 stands twice more; so does C3, whose first row was at fault."""
    table = table.copy()
    table.loc[[3, 11], "pieces"] = -1
    table.loc[[8, 19], "consignment_id"] = "C5"
    table.loc[14, "consignment_id"] = "C3"
    table.loc[17, "received_at"] = pd.NaT
    return table


def whole(stream: TableStream) -> pd.DataFrame:
    return pd.concat([piece.to_frame(Consignment) for piece in stream.read_chunks()], ignore_index=True)


@pytest.fixture(params=["file", "folders"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    table = with_faults(frame(24))
    if request.param == "file":
        write_table(table, tmp_path / "t.parquet")
        return tmp_path / "t.parquet"
    for number, begin in enumerate((0, 10, 13)):
        folder = tmp_path / "t" / f"day={number}"
        folder.mkdir(parents=True)
        write_table(table.iloc[begin : (10, 13, 24)[number]], folder / "a.parquet")
    return tmp_path / "t"


@pytest.mark.parametrize("piece_rows", [1, 4, 7, 100])
def test_pieces_are_the_table_with_its_rejects_and_its_report(path: Path, piece_rows: int) -> None:
    table = read_table(path, Consignment)
    stream = stream_table(path, Consignment, piece_rows=piece_rows)
    assert [reject.identifier for reject in table.rejects] == ["C3", "C5", "C11", "C17", "C5"]
    assert stream.rejects == table.rejects
    pd.testing.assert_frame_equal(whole(stream), table.frame)
    order = [name for name in ORDER_COLUMNS if name in table.frame]
    pd.testing.assert_frame_equal(stream.take_order(), table.frame[order])
    told, expected = stream.report.to_dict(), table.report.to_dict()
    assert told.pop("missing") == pytest.approx(expected.pop("missing"))
    assert told == expected
    assert len(stream) == len(table.frame)


def test_a_later_row_amends_where_there_is_a_sequence(tmp_path: Path) -> None:
    table = with_faults(frame(24)).assign(sequence=np.arange(24))
    write_table(table, tmp_path / "t.parquet")
    stream = stream_table(tmp_path / "t.parquet", Consignment, piece_rows=5)
    pd.testing.assert_frame_equal(whole(stream), read_table(tmp_path / "t.parquet", Consignment).frame)
    assert stream.take_order()["consignment_id"].tolist().count("C5") == 3


def test_a_table_without_rows_is_one_empty_piece(tmp_path: Path) -> None:
    write_table(frame(1).iloc[:0], tmp_path / "t.parquet")
    stream = stream_table(tmp_path / "t.parquet", Consignment)
    pd.testing.assert_frame_equal(whole(stream), read_table(tmp_path / "t.parquet", Consignment).frame)
    assert len(stream) == 0


def test_strict_refuses_rows_at_fault_as_a_whole_table_does(path: Path) -> None:
    with pytest.raises(FileFault) as told:
        stream_table(path, Consignment, strict=True, piece_rows=2)
    with pytest.raises(FileFault) as expected:
        read_table(path, Consignment, strict=True)
    assert str(told.value) == str(expected.value)


def test_a_damaged_or_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFault, match="no such file"):
        stream_table(tmp_path / "none.parquet", Consignment)
    write_table(frame(50), tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(FileFault, match="cannot be read as Parquet"):
        stream_table(tmp_path / "t.parquet", Consignment)
    write_table(frame(1).drop(columns="channel"), tmp_path / "u.parquet")
    with pytest.raises(FileFault, match="missing required column channel"):
        stream_table(tmp_path / "u.parquet", Consignment)


@pytest.mark.parametrize("group_rows", [5, 1000])
def test_any_rows_are_read_without_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_rows: int
) -> None:
    monkeypatch.setattr("consignments.files.table_writers.ROW_GROUP_ROWS", group_rows)
    monkeypatch.setattr("consignments.files.parquet_files.READ_ROWS", 3)
    table = with_faults(frame(24))
    (tmp_path / "t").mkdir()
    for number, part in enumerate((table[:9], table[9:9], table[9:])):
        write_table(part, tmp_path / "t" / f"{number}.parquet")
    stream = stream_table(tmp_path / "t", Consignment, piece_rows=7)
    every = whole(stream)
    for first in range(len(stream) + 1):
        for last in range(first, len(stream) + 1):
            part = stream.slice_rows(first, last)
            assert len(part) == last - first
            found = part.to_frame(Consignment).reset_index(drop=True)
            pd.testing.assert_frame_equal(
                found, every[first:last].reset_index(drop=True), check_dtype=first < last
            )
