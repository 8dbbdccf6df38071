"""The verb hunt: what an officer reads, and the table and the JSON of the same."""

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from support.examples import day, make_consignment, make_outcome

from consignments.records import Consignment, Outcome
from consignments.tables import build_frame, write_table
from npsrisk import main


@pytest.fixture
def tables(tmp_path: Path) -> list[str]:
    rows = [
        make_consignment("SEIZED", received_at=day(0)),
        make_consignment("PASSED", received_at=day(-9), sender_name="ORCHID TRADING LIMITED"),
        make_consignment("WAITING", received_at=day(11), consignee_phone="+82 10 5550 1234"),
    ]
    outcomes = [make_outcome("SEIZED", result="nps", inspected_at=day(1), known_at=day(10))]
    write_table(build_frame(rows, Consignment), tmp_path / "c.parquet")
    write_table(build_frame(outcomes, Outcome), tmp_path / "o.parquet")
    return ["--consignments", str(tmp_path / "c.parquet"), "--outcomes", str(tmp_path / "o.parquet")]


def run(*words: str) -> str:
    found = CliRunner().invoke(main, ["hunt", *words])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_a_seizure_names_what_is_in_hand_and_what_passed(tables: list[str]) -> None:
    lines = run("SEIZED", *tables).splitlines()
    assert lines[0] == "hunt for SEIZED (nps), as of 2024-03-15 09:00 UTC"
    assert (
        "2 consignments of the last 30 days share its sender's name; 1 passed without an inspection" in lines
    )
    assert [line.split(" (")[0].strip() for line in lines if line.startswith("  ")] == ["WAITING", "PASSED"]


def test_json_and_table_have_the_same_rows(tables: list[str], tmp_path: Path) -> None:
    told = json.loads(run("SEIZED", *tables, "--json", "--out", str(tmp_path / "hits.csv")).splitlines()[-1])
    written = pd.read_csv(tmp_path / "hits.csv")
    assert [row["consignment_id"] for row in told["hits"]] == written["consignment_id"].tolist()
    assert [row["state"] for row in told["hits"]] == ["in hand", "not inspected"]


def test_an_empty_consignment_table_is_refused(tables: list[str], tmp_path: Path) -> None:
    write_table(build_frame([], Consignment), tmp_path / "c.parquet")
    found = CliRunner().invoke(main, ["hunt", "SEIZED", *tables])
    assert found.exit_code == 2
    assert "no consignment to hunt among" in found.output


@pytest.mark.parametrize("words", [[], ["SEIZED", "--alert", "A"]])
def test_one_thing_is_hunted_for(words: list[str], tables: list[str]) -> None:
    found = CliRunner().invoke(main, ["hunt", *words, *tables])
    assert found.exit_code == 2
    assert "name one thing to hunt for" in found.output
