"""The verb hunt: what an officer reads, and the table and the JSON of the same."""

from pathlib import Path

import pandas as pd
import pytest
from support.examples import day, make_consignment, make_outcome
from support.verbs import read_json, refuse, succeed

from consignments.records import Consignment, Outcome
from consignments.tables import build_frame, write_table


@pytest.fixture
def tables(tmp_path: Path) -> str:
    rows = [
        make_consignment("SEIZED", received_at=day(0)),
        make_consignment("PASSED", received_at=day(-9), sender_name="ORCHID TRADING LIMITED"),
        make_consignment("WAITING", received_at=day(11), consignee_phone="+82 10 5550 1234"),
    ]
    outcomes = [make_outcome("SEIZED", result="nps", inspected_at=day(1), known_at=day(10))]
    write_table(build_frame(rows, Consignment), tmp_path / "c.parquet")
    write_table(build_frame(outcomes, Outcome), tmp_path / "o.parquet")
    return f"--consignments {tmp_path}/c.parquet --outcomes {tmp_path}/o.parquet"


def test_a_seizure_names_what_is_in_hand_and_what_passed_in_words_as_json_and_as_a_table(
    tables: str, tmp_path: Path
) -> None:
    lines = succeed(f"hunt SEIZED {tables}").stdout.splitlines()
    assert lines[0] == "hunt for SEIZED (nps), as of 2024-03-15 09:00 UTC"
    assert (
        "2 consignments of the last 30 days share its sender's name; 1 passed without an inspection" in lines
    )
    assert [line.split(" (")[0].strip() for line in lines if line.startswith("  ")] == ["WAITING", "PASSED"]
    told = read_json(succeed(f"hunt SEIZED {tables} --json --out {tmp_path}/hits.csv"))
    written = pd.read_csv(tmp_path / "hits.csv")
    assert [row["consignment_id"] for row in told["hits"]] == written["consignment_id"].tolist()
    assert [row["state"] for row in told["hits"]] == ["in hand", "not inspected"]


def test_one_thing_is_hunted_for_among_consignments(tables: str, tmp_path: Path) -> None:
    for words in ("", "SEIZED --alert A"):
        assert "name one thing to hunt for" in refuse(f"hunt {words} {tables}")
    write_table(build_frame([], Consignment), tmp_path / "c.parquet")
    assert "no consignment to hunt among; got no row" in refuse(f"hunt SEIZED {tables}")
