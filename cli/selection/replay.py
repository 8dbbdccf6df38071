"""The verb that replays the whole loop for several selection policies: replay."""

from pathlib import Path

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
    ),
    days: options.Count = options.days_option(330),
    per_day: options.Count = options.per_day_option(2000),
    prevalence: options.Prevalence = options.prevalence_option("Frequency of NPS if --world is a file."),
    policy: tuple[str, ...] = option(
        "Policy: random, rules, officer, greedy, explore, uncertain, novel or oracle (see docs/replay.md). May be repeated. Default: all.",
        metavar="NAME",
    ),
    capacity: options.Count = option("Number of inspections per office and UTC day."),
    explore: options.Share = option("Share of the capacity that exploring policies use to explore.", 0.1),
    warm_up_days: options.Count = option(
        "Days before the policies begin. All policies start from the results of these days.", 56
    ),
    retrain_days: options.Count = option("Days between two trainings.", 21),
    seed: tuple[int, ...] = option("Random seed. May be repeated.", (1,)),
    target: Target = options.TARGET,
    config: options.TomlFile | None = options.CONFIG,
    jobs: options.Count = options.JOBS,
    dask: str | None = options.DASK,
    out: options.Folder = option("Folder to write the report, the tables and the finished replays to."),
) -> Result:
    """Replay the whole loop under several selection policies.

    Compares the detections of the policies. Each day the arrivals are scored, and selected within the capacity. Only selected
    consignments get outcomes, after the usual delay. Models are retrained on schedule.

    Writes a report and tables to --out, and logs a run in MLflow. After an interruption, run the same command again.

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

    preset, path = (world, None) if world in options.PREVALENCES else (prevalence, Path(world))
    plan = ExperimentPlan(
        describe_simulation(path, days=days, per_day=per_day, prevalence=preset),
        policy or tuple(POLICIES),
        seed,
        ReplaySettings(capacity, explore, warm_up_days, retrain_days, target),
        LOOP_CONFIG if config is None else read_config(config),
    )
    experiment = run_experiment(plan, out / "replays", jobs=jobs, cluster=dask, progress=progress)
    results = compute_results(experiment)
    title = f"Replay of a simulated world ({preset}, {days:,} days, {per_day:,} a day)"
    write_report(results, experiment, out, title=title)
    record = build_replay_record(results, experiment, out, title)
    run_id = log_run(record, tracking_uri=read_settings().mlflow_tracking_uri)
    found = results.policies.set_index("policy")["found"].to_dict()
    text = "\n".join([*results.sentences, f"{out / PAGE}", f"run {run_id}"])
    return Result({"out": str(out), "run_id": run_id, "found": found}, text)
