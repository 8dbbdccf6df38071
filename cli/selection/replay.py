"""The verb that replays the whole loop for several selection policies: replay."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from cli.options import (
    PREVALENCES,
    TableOptions,
    alerts_option,
    build_exclusion,
    capacity_option,
    collect_options,
    collect_tables,
    config_option,
    dask_option,
    jobs_option,
    json_option,
    out_option,
    outcomes_option,
    reject_options,
    table_option,
    target_option,
    world_size_options,
)
from cli.output import print_result
from cli.progress import show_progress_bar
from cli.stores import read_settings
from cli.table_reader import TableReader
from consignments.errors import BadInput
from consignments.records import Target

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.policy_replay.environments import ReplayedWorld
    from training.policy_replay.replay import ReplaySettings


class WorldOptions(NamedTuple):
    """The options of a simulated world whose offenders react.

    Attributes
    ----------
    world : str or None
        Name of a preset or path of a TOML file; None if tables are replayed.
    days, per_day : int
        Days of the world, and its mean number of consignments per day.
    prevalence : str
        Preset of a world whose parameters come from a file.
    """

    world: str | None
    days: int
    per_day: int
    prevalence: str


class ReplayOptions(NamedTuple):
    """The policies to replay, and their settings.

    Attributes
    ----------
    policies : tuple of str
        Names; all policies if empty.
    capacity : int
        Inspections per office and UTC day.
    explore : float
        Share of the capacity that exploring policies use for exploration, 0 to 1.
    warm_up_days, retrain_days : int
        Days of the common past, and days between two trainings.
    seeds : tuple of int
    target : str
    config : Path or None
    jobs : int
        Number of processes.
    dask : str or None
        Address of a Dask cluster.
    """

    policies: tuple[str, ...]
    capacity: int
    explore: float
    warm_up_days: int
    retrain_days: int
    seeds: tuple[int, ...]
    target: Target
    config: Path | None
    jobs: int
    dask: str | None

    def build_settings(self) -> "ReplaySettings":
        """Build the settings that all policies share."""
        from training.policy_replay.replay import ReplaySettings

        return ReplaySettings(
            capacity=self.capacity,
            explore=self.explore,
            warm_up_days=self.warm_up_days,
            retrain_days=self.retrain_days,
            target=self.target,
        )


@click.command()
@collect_tables
@collect_options(WorldOptions, "world")
@collect_options(ReplayOptions, "options")
@table_option(
    "--consignments", "Consignment table to replay. In a table, offenders do not react to inspections."
)
@table_option("--truth", "Truth of a simulated world. Required with --consignments.")
@outcomes_option
@alerts_option
@click.option(
    "--world",
    metavar="SPEC",
    help="Simulated world in which offenders react, instead of tables: realistic, enriched, operation, hard:SET or FILE.toml.",
)
@world_size_options(
    330,
    2000,
    per_day_text="Mean number of consignments per day of the simulated world.",
    prevalence_text="Frequency of NPS if --world is a file.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME",
    help="Policy: random, rules, officer, greedy, explore, uncertain, novel or oracle (see docs/replay.md). May be repeated. Default: all.",
)
@capacity_option
@click.option(
    "--explore",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    default=0.1,
    show_default=True,
    help="Share of the capacity that exploring policies use for exploration.",
)
@click.option(
    "--warm-up-days",
    type=click.IntRange(1),
    metavar="N",
    default=56,
    show_default=True,
    help="Days before the policies begin. All policies start from the results of these days.",
)
@click.option(
    "--retrain-days",
    type=click.IntRange(1),
    metavar="N",
    default=21,
    show_default=True,
    help="Days between two trainings.",
)
@click.option(
    "--seed",
    "seeds",
    type=int,
    metavar="N",
    multiple=True,
    default=(1,),
    help="Random seed. May be repeated. Default: 1.",
)
@target_option
@config_option
@jobs_option
@dask_option
@out_option("Folder to write the report, the tables and the finished replays to.", metavar="DIR")
@reject_options
@json_option
def replay(
    tables: TableOptions, world: WorldOptions, options: ReplayOptions, out: Path, as_json: bool
) -> None:
    """Replay the whole loop under several selection policies.

    Simulates the loop (score, select, inspect, retrain) for each policy and compares the detections. Each day it scores the
    arrivals and selects within the capacity. Only selected consignments get outcomes, after the usual delay. Models are
    retrained on schedule.

    Give either --world, or --consignments with --truth. Both tables come from "npsrisk simulate".

    Writes a report and tables to --out, and logs a run in MLflow. To resume after an interruption, run the same command
    again.

    \b
    Example:
    npsrisk replay --world enriched --days 120 --per-day 500 --capacity 3 --policy greedy --policy explore --out loop
    """
    from training.config import read_config
    from training.policy_replay.experiment import LOOP_CONFIG, ExperimentPlan, run_experiment
    from training.policy_replay.policies import POLICIES
    from training.policy_replay.report import PAGE, build_replay_record, write_report
    from training.policy_replay.results import compute_results
    from training.reporting.mlflow_tracking import log_run

    config = LOOP_CONFIG if options.config is None else read_config(options.config)
    replayed, title = _describe_world(tables, world, config)
    with show_progress_bar() as progress:
        names = options.policies or tuple(POLICIES)
        plan = ExperimentPlan(replayed, names, options.seeds, options.build_settings(), config)
        experiment = run_experiment(
            plan, out / "replays", jobs=options.jobs, cluster=options.dask, progress=progress
        )
    results = compute_results(experiment)
    write_report(results, experiment, out, title=title)
    record = build_replay_record(results, experiment, out, title)
    run_id = log_run(record, tracking_uri=read_settings().mlflow_tracking_uri)
    found = results.policies.set_index("policy")["found"].to_dict()
    print_result(
        {"out": str(out), "run_id": run_id, "found": found},
        as_json,
        "\n".join([*results.sentences, f"{out / PAGE}", f"run {run_id}"]),
    )


def _describe_world(
    tables: TableOptions, world: WorldOptions, config: "TrainConfig"
) -> "tuple[ReplayedWorld, str]":
    """Describe what is replayed, simulated or from tables, and return it with the title of the report."""
    from training.policy_replay.environments import describe_simulation

    if world.world is None:
        recorded = _describe_tables(tables, config)
        return recorded, f"Replay of {recorded.days:,} days"
    if tables.consignments is not None or tables.truth is not None:
        raise build_exclusion("--world and tables", "--world, or --consignments with --truth")
    is_preset = world.world in PREVALENCES
    preset = world.world if is_preset else world.prevalence
    path = None if is_preset else Path(world.world)
    described = describe_simulation(path, days=world.days, per_day=world.per_day, prevalence=preset)
    return described, f"Replay of a simulated world ({preset}, {world.days:,} days, {world.per_day:,} a day)"


def _describe_tables(tables: TableOptions, config: "TrainConfig") -> "ReplayedWorld":
    """Read and describe tables of the past."""
    from training.policy_replay.environments import describe_tables

    if tables.consignments is None or tables.truth is None:
        raise BadInput(
            "nothing to replay", where="options", expected="--world, or --consignments with --truth"
        )
    reader = TableReader(tables)
    past = reader.read_tables(config.features.build_record_type())
    truth = reader.read_truth()
    assert truth is not None
    if past.consignments.empty:
        raise BadInput(
            "nothing to replay",
            where=str(tables.consignments),
            got="a table without rows",
            expected="consignments of several weeks",
        )
    return describe_tables(past, truth)
