"""Boosted trees that the workers of a cluster grow together, if the rows of a fit do not fit one machine.

Each worker holds a part of the rows. Trees are grown in rounds, and the model is saved after each:

    round   starts from          grows           saved after it
    0       the rules            trees 0 to 24   25 trees
    1       the 25 saved trees   trees 25 to 49  50 trees

LightGBM cannot replace a lost worker: the others fail or wait without end. So if a worker is lost, or no tree is finished within a
time, the workers of the round are restarted, and the round is repeated from the saved model. Rounds and parts depend only on the
rows and the number of parts, so a repeated round grows the same trees.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from importlib.metadata import version as installed_version
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadInput, FileFault, ServiceFault
from consignments.files.folder_lock import lock_folder
from consignments.files.whole_files import PUBLIC_MODE, replace_file
from features.buckets.cluster import WorkersLost
from features.buckets.coordinator import GroupRunner
from models.boosting import BoostingRows, BoostingTask, Peers, grow_boosted_trees, predict_boosted
from models.lightgbm_text import join_trees

ROUND_TREES = 25
"""Trees of a round: what a lost worker costs at most."""
MAX_RESTARTS = 3
"""Times that a round is repeated."""
STALL_SECONDS = 900.0
"""Time within which a round has to finish its next tree; before the first one, workers read their rows."""
MAX_BLOCK_ROWS = 1024
BLOCKS_A_PART = 64
SEED_STEP = 10_007
"""Distance of the seeds of two rounds, so that each offers other features to its trees."""
MAX_SEED = 2**31
PROGRESS_FILE = "progress"

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

Positions = NDArray[np.int64]
Rows = NDArray[np.float32]


class RoundTask(NamedTuple):
    """A round of trees, as a worker gets it.

    Attributes
    ----------
    folder : Path
        Folder with the parts and the saved trees; all workers see it under this name.
    names : tuple of str
        Of the features.
    trees : int
        Trees of the round.
    params : dict
    saved : str
        Name of the file with the trees of the rounds before; '' if there are none.
    """

    folder: Path
    names: tuple[str, ...]
    trees: int
    params: dict[str, Any]
    saved: str


class DistributedBoosting:
    """Grows the trees of a fit on the workers of a cluster; a `models.boosting.TreeGrower`.

    Parameters
    ----------
    runner : GroupRunner
    folder : Path
        Folder that all workers see under this name. After a kill it has the saved trees, from which the same fit continues.
    parts : int
        Number of workers, each with a part of the rows.
    stall_seconds : float
    """

    def __init__(
        self, runner: GroupRunner, folder: Path, parts: int, stall_seconds: float = STALL_SECONDS
    ) -> None:
        self._runner, self._folder, self._parts = runner, folder, parts
        self._stall_seconds = stall_seconds

    def __call__(self, task: BoostingTask) -> str:
        """Grow the trees.

        Raises
        ------
        BadInput
            There are fewer rows than workers.
        FileFault
            The parts cannot be written.
        ServiceFault
            A round was repeated too often, or the cluster cannot be used.
        """
        try:
            digest = self._write_parts(task)
            saved, texts = "", list[str]()
            for grown in range(0, task.trees, ROUND_TREES):
                file = self._folder / f"trees-{digest[:16]}-{grown}.txt"
                if not file.exists():
                    text = self._grow_round(task, saved, grown)
                    replace_file(file, join_trees([*texts, text]).encode(), PUBLIC_MODE)
                saved, texts = file.name, [file.read_text()]
            return texts[0]
        finally:
            for part in self._folder.glob("part-*"):
                part.unlink()

    def _grow_round(self, task: BoostingTask, saved: str, grown: int) -> str:
        """Grow the trees of one round, again if workers are lost."""
        seed = (int(task.params["seed"]) + grown // ROUND_TREES * SEED_STEP) % MAX_SEED
        trees = min(ROUND_TREES, task.trees - grown)
        work = RoundTask(self._folder, task.names, trees, task.params | {"seed": seed}, saved)
        reasons: list[str] = []
        while True:
            watch = _ProgressWatch(self._folder / PROGRESS_FILE, self._stall_seconds, task, grown)
            try:
                return self._runner.run_together("trees", grow_part, [(work,)] * self._parts, watch.check)[0]
            except WorkersLost as error:
                reasons.append(str(error))
                if len(reasons) > MAX_RESTARTS:
                    raise ServiceFault(
                        "trees could not be grown together",
                        where=f"trees {grown} to {grown + trees - 1} of {task.trees}, {self._parts} workers",
                        got="; ".join(reasons),
                        expected=f"a round that ends after at most {MAX_RESTARTS} restarts",
                        todo="check memory and network of the workers, and run the same command again: it continues from "
                        f"{grown} saved trees",
                    ) from error

    def _write_parts(self, task: BoostingTask) -> str:
        """Write the rows of each worker, and return the SHA-256 of all that decides the trees."""
        rows = task.rows
        if len(rows.y) < self._parts:
            raise BadInput(
                "there are fewer training rows than workers",
                where="[model] tree_workers",
                got=f"{len(rows.y)} rows, {self._parts} workers",
                todo="grow the trees on one machine",
            )
        code = [installed_version(name) for name in ("npsrisk", "lightgbm")]
        decisive = [code, task.names, task.trees, sorted(task.params.items()), self._parts, rows.X.shape]
        digest = sha256(repr(decisive).encode())
        try:
            for place in range(self._parts):
                mine = locate_part(len(rows.y), place, self._parts)
                blocks = (
                    rows.X[mine[begin : begin + MAX_BLOCK_ROWS]]
                    for begin in range(0, len(mine), MAX_BLOCK_ROWS)
                )
                shape = (len(mine), rows.X.shape[1])
                _write_rows(_name_part(self._folder, place, "X"), shape, blocks, digest)
                for name in ("y", "weight", "start"):
                    values = getattr(rows, name)
                    if values is not None:
                        np.save(_name_part(self._folder, place, name), values[mine])
                        digest.update(values[mine].tobytes())
        except OSError as error:
            raise FileFault(
                "the rows of the workers cannot be written",
                where=str(self._folder),
                got=error.strerror or str(error),
                todo="free space, and run the same command again",
            ) from error
        return digest.hexdigest()


def locate_part(rows: int, place: int, parts: int) -> Positions:
    """Return the positions of the rows of a part: blocks in turn, so that each part has rows of all times.

    Examples
    --------
    >>> locate_part(7, 1, 2).tolist()
    [1, 3, 5]
    """
    block = min(max(rows // (BLOCKS_A_PART * parts), 1), MAX_BLOCK_ROWS)
    positions: Positions = np.flatnonzero(np.arange(rows) // block % parts == place)
    return positions


def grow_part(place: int, addresses: list[str], work: RoundTask) -> str:
    """Train a round of trees as one of several workers; return the text of the model from the first, '' from the others."""
    X, y, weight = (
        np.load(_name_part(work.folder, place, name), mmap_mode="r") for name in ("X", "y", "weight")
    )
    first = _name_part(work.folder, place, "start")
    start = np.load(first) if first.exists() else None
    if work.saved:
        before = predict_boosted((work.folder / work.saved).read_text(), X)
        start = before if start is None else start + before

    def report(_: str, done: int, __: int) -> None:
        replace_file(work.folder / PROGRESS_FILE, str(done).encode(), PUBLIC_MODE)

    task = BoostingTask(
        BoostingRows(np.asarray(X), np.asarray(y), np.asarray(weight), start),
        work.names,
        work.trees,
        work.params,
        report if place == 0 else None,
    )
    text = grow_boosted_trees(task, Peers(place, addresses))
    return text if place == 0 else ""


class _ProgressWatch:
    """Watches a round: reports the trees that the first worker has finished, and when it finishes none for too long."""

    def __init__(self, file: Path, stall_seconds: float, task: BoostingTask, grown: int) -> None:
        self._file, self._stall_seconds, self._task, self._grown = file, stall_seconds, task, grown
        self._done, self._since = "", time.monotonic()
        file.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise `WorkersLost` if no tree was finished for too long."""
        with suppress(FileNotFoundError):
            if (done := self._file.read_text()) != self._done:
                self._done, self._since = done, time.monotonic()
                if self._task.progress is not None:
                    self._task.progress("growing trees", self._grown + int(done), self._task.trees)
        if time.monotonic() - self._since > self._stall_seconds:
            raise WorkersLost(f"no tree was finished within {self._stall_seconds:g} s")


@contextmanager
def create_tree_folder(work: Path) -> Iterator[Path]:
    """Create the folder of the parts and saved trees next to the folder of the features; remove it after a whole run.

    After an error or a kill it stays, so that the same command continues from the saved trees.

    Raises
    ------
    BadInput
        Another run uses it.
    FileFault
        It cannot be created.
    """
    folder = work.absolute().with_name(f".{work.name}.trees")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise FileFault(
            "the working folder cannot be created", where=str(folder), got=error.strerror or str(error)
        ) from error
    with lock_folder(folder, "training"):
        for part in folder.glob("part-*"):
            part.unlink()
        yield folder
        rmtree(folder, ignore_errors=True)


def _write_rows(path: Path, shape: tuple[int, int], blocks: Iterable[Rows], digest: "HASH") -> None:
    """Write a float32 matrix block by block as numpy's own format, and add it to a hash."""
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            content = block.astype("<f4", order="C").tobytes()
            file.write(content)
            digest.update(content)


def _name_part(folder: Path, place: int, name: str) -> Path:
    return folder / f"part-{place}-{name}.npy"
