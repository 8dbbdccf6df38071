"""Experiment: several policies under several seeds, each in its own process; the result does not depend on their number.

Each replay writes its tables at its end, to a temporary name that is then renamed. An experiment that was killed therefore
runs only the replays that were not finished, and ends with the same bytes.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from consignments.errors import BadInput
from consignments.files.folders import lock_folder
from consignments.files.whole_files import PUBLIC_MODE, replace_file
from consignments.workers import end_with_parent, explain_lost_process
from features.batch import Progress
from features.cluster import connect
from training.config import TrainConfig, parse_config
from training.policy_replay.environments import ReplayedWorld
from training.policy_replay.policies import get_policy
from training.policy_replay.replay import PolicyReplay, ReplaySettings

HEADER, TABLES = "replay.json", ("openings", "positives")
Tables = tuple[pd.DataFrame, pd.DataFrame]  # the inspected and the positive consignments of a replay
LOOP_CONFIG = parse_config(
    {
        # In the loop recent weeks matter more than a clean gap between campaigns.
        "split": {"validation_days": 14, "label_delay_days": 7},
        "model": {"trees": 100},
        "weights": {"background_share": 1.0, "background_rows": 40_000},
    }
)
"""Default training settings inside the loop; all kept background is used."""


@dataclass(frozen=True)
class Experiment:
    """Results of all replays: the tables of each, with `policy` and `seed`."""

    openings: pd.DataFrame
    positives: pd.DataFrame
    settings: ReplaySettings
    world: ReplayedWorld


@dataclass(frozen=True)
class ExperimentPlan:
    """Plan of an experiment: policies in the same world, each under each seed, with the configuration of their models."""

    world: ReplayedWorld
    policies: Sequence[str]
    seeds: Sequence[int]
    settings: ReplaySettings
    config: TrainConfig = LOOP_CONFIG

    def check(self) -> None:
        """Check that policies are known, that no policy or seed repeats, and that the world is longer than the warm-up."""
        for option, values in (("policy", self.policies), ("seed", self.seeds)):
            repeated = [str(value) for value, count in Counter(values).items() if count > 1]
            if repeated:
                got, once, todo = ", ".join(repeated), f"each {option} once", "leave out the repetition"
                raise BadInput(f"a {option} repeats", where=f"--{option}", got=got, expected=once, todo=todo)
        for name in self.policies:
            get_policy(name)
        days, warm_up = self.world.days, self.settings.warm_up_days
        if warm_up >= days:
            got = f"{days} days, of which {warm_up} are the warm-up"
            todo = "use a longer world, or a shorter --warm-up-days"
            raise BadInput("the world ends within the warm-up", got=got, todo=todo)


def run_experiment(
    plan: ExperimentPlan,
    folder: Path,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> Experiment:
    """Replay what is not finished in the folder, in `jobs` processes or on a Dask `cluster`, whose workers must see the folder."""
    plan.check()
    tasks = [(name, seed) for seed in plan.seeds for name in plan.policies]
    done = []
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder, "replay"):
        folders = [(*task, folder.absolute() / f"{task[0]}-seed-{task[1]}") for task in tasks]
        for tables in _iterate_replays(plan, folders, jobs, cluster):
            done.append(tables)
            if progress is not None:
                progress("replaying policies", len(done), len(tasks))
    marked = [
        [table.assign(policy=name, seed=seed) for table in tables]
        for (name, seed), tables in zip(tasks, done, strict=True)
    ]
    openings, positives = (pd.concat(tables, ignore_index=True) for tables in zip(*marked, strict=True))
    return Experiment(openings, positives, plan.settings, plan.world)


def _iterate_replays(
    plan: ExperimentPlan, tasks: list[tuple[str, int, Path]], jobs: int, cluster: str | None
) -> Iterator[Tables]:
    """Run all replays, in processes of this machine or on a cluster; yields the tables of each in the order of the tasks."""
    from joblib import Parallel, delayed

    if cluster is not None:
        with connect(cluster) as runner:
            shared = runner.share(plan, large=True)
            yield from runner.map("replay", _run_replay, [(shared, *task) for task in tasks])
        return
    own: dict[str, Any] = {"initializer": end_with_parent, "initargs": (os.getpid(),)}
    processes = Parallel(n_jobs=min(jobs, len(tasks)), return_as="generator", **own)
    with explain_lost_process():
        yield from processes(delayed(_run_replay)(plan, *task) for task in tasks)


def _run_replay(plan: ExperimentPlan, name: str, seed: int, folder: Path) -> Tables:
    """Run a replay and write its tables, or read them if they are there; a folder of another replay is refused."""
    header: dict[str, Any] = {"policy": name, "seed": seed, "npsrisk": installed_version("npsrisk")}
    header |= {"settings": plan.settings, "config": plan.config, **plan.world.header}
    path, written = folder / HEADER, msgspec.json.format(msgspec.json.encode(header, order="sorted"))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, written, PUBLIC_MODE)
    elif path.read_bytes() != written:
        got = "other settings, another world or another version of npsrisk"
        todo = "choose another --out, or remove the folder"
        raise BadInput("this folder contains another replay", where=str(path), got=got, todo=todo)
    first, second = paths = [folder / f"{table}.parquet" for table in TABLES]
    if first.exists() and second.exists():
        return pd.read_parquet(first), pd.read_parquet(second)
    world = plan.world.create(seed)
    tables = PolicyReplay(world, get_policy(name), plan.settings, plan.config, seed).run()
    for path, frame in zip(paths, tables, strict=True):
        replace_file(path, frame.to_parquet(), PUBLIC_MODE)
    return tables
