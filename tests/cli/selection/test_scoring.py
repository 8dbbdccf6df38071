"""Scores say whether they were computed with history and are refused without it; the inspection list keeps to the capacity."""

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from consignments.records import SelectionRow
from consignments.tables import read_table
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
    assert (scores["given"]["score"] != scores["none"]["score"]).any(), "the same rows, other scores"


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
    assert len(read_table(tmp_path / "list.csv", SelectionRow, strict=True).frame) == 2


@pytest.mark.parametrize(("history", "words"), [("none", "100 of 100 scores"), ("", "")])
def test_a_selection_from_scores_without_history_says_so(tmp_path: Path, history: str, words: str) -> None:
    write_scores(tmp_path / "s.csv", history)
    options = ["--scores", str(tmp_path / "s.csv"), "--capacity", "10", "--out", str(tmp_path / "list.csv")]
    done = CliRunner().invoke(main, ["select", *options])
    assert done.exit_code == 0, done.output
    assert ("without history" in done.stderr, words in done.stderr) == (bool(words), True)
