"""Tables and messages are read row by row: what is at fault is refused with its reason, and the rest goes on."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.examples import day, make_consignment

from consignments.files.table_writers import write_table
from consignments.records import Consignment
from consignments.tables import build_frame
from npsrisk import main

ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
BOMB = f'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY e0 "x">{ENTITIES}]><HouseWaybill>&e9;</HouseWaybill>'


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (BOMB.encode(), "entit"),
        (b"<HouseWaybill><MessageHeader", "well-formed|well formed|cut"),
        (b"<HouseWaybill>" + b" " * 100_000_000, "10,000,000|too large|bytes"),
    ],
    ids=["xml bomb", "cut in half", "100 MB"],
)
def test_a_hostile_message_is_refused_with_its_reason(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "message.xml").write_bytes(content)
    out = tmp_path / "out.csv"
    done = CliRunner().invoke(main, ["read", str(tmp_path / "message.xml"), "--out", str(out)])
    assert done.exit_code == 2
    assert re.search(told, done.output, re.IGNORECASE), done.output
    assert not out.exists()


def test_messages_of_which_none_is_left_are_counted_with_the_first_reason_and_kept(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.xml").write_text("<HouseWaybill><MessageHeader")
    messages = [str(tmp_path / f"{name}.xml") for name in ("a", "b")]
    rejects = tmp_path / "rejects.csv"
    options = ["--out", str(tmp_path / "out.csv"), "--rejects", str(rejects)]
    done = CliRunner().invoke(main, ["read", *messages, *options])
    assert done.exit_code == 2
    last = done.stderr.splitlines()[-1]
    assert f"no valid message; got 2 of 2 messages rejected ({messages[0]}" in last
    assert last.endswith(f"and 1 more); see {rejects} for each message and its reason")
    assert len(rejects.read_text().splitlines()) == 3
    assert not (tmp_path / "out.csv").exists()


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


def test_a_table_read_piece_by_piece_gives_the_features_of_one_read_whole(tmp_path: Path) -> None:
    rows = [make_consignment(f"C{n:03}", received_at=day(n / 9), pieces=n % 4) for n in range(60)]
    frame = build_frame(rows, Consignment).assign(sequence=range(60))
    frame.loc[7, "pieces"] = -1
    written = []
    for suffix in ("parquet", "jsonl"):
        write_table(frame, tmp_path / f"t.{suffix}")
        options = ["--consignments", str(tmp_path / f"t.{suffix}"), "--out", str(tmp_path / f"{suffix}.csv")]
        done = CliRunner().invoke(
            main, ["features", *options, "--rejects", str(tmp_path / f"{suffix}_r.csv")]
        )
        assert done.exit_code == 0, done.output
        written.append((tmp_path / f"{suffix}.csv").read_bytes())
        assert "below 0" in (tmp_path / f"{suffix}_r.csv").read_text()
    assert written[0] == written[1]
    assert written[0].count(b"\n") == 60
