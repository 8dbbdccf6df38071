"""Boosted trees of LightGBM: grown by one process, or by several that each hold a part of the rows.

Equal rows and parameters give equal trees. If several processes grow them, the trees also depend on the number of parts, because the
bins of a feature come from the rows of one part, and sums of floats from an order of parts.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.lightgbm_text import strip_parameters

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
SOCKET_MINUTES = 5
"""Minutes after which a process gives up waiting for a connection of another one."""


class BoostingRows(NamedTuple):
    """The rows of a fit, or one part of them.

    Attributes
    ----------
    X : float32 array, (n, features)
        NaN is missing.
    y : float64 array, (n,)
        1 positive, 0 negative.
    weight : float64 array, (n,)
    start : float64 array, (n,), or None
        Log-odds from which the trees start; None for the log-odds of all rows together.
    """

    X: Rows
    y: Floats
    weight: Floats
    start: Floats | None


class BoostingTask(NamedTuple):
    """The trees to grow.

    Attributes
    ----------
    rows : BoostingRows
    names : tuple of str
        Of the features.
    trees : int
    params : dict
        Parameters of LightGBM, with the seed.
    progress : callable or None
        Called with the name of the work, the number of grown trees, and the total.
    """

    rows: BoostingRows
    names: tuple[str, ...]
    trees: int
    params: dict[str, Any]
    progress: Callable[[str, int, int], None] | None = None


TreeGrower = Callable[[BoostingTask], str]
"""Function that grows the trees of a task, and returns the model text without the parameters."""


class Peers(NamedTuple):
    """The processes that grow the same trees together.

    Attributes
    ----------
    place : int
        This process among them, from 0.
    addresses : sequence of str
        `host:port` of each. Nobody else uses the ports.
    """

    place: int
    addresses: Sequence[str]

    def build_params(self) -> dict[str, Any]:
        """Build the parameters of LightGBM's data-parallel learner.

        A part has few rows with a rare value. So no feature is left out because one part alone could not split it.
        """
        return {
            "tree_learner": "data",
            "num_machines": len(self.addresses),
            "machines": ",".join(self.addresses),
            "local_listen_port": int(self.addresses[self.place].rpartition(":")[2]),
            "time_out": SOCKET_MINUTES,
            "feature_pre_filter": False,
        }


def grow_boosted_trees(task: BoostingTask, peers: Peers | None = None) -> str:
    """Train trees in this process, alone or together with others.

    Parameters
    ----------
    task : BoostingTask
        With peers, the rows are the part of this process.
    peers : Peers, optional

    Returns
    -------
    str
        Text of the model, the same in each process.
    """
    import lightgbm

    X, y, weight, start = task.rows
    params, progress = task.params, task.progress
    if peers is not None:
        params = params | peers.build_params()
    data = lightgbm.Dataset(X, y, weight=weight, init_score=start, feature_name=list(task.names))
    callbacks: list[Callable[..., Any]] = []
    if progress is not None:
        callbacks.append(lambda at: progress("growing trees", at.iteration + 1, at.end_iteration))
    with nullcontext() if peers is None else _silence_output():
        booster = lightgbm.train(params, data, num_boost_round=task.trees, callbacks=callbacks)
        text = strip_parameters(str(booster.model_to_string(num_iteration=-1)))
        booster.free_network()
    return text


def predict_boosted(text: str, X: Rows) -> Floats:
    """Compute the sum of the trees of a model text in log-odds, float64 (n,)."""
    import lightgbm

    return np.asarray(lightgbm.Booster(model_str=text).predict(X, raw_score=True, num_threads=1))


@contextmanager
def _silence_output() -> Iterator[None]:
    """Discard standard output, to which LightGBM prints of each connection before it reads its parameters."""
    sys.stdout.flush()
    kept = os.dup(1)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
