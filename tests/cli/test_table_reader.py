"""Tables of a verb: rows at fault of all of them are collected in one file, and a table that is not given is none."""

from pathlib import Path

import pytest
from support.examples import day, make_consignment

from cli.options import TableOptions
from cli.table_reader import TableReader
from consignments.errors import NpsriskError
from consignments.records import Consignment
from consignments.table_writers import write_table
from consignments.tables import build_frame
from features.streams import InMemoryTable

HEADER = "consignment_id,channel,received_at\n"


@pytest.fixture
def tables(tmp_path: Path) -> TableOptions:
    """Two tables with a row at fault in each."""
    (tmp_path / "new.csv").write_text(f"{HEADER}A,postal,2024-01-02T00:00:00Z\nB,sea,2024-01-02T00:00:00Z\n")
    (tmp_path / "past.csv").write_text(f"{HEADER}C,postal,2024-01-01T00:00:00Z\nD,postal,soon\n")
    return TableOptions(
        consignments=tmp_path / "new.csv", history=tmp_path / "past.csv", rejects=tmp_path / "rejects.csv"
    )


def test_rows_at_fault_of_all_tables_are_in_one_file(tables: TableOptions) -> None:
    sources = TableReader(tables).open_sources(Consignment, lambda *_: None)
    assert sources.history is not None
    assert (sources.outcomes, sources.alerts) == (None, None)
    assert tables.rejects is not None
    written = tables.rejects.read_text()
    assert "sea" in written
    assert "soon" in written


def test_any_row_at_fault_is_a_failure_if_strict(tables: TableOptions) -> None:
    with pytest.raises(NpsriskError):
        TableReader(tables._replace(strict=True)).read_tables(Consignment)


def test_tables_that_are_not_given_are_none(tables: TableOptions) -> None:
    reader = TableReader(tables._replace(history=None))
    assert reader.read_truth() is None
    assert reader.open_sources(Consignment, lambda *_: None).history is None
    assert reader.read_tables(Consignment).outcomes is None


def test_parquet_is_read_piece_by_piece_and_other_formats_whole(tmp_path: Path) -> None:
    frame = build_frame([make_consignment("C0", received_at=day(0))], Consignment)
    sources = []
    for suffix in ("parquet", "csv"):
        write_table(frame, tmp_path / f"t.{suffix}")
        reader = TableReader(TableOptions(consignments=tmp_path / f"t.{suffix}"))
        sources.append(reader.open_sources(Consignment, lambda *_: None).consignments)
    assert [isinstance(source, InMemoryTable) for source in sources] == [False, True]
