"""The scripts that compare two trees: benchmarks/same_answers.py and benchmarks/mutants.py."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.mutants import Mutant, try_mutant
from benchmarks.same_answers import DESCRIPTIONS, compare, digest_columns, round_contributions, separate


def test_identifiers_and_times_of_an_answer_are_compared_apart() -> None:
    answer = {"scores": [{"score": 0.5, "decision_id": "a-1"}], "model": {"version": "1", "digest": "b"}}
    apart: list[object] = []
    assert separate(answer, apart) == {"scores": [{"score": 0.5}], "model": {"version": "1"}}
    assert apart == [("decision_id", "a-1"), ("digest", "b")]


def test_the_last_bits_of_a_contribution_do_not_count_and_those_of_a_score_do(tmp_path: Path) -> None:
    digests = []
    answers = [(0.5, 0.1), (0.5, 0.1 + 1e-15), (0.5 + 1e-15, 0.1), (0.5, 0.1 + 1e-8)]
    for place, (score, contribution) in enumerate(answers):
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


@pytest.mark.parametrize(
    ("claim", "seconds", "result"),
    [("3", 600.0, "killed"), ("value", 600.0, "survived"), ("3", 0.01, "timed out"), ("", 600.0, "survived")],
)
def test_a_mutant_is_tried_and_its_file_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, claim: str, seconds: float, result: str
) -> None:
    source = "def add(a, b):\n    return a + b\n"
    (tmp_path / "sums.py").write_text(source)
    test = f"def test_add():\n    value = add(1, 2)\n    assert value == {claim}\n"
    (tmp_path / "test_sums.py").write_text("from sums import add\n" + test)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    start = source.index(" + ")
    mutant = Mutant("sums.py", 2, start, start + 3, " - ")
    assert try_mutant(mutant, ["test_sums.py"] if claim else [], seconds) == result
    assert (tmp_path / "sums.py").read_text() == source
