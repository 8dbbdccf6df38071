"""Trees of one machine and of Dask workers: the same training twice on simulated worlds; and LightGBM's own Dask module.

    python -m benchmarks.tree_workers quality --workers 2 --seeds 11 12 13
    python -m benchmarks.tree_workers lightgbm --seconds 60

`quality` trains on one machine and on workers, and compares figures by the truth. `lightgbm` fits the same data three times with
`lightgbm.dask`, then kills a worker, and waits. Both need Dask (`requirements-scale.txt`).
"""

import argparse
import hashlib
import os
import signal
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from features.batch import Tables
from training.config import parse_config
from training.runs.result import TrainingResult
from training.runs.task import TrainingTask
from training.runs.train import train_model
from training.simulation.operation import simulate

DAYS, PER_DAY = 110, 200
METRICS = (
    "truth/roc_auc",
    "truth/average_precision",
    "truth/recall_at_1pct",
    "truth/recall_at_5pct",
    "deployed_truth/recall_at_1pct",
)
ROWS, COLUMNS, TREES, LONG_FIT_TREES = 20_000, 100, 20, 3000
SECONDS_BEFORE_KILL = 6


def compare_quality(seed: int, workers: int) -> None:
    """Print the metrics of both trainings, and how much their scores agree."""
    world = simulate(days=DAYS, per_day=PER_DAY, prevalence="operation", seed=seed)
    one, shared = (_train(world, count) for count in (0, workers))
    for name in METRICS:
        a, b = one.metrics[name], shared.metrics[name]
        print(f"seed {seed} {name}: {a:.4f} {b:.4f} difference {b - a:+.4f}")
    correlation = np.corrcoef(one.test_scores, shared.test_scores)[0, 1]
    print(
        f"seed {seed} correlation of test scores {correlation:.4f}; {shared.tags['repeatable']}", flush=True
    )


def _train(world: Any, workers: int) -> TrainingResult:
    config = parse_config(
        {
            "split": {"validation_days": 14, "test_days": 14, "label_delay_days": 10},
            "model": {"tree_workers": workers},
            "evaluation": {"resamples": 20, "name_rows": 60, "origins": 2},
        }
    )
    tables = Tables(world.consignments, world.outcomes, world.alerts)
    with TemporaryDirectory() as folder:
        work, cluster = (Path(folder) / "work", f"local:{workers}") if workers else (None, None)
        return train_model(
            TrainingTask(tables, None, "any_offence", config, world.truth, work=work, cluster=cluster)
        )


def try_lightgbm_dask(seconds: int) -> None:
    """Print the hashes of three equal fits, and what happens within some seconds after a worker is killed."""
    import dask.array
    import lightgbm
    from distributed import Client, LocalCluster

    random = np.random.default_rng(1)
    X = random.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] * X[:, 2] + random.normal(size=ROWS) > 2.5).astype(np.float64)
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=40
    )
    client = Client(cluster)
    rows, labels = dask.array.from_array(X, chunks=(2500, COLUMNS)), dask.array.from_array(y, chunks=2500)

    def fit(trees: int) -> str:
        model = lightgbm.DaskLGBMClassifier(
            client=client,
            n_estimators=trees,
            num_leaves=12,
            deterministic=True,
            force_col_wise=True,
            random_state=1,
            verbosity=-1,
        )
        model.fit(rows, labels)
        return str(model.booster_.model_to_string()).partition("\nparameters:")[0]

    for number in range(3):
        print(f"equal fit {number}: {hashlib.sha256(fit(TREES).encode()).hexdigest()[:12]}", flush=True)
    ended: list[str] = []

    def fit_long() -> None:
        try:
            ended.append(f"a model of {len(fit(LONG_FIT_TREES))} characters")
        except Exception as error:
            ended.append(repr(error))

    threading.Thread(target=fit_long, daemon=True).start()
    time.sleep(SECONDS_BEFORE_KILL)
    os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
    begun = time.monotonic()
    while not ended and time.monotonic() - begun < seconds:
        time.sleep(1)
    print(f"{time.monotonic() - begun:.0f} s after the kill: {ended or 'the fit still waits'}", flush=True)
    client.close()
    cluster.close()


def main() -> None:
    """Run the part that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["quality", "lightgbm"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--seconds", type=int, default=60)
    chosen = parser.parse_args()
    if chosen.part == "lightgbm":
        try_lightgbm_dask(chosen.seconds)
        return
    for seed in chosen.seeds:
        compare_quality(seed, chosen.workers)


if __name__ == "__main__":
    main()
