"""The verb debrief: a page, a JSON file of the same numbers, and a summary."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.examples import day, make_consignment, make_outcome

from consignments.files.table_writers import write_table
from consignments.records import Consignment, Outcome
from consignments.tables import build_frame
from npsrisk import main


def run(folder: Path, *words: str) -> Result:
    consignments = [make_consignment(f"C{n}", received_at=day(n)) for n in range(4)]
    outcomes = [
        make_outcome(f"C{n}", selected_at=day(n), inspected_at=day(n), known_at=day(n + 5), result=result)
        for n, result in enumerate(("nps", "clear", "clear"))
    ]
    write_table(build_frame(consignments, Consignment), folder / "consignments.parquet")
    write_table(build_frame(outcomes, Outcome), folder / "outcomes.parquet")
    (folder / "scores.csv").write_text(
        "consignment_id,score,band,model_version,office,received_at\n"
        + "".join(
            f"C{n},0.{n + 1},routine,nps-risk/1,Incheon,{day(n):%Y-%m-%dT%H:%M:%SZ}\n" for n in range(4)
        )
    )
    tables = (
        "--consignments",
        str(folder / "consignments.parquet"),
        "--outcomes",
        str(folder / "outcomes.parquet"),
    )
    return CliRunner().invoke(main, ["debrief", *tables, "--out", str(folder / "debrief.html"), *words])


def test_the_page_the_json_and_the_terminal_have_the_same_numbers(tmp_path: Path) -> None:
    done = run(tmp_path, "--scores", str(tmp_path / "scores.csv"), "--json")
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout.splitlines()[-1])
    written = json.loads((tmp_path / "debrief.json").read_text())
    assert {name: printed[name] for name in written} == written
    assert (written["arrivals"], written["total"]["selected"], written["total"]["positives"]) == (4, 3, 1)
    assert written["total"]["expected"] == pytest.approx(0.1 + 0.2 + 0.3)
    assert "3 of 4 consignments were selected" in (tmp_path / "debrief.html").read_text()


def test_without_scores_nothing_is_compared_with_them(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.exit_code == 0, done.output
    assert "expected" not in done.stdout
    assert json.loads((tmp_path / "debrief.json").read_text())["total"]["expected"] is None


def test_an_operation_that_ends_before_it_begins_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "--from", "2030-01-01", "--until", "2029-01-01")
    assert done.exit_code == 2
    assert "the operation ends before it begins" in done.stderr
    assert not (tmp_path / "debrief.html").exists()
