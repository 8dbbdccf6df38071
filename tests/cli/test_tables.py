"""Tables of a verb: rows at fault of all of them are in one file, and a table without a good row ends the verb."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from support.examples import day, make_consignment

from cli.tables import GivenTables
from consignments.errors import NpsriskError
from consignments.files.table_writers import write_table
from consignments.records import Consignment
from consignments.tables import build_frame
from features.streams import InMemoryTable
from npsrisk import main

HEADER = "consignment_id,channel,received_at\n"
BAD = {
    "consignments": f"{HEADER}A,sea,2024-01-02T00:00:00Z\nB,postal,soon\n",
    "outcomes": "consignment_id,selected_by,status\nA,model,lost\n",
    "alerts": "alert_id,issued_at\nA1,soon\n",
    "truth": "consignment_id,result\nA,maybe\n",
}
GOOD = {
    "consignments": f"{HEADER}A,postal,2024-01-02T00:00:00Z\n",
    "outcomes": "consignment_id,selected_by,status,known_at,result\nA,model,inspected,2024-01-05,clear\n",
    "alerts": "alert_id,issued_at\nA1,2024-01-01\n",
    "truth": "consignment_id,result\nA,clear\n",
}
VERBS = {
    "features": (["consignments", "history", "outcomes", "alerts"], []),
    "score": (["consignments", "history", "outcomes", "alerts"], ["--model", "1"]),
    "train": (["consignments", "outcomes", "alerts", "truth"], []),
    "compare": (["consignments", "outcomes", "alerts", "truth"], ["1", "2"]),
    "drift": (["consignments", "history", "outcomes", "alerts", "reference"], ["--model", "1"]),
    "import": (["consignments", "outcomes", "alerts"], []),
}
"""Of each verb the tables that it reads, and what else it must be given."""


@pytest.fixture
def tables(tmp_path: Path) -> GivenTables:
    """Two tables with a row at fault in each."""
    (tmp_path / "new.csv").write_text(f"{HEADER}A,postal,2024-01-02T00:00:00Z\nB,sea,2024-01-02T00:00:00Z\n")
    (tmp_path / "past.csv").write_text(f"{HEADER}C,postal,2024-01-01T00:00:00Z\nD,postal,soon\n")
    return GivenTables(
        consignments=tmp_path / "new.csv", history=tmp_path / "past.csv", rejects=tmp_path / "rejects.csv"
    )


def test_rows_at_fault_of_all_tables_are_in_one_file(tables: GivenTables) -> None:
    sources = tables.open_sources(Consignment, lambda *_: None)
    assert sources.history is not None
    assert (sources.outcomes, sources.alerts) == (None, None)
    assert tables.rejects is not None
    written = tables.rejects.read_text()
    assert "sea" in written
    assert "soon" in written


def test_any_row_at_fault_is_a_failure_if_strict(tables: GivenTables) -> None:
    with pytest.raises(NpsriskError):
        replace(tables, strict=True).read_tables(Consignment)


def test_tables_that_are_not_given_are_absent(tables: GivenTables) -> None:
    reader = replace(tables, history=None)
    assert reader.read_truth() is None
    assert reader.open_sources(Consignment, lambda *_: None).history == ()
    assert reader.read_tables(Consignment).outcomes is None


def test_parquet_is_read_piece_by_piece_and_other_formats_whole(tmp_path: Path) -> None:
    frame = build_frame([make_consignment("C0", received_at=day(0))], Consignment)
    sources = []
    for suffix in ("parquet", "csv"):
        write_table(frame, tmp_path / f"t.{suffix}")
        reader = GivenTables(consignments=tmp_path / f"t.{suffix}")
        sources.append(reader.open_sources(Consignment, lambda *_: None).consignments)
    assert [isinstance(source, InMemoryTable) for source in sources] == [False, True]


@pytest.mark.parametrize("table_format", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("verb", "spoilt"), [(verb, table) for verb, (tables, _) in VERBS.items() for table in tables]
)
def test_a_table_of_which_every_row_is_rejected_ends_every_verb(
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    spoilt: str,
    table_format: str,
) -> None:
    monkeypatch.chdir(model_folder)
    monkeypatch.setenv("NPSRISK_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("NPSRISK_DATABASE_URL", f"sqlite:///{tmp_path}/log.db")
    tables, options = VERBS[verb]
    words = [verb, *options, "--rejects", str(tmp_path / "rejects.csv")]
    for name in tables:
        kind = "consignments" if name in ("history", "reference") else name
        path = tmp_path / f"{name}.csv"
        path.write_text((BAD if name == spoilt else GOOD)[kind])
        if table_format == "parquet":
            path = path.with_suffix(".parquet")
            pd.read_csv(tmp_path / f"{name}.csv").to_parquet(path)
        words += [f"--{name}", str(path)]
    out = tmp_path / {"drift": "out.html", "replay": "out"}.get(verb, "out.csv")
    if any("--out" in option.opts for option in main.commands[verb].params):
        words += ["--out", str(out)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2, done.output
    last = done.stderr.splitlines()[-1]
    rows = 2 if BAD.get(spoilt, BAD["consignments"]) == BAD["consignments"] else 1
    assert (
        f"{spoilt}.{table_format}: all rows were rejected; got {rows} of {rows} rows rejected (1 x " in last
    )
    assert last.endswith(f"see {tmp_path / 'rejects.csv'} for each invalid row and its reason")
    assert len((tmp_path / "rejects.csv").read_text().splitlines()) == 1 + rows
    assert not out.exists()


def test_a_table_that_had_no_rows_from_the_start_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text(HEADER)
    tables = GivenTables(consignments=tmp_path / "none.csv").read_tables(Consignment)
    assert tables.consignments.empty
