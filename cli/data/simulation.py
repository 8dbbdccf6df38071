"""The verbs of simulated worlds: simulate, and replay, which runs the whole loop for several selection policies."""

from datetime import datetime
from pathlib import Path
from typing import Any

from cli import options
from cli.stores import read_settings
from cli.verb import Progress, Result, option, verb
from consignments.records import Target


@verb
def simulate(
    progress: Progress,
    out: options.Folder = option("Folder to write the four tables to."),
    days: options.Count = option(options.DAYS_TEXT, 240),
    per_day: options.Count = option(options.PER_DAY_TEXT, 500),
    prevalence: options.Prevalence = options.PREVALENCE,
    seed: int = option("Random seed. The same seed gives the same tables.", 0),
    world: options.TomlFile | None = option("Parameters instead of those of training/simulation/world.toml."),
    until: datetime | None = option(
        "Move the world by whole weeks to end by this day. Default: begin on 2024-01-01.", metavar="DATE"
    ),
) -> Result:
    """Simulate the traffic and the inspections of an operation.

    Writes consignments, outcomes, alerts and truth as Parquet tables. The truth is for evaluation only; training and
    scoring never read it.

    \b
    preset       NPS         inspected  use
    realistic    1 in 10^5   0.12 %     volume and speed
    enriched     1 in 1000   2 %        training and comparison
    operation    1 in 200    2 %        small worlds with detections
    hard:SET     1 in 370    2 %        other countries and spellings, careful networks

    docs/simulator.md has the phases of the operation, the assumptions and the limits. Next, run "npsrisk train".

    \b
    Examples:
    npsrisk simulate --out world --days 60 --per-day 300
    npsrisk simulate --out year --days 366 --per-day 2000 --seed 1
    npsrisk simulate --out changed --world my-world.toml
    """
    from consignments.files.table_writers import write_table
    from training.simulation.operation import simulate as run
    from training.simulation.parameters import load_parameters

    parameters = load_parameters(world, prevalence)
    made = run(parameters, days=days, per_day=per_day, prevalence=prevalence, seed=seed, progress=progress)
    if until is not None:
        made = made.end_by(until.date())
    out.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {"out": str(out)}
    for name in ("consignments", "outcomes", "alerts", "truth"):
        frame = getattr(made, name)
        write_table(frame, out / f"{name}.parquet")
        values[name] = len(frame)
    text = "Simulated {consignments:,} consignments, {outcomes:,} outcomes, {alerts} alerts -> {out}"
    return Result(values, text.format(**values))


@verb
def replay(
    progress: Progress,
    world: str = option(
        "Simulated world, in which offenders react: a preset, or FILE.toml and --prevalence.", metavar="SPEC"
    ),
    days: options.Count = option(options.DAYS_TEXT, 330),
    per_day: options.Count = option(options.PER_DAY_TEXT, 2000),
    prevalence: options.Prevalence = options.PREVALENCE,
    policy: tuple[str, ...] = option(
        "Policy: random, rules, officer, greedy, explore, uncertain, novel or oracle (see docs/replay.md). May be repeated. Default: all.",
        metavar="NAME",
    ),
    capacity: options.Count = option("Number of inspections per office and UTC day."),
    explore: options.Share = option("Share of the capacity that exploring policies use to explore.", 0.1),
    warm_up_days: options.Count = option("Days before the policies begin, from whose results all start.", 56),
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
