"""Killed at any moment, the service loses nothing it acknowledged, and reads what one that was never killed would read.

Here in short; `make chaos` kills two hundred times (`test_chaos.py`).
"""

from pathlib import Path

from support.databases import only_postgres
from support.serving_examples import publish
from support.serving_killed import blows, live
from support.serving_pair import draw_takeovers, live_as_pair
from support.serving_proof import prove


def test_three_kills_lose_nothing_and_change_nothing(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    told = prove(tmp_path, *live(tmp_path, blows(3, 80, seed=3), seed=3))
    assert told["decisions"] > 100
    for what in ("repeat", "amendment", "outcome", "outcome repeated", "cancellation", "no answer"):
        assert told[what] >= 2, what
    assert told["snapshot loaded"] >= 1
    assert told["snapshot refused"] >= 1
    assert told["replayed"] > 10


@only_postgres
def test_takeovers_from_a_paused_and_a_killed_service_lose_nothing(tmp_path: Path, bundle: Path) -> None:
    for name in ("one", "two"):
        publish(tmp_path / name, bundle, "1")
    pair, callers = live_as_pair(tmp_path, draw_takeovers(2, 40, seed=3), seed=3)
    told = prove(pair.folder, pair, callers)
    assert [takeover.is_pause for takeover in pair.takeovers] == [True, False]
    assert told["took over as active service"] >= 1  # the line of one that is killed at once is lost
    resumed = ("another service is active: this one is a standby now", "event log can be used again")
    assert sum(told[line] for line in resumed) >= 1, (
        "the paused one finds that it is no longer the active one"
    )
    assert told["decisions"] > 100
