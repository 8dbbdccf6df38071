"""The verbs brief, plan and debrief: page, JSON and terminal have the same numbers; a selection follows a plan."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from support.examples import day, make_consignment, make_outcome
from support.stores import create_store
from support.table_examples import write_records
from support.verbs import read_json, succeed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    consignments = [make_consignment(f"C{n}", received_at=day(n)) for n in (*range(4), 30)]
    outcomes = [
        make_outcome(f"C{n}", selected_at=day(n), inspected_at=day(n), known_at=day(n + 1), result=result)
        for n, result in enumerate(("clear", "clear", "nps", "nps"))
    ]
    write_records(tmp_path / "c.parquet", consignments)
    write_records(tmp_path / "o.parquet", outcomes)
    header = "consignment_id,score,band,model_version,office,received_at\n"
    rows = [f"C{n},0.{n + 1},routine,nps-risk/1,Incheon,{day(n % 2):%Y-%m-%dT%H:%M:%SZ}\n" for n in range(8)]
    (tmp_path / "s.csv").write_text(header + "".join(rows))
    return tmp_path


def read(words: str, **environment: str) -> dict[str, Any]:
    """Run a verb and return what it prints, which is what its JSON file has."""
    printed = read_json(succeed(f"{words} --json", **environment))
    written = json.loads(Path(printed["out"]).with_suffix(".json").read_text())
    assert {name: printed[name] for name in written} == written
    return printed


BRIEF = "brief --consignments c.parquet --outcomes o.parquet --recent-days 29 --out page.html"
DEBRIEF = "debrief --consignments c.parquet --outcomes o.parquet --out page.html"
PLAN = "plan --scores s.csv --capacity 2 --explore 0 --from 2025-01-01 --until 2025-01-15 --out plan.html"


def test_a_brief_is_written_and_logged(folder: Path) -> None:
    found = read(BRIEF)
    counts = [found[name] for name in ("arrivals", "known", "positives", "recent_positives")]
    assert counts == [5, 4, 2, 2]
    assert "Detections of new psychoactive substances: 2" in (folder / "page.html").read_text()
    assert "run_id" not in found
    uri = create_store(folder)
    logged, client = read(f"{BRIEF} --log-run", MLFLOW_TRACKING_URI=uri), MlflowClient(uri)
    run_id = logged["run_id"]
    data = client.get_run(run_id).data
    assert (data.tags["kind"], data.params["target"]) == ("brief", "nps")
    assert (data.metrics["brief/arrivals"], data.metrics["brief/positives"]) == (5, 2)
    path = client.download_artifacts(run_id, "tables/trends.json", str(folder))
    table = json.loads(Path(path).read_text())
    assert [dict(zip(table["columns"], row, strict=True)) for row in table["data"]] == found["trends"]


def test_a_debrief_compares_with_the_scores_that_it_is_given(folder: Path) -> None:
    total = read(f"{DEBRIEF} --scores s.csv")["total"]
    assert (total["selected"], total["positives"]) == (4, 2)
    assert total["expected"] == pytest.approx(0.1 + 0.2 + 0.3 + 0.4)
    assert "4 of 5 consignments were selected" in (folder / "page.html").read_text()
    assert read(DEBRIEF)["total"]["expected"] is None


def test_a_plan_is_written_and_followed(folder: Path) -> None:
    plan = read(PLAN)
    assert plan["expected"] == pytest.approx(14 * (0.8 + 0.6 + 0.7 + 0.5) / 2)
    assert plan["offices"][0]["capacity"] == 2
    succeed("select --scores s.csv --plan plan.json --out l.csv")
    assert len((folder / "l.csv").read_text().splitlines()) == 1 + 4
