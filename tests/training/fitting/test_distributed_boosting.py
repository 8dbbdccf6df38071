"""Claims about trees that workers grow together: rounds are saved, a lost worker repeats one, and the trees are the same again."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from consignments.errors import BadInput, ServiceFault
from features.buckets import cluster
from features.buckets.cluster import WorkersLost, connect, find_free_port
from models.boosting import BoostingRows, BoostingTask, grow_boosted_trees, predict_boosted
from models.lightgbm_text import list_tree_blocks
from training.fitting import distributed_boosting
from training.fitting.distributed_boosting import (
    MAX_RESTARTS,
    DistributedBoosting,
    create_tree_folder,
    locate_part,
)

T = TypeVar("T")
ROWS, FEATURES = 600, 8
PARAMS = {
    "objective": "binary",
    "num_leaves": 6,
    "feature_fraction": 0.5,
    "min_data_in_leaf": 5,
    "seed": 1,
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


def build_task(trees: int = 8, start: float | None = -2.0, **options: Any) -> BoostingTask:
    random = np.random.default_rng(1)
    X = random.normal(size=(ROWS, FEATURES)).astype(np.float32)
    X[random.random(X.shape) < 0.1] = np.nan
    y = (np.nan_to_num(X[:, 0] + X[:, 1]) + random.normal(size=ROWS) > 1.5).astype(np.float64)
    first = None if start is None else np.full(ROWS, start)
    rows = BoostingRows(X, y, random.uniform(0.5, 2.0, ROWS), first)
    return BoostingTask(rows, tuple(f"x{place}" for place in range(FEATURES)), trees, PARAMS, **options)


class OneWorker:
    """A group of one worker in this process, which is lost at given calls."""

    def __init__(self, lost_at: Sequence[int] = ()) -> None:
        self.calls, self._lost_at = 0, lost_at

    def run_together(
        self,
        name: str,
        work: Callable[..., T],
        arguments: Sequence[tuple[Any, ...]],
        check: Callable[[], None] | None = None,
    ) -> list[T]:
        assert name == "trees"
        call, self.calls = self.calls, self.calls + 1
        if call in self._lost_at:
            raise WorkersLost("1 of 1 workers ended")
        found = [work(0, [f"127.0.0.1:{find_free_port()}"], *given) for given in arguments]
        if check is not None:
            check()
        return found


@pytest.fixture(autouse=True)
def small_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed_boosting, "ROUND_TREES", 3)


def test_rounds_continue_from_the_saved_trees(tmp_path: Path) -> None:
    task = build_task()
    text = DistributedBoosting(OneWorker(), tmp_path, 1)(task)
    assert len(list_tree_blocks(text)) == 8
    one = grow_boosted_trees(task._replace(trees=3))
    assert list_tree_blocks(text)[:3] == list_tree_blocks(one), "the first round is that of one machine"
    X, y, _, _ = task.rows
    together, alone = (predict_boosted(each, X) for each in (text, grow_boosted_trees(task)))
    assert np.corrcoef(together, alone)[0, 1] > 0.9
    assert together[y == 1].mean() > together[y == 0].mean() + 0.3


def test_trees_start_from_the_mean_if_there_is_no_start(tmp_path: Path) -> None:
    DistributedBoosting(OneWorker(), tmp_path, 1)(build_task())
    task = build_task(start=None)
    raw = predict_boosted(DistributedBoosting(OneWorker(), tmp_path, 1)(task), task.rows.X)
    share = np.average(task.rows.y, weights=task.rows.weight)
    assert np.average(1 / (1 + np.exp(-raw)), weights=task.rows.weight) == pytest.approx(share, rel=0.05)


def test_a_lost_worker_repeats_its_round_only(tmp_path: Path) -> None:
    whole, broken = OneWorker(), OneWorker(lost_at=(1, 2, 4))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = DistributedBoosting(whole, tmp_path / "a", 1)(build_task())
    other = DistributedBoosting(broken, tmp_path / "b", 1)(build_task())
    assert other == one
    assert (whole.calls, broken.calls) == (3, 6)


def test_a_round_that_fails_again_and_again_ends_with_an_error(tmp_path: Path) -> None:
    runner = OneWorker(lost_at=range(1, 99))
    with pytest.raises(ServiceFault, match=r"trees 3 to 5 of 8, 1 workers.*continues from 3 saved trees"):
        DistributedBoosting(runner, tmp_path, 1)(build_task())
    assert runner.calls == 1 + 1 + MAX_RESTARTS
    assert not list(tmp_path.glob("part-*")), "only the saved trees stay"


def test_the_same_fit_continues_from_the_saved_trees_and_another_does_not(tmp_path: Path) -> None:
    with pytest.raises(ServiceFault):
        DistributedBoosting(OneWorker(lost_at=range(2, 99)), tmp_path, 1)(build_task())
    again, other = OneWorker(), OneWorker()
    text = DistributedBoosting(again, tmp_path, 1)(build_task())
    DistributedBoosting(other, tmp_path, 1)(build_task(start=-2.5))
    assert (again.calls, other.calls) == (1, 3)
    (tmp_path / "new").mkdir()
    assert text == DistributedBoosting(OneWorker(), tmp_path / "new", 1)(build_task())


def test_trees_of_another_version_are_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceFault):
        DistributedBoosting(OneWorker(lost_at=range(2, 99)), tmp_path, 1)(build_task())
    monkeypatch.setattr(distributed_boosting, "installed_version", lambda name: f"another {name}")
    again = OneWorker()
    DistributedBoosting(again, tmp_path, 1)(build_task())
    assert again.calls == 3


def test_a_round_without_progress_is_lost(tmp_path: Path) -> None:
    class Waiting(OneWorker):
        def run_together(self, name: str, work: Any, arguments: Any, check: Any = None) -> Any:
            self.calls += 1
            while True:
                check()

    runner = Waiting()
    with pytest.raises(ServiceFault, match=r"no tree was finished within 0\.01 s"):
        DistributedBoosting(runner, tmp_path, 1, stall_seconds=0.01)(build_task())
    assert runner.calls == 1 + MAX_RESTARTS


def test_finished_trees_are_reported(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    DistributedBoosting(OneWorker(), tmp_path, 1)(build_task(progress=lambda *each: seen.append(each)))
    assert seen == [("growing trees", done, 8) for done in (3, 6, 8)]


def test_each_row_is_in_one_part_and_each_part_has_rows_of_all_times() -> None:
    parts = [locate_part(100_000, place, 3) for place in range(3)]
    assert (np.sort(np.concatenate(parts)) == np.arange(100_000)).all()
    for part in parts:
        counts = np.histogram(part, bins=10, range=(0, 100_000))[0]
        assert counts.min() > 0.8 * counts.mean()


def test_fewer_rows_than_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="fewer training rows than workers"):
        DistributedBoosting(OneWorker(), tmp_path, ROWS + 1)(build_task())


def test_the_folder_stays_after_an_error_and_one_run_at_a_time_uses_it(tmp_path: Path) -> None:
    work = tmp_path / "work"

    def leave_files() -> None:
        with create_tree_folder(work) as folder:
            (folder / "trees-1-0.txt").write_text("saved")
            (folder / "part-0-X.npy").write_text("rows")
            with pytest.raises(BadInput, match="another run"), create_tree_folder(work):
                pass
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave_files()
    with create_tree_folder(work) as folder:
        assert [path.name for path in folder.iterdir()] == ["trees-1-0.txt"]
    assert not folder.exists()


@pytest.fixture
def often_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of 150 trees, which a quick machine grows in less time than usually passes between two looks at them."""
    monkeypatch.setattr(distributed_boosting, "ROUND_TREES", 150)
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.01)


@pytest.fixture(scope="module")
def runner() -> Iterator[Any]:
    pytest.importorskip("distributed", reason="Dask is not installed; run make scale")
    with connect("local:2") as made:
        yield made


def list_pids(runner: Any) -> list[int]:
    return [worker.pid for worker in runner.client.cluster.workers.values()]


def grow_with_signal(runner: Any, folder: Path, which: signal.Signals | None, stall_seconds: float) -> str:
    """Grow 300 trees in two rounds on two workers; one gets a signal in the second round."""
    sent: list[int] = []

    def send(_: str, done: int, __: int) -> None:
        if which is not None and done > 150 and not sent:
            sent.extend(worker.pid for worker in runner.client.cluster.workers.values())
            os.kill(sent[0], which)

    folder.mkdir()
    text = DistributedBoosting(runner, folder, 2, stall_seconds)(build_task(trees=300, progress=send))
    assert bool(sent) == (which is not None)
    return text


@pytest.mark.quick
@pytest.mark.usefixtures("often_watched")
def test_two_workers_grow_the_same_trees_again_although_one_is_killed(runner: Any, tmp_path: Path) -> None:
    one = grow_with_signal(runner, tmp_path / "one", None, 60)
    assert len(list_tree_blocks(one)) == 300
    assert grow_with_signal(runner, tmp_path / "other", signal.SIGKILL, 60) == one
    assert one != grow_boosted_trees(build_task(trees=300)), "one machine gives other bits"


@pytest.mark.slow
@pytest.mark.usefixtures("often_watched")
def test_a_worker_that_is_paused_is_restarted(runner: Any, tmp_path: Path) -> None:
    one = grow_with_signal(runner, tmp_path / "one", None, 60)
    assert grow_with_signal(runner, tmp_path / "other", signal.SIGSTOP, 45) == one
