"""Experiment: several policies under several seeds, each in its own process; the result does not depend on their number."""

import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import pandas as pd

from consignments.errors import BadInput
from consignments.files.folder_lock import lock_folder
from consignments.timestamps import US_PER_DAY, get_time_column_us
from consignments.workers import end_with_parent, explain_lost_process
from features.batch import Progress, Tables
from features.buckets.cluster import connect
from training.config import TrainConfig, parse_config
from training.data.data_hash import hash_tables
from training.policy_replay.checkpoints import CheckpointFile, count_finished_weeks
from training.policy_replay.environments import ReplayEnvironment, SimulatedEnvironment, TabularEnvironment
from training.policy_replay.policies import get_policy
from training.policy_replay.replay import DAYS_PER_WEEK, PolicyReplay, ReplaySettings, ReplayTask
from training.simulation.parameters import SimulationParameters, check_size, load_parameters

POLL_SECONDS = 0.5
LOOP_CONFIG = parse_config(
    {
        # In the loop recent weeks matter more than a clean gap between campaigns.
        "split": {"validation_days": 14, "label_delay_days": 7},
        "model": {"trees": 100},
        "weights": {"background_share": 1.0, "background_rows": 40_000},
    }
)
"""Default training settings inside the loop; all kept background is used."""


class EnvironmentFactory(Protocol):
    """Creates the same environment again for every policy."""

    @property
    def days(self) -> int:
        """Number of days."""

    @property
    def first_day(self) -> int:
        """UTC day of the start."""

    def make(self, seed: int) -> ReplayEnvironment:
        """Create the environment under a seed."""

    def build_header(self) -> dict[str, Any]:
        """Describe the environment as JSON values; other values mean another environment."""

    def list_events(self) -> list[tuple[str, int]]:
        """List the events in it, with the day from its start."""


@dataclass(frozen=True)
class SimulatedFactory:
    """Factory of a simulated world whose networks react.

    Attributes
    ----------
    world : SimulationParameters
    days, per_day : int
    prevalence : str
    """

    world: SimulationParameters
    days: int
    per_day: int
    prevalence: str

    @property
    def first_day(self) -> int:
        """UTC day of the start."""
        return int(np.datetime64(self.world.start, "D").astype(np.int64))

    def make(self, seed: int) -> ReplayEnvironment:
        """Create the environment under a seed."""
        return SimulatedEnvironment(
            self.world, days=self.days, per_day=self.per_day, prevalence=self.prevalence, seed=seed
        )

    def build_header(self) -> dict[str, Any]:
        """Describe the environment as JSON values."""
        parameters: dict[str, Any] = msgspec.to_builtins(self.world)
        size = {"days": self.days, "per_day": self.per_day, "prevalence": self.prevalence}
        return {"world": parameters, **size}

    def list_events(self) -> list[tuple[str, int]]:
        """List the trend events and the operation."""
        trends = self.world.events
        events = [
            ("class control; a substitute appears", trends.class_control.day),
            ("a substance that is on no list", trends.new_substance.day),
            ("producers move to another country", trends.origin_shift.day),
            ("a cover is no longer used", trends.cover_shift.day),
            ("advance data fail", trends.data_outage.day),
            ("operation with doubled capacity", self._operation_day),
        ]
        return sorted([(name, day) for name, day in events if day < self.days], key=lambda event: event[1])

    @property
    def _operation_day(self) -> int:
        return self.world.compute_operation_day(self.days, self.world.get_preset(self.prevalence))


def create_simulated_factory(
    path: Path | None, *, days: int, per_day: int, prevalence: str
) -> SimulatedFactory:
    """Create the factory of a simulated world.

    Parameters
    ----------
    path : Path or None
        TOML file of its parameters; None for the built-in ones.
    days, per_day, prevalence
        See `SimulatedFactory`.
    """
    check_size(days, per_day)
    world = load_parameters(path, prevalence)
    world.get_preset(prevalence)
    return SimulatedFactory(world, days, per_day, prevalence)


@dataclass(frozen=True)
class TabularFactory:
    """Factory of past tables, which do not react.

    Attributes
    ----------
    consignments, truth : DataFrame
    outcomes, alerts : DataFrame or None
    round_days : int
        Days between two lists.
    share : float or None
        Capacity as a share of the arrivals of the round, instead of a number.
    """

    consignments: pd.DataFrame
    truth: pd.DataFrame
    outcomes: pd.DataFrame | None = None
    alerts: pd.DataFrame | None = None
    round_days: int = 1
    share: float | None = None

    @property
    def days(self) -> int:
        """Number of days from the first arrival to the last."""
        received = self.consignments["received_at"]
        return int((received.max().floor("D") - received.min().floor("D")).days) + 1

    @property
    def first_day(self) -> int:
        """UTC day of the first arrival."""
        return int(get_time_column_us(self.consignments, "received_at").min()) // US_PER_DAY

    def make(self, seed: int) -> ReplayEnvironment:
        """Create the environment under a seed, which decides only what the tables do not contain."""
        return TabularEnvironment(
            Tables(self.consignments, self.outcomes, self.alerts),
            self.truth,
            seed=seed,
            round_days=self.round_days,
            share=self.share,
        )

    def build_header(self) -> dict[str, Any]:
        """Describe the tables by the hash of their content."""
        tables = {
            "consignments": self.consignments,
            "truth": self.truth,
            "outcomes": self.outcomes,
            "alerts": self.alerts,
        }
        return {"data_sha256": hash_tables(tables), "round_days": self.round_days, "share": self.share}

    def list_events(self) -> list[tuple[str, int]]:
        """Return no events, since tables do not contain them."""
        return []


@dataclass(frozen=True)
class Experiment:
    """Results of all replays.

    Attributes
    ----------
    openings, positives : DataFrame
        The tables of all replays, with `policy` and `seed`.
    settings : ReplaySettings
    header : dict
        Description of the environment.
    events : list of (str, int)
        Events, and their days from the start.
    days, first_day : int
        Length, and UTC day of the first arrivals.
    """

    openings: pd.DataFrame
    positives: pd.DataFrame
    settings: ReplaySettings
    header: dict[str, Any]
    events: list[tuple[str, int]]
    days: int
    first_day: int


@dataclass(frozen=True)
class ExperimentPlan:
    """Plan of an experiment: policies in the same environment, each under each seed.

    Attributes
    ----------
    maker : EnvironmentFactory
    policies : sequence of str
    seeds : sequence of int
    settings : ReplaySettings
    config : TrainConfig
        For the models inside the loop.
    """

    maker: EnvironmentFactory
    policies: Sequence[str]
    seeds: Sequence[int]
    settings: ReplaySettings
    config: TrainConfig = LOOP_CONFIG

    def check(self) -> None:
        """Check that policies are known, that no policy or seed repeats, and that the environment is longer than the warm-up."""
        _refuse_repeats("policy", self.policies)
        _refuse_repeats("seed", self.seeds)
        for name in self.policies:
            get_policy(name)
        if self.settings.warm_up_days >= self.maker.days:
            raise BadInput(
                "the world ends within the warm-up",
                got=f"{self.maker.days} days, of which {self.settings.warm_up_days} are the warm-up",
                todo="use a longer world, or a shorter --warm-up-days",
            )


def _refuse_repeats(what: str, values: Sequence[str | int]) -> None:
    """Raise `BadInput` if a value repeats: each replay counts once."""
    repeated = [str(value) for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise BadInput(
            f"a {what} repeats",
            where=f"--{what}",
            got=", ".join(repeated),
            expected=f"each {what} once",
            todo="leave out the repetition",
        )


def run_experiment(
    plan: ExperimentPlan,
    folder: Path,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> Experiment:
    """Replay policies in the same environment, each under each seed.

    Parameters
    ----------
    plan : ExperimentPlan
    folder : Path
        Folder of the checkpoints; if it contains some of the same experiment, it is resumed.
    jobs : int
        Processes.
    cluster : str, optional
        Address of a Dask cluster on which each replay is a task, in place of processes. Its workers must see the folder under
        this name. A task whose worker was lost continues after its last finished week.
    progress : callable, optional
        Called with the number of finished weeks.

    Raises
    ------
    UnknownName
        For an unknown policy.
    BadInput
        If a policy or seed repeats, the folder contains another replay, another run is writing it, or the warm-up is too short to
        train on.
    """
    plan.check()
    maker, header = plan.maker, plan.maker.build_header()
    tasks = [(name, seed) for seed in plan.seeds for name in plan.policies]
    folders = [folder.absolute() / f"{name}-seed-{seed}" for name, seed in tasks]
    weeks = len(tasks) * -(-maker.days // DAYS_PER_WEEK)
    arguments = [(name, seed, header, at) for (name, seed), at in zip(tasks, folders, strict=True)]
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder, "replay"), _report_progress(folders, weeks, progress):
        done = _run_replays(plan, arguments, jobs, cluster)
    openings, positives = (
        pd.concat(
            [
                tables[which].assign(policy=name, seed=seed)
                for (name, seed), tables in zip(tasks, done, strict=True)
            ],
            ignore_index=True,
        )
        for which in (0, 1)
    )
    return Experiment(
        openings, positives, plan.settings, header, maker.list_events(), maker.days, maker.first_day
    )


def _run_replays(
    plan: ExperimentPlan, arguments: list[tuple[Any, ...]], jobs: int, cluster: str | None
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Run all replays, in processes of this machine or on a cluster."""
    from joblib import Parallel, delayed

    if cluster is not None:
        with connect(cluster) as runner:
            shared = runner.share(plan, large=True)
            return list(runner.map("replay", _run_replay, [(shared, *each) for each in arguments]))
    processes = Parallel(
        n_jobs=min(jobs, len(arguments)), initializer=end_with_parent, initargs=(os.getpid(),)
    )
    with explain_lost_process():
        done: list[tuple[pd.DataFrame, pd.DataFrame]] = processes(
            delayed(_run_replay)(plan, *each) for each in arguments
        )
        return done


def _run_replay(
    plan: ExperimentPlan, name: str, seed: int, header: dict[str, Any], folder: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    journal = CheckpointFile(
        folder,
        {
            "policy": name,
            "seed": seed,
            "settings": msgspec.to_builtins(plan.settings),
            "config": msgspec.to_builtins(plan.config),
            "npsrisk": installed_version("npsrisk"),
            **header,
        },
    )
    if journal.is_finished:
        return journal.read_tables()
    task = ReplayTask(get_policy(name), plan.settings, plan.config, seed)
    return PolicyReplay(plan.maker.make(seed), task, journal).run()


@contextmanager
def _report_progress(folders: Sequence[Path], weeks: int, progress: Progress | None) -> Iterator[None]:
    """Report the finished weeks of all processes while they run."""
    if progress is None:
        yield
        return
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(POLL_SECONDS):
            progress("replaying weeks", count_finished_weeks(folders), weeks)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
        progress("replaying weeks", count_finished_weeks(folders), weeks)
