"""The verb that trains a model: train."""

from datetime import datetime
from pathlib import Path

import click
import msgspec

from cli import options
from cli.model.keys import EVIDENCE_KEY, load_key
from cli.model.text_tables import format_recommendation, format_studies
from cli.stores import read_settings
from cli.tables import RESULTS, GivenTables, table_options
from cli.verb import Progress, Result, option, verb
from consignments.errors import BadInput
from consignments.records import Target, Truth


@verb
def train(
    progress: Progress,
    tables: GivenTables = table_options(RESULTS, truth=option("Truth of a simulated world, for evaluation.")),
    as_of: datetime | None = option("Ignore what became visible later. Default: midnight after all events."),
    target: Target = options.TARGET,
    config: options.TomlFile | None = options.CONFIG,
    register: bool = option("Register the model as a new version with the alias `challenger`."),
    origins: int | None = option(
        "Number of rolling origins: earlier dates at which the training is repeated, each tested on the weeks after it. The scores of these weeks calibrate the model, so a routine refit needs the number of the champion. Default: `[evaluation] origins` of the configuration (3).",
        type=click.IntRange(0, 12),
    ),
    ablation: tuple[str, ...] = option(
        "Also fit without a feature or a group of features, to measure what it contributes. Without a name: each group. Uses only weeks before the reported ones. May be repeated.",
        metavar="[NAME]",
        is_flag=False,
        flag_value="groups",
    ),
    trials: int = option(
        "Search for better hyperparameters in N trials, or resume the search.",
        0,
        type=click.IntRange(0, 1000),
    ),
    minutes: float | None = option(
        "Start no new trial after M minutes. Default: no limit.", type=click.FloatRange(0), metavar="M"
    ),
    work: options.Folder | None = option("Keep features in this folder, so that the run can be continued."),
    dask: str | None = options.DASK,
    key: Path | None = EVIDENCE_KEY,
    jobs: options.Count = options.JOBS,
) -> Result:
    """Train a model on outcomes and log the run in MLflow.

    Uses only consignments that arrived before --as-of, and outcomes that were visible by then. The evaluation fit does not
    use the last weeks and is tested on them. The final fit uses all known results, and is the model that is deployed.
    Large tables: see "npsrisk features --help". Of uninspected consignments a sample is kept (`background_rows`, `traffic_rows`).
    First run "npsrisk simulate" or "npsrisk export". Next, with --register, run "npsrisk compare" if there is a champion,
    then "npsrisk gate" and "npsrisk promote".

    Writes an MLflow run with the model, a report (report.html) and tables. With --key, their hashes are signed: then the gate
    believes them without a repeated training run. Prints the results of --ablation and --trials, and without a terminal one
    line for each phase on standard error.

    \b
    Examples:
    npsrisk simulate --out world
    npsrisk train --consignments world/consignments.parquet --outcomes world/outcomes.parquet --register
    npsrisk train --consignments world/consignments.parquet --outcomes world/outcomes.parquet --trials 20 --minutes 30
    npsrisk train --consignments world/consignments.parquet --outcomes world/outcomes.parquet --ablation route.departure_not_origin
    """
    from features.batch import report_progress
    from training.config import read_config
    from training.fitting.diagnostics import DiagnosticsOptions, SearchBudget
    from training.runs.registered_run import run_training
    from training.runs.task import TrainingTask

    if dask is not None and work is None:
        folder = "--work DIR with a folder that all workers see under this name"
        raise BadInput("--dask needs --work", where="options", got="--dask alone", expected=folder)
    settings, signer, recipe = read_settings(), load_key(key), read_config(config)
    if origins is not None:
        evaluation = msgspec.structs.replace(recipe.evaluation, origins=origins)
        recipe = msgspec.structs.replace(recipe, evaluation=evaluation)
    search = SearchBudget(trials, minutes, settings.state_dir / "search.log") if trials else None
    with report_progress(progress, "reading tables"):
        truth = tables.read_table(tables.truth, Truth)
    task = TrainingTask(
        tables.open_sources(recipe.features.build_record_type(), progress),
        as_of=as_of,
        target=target,
        config=recipe,
        truth=truth,
        diagnostics=DiagnosticsOptions(ablation, search),
        sources=tables.list_sources(),
        work=work,
        cluster=dask,
    )
    done = run_training(
        task, settings.mlflow_tracking_uri, register=register, key=signer, jobs=jobs, progress=progress
    )
    values = {
        "run_id": done.run_id,
        "model_uri": done.model_uri,
        "version": done.version,
        "verdict": done.trained.verdict.name,
        "metrics": done.trained.deployed.recipe.list_metrics(),
        "recommendation": format_recommendation(done.gate.recommendation),
    }
    studies = format_studies(done.trained.studied)
    return Result(values, "\n\n".join(text for text in (studies, done.summarize()) if text))
