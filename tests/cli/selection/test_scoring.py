"""Scores say whether they were computed with history and are refused without it; the inspection list keeps to the capacity."""

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from consignments.tables import read_selection
from npsrisk import main

COLUMNS = ["consignment_id", "score", "band", "model_version", "office", "received_at", "history"]


def score(folder: Path, out: Path, *options: str, table: str = "new.parquet") -> Result:
    words = ["score", "--consignments", str(folder / table), "--model", "1", "--out", str(out), *options]
    return CliRunner().invoke(main, words)


def test_scores_without_history_are_refused_and_nothing_is_written(
    model_folder: Path, tmp_path: Path
) -> None:
    done = score(model_folder, tmp_path / "scores.csv")
    assert done.exit_code == 2
    assert "--history T" in done.output
    assert "--without-history" in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_history_without_rows_is_refused_like_none(model_folder: Path, tmp_path: Path) -> None:
    for suffix in ("csv", "parquet"):
        pd.read_parquet(model_folder / "past.parquet").head(0).to_csv(tmp_path / "past.csv", index=False)
        pd.read_parquet(model_folder / "past.parquet").head(0).to_parquet(tmp_path / "past.parquet")
        done = score(model_folder, tmp_path / "scores.csv", "--history", str(tmp_path / f"past.{suffix}"))
        assert done.exit_code == 2
        assert "a table without rows" in done.output
        assert not (tmp_path / "scores.csv").exists()


def test_a_history_and_the_word_that_there_is_none_contradict_each_other(
    model_folder: Path, tmp_path: Path
) -> None:
    history = ("--history", str(model_folder / "past.parquet"))
    done = score(model_folder, tmp_path / "scores.csv", *history, "--without-history")
    assert done.exit_code == 2
    assert "--history and --without-history" in done.output


def test_the_score_table_says_whether_history_was_given(model_folder: Path, tmp_path: Path) -> None:
    history = ("--history", str(model_folder / "past.parquet"))
    scores = {}
    for use, options in {"given": history, "none": ("--without-history",)}.items():
        done = score(model_folder, tmp_path / f"{use}.parquet", *options, "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout.splitlines()[-1])["history"] == use
        scores[use] = pd.read_parquet(tmp_path / f"{use}.parquet")
        assert list(scores[use].columns) == COLUMNS
        assert set(scores[use]["history"]) == {use}
    assert (scores["given"]["score"] != scores["none"]["score"]).all(), "the same rows, other scores"


def test_reasons_stand_after_the_other_columns_if_asked_for(model_folder: Path, tmp_path: Path) -> None:
    done = score(model_folder, tmp_path / "scores.csv", "--without-history", "--reasons", "2")
    assert done.exit_code == 0, done.output
    assert list(pd.read_csv(tmp_path / "scores.csv").columns) == [*COLUMNS, "reasons"]


def test_the_same_input_gives_the_same_bytes(model_folder: Path, tmp_path: Path) -> None:
    history = ("--history", str(model_folder / "past.parquet"), "--reasons", "3")
    written = set()
    for number, table in enumerate(("new.parquet", "new.parquet", "new.csv")):
        out = tmp_path / f"{number}.csv"
        assert score(model_folder, out, *history, "--jobs", str(1 + number % 2), table=table).exit_code == 0
        written.add(out.read_bytes())
    assert len(written) == 1


def write_scores(path: Path, history: str) -> None:
    lines = [f"C{n},0.{n:03d},routine,1,Busan,2024-01-01T0{n % 9}:00:00Z,{history}" for n in range(100)]
    path.write_text(",".join(COLUMNS) + "\n" + "\n".join(lines) + "\n")


def test_the_inspection_list_holds_the_capacity_of_each_office_and_day(tmp_path: Path) -> None:
    write_scores(tmp_path / "s.csv", "given")
    options = ["--scores", str(tmp_path / "s.csv"), "--capacity", "10", "--explore", "0.2"]
    done = CliRunner().invoke(main, ["select", *options, "--out", str(tmp_path / "list.csv")])
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    listed = (tmp_path / "list.csv").read_text().splitlines()[1:]
    assert len(listed) == 10
    assert sum('"random"' in line for line in listed) == 2


def test_the_inspection_list_has_scores_reasons_and_goods_but_no_names(tmp_path: Path) -> None:
    reasons = json.dumps([{"code": "a", "text": "Goods are vague"}, {"code": "b", "text": "Sender is new"}])
    scores = pd.DataFrame(
        {
            "consignment_id": ["A", "B"], "score": [0.5, 0.1], "band": ["high", "routine"], "model_version": "1", "office": "Busan",
            "received_at": "2024-01-01T00:00:00Z", "history": "given", "reasons": [reasons, "[]"],
        }
    )  # fmt: skip
    scores.to_csv(tmp_path / "s.csv", index=False)
    (tmp_path / "c.csv").write_text(
        "consignment_id,channel,received_at,sequence,description,sender_name,gross_weight_kg\n"
        "A,postal,2024-01-01T00:00:00Z,1,gift,Kim,0.2\nA,postal,2024-01-01T00:00:00Z,2,=powder,Kim,0.3\n"
    )
    given = [
        "--scores",
        str(tmp_path / "s.csv"),
        "--consignments",
        str(tmp_path / "c.csv"),
        "--capacity",
        "2",
    ]
    done = CliRunner().invoke(main, ["select", *given, "--out", str(tmp_path / "list.csv")])
    assert done.exit_code == 0, done.output
    listed = pd.read_csv(tmp_path / "list.csv").set_index("consignment_id")
    assert listed.loc["A", ["band", "reasons", "description", "gross_weight_kg"]].tolist() == [
        "high", "Goods are vague; Sender is new", "'=powder", 0.3
    ]  # fmt: skip
    assert listed.loc["B", ["score", "selection_probability"]].tolist() == [0.1, 1.0]
    assert pd.isna(listed.loc["B", "description"])
    assert "sender_name" not in listed
    assert len(read_selection(tmp_path / "list.csv")) == 2


@pytest.mark.parametrize(("history", "words"), [("none", "100 of 100 scores"), ("", "")])
def test_a_selection_from_scores_without_history_says_so(tmp_path: Path, history: str, words: str) -> None:
    write_scores(tmp_path / "s.csv", history)
    options = ["--scores", str(tmp_path / "s.csv"), "--capacity", "10", "--out", str(tmp_path / "list.csv")]
    done = CliRunner().invoke(main, ["select", *options])
    assert done.exit_code == 0, done.output
    assert ("without history" in done.stderr, words in done.stderr) == (bool(words), True)


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


def estimate_recall(folder: Path, *options: str) -> Result:
    chosen = [line.split(",")[0].strip('"') for line in (folder / "list.csv").read_text().splitlines()[1:]]
    results = [
        f"{name},model,inspected,2024-03-01T00:00:00Z,{'nps' if n % 9 == 0 else 'clear'}"
        for n, name in enumerate(chosen)
    ]
    (folder / "o.csv").write_text(
        "consignment_id,selected_by,status,known_at,result\n" + "\n".join(results) + "\n"
    )
    files = [f"--{name}={folder / file}" for name, file in FILES.items()]
    return CliRunner().invoke(main, ["recall", *files, "--capacity", "20", *options])


def test_recall_is_estimated_from_the_results_of_a_list(tmp_path: Path) -> None:
    assert select_to_width(tmp_path, "--width", "0.3", "--days", "120").exit_code == 0
    done = estimate_recall(tmp_path, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.output.splitlines()[-1])
    assert (said["chosen"], said["results"], said["finds"]) == (400, 400, 45)
    assert 0 < said["low"] < said["recall"] < said["high"] < 1


def test_recall_without_random_inspections_cannot_be_estimated(tmp_path: Path) -> None:
    assert select_to_width(tmp_path, "--explore", "0").exit_code == 0
    done = estimate_recall(tmp_path, "--json")
    said = json.loads(done.output.splitlines()[-1])
    assert (said["recall"], said["low"], said["high"], said["finds"]) == (None, 0.0, 1.0, 45)
    assert "45 detections in 400 results" in estimate_recall(tmp_path).output
    assert "recall cannot be estimated" in estimate_recall(tmp_path).output
