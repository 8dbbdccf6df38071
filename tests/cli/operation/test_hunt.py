"""The verb hunt: what an officer reads, and the table and the JSON of the same."""

from pathlib import Path

import pandas as pd
import pytest
from support.examples import day, make_consignment, make_outcome
from support.table_examples import write_records
from support.verbs import read_json, succeed


@pytest.fixture
def tables(tmp_path: Path) -> str:
    rows = [
        make_consignment("SEIZED", received_at=day(0)),
        make_consignment("PASSED", received_at=day(-9), sender_name="ORCHID TRADING LIMITED"),
        make_consignment("OPENED", received_at=day(-4)),
        make_consignment("WAITING", received_at=day(11), consignee_phone="+82 10 5550 1234"),
    ]
    outcomes = [
        make_outcome("SEIZED", result="nps", inspected_at=day(1), known_at=day(10)),
        make_outcome("OPENED", result="clear", inspected_at=day(-3), known_at=day(-2)),
    ]
    write_records(tmp_path / "c.parquet", rows)
    write_records(tmp_path / "o.parquet", outcomes)
    return f"--consignments {tmp_path}/c.parquet --outcomes {tmp_path}/o.parquet"


def test_a_seizure_names_what_is_in_hand_and_what_passed(tables: str, tmp_path: Path) -> None:
    lines = succeed(f"hunt SEIZED {tables}").stdout.splitlines()
    assert lines[0] == "hunt for SEIZED (nps), as of 2024-03-15 09:00 UTC"
    shared = "3 consignments of the last 30 days share its sender's name"
    assert f"{shared}; 1 passed without an inspection" in lines
    names = ["WAITING", "OPENED", "PASSED"]
    assert [line.split(" (")[0].strip() for line in lines if line.startswith("  ")] == names
    told = read_json(succeed(f"hunt SEIZED {tables} --json --out {tmp_path}/hits.csv"))
    assert pd.read_csv(tmp_path / "hits.csv")["consignment_id"].tolist() == names
    assert [row["consignment_id"] for row in told["hits"]] == names
    assert [row["state"] for row in told["hits"]] == ["in hand", "clear", "not inspected"]
