"""The verb plan, and a selection that follows the plan."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.examples import day

from cli.operation.plan import parse_capacities
from consignments.errors import BadInput
from npsrisk import main


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    rows = "".join(
        f"C{n},0.{n},routine,nps-risk/1,Incheon,{day(n % 2):%Y-%m-%dT%H:%M:%SZ}\n" for n in range(1, 9)
    )
    path = tmp_path / "scores.csv"
    path.write_text("consignment_id,score,band,model_version,office,received_at\n" + rows)
    return path


def test_a_plan_is_written_and_followed(scores: Path, tmp_path: Path) -> None:
    out = tmp_path / "plan.html"
    period = ("--from", "2025-01-01", "--until", "2025-01-15")
    done = run(
        "plan",
        "--scores",
        str(scores),
        "--capacity",
        "2",
        "--explore",
        "0",
        *period,
        "--out",
        str(out),
        "--json",
    )
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout.splitlines()[-1])
    assert plan["expected"] == pytest.approx(14 * (0.8 + 0.6 + 0.7 + 0.5) / 2)
    assert json.loads((tmp_path / "plan.json").read_text())["offices"][0]["capacity"] == 2
    listed = run(
        "select",
        "--scores",
        str(scores),
        "--plan",
        str(tmp_path / "plan.json"),
        "--out",
        str(tmp_path / "l.csv"),
    )
    assert listed.exit_code == 0, listed.output
    assert len((tmp_path / "l.csv").read_text().splitlines()) == 1 + 4


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--capacity", "2", "--plan", "p.json"), "--plan and --capacity"),
        ((), "neither --capacity nor --plan"),
        (("--plan", "none.json"), "the plan cannot be read"),
    ],
)
def test_a_selection_needs_a_capacity_or_a_plan(
    scores: Path, tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    done = run("select", "--scores", str(scores), "--out", str(tmp_path / "l.csv"), *words)
    assert done.exit_code == 2
    assert expected in done.stderr


@pytest.mark.parametrize("texts", [["x"], ["0"], ["A="], ["A=1", "A=2"], ["-3"], ["5", "6"]])
def test_what_is_no_capacity_is_refused(texts: list[str]) -> None:
    with pytest.raises(BadInput, match="not a capacity"):
        parse_capacities(texts)
