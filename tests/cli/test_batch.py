"""Features and scores in a folder are those in a file, and an interrupted run of the verbs is continued."""

from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from support.verbs import read_json, refuse, run_verb, succeed

import features.streams
from features.history.state_files import StateDraft
from features.history.table_fold import TableFold


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of two row groups of four rows, from chunks of three rows."""
    monkeypatch.setattr("consignments.files.table_writers.ROW_GROUP_ROWS", 4)
    monkeypatch.setattr("consignments.files.part_folder.PART_ROW_GROUPS", 2)
    defaults = {**features.streams.stream_features.__kwdefaults__, "piece_rows": 3}
    monkeypatch.setattr(features.streams.stream_features, "__kwdefaults__", defaults)


SCORE = "score --model 1 --without-history --json"


@pytest.mark.parametrize("verb", [SCORE, "features"], ids=["score", "features"])
def test_a_table_in_parts_is_that_of_a_file_also_if_its_run_was_interrupted(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    def run(out: str) -> Result:
        return run_verb(f"{verb} --consignments {model_folder}/past.parquet --out {tmp_path / out}")

    done = [run(out) for out in ("whole.parquet", "whole")]
    assert [each.exit_code for each in done] == [0, 0], done[0].output
    one, parts = (pd.read_parquet(tmp_path / out) for out in ("whole.parquet", "whole"))
    pd.testing.assert_frame_equal(one, parts)
    real, blocks = TableFold.process_arrivals, []

    def stop_at_half(*arguments: object) -> object:
        blocks.append(1)
        if len(blocks) == 10:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(TableFold, "process_arrivals", stop_at_half)
        assert run("t").exit_code != 0
    assert not (tmp_path / "t").exists()
    assert len(list((tmp_path / ".t.partial").glob("*.parquet"))) == 3
    done.append(run("t"))
    assert done[-1].exit_code == 0, done[-1].output
    for name in ("_manifest.json", *(f"part-{n:05d}.parquet" for n in range(7))):
        assert (tmp_path / "t" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    if verb == SCORE:
        bands = [read_json(each)["bands"] for each in done]
        assert bands[0] == bands[1] == bands[2]
        assert sum(bands[0].values()) == 56


def test_a_folder_of_other_inputs_is_refused(model_folder: Path, tmp_path: Path) -> None:
    words = f"features --consignments {model_folder}/new.parquet --out {tmp_path}/t"
    succeed(words)
    refused = refuse(f"{words} --history {model_folder}/past.parquet")
    assert "holds a table with other inputs; got other history" in refused
    succeed(words)


@pytest.fixture
def days(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A week of consignments as one table for each day, and the results of inspections that became known by its end."""
    monkeypatch.setenv("NPSRISK_STATE_DIR", str(tmp_path / "service"))
    past = pd.read_parquet(model_folder / "past.parquet")
    past["received_at"] = pd.to_datetime(past["received_at"])
    found = past[["consignment_id"]][::5].assign(selected_by="random", status="inspected", result="nps")
    found["inspected_at"] = past["received_at"][::5]
    found["known_at"] = found["inspected_at"] + pd.Timedelta(hours=20)
    for number, (day, rows) in enumerate(past.groupby(past["received_at"].dt.floor("D"))):
        rows.to_parquet(tmp_path / f"day{number}.parquet", index=False)
        known = found["known_at"].between(day, day + pd.Timedelta(days=1), inclusive="left")
        found[known].to_parquet(tmp_path / f"found{number}.parquet", index=False)
    found.to_parquet(tmp_path / "found.parquet", index=False)
    return tmp_path


def run_day(verb: str, days: Path, number: int, out: str, options: str = "") -> Result:
    tables = f"--consignments {days}/day{number}.parquet --outcomes {days}/found{number}.parquet"
    return run_verb(f"{verb} {tables} --out {days / out} --state {days}/state {options}")


def test_scores_day_by_day_from_a_state_are_those_with_the_whole_history(days: Path) -> None:
    verb = "score --model 1"
    assert run_day(verb, days, 0, "s0.parquet", "--without-history").exit_code == 0
    for number, out in ((1, "s1"), (2, "s2"), (3, "s3"), (3, "again")):
        done = run_day(verb, days, number, f"{out}.parquet")
        assert done.exit_code == 0, done.output
    past = pd.concat([pd.read_parquet(days / f"day{number}.parquet") for number in range(3)])
    past.to_parquet(days / "past.parquet")
    tables = f"--history {days}/past.parquet --outcomes {days}/found.parquet"
    succeed(f"{verb} --consignments {days}/day3.parquet {tables} --out {days}/whole.parquet")
    for out in ("s3", "again"):
        assert (days / f"{out}.parquet").read_bytes() == (days / "whole.parquet").read_bytes()


def test_a_batch_stopped_before_its_state_is_finished(days: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_day("features", days, 0, "f0").exit_code == 0
    with monkeypatch.context() as patched:
        patched.setattr(StateDraft, "commit", lambda *_: exit(9))
        assert run_day("features", days, 1, "f1").exit_code == 9
    assert (days / "f1").exists()
    assert not (days / "state" / "00000002").exists()
    assert run_day("features", days, 1, "f1").exit_code == 0
    assert (days / "state" / "00000002").exists()
    assert run_day("features", days, 2, "f2").exit_code == 0
