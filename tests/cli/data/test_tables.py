"""Tables are read row by row: what is at fault is refused with its reason, and the rest goes on."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from npsrisk import main


def test_a_file_at_fault_ends_the_verb_in_one_line_and_writes_nothing(tmp_path: Path) -> None:
    table, out = tmp_path / "t.csv", tmp_path / "f.csv"
    for content, fault in (
        (b"channel,received_at\npostal,2024-01-01T00:00:00Z\n", "consignment_id"),
        (b'consignment_id,channel,received_at\nA,postal,"2024-01-01', "the file is truncated"),
        (b"", "the file is empty"),
    ):
        table.write_bytes(content)
        done = CliRunner().invoke(main, ["features", "--consignments", str(table), "--out", str(out)])
        assert (done.exit_code, len(done.output.strip().splitlines()), out.exists()) == (2, 1, False)
        assert fault in done.output


@pytest.mark.parametrize(
    ("rows", "column", "told"),
    [
        ("A,postal,soon", "received_at", "soon"),
        ("A,sea,2024-01-01T00:00:00Z", "channel", "air_cargo"),
        ("A,postal,2024-01-01\nA,postal,2024-01-02", "consignment_id", "repeated"),
        ("A,postal,", "received_at", "missing"),
    ],
    ids=["bad time", "unknown channel", "repeated identifier", "missing value"],
)
def test_a_row_at_fault_goes_to_the_reject_file_and_the_rest_goes_on(
    tmp_path: Path, rows: str, column: str, told: str
) -> None:
    header = "consignment_id,channel,received_at\n"
    (tmp_path / "t.csv").write_text(f"{header}{rows}\nGOOD,postal,2024-01-03T00:00:00Z\n")
    options = ["--consignments", str(tmp_path / "t.csv"), "--rejects", str(tmp_path / "rejects.csv")]
    done = CliRunner().invoke(main, ["features", *options, "--out", str(tmp_path / "f.csv")])
    assert done.exit_code == 0, done.output
    assert "GOOD" in (tmp_path / "f.csv").read_text()
    rejects = (tmp_path / "rejects.csv").read_text()
    assert column in rejects
    assert re.search(told, rejects)
