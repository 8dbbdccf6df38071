"""The verb that trains a model: train."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from cli.model.gate_table import format_recommendation
from cli.model.keys import evidence_key_option, load_key
from cli.model.study_tables import format_studies
from cli.options import (
    TableOptions,
    alerts_option,
    build_as_of_option,
    collect_options,
    collect_tables,
    config_option,
    consignments_option,
    dask_option,
    jobs_option,
    json_option,
    outcomes_required_option,
    reject_options,
    table_option,
    target_option,
)
from cli.output import print_result
from cli.progress import show_progress_bar
from cli.stores import read_settings
from cli.table_reader import TableReader
from cli.times import parse_timestamp
from consignments.errors import BadInput
from consignments.records import Target

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.fitting.diagnostics import DiagnosticsOptions


train_as_of_option = build_as_of_option(
    "Ignore later arrivals, and outcomes and alerts that became visible later. Default: the midnight after the last event."
)


class TrainOptions(NamedTuple):
    """The options of a training run.

    Attributes
    ----------
    as_of : str or None
        Time as entered. What became visible later is ignored.
    target : str
    config : Path or None
    register : bool
        True if the model becomes a new version in the registry.
    origins : int or None
        Number of rolling origins of the evaluation; None for the number in the configuration.
    ablation : tuple of str
        Features and groups without which the model is also fitted.
    trials : int
        Trials of the hyperparameter search, 0 for none.
    minutes : float or None
        Time limit in minutes after which no new trial starts.
    jobs : int
        Number of processes.
    work : Path or None
        Folder that keeps the computed features; None to keep them in memory.
    dask : str or None
        Address of a Dask cluster.
    key_file : Path or None
        File of the key that signs the evidence of the run.
    """

    as_of: str | None
    target: Target
    config: Path | None
    register: bool
    origins: int | None
    ablation: tuple[str, ...]
    trials: int
    minutes: float | None
    jobs: int
    work: Path | None
    dask: str | None
    key_file: Path | None

    def check_dask(self) -> None:
        """Raise `BadInput` if --dask is given without --work: the workers need a folder that they all see."""
        if self.dask is not None and self.work is None:
            raise BadInput(
                "--dask needs --work",
                where="options",
                got="--dask alone",
                expected="--work DIR with a folder that all workers see under this name",
            )

    def read_config(self) -> "TrainConfig":
        """Read the configuration, and override it with options of the command line."""
        import msgspec

        from training.config import read_config

        config = read_config(self.config)
        if self.origins is None:
            return config
        evaluation = msgspec.structs.replace(config.evaluation, origins=self.origins)
        return msgspec.structs.replace(config, evaluation=evaluation)

    def build_diagnostics(self, state_dir: Path) -> "DiagnosticsOptions":
        """Build the options of ablation and hyperparameter search. The search is logged in the state directory."""
        from training.fitting.diagnostics import DiagnosticsOptions, SearchBudget

        search = SearchBudget(self.trials, self.minutes, state_dir / "search.log") if self.trials else None
        return DiagnosticsOptions(self.ablation, search)


@click.command()
@collect_tables
@collect_options(TrainOptions, "options")
@consignments_option
@outcomes_required_option
@alerts_option
@table_option("--truth", "Truth of a simulated world, for evaluation only.")
@train_as_of_option
@target_option
@config_option
@click.option(
    "--register", is_flag=True, help="Register the model as a new version with the alias `challenger`."
)
@click.option(
    "--origins",
    type=click.IntRange(0, 12),
    default=None,
    metavar="N",
    help="Number of rolling origins: earlier dates at which the training is repeated, each tested on the weeks after it. Default: `[evaluation] origins` of the configuration (3).",
)
@click.option(
    "--ablation",
    is_flag=False,
    flag_value="groups",
    multiple=True,
    metavar="[NAME]",
    help="Also fit without a feature or a group of features, to measure what it contributes. Without a name: each group. Uses only weeks before the reported ones. May be repeated.",
)
@click.option(
    "--trials",
    type=click.IntRange(0, 1000),
    default=0,
    metavar="N",
    help="Search for better hyperparameters in N trials. A stopped search is resumed. 0: no search.",
    show_default=True,
)
@click.option(
    "--minutes",
    type=click.FloatRange(0),
    default=None,
    metavar="M",
    help="Time limit: start no new trial after M minutes. Default: no limit.",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep the computed features in this folder. The same command then continues an interrupted run after its last part.",
)
@dask_option
@evidence_key_option
@jobs_option
@reject_options
@json_option
def train(tables: TableOptions, options: TrainOptions, as_json: bool) -> None:
    """Train a model on outcomes and log the run in MLflow.

    Uses only consignments that arrived before --as-of, and outcomes that were visible by then. The evaluation fit does not
    use the last weeks and is tested on them. The final fit uses all known results, and is the model that is deployed.

    First run "npsrisk simulate" or "npsrisk export". Next, with --register, run "npsrisk compare" if there is a champion,
    then "npsrisk gate" and "npsrisk promote".

    A sorted Parquet table is read in chunks and may be larger than the memory. Sort it by `sequence` if it has this column,
    else by `received_at`. Of uninspected consignments a sample is kept (`background_rows`, `traffic_rows`).

    Writes an MLflow run with the model, a report (report.html) and tables. With --key, their hashes are signed: then the gate
    believes them without a repeated training run. Prints the results of --ablation and --trials, and
    without a terminal one line for each phase on standard error.

    \b
    Examples:
    npsrisk simulate --out world
    npsrisk train --consignments world/consignments.parquet --outcomes world/outcomes.parquet --register
    npsrisk train --consignments world/consignments.parquet --outcomes world/outcomes.parquet --trials 20 --minutes 30
    npsrisk train --consignments world/consignments.parquet --outcomes world/outcomes.parquet --ablation route.departure_not_origin
    """
    from features.batch import report_progress
    from training.runs.registered_run import run_training
    from training.runs.task import TrainingTask

    options.check_dask()
    settings = read_settings()
    config, key = options.read_config(), load_key(options.key_file)
    reader = TableReader(tables, options.jobs)
    with show_progress_bar() as progress:
        with report_progress(progress, "reading tables"):
            truth = reader.read_truth()
        past = reader.open_sources(config.features.build_record_type(), progress)
        task = TrainingTask(
            past,
            as_of=parse_timestamp(options.as_of, "--as-of"),
            target=options.target,
            config=config,
            truth=truth,
            diagnostics=options.build_diagnostics(settings.state_dir),
            sources=tables.list_sources(),
            work=options.work,
            cluster=options.dask,
        )
        done = run_training(
            task,
            settings.mlflow_tracking_uri,
            register=options.register,
            key=key,
            jobs=options.jobs,
            progress=progress,
        )
    result = {
        "run_id": done.run_id,
        "model_uri": done.model_uri,
        "version": done.version,
        "verdict": done.trained.verdict.name,
        "metrics": done.trained.deployed.recipe.list_metrics(),
        "recommendation": format_recommendation(done.gate.recommendation),
    }
    studies = format_studies(done.trained.studied)
    print_result(result, as_json, "\n\n".join(text for text in (studies, done.summarize()) if text))
