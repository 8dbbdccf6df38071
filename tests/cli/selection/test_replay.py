"""A replay says in one line what it lacks."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from npsrisk import main


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--world", "enriched", "--policy", "greddy"], "greedy"),
        (["--world", "nowhere.toml"], "nowhere.toml"),
    ],
    ids=["unknown policy", "no such file"],
)
def test_a_replay_that_cannot_be_is_refused_in_one_line(tmp_path: Path, words: list[str], told: str) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["replay", *words, "--capacity", "3", "--out", str(out)])
    assert done.exit_code == 2
    assert re.search(told, done.output), done.output
    assert len(done.output.strip().splitlines()) == 1
    assert not out.exists()
