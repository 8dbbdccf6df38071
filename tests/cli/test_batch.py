"""Features and scores in a folder are those in a file, and an interrupted run of the verbs is continued."""

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import features.streams
from features.history.table_fold import TableFold
from npsrisk import main


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of two row groups of four rows, from chunks of three rows."""
    monkeypatch.setattr("consignments.files.table_writers.ROW_GROUP_ROWS", 4)
    monkeypatch.setattr("consignments.files.part_folder.PART_ROW_GROUPS", 2)
    monkeypatch.setattr(features.streams.stream_features, "__kwdefaults__", {**features.streams.stream_features.__kwdefaults__, "piece_rows": 3})  # fmt: skip


def run(verb: str, folder: Path, out: Path, *options: str) -> Result:
    words = [verb, "--consignments", str(folder / "past.parquet"), "--out", str(out), *options]
    return CliRunner().invoke(main, words)


SCORE = ("--model", "1", "--without-history", "--json")


def test_scores_in_parts_are_those_of_a_file(model_folder: Path, tmp_path: Path) -> None:
    for out in ("scores.parquet", "scores"):
        assert run("score", model_folder, tmp_path / out, *SCORE).exit_code == 0
    one, parts = (pd.read_parquet(tmp_path / out) for out in ("scores.parquet", "scores"))
    pd.testing.assert_frame_equal(one, parts)
    assert len(list((tmp_path / "scores").glob("*.parquet"))) == 7


@pytest.mark.parametrize(("verb", "options"), [("score", SCORE), ("features", ())])
def test_an_interrupted_run_is_continued_with_the_same_bytes(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, options: tuple[str, ...]
) -> None:
    whole = run(verb, model_folder, tmp_path / "whole", *options)
    assert whole.exit_code == 0, whole.output
    real, blocks = TableFold.process_arrivals, []

    def stop_at_half(*arguments: object) -> object:
        blocks.append(1)
        if len(blocks) == 10:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(TableFold, "process_arrivals", stop_at_half)
        assert run(verb, model_folder, tmp_path / "t", *options).exit_code != 0
    assert not (tmp_path / "t").exists()
    assert len(list((tmp_path / ".t.partial").glob("*.parquet"))) == 3
    again = run(verb, model_folder, tmp_path / "t", *options)
    assert again.exit_code == 0, again.output
    for name in ("_manifest.json", *(f"part-{n:05d}.parquet" for n in range(7))):
        assert (tmp_path / "t" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    if verb == "score":
        one, other = (json.loads(each.stdout.splitlines()[-1])["bands"] for each in (whole, again))
        assert one == other
        assert sum(one.values()) == 56


def test_a_folder_of_other_inputs_is_refused(model_folder: Path, tmp_path: Path) -> None:
    assert run("features", model_folder, tmp_path / "t").exit_code == 0
    refused = run("features", model_folder, tmp_path / "t", "--history", str(model_folder / "new.parquet"))
    assert refused.exit_code == 2
    assert "holds a table with other inputs; got other history" in refused.output
    assert run("features", model_folder, tmp_path / "t").exit_code == 0


@pytest.fixture
def days(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A week of consignments as one table for each day, and the results of inspections that became known by its end."""
    monkeypatch.setenv("NPSRISK_STATE_DIR", str(tmp_path / "service"))
    past = pd.read_parquet(model_folder / "past.parquet")
    past["received_at"] = pd.to_datetime(past["received_at"])
    found = pd.DataFrame({
        "consignment_id": past["consignment_id"][::5], "selected_by": "random", "status": "inspected", "result": "nps",
        "inspected_at": past["received_at"][::5], "known_at": past["received_at"][::5] + pd.Timedelta(hours=20),
    })  # fmt: skip
    for number, (day, rows) in enumerate(past.groupby(past["received_at"].dt.floor("D"))):
        rows.to_parquet(tmp_path / f"day{number}.parquet", index=False)
        known = found["known_at"].between(day, day + pd.Timedelta(days=1), inclusive="left")
        found[known].to_parquet(tmp_path / f"found{number}.parquet", index=False)
    found.to_parquet(tmp_path / "found.parquet", index=False)
    return tmp_path


def run_day(verb: str, days: Path, number: int, out: Path, *options: str) -> Result:
    words = [
        verb,
        "--consignments",
        str(days / f"day{number}.parquet"),
        "--out",
        str(out),
        "--state",
        str(days / "state"),
    ]
    return CliRunner().invoke(main, [*words, "--outcomes", str(days / f"found{number}.parquet"), *options])


def test_scores_day_by_day_from_a_state_are_those_with_the_whole_history(
    model_folder: Path, days: Path, tmp_path: Path
) -> None:
    model = ("--model", "1")
    first = run_day("score", days, 0, tmp_path / "s0.parquet", *model)
    assert first.exit_code == 2
    assert "the folder of --state has no state yet" in first.output
    assert run_day("score", days, 0, tmp_path / "s0.parquet", *model, "--without-history").exit_code == 0
    for number in range(1, 4):
        done = run_day("score", days, number, tmp_path / f"s{number}.parquet", *model)
        assert done.exit_code == 0, done.output
    pd.concat([pd.read_parquet(days / f"day{number}.parquet") for number in range(3)]).to_parquet(
        days / "past.parquet"
    )
    whole = ["score", "--consignments", str(days / "day3.parquet"), "--history", str(days / "past.parquet"), *model,
             "--outcomes", str(days / "found.parquet"), "--out", str(tmp_path / "whole.parquet")]  # fmt: skip
    done = CliRunner().invoke(main, whole)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "s3.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    again = run_day("score", days, 3, tmp_path / "again.parquet", *model)
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_batch_interrupted_between_its_result_and_its_state_is_finished(
    days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from features.history.state_files import StateDraft

    assert run_day("features", days, 0, tmp_path / "f0").exit_code == 0
    with monkeypatch.context() as patched:
        patched.setattr(StateDraft, "commit", lambda *_: exit(9))
        assert run_day("features", days, 1, tmp_path / "f1").exit_code == 9
    assert (tmp_path / "f1").exists()
    assert not (days / "state" / "00000002").exists()
    assert run_day("features", days, 1, tmp_path / "f1").exit_code == 0
    assert (days / "state" / "00000002").exists()
    assert run_day("features", days, 2, tmp_path / "f2").exit_code == 0


def test_options_that_contradict_a_state_are_refused(model_folder: Path, days: Path, tmp_path: Path) -> None:
    assert run_day("features", days, 0, tmp_path / "f.csv").exit_code == 0
    history = ("--history", str(model_folder / "new.parquet"))
    for verb, options, words in (
        ("score", ("--model", "1", "--as-of", "2024-01-01"), "--state and --as-of"),
        ("score", ("--model", "1", "--without-history"), "--without-history only for the first batch"),
        ("score", ("--model", "1", *history), "--history only for the first batch"),
        ("features", history, "--history only for the first batch"),
    ):
        refused = run_day(verb, days, 1, tmp_path / "x.csv", *options)
        assert refused.exit_code == 2
        assert words in refused.output
