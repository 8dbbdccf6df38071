"""Tables and messages are read row by row: what is at fault is refused with its reason, and the rest goes on."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from npsrisk import main

ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    ("rows", "column", "told"),
    [
        ("A,postal,soon", "received_at", "soon"),
        ("A,sea,2024-01-01T00:00:00Z", "channel", "air_cargo"),
        (
            "A,postal,2024-01-01T00:00:00Z\nA,postal,2024-01-02T00:00:00Z",
            "consignment_id",
            "repeat|once|twice",
        ),
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


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"channel,received_at\npostal,2024-01-01T00:00:00Z\n", "consignment_id"),
        (b'consignment_id,channel,received_at\nA,postal,"2024-01-01', "cut|quote|ends"),
        (b"", "empty|nothing"),
        (b"consignment_id\xff,channel\n", "UTF-8"),
    ],
    ids=["missing column", "cut in half", "empty", "not UTF-8"],
)
def test_a_file_at_fault_writes_nothing(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    out = tmp_path / "f.csv"
    done = CliRunner().invoke(
        main, ["features", "--consignments", str(tmp_path / "t.csv"), "--out", str(out)]
    )
    assert done.exit_code == 2
    assert re.search(told, done.output), done.output
    assert len(done.output.strip().splitlines()) == 1
    assert not out.exists()
