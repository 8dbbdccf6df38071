"""Killed at any moment, the service loses nothing it acknowledged, and reads what one that was never killed would read.

Here in short; `make chaos` kills two hundred times (`test_chaos.py`).
"""

from pathlib import Path

from support.serving_examples import publish
from support.serving_killed import blows, live
from support.serving_proof import prove


def test_three_kills_lose_nothing_and_change_nothing(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    told = prove(tmp_path, *live(tmp_path, blows(3, 120, seed=3), seed=3))
    assert told["decisions"] > 250
    for what in ("repeat", "amendment", "outcome", "outcome repeated", "cancellation", "no answer"):
        assert told[what] >= 2, what
    assert told["snapshot loaded"] >= 2
    assert told["snapshot refused"] >= 1
    assert told["replayed"] > 20
