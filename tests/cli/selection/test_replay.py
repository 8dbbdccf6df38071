"""A replay says in one line what it lacks."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from npsrisk import main


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "nothing to replay.*--world"),
        (["--world", "enriched", "--truth", "t.csv"], "--world and tables"),
        (["--world", "enriched", "--policy", "greddy"], "greedy"),
        (["--world", "nowhere.toml"], "nowhere.toml"),
    ],
    ids=["neither", "both", "unknown policy", "no such file"],
)
def test_a_replay_that_cannot_be_is_refused_in_one_line(tmp_path: Path, words: list[str], told: str) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["replay", *words, "--capacity", "3", "--out", str(out)])
    assert done.exit_code == 2
    assert re.search(told, done.output), done.output
    assert len(done.output.strip().splitlines()) == 1
    assert not out.exists()


def test_tables_without_rows_are_nothing_to_replay(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("consignment_id,channel,received_at\n")
    (tmp_path / "t.csv").write_text("consignment_id,result\n")
    options = ["--consignments", str(tmp_path / "c.csv"), "--truth", str(tmp_path / "t.csv")]
    done = CliRunner().invoke(main, ["replay", *options, "--capacity", "3", "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "nothing to replay; got a table without rows" in done.output
