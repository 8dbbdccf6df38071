"""The verb that replays the whole loop for several selection policies: replay."""

from pathlib import Path

import click

from cli import options
from cli.stores import read_settings
from cli.verb import Progress, Result, option, verb
from consignments.records import Target


@verb
def replay(
    progress: Progress,
    world: str = option(
        "Simulated world, in which offenders react: realistic, enriched, operation, hard:SET or FILE.toml.",
        metavar="SPEC",
        required=True,
    ),
    days: int = options.days_option(330),
    per_day: int = options.per_day_option(2000),
    prevalence: str = options.prevalence_option("Frequency of NPS if --world is a file."),
    policy: tuple[str, ...] = option(
        "Policy: random, rules, officer, greedy, explore, uncertain, novel or oracle (see docs/replay.md). May be repeated. Default: all.",
        metavar="NAME",
    ),
    capacity: int = option(
        "Number of inspections per office and UTC day.", type=click.IntRange(1), required=True
    ),
    explore: float = option(
        "Share of the capacity that exploring policies use for exploration.", 0.1, click.FloatRange(0, 1)
    ),
    warm_up_days: int = option(
        "Days before the policies begin. All policies start from the results of these days.",
        56,
        click.IntRange(1),
    ),
    retrain_days: int = option("Days between two trainings.", 21, click.IntRange(1)),
    seed: tuple[int, ...] = option("Random seed. May be repeated.", (1,)),
    target: Target = options.TARGET,
    config: Path | None = options.CONFIG,
    jobs: int = options.JOBS,
    dask: str | None = options.DASK,
    out: Path = options.out_option(
        "Folder to write the report, the tables and the finished replays to.", metavar="DIR"
    ),
) -> Result:
    """Replay the whole loop under several selection policies.

    Simulates the loop (score, select, inspect, retrain) for each policy and compares the detections. Each day it scores the
    arrivals and selects within the capacity. Only selected consignments get outcomes, after the usual delay. Models are
    retrained on schedule.

    Writes a report and tables to --out, and logs a run in MLflow. To resume after an interruption, run the same command
    again.

    \b
    Example:
    npsrisk replay --world enriched --days 120 --per-day 500 --capacity 3 --policy greedy --policy explore --out loop
    """
    from training.config import read_config
    from training.policy_replay.environments import describe_simulation
    from training.policy_replay.experiment import LOOP_CONFIG, ExperimentPlan, run_experiment
    from training.policy_replay.policies import POLICIES
    from training.policy_replay.replay import ReplaySettings
    from training.policy_replay.report import PAGE, build_replay_record, write_report
    from training.policy_replay.results import compute_results
    from training.reporting.mlflow_tracking import log_run

    loop_config = LOOP_CONFIG if config is None else read_config(config)
    preset, path = (world, None) if world in options.PREVALENCES else (prevalence, Path(world))
    replayed = describe_simulation(path, days=days, per_day=per_day, prevalence=preset)
    title = f"Replay of a simulated world ({preset}, {days:,} days, {per_day:,} a day)"
    settings = ReplaySettings(
        capacity=capacity,
        explore=explore,
        warm_up_days=warm_up_days,
        retrain_days=retrain_days,
        target=target,
    )
    plan = ExperimentPlan(replayed, policy or tuple(POLICIES), seed, settings, loop_config)
    experiment = run_experiment(plan, out / "replays", jobs=jobs, cluster=dask, progress=progress)
    results = compute_results(experiment)
    write_report(results, experiment, out, title=title)
    record = build_replay_record(results, experiment, out, title)
    run_id = log_run(record, tracking_uri=read_settings().mlflow_tracking_uri)
    found = results.policies.set_index("policy")["found"].to_dict()
    text = "\n".join([*results.sentences, f"{out / PAGE}", f"run {run_id}"])
    return Result({"out": str(out), "run_id": run_id, "found": found}, text)
