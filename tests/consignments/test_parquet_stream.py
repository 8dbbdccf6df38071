"""A table read piece by piece is the table read whole: rows, rejects, report."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from support.examples import day, make_consignment

from consignments.columns import decode_items
from consignments.errors import FileFault
from consignments.files.table_writers import write_table
from consignments.records import Consignment, create_consignment_type
from consignments.tables import ORDER_COLUMNS, TableStream, build_frame, read_table, stream_table
from consignments.validation import to_frame


def frame(rows: int) -> pd.DataFrame:
    made = [make_consignment(f"C{n}", received_at=day(n / 7), pieces=n % 3) for n in range(rows)]
    return build_frame(made, Consignment).assign(note=[f"n{n}" for n in range(rows)])


def with_faults(table: pd.DataFrame) -> pd.DataFrame:
    """Rows 3 and 11 are at fault; C5 stands twice more; so does C3, whose first row was at fault."""
    table = table.copy()
    table.loc[[3, 11], "pieces"] = -1
    table.loc[[8, 19], "consignment_id"] = "C5"
    table.loc[14, "consignment_id"] = "C3"
    table.loc[17, "received_at"] = pd.NaT
    return table


def whole(stream: TableStream) -> pd.DataFrame:
    return pd.concat([to_frame(piece) for piece in stream.read_chunks(Consignment)], ignore_index=True)


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
    told, expected = {**vars(stream.report)}, {**vars(table.report)}
    assert told.pop("missing") == pytest.approx(expected.pop("missing"))
    assert told == expected
    assert len(stream) == len(table.frame)


def test_a_missing_column_is_refused_and_strictly_rows_at_fault(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileFault, match="invalid rows, and none is allowed here"):
        read_table(path, Consignment, strict=True)
    write_table(frame(1).drop(columns="channel"), tmp_path / "without.parquet")
    with pytest.raises(FileFault, match="missing required column channel"):
        stream_table(tmp_path / "without.parquet", Consignment)


@pytest.mark.parametrize("rows", [24, 0])
def test_a_later_row_amends_with_a_sequence_and_no_rows_are_one_piece(tmp_path: Path, rows: int) -> None:
    write_table(with_faults(frame(24)).assign(sequence=np.arange(24))[:rows], tmp_path / "t.parquet")
    stream = stream_table(tmp_path / "t.parquet", Consignment, piece_rows=5)
    pd.testing.assert_frame_equal(whole(stream), read_table(tmp_path / "t.parquet", Consignment).frame)
    assert stream.take_order()["consignment_id"].tolist().count("C5") == (3 if rows else 0)


def test_a_text_that_is_not_utf_8_is_a_reject_with_its_place(tmp_path: Path) -> None:
    def as_texts(*values: bytes | None) -> pa.Array:
        return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())

    write_table(frame(3).drop(columns=["items", "quality"]), tmp_path / "t.parquet")
    table = parquet.read_table(tmp_path / "t.parquet").drop_columns(["sender_name", "note"])
    table = table.append_column("sender_name", as_texts(b"Kim", b"\xffKim", None))
    table = table.append_column("note", as_texts(b"a", b"b", b"\xff"))
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 1, 2], pa.int32()), as_texts(b"\xff", b"a"))
    parquet.write_table(table.append_column("quality", lists), tmp_path / "t.parquet")
    stream = stream_table(tmp_path / "t.parquet", Consignment)
    assert stream.rejects == read_table(tmp_path / "t.parquet", Consignment).rejects
    assert [(reject.place, reject.column, reject.reason) for reject in stream.rejects] == [
        ("t.parquet row 1", "quality", "not text"),
        ("t.parquet row 2", "sender_name", "not text"),
    ]
    assert "\ufffdKim" in stream.rejects[1].row
    assert whole(stream)[["consignment_id", "note"]].fillna("").values.tolist() == [["C2", ""]]


def test_texts_of_any_arrow_type_may_have_rows_at_fault(tmp_path: Path) -> None:
    write_table(with_faults(frame(24)), tmp_path / "t.parquet")
    table = parquet.read_table(tmp_path / "t.parquet")
    for name, kind in (("sender_name", pa.string_view()), ("note", pa.dictionary(pa.int32(), pa.string()))):
        place = table.column_names.index(name)
        table = table.set_column(place, name, table.column(name).cast(pa.string()).cast(kind))
    parquet.write_table(table, tmp_path / "u.parquet")
    plain, found = (read_table(tmp_path / f"{name}.parquet", Consignment) for name in "tu")
    pd.testing.assert_frame_equal(found.frame, plain.frame)
    assert [reject.row for reject in found.rejects] == [reject.row for reject in plain.rejects]
    assert stream_table(tmp_path / "u.parquet", Consignment).rejects == found.rejects


def test_items_may_be_lists_in_one_part_and_of_no_type_in_another(tmp_path: Path) -> None:
    items = ['[{"description":"shirt","value":2.0}]', None, "[]", '[{"value":1.0},{"hs_code":"61"}]']
    (tmp_path / "t").mkdir()
    write_table(frame(4).assign(items=pd.array(items, dtype="str")), tmp_path / "t" / "0.parquet")
    lists = parquet.read_table(tmp_path / "t" / "0.parquet")
    other = lists.set_column(lists.column_names.index("items"), "items", pa.nulls(4))
    names = pa.array([f"D{row}" for row in range(4)])
    parquet.write_table(other.set_column(0, "consignment_id", names), tmp_path / "t" / "1.parquet")
    (piece,) = stream_table(tmp_path / "t", Consignment, piece_rows=100).read_chunks(Consignment)
    found = [None if pd.isna(text) else decode_items(text) for text in to_frame(piece)["items"]]
    assert found == [*(None if text is None else decode_items(text) for text in items), *[None] * 4]


def test_a_declared_column_is_read_in_pieces_of_files_of_no_rows_and_of_several_groups(
    tmp_path: Path,
) -> None:
    table = with_faults(frame(24)).assign(tax_rate=[f"{n}" if n % 5 else "high" for n in range(24)])
    for number, (begin, end) in enumerate(((0, 3), (3, 3), (3, 17), (17, 24))):
        path = tmp_path / f"{number}.parquet"
        write_table(table.iloc[begin:end], path)
        parquet.write_table(parquet.read_table(path), path, row_group_size=2)
    record = create_consignment_type(numeric=["tax_rate"])
    stream, table = stream_table(tmp_path, record, piece_rows=3), read_table(tmp_path, record)
    assert stream.rejects == table.rejects
    pieces = pd.concat([to_frame(piece) for piece in stream.read_chunks(record)], ignore_index=True)
    pd.testing.assert_frame_equal(pieces, table.frame)


@pytest.mark.parametrize("change", ["fewer rows", "other rows"])
def test_a_table_that_changes_after_the_check_or_meanwhile_is_refused(tmp_path: Path, change: str) -> None:
    path, table = tmp_path / "t.parquet", frame(5)
    write_table(table, path)
    stream = stream_table(path, Consignment, piece_rows=2)
    begun = stream.read_chunks(Consignment)
    next(begun)
    write_table(table[:3] if change == "fewer rows" else table.assign(consignment_id=list("DEFGH")), path)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))
    for chunks in (begun, stream.read_chunks(Consignment)):
        with pytest.raises(FileFault, match=r"t\.parquet: a table has other rows than when it was checked"):
            list(chunks)
