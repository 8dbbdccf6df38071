"""The inspection list keeps to the capacity."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from npsrisk import main


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


FILES = {"scores": "s.csv", "selection": "list.csv", "outcomes": "o.csv"}


def select_to_width(folder: Path, *options: str) -> Result:
    lines = [
        f"C{n},{0.4 / (1 + n // 20):.4f},routine,1,Busan,2024-01-{1 + n % 20:02d}T00:00:00Z"
        for n in range(2000)
    ]
    (folder / "s.csv").write_text(
        "consignment_id,score,band,model_version,office,received_at\n" + "\n".join(lines) + "\n"
    )
    given = ["--scores", str(folder / "s.csv"), "--capacity", "20", *options]
    return CliRunner().invoke(main, ["select", *given, "--out", str(folder / "list.csv")])


def test_a_list_to_a_width_says_the_width_and_the_cost_in_finds(tmp_path: Path) -> None:
    done = select_to_width(tmp_path, "--width", "0.2", "--days", "120", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.output.splitlines()[-1])
    assert said["rows"] == 400
    assert said["reached"] is True
    assert said["width"] <= 0.2
    assert said["expected_finds"] < said["greedy_finds"]


def test_a_width_that_cannot_be_had_is_a_line_and_no_failure(tmp_path: Path) -> None:
    done = select_to_width(tmp_path, "--width", "0.001")
    assert done.exit_code == 0, done.output
    assert "warning: ±0.001 cannot be reached with a capacity of 20" in done.output
    assert len((tmp_path / "list.csv").read_text().splitlines()) == 401


@pytest.mark.parametrize("options", [("--width", "0.1", "--explore", "0.1"), ("--days", "28")])
def test_options_that_exclude_each_other_are_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = select_to_width(tmp_path, *options)
    assert done.exit_code == 2
    assert not (tmp_path / "list.csv").exists()


def test_recall_is_estimated_from_the_results_of_a_list(tmp_path: Path) -> None:
    assert select_to_width(tmp_path, "--width", "0.3", "--days", "120").exit_code == 0
    chosen = [line.split(",")[0].strip('"') for line in (tmp_path / "list.csv").read_text().splitlines()[1:]]
    results = [
        f"{name},model,inspected,2024-03-01T00:00:00Z,{'nps' if n % 9 == 0 else 'clear'}"
        for n, name in enumerate(chosen)
    ]
    (tmp_path / "o.csv").write_text(
        "consignment_id,selected_by,status,known_at,result\n" + "\n".join(results) + "\n"
    )
    options = [f"--{name}={tmp_path / file}" for name, file in FILES.items()]
    done = CliRunner().invoke(main, ["recall", *options, "--capacity", "20", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.output.splitlines()[-1])
    assert (said["chosen"], said["results"], said["finds"]) == (400, 400, 45)
    assert 0 < said["low"] < said["recall"] < said["high"] < 1
