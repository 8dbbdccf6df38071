"""The command line: every verb teaches, the README knows every verb, and bad input gets one clear line."""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from support.examples import day, make_consignment

from consignments.records import Consignment
from consignments.table_writers import write_table
from consignments.tables import build_frame
from npsrisk import main

REPOSITORY = Path(__file__).resolve().parent.parent
VERBS = list(main.commands)
ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
BOMB = f'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY e0 "x">{ENTITIES}]><HouseWaybill>&e9;</HouseWaybill>'


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_that_begins_with_a_sentence(verb: str) -> None:
    done = CliRunner().invoke(main, [verb, "--help"])
    assert done.exit_code == 0
    assert re.search(r"\n  [A-Z][^\n]{20,}", done.output)
    untold = [o.name for o in main.commands[verb].params if isinstance(o, click.Option) and not o.help]
    assert untold == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_readme_knows_every_verb(verb: str) -> None:
    assert f"`npsrisk {verb}`" in (REPOSITORY / "README.md").read_text()


def test_the_readme_names_no_verb_that_is_not_there() -> None:
    named = re.findall(r"\| `npsrisk ([\w-]+)` \|", (REPOSITORY / "README.md").read_text())
    assert sorted(named) == sorted(VERBS)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (BOMB.encode(), "entit"),
        (b"<HouseWaybill><MessageHeader", "well-formed|well formed|cut"),
        (b" " * 100_000_000, "10,000,000|too large|bytes"),
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


def test_the_inspection_list_holds_the_capacity_of_each_office_and_day(tmp_path: Path) -> None:
    lines = [f"C{n},0.{n:03d},routine,1,Busan,2024-01-01T0{n % 9}:00:00Z" for n in range(100)]
    (tmp_path / "s.csv").write_text(
        "consignment_id,score,band,model_version,office,received_at\n" + "\n".join(lines) + "\n"
    )
    options = ["--scores", str(tmp_path / "s.csv"), "--capacity", "10", "--explore", "0.2"]
    done = CliRunner().invoke(main, ["select", *options, "--out", str(tmp_path / "list.csv")])
    assert done.exit_code == 0, done.output
    listed = (tmp_path / "list.csv").read_text().splitlines()[1:]
    assert len(listed) == 10
    assert sum('"random"' in line for line in listed) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "nothing to replay.*--world"),
        (["--world", "enriched", "--truth", "t.csv"], "a world and tables"),
        (["--world", "enriched", "--policy", "greddy"], "greedy"),
        (["--world", "nowhere.toml"], "nowhere.toml"),
    ],
    ids=["neither", "both", "unknown policy", "no such file"],
)
def test_a_replay_that_cannot_be_is_refused_in_one_line(tmp_path: Path, words: list[str], told: str) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["replay", *words, "--capacity", "3", "--out", str(out)])
    assert done.exit_code == 2
    assert re.search(told, done.output), done.output
    assert len(done.output.strip().splitlines()) == 1
    assert not out.exists()
