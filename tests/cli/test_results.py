"""Features and scores in a folder are those in a file, and an interrupted run of the verbs is continued."""

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import features.streams
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
    real, blocks = features.streams._fold_block, []

    def stop_at_half(*arguments: object) -> object:
        blocks.append(1)
        if len(blocks) == 10:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(features.streams, "_fold_block", stop_at_half)
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
