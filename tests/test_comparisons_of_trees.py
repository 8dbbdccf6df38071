"""The scripts that compare two trees: benchmarks/same_answers.py and benchmarks/mutants.py."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.mutants import Mutant, try_mutant
from benchmarks.same_answers import (
    ANSWERS_FILE,
    DESCRIPTIONS,
    build_requests,
    compare,
    digest_columns,
    round_contributions,
    separate,
    show_changed_answers,
)

TIMES = {"received_at": "2026-06-24T00:00:00.000Z", "account_opened_on": "2026-05-01T00:00:00.000"}
ROW = {"consignment_id": "A", "office": "Busan", "route": None} | TIMES


def test_identifiers_and_times_of_an_answer_are_compared_apart() -> None:
    answer = {"scores": [{"score": 0.5, "decision_id": "a-1"}], "model": {"version": "1", "digest": "b"}}
    apart: list[object] = []
    assert separate(answer, apart) == {"scores": [{"score": 0.5}], "model": {"version": "1"}}
    assert apart == [("decision_id", "a-1"), ("digest", "b")]


def test_the_last_bits_of_a_contribution_do_not_count_and_those_of_a_score_do(tmp_path: Path) -> None:
    digests = []
    for place, (score, contribution) in enumerate(
        [(0.5, 0.1), (0.5, 0.1 + 1e-15), (0.5 + 1e-15, 0.1), (0.5, 0.1 + 1e-8)]
    ):
        reasons = [{"code": "value", "contribution": contribution}]
        path = tmp_path / f"{place}.parquet"
        pd.DataFrame({"score": [score], "reasons": [json.dumps(reasons)]}).to_parquet(path)
        columns = digest_columns(path, structured_reasons=True)
        digests.append((columns, round_contributions({"score": score, "reasons": reasons})))
    first, same, other_score, other_contribution = digests
    assert first == same
    assert other_score[0]["score"] != first[0]["score"]
    assert other_score[1] != first[1]
    assert other_contribution[0]["reasons"] != first[0]["reasons"]
    assert other_contribution[1] != first[1]


def test_only_parts_that_must_be_equal_count(capsys: pytest.CaptureFixture[str]) -> None:
    before = {"http": {"1": "a", "2": "b"}, DESCRIPTIONS: {"GET /v1/model": "c"}}
    after = {"http": {"1": "a", "2": "x"}, DESCRIPTIONS: {"GET /v1/model": "d"}}
    assert compare(before, after, []) == 1
    assert compare(before, after, ["http"]) == 0
    assert "descriptions over http: 0 equal, 1 different (compared apart)" in capsys.readouterr().out


def test_each_value_that_differs_is_shown_with_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = tmp_path / "before", tmp_path / "after"
    for folder, score in zip(folders, (0.5, 0.6), strict=True):
        folder.mkdir()
        line = {"request": "000 POST /v1/scores", "status": 200, "answer": {"scores": [{"score": score}]}}
        (folder / ANSWERS_FILE).write_text(json.dumps(line) + "\n")
    show_changed_answers(*folders)
    assert capsys.readouterr().out == "000 POST /v1/scores\n    /answer/scores/0/score: 0.5 0.6\n"


def test_requests_hold_dates_and_a_period_to_select_from(tmp_path: Path) -> None:
    (tmp_path / "new.jsonl").write_text("\n".join([json.dumps(ROW)] * 40))
    requests = list(build_requests(tmp_path))
    assert json.loads(requests[0][2] or b"")["account_opened_on"] == "2026-05-01"
    (selection,) = [body for _, path, body, _ in requests if path == "/v1/selections"]
    assert json.loads(selection or b"")["from"] == "2026-06-24T00:00:00Z"


@pytest.mark.parametrize(
    ("claim", "seconds", "result"),
    [("3", 600.0, "killed"), ("value", 600.0, "survived"), ("3", 0.01, "timed out"), ("", 600.0, "survived")],
)
def test_a_mutant_is_tried_and_its_file_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, claim: str, seconds: float, result: str
) -> None:
    source = "def add(a, b):\n    return a + b\n"
    (tmp_path / "sums.py").write_text(source)
    (tmp_path / "test_sums.py").write_text(
        f"from sums import add\ndef test_add():\n    value = add(1, 2)\n    assert value == {claim}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    start = source.index(" + ")
    mutant = Mutant("sums.py", 2, start, start + 3, " - ")
    assert try_mutant(mutant, ["test_sums.py"] if claim else [], seconds) == result
    assert (tmp_path / "sums.py").read_text() == source
