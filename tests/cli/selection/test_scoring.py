"""Scores say whether they were computed with history and are refused without it; the inspection list keeps to the capacity."""

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from support.verbs import read_json, refuse, run_verb, succeed

from consignments.records import SelectionRow
from consignments.tables import read_table

COLUMNS = ["consignment_id", "score", "band", "model_version", "office", "received_at", "history"]


def score(folder: Path, out: Path, options: str = "", table: str = "new.parquet") -> Result:
    return run_verb(f"score --consignments {folder / table} --model 1 --out {out} {options}")


def test_a_registry_that_does_not_exist_is_refused_and_not_created(tmp_path: Path) -> None:
    words = f"score --consignments {tmp_path}/c.csv --model 1 --without-history --out {tmp_path}/s.csv"
    assert "train --register" in refuse(words, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_the_score_table_says_whether_history_was_given(model_folder: Path, tmp_path: Path) -> None:
    scores = {}
    history = {"given": f"--history {model_folder}/past.parquet", "none": "--without-history --reasons 2"}
    for use, options in history.items():
        done = score(model_folder, tmp_path / f"{use}.parquet", f"{options} --json")
        assert read_json(done)["history"] == use
        scores[use] = pd.read_parquet(tmp_path / f"{use}.parquet")
        assert list(scores[use].columns) == COLUMNS + ["reasons"] * ("reasons" in options)
        assert set(scores[use]["history"]) == {use}
    assert (scores["given"]["score"] != scores["none"]["score"]).any(), "the same rows, other scores"


def test_the_same_input_gives_the_same_bytes(model_folder: Path, tmp_path: Path) -> None:
    history, written = f"--history {model_folder}/past.parquet --reasons 3", set()
    for jobs, table in ((1, "new.parquet"), (2, "new.parquet"), (1, "new.csv")):
        out = tmp_path / f"{jobs}.csv"
        assert score(model_folder, out, f"{history} --jobs {jobs}", table).exit_code == 0
        written.add(out.read_bytes())
    assert len(written) == 1


@pytest.mark.parametrize(("history", "told"), [("given", ""), ("none", "100 of 100 scores"), ("", "")])
def test_the_list_holds_the_capacity_of_each_office_and_day_and_says_if_scores_are_without_history(
    tmp_path: Path, history: str, told: str
) -> None:
    lines = [f"C{n},0.{n:03d},routine,1,Busan,2024-01-01T0{n % 9}:00:00Z,{history}" for n in range(100)]
    (tmp_path / "s.csv").write_text("\n".join([",".join(COLUMNS), *lines, ""]))
    words = f"select --scores {tmp_path}/s.csv --capacity 10 --explore 0.2 --out {tmp_path}/list.csv"
    stderr = succeed(words).stderr
    assert (told in stderr, "without past consignments" in stderr) == (True, bool(told))
    listed = (tmp_path / "list.csv").read_text().splitlines()[1:]
    assert len(listed) == 10
    assert sum('"random"' in line for line in listed) == 2


def test_the_inspection_list_has_scores_reasons_and_goods_but_no_names(tmp_path: Path) -> None:
    reasons = json.dumps([{"code": "a", "text": "Goods are vague"}, {"code": "b", "text": "Sender is new"}])
    rows = [("A", 0.5, "high", reasons), ("B", 0.1, "routine", "[]")]
    scores = pd.DataFrame(rows, columns=["consignment_id", "score", "band", "reasons"])
    shared = {"model_version": "1", "office": "Busan", "received_at": "2024-01-01", "history": "given"}
    scores.assign(**shared).to_csv(tmp_path / "s.csv", index=False)
    (tmp_path / "c.csv").write_text(
        "consignment_id,channel,received_at,sequence,description,sender_name,gross_weight_kg\n"
        "A,postal,2024-01-01T00:00:00Z,1,gift,Kim,0.2\nA,postal,2024-01-01T00:00:00Z,2,=powder,Kim,0.3\n"
    )
    tables = f"--scores {tmp_path}/s.csv --consignments {tmp_path}/c.csv"
    succeed(f"select {tables} --capacity 2 --out {tmp_path}/list.csv")
    listed = pd.read_csv(tmp_path / "list.csv").set_index("consignment_id")
    first = listed.loc["A", ["band", "reasons", "description", "gross_weight_kg"]].tolist()
    assert first == ["high", "Goods are vague; Sender is new", "'=powder", 0.3]
    assert listed.loc["B", ["score", "selection_probability"]].tolist() == [0.1, 1.0]
    assert pd.isna(listed.loc["B", "description"])
    assert "sender_name" not in listed
    assert len(read_table(tmp_path / "list.csv", SelectionRow, strict=True).frame) == 2
