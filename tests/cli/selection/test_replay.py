"""A replay says in one line what it lacks."""

from pathlib import Path

import pytest
from support.verbs import refuse


@pytest.mark.parametrize(
    ("words", "told"),
    [("--world enriched --policy greddy", "greedy"), ("--world nowhere.toml", "nowhere.toml")],
    ids=["unknown policy", "no such file"],
)
def test_a_replay_that_cannot_be_is_refused_in_one_line(tmp_path: Path, words: str, told: str) -> None:
    (line,) = refuse(f"replay {words} --capacity 3 --out {tmp_path}/out").strip().splitlines()
    assert told in line
    assert not (tmp_path / "out").exists()
