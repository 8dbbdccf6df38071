"""Training run, from tables to an evaluated model, in the order of its steps.

Only visible data are used: feature parameters are learnt from the training fold, trees from training, the
calibration from validation, and the test period only evaluates. `train_model` takes tables and returns values; `run_training`
also writes the artifacts, logs the run and registers the version.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.files.part_folder import PartFolder
from consignments.files.part_manifest import identify_tables
from consignments.records import Target
from consignments.timestamps import NO_TIME, get_time_column_us, to_datetime
from consignments.visibility import compute_visible_us
from features.batch import (
    ComputeOptions,
    FeatureMatrix,
    FeatureParameters,
    Progress,
    Tables,
    report_progress,
)
from features.buckets.cluster import connect
from features.fitted import FittedParameters
from features.normalization.normal_forms import get_goods_text
from features.streams import FeatureInputs
from models.boosting import TreeGrower
from models.risk_model import RiskModel
from training.config import EvaluationConfig, TrainConfig
from training.data.data_hash import hash_training_tables
from training.data.memory import TrainingSize, require_memory
from training.data.row_store import FeatureRowStore
from training.data.splits import TEST, TRAIN, VALIDATION, truncate_to_day
from training.data.table_features import FeaturePlace, TableFeatures
from training.data.training_set import DataSet, ObservedTables, get_true_labels
from training.evaluation.capacity import compute_daily_capacity
from training.evaluation.leakage import check_leakage
from training.evaluation.metrics import evaluate
from training.evaluation.name_invariance import Row, measure_name_swaps, sample_evenly
from training.evaluation.off_policy import LoggedEvidence, OffPolicyEstimates
from training.evaluation.traffic import ScoredPeriod
from training.evaluation.verdict import EvaluationVerdict, judge_model
from training.fitting.deployed import (
    DeployedResult,
    TrainingData,
    build_scored_period,
    build_training_data,
    fit_at_dates,
    judge_origins,
    score_baselines,
)
from training.fitting.diagnostics import DiagnosticsOptions, DiagnosticsResult, cut_origins, run_diagnostics
from training.fitting.distributed_boosting import DistributedBoosting, create_tree_folder
from training.fitting.fit import (
    EvaluationFit,
    FeatureSource,
    FitTask,
    SplitFeatures,
    calibrate_final,
    fit_evaluation,
    fit_final,
    score_test,
    score_validation,
)
from training.fitting.rolling_origin import RankOrigins, RollingOrigin, SharedOrigins
from training.fitting.search import search
from training.gate.report import GateReport
from training.runs.artifacts import write_artifacts
from training.runs.result import EvaluatedModel, TrainingResult
from training.runs.run_description import describe_run

MODEL = "model"
"""Name of the evaluated model among the baselines."""
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TrainingTask:
    """Input of a training run: tables, date, target and settings.

    Attributes
    ----------
    tables : Tables or FeatureInputs
        Consignments, outcomes, alerts; as `FeatureInputs` the consignments need not fit in memory.
    as_of : datetime, optional
        Later arrivals, and outcomes that became visible later, are ignored. Default: the midnight after the last event of
        the tables.
    target : {"nps", "controlled_drug", "any_offence"}
    config : TrainConfig
    truth : DataFrame, optional
        Of a simulated world; used for evaluation, never for training.
    diagnostics : DiagnosticsOptions
        Additional diagnostics: ablation, search. Default: none.
    sources : mapping
        Name of a table to the path of its file, for the record. Default: tables in memory.
    work : Path, optional
        Folder that keeps the computed features, so that an interrupted run continues. Default: they are kept in memory.
    cluster : str, optional
        Address of a Dask cluster that computes features, the fits of search and ablation, and trees if `[model] tree_workers` is set. It
        needs `work`.
    """

    tables: Tables | FeatureInputs
    as_of: datetime | None = None
    target: Target = "nps"
    config: TrainConfig = field(default_factory=TrainConfig)
    truth: pd.DataFrame | None = None
    diagnostics: DiagnosticsOptions = field(default_factory=DiagnosticsOptions)
    sources: Mapping[str, str] = field(default_factory=dict)
    work: Path | None = None
    cluster: str | None = None

    @cached_property
    def inputs(self) -> FeatureInputs:
        """The tables, with one spelling for each consignment. They can be read several times."""
        _require_outcomes(self.tables)
        return FeatureInputs.to_repeatable(self.tables)

    def check_tree_workers(self) -> None:
        """Check that there is what `[model] tree_workers` needs.

        Raises
        ------
        BadInput
            There is no cluster or no folder, or diagnostics are wanted, each fit of which would need all rows on one worker.
        """
        workers = self.config.model.tree_workers
        if not workers:
            return
        if self.cluster is None or self.work is None:
            raise BadInput(
                "trees that grow on Dask workers need a cluster and a folder",
                where="[model] tree_workers",
                got=f"{workers} workers, without --dask or --work",
                todo="give --dask ADDRESS and --work DIR, or leave the setting out",
            )
        if self.diagnostics.is_wanted:
            raise BadInput(
                "--trials and --ablation need all rows of a fit on one worker",
                where="[model] tree_workers",
                got=f"{workers} workers",
                todo="search on a shorter period without this setting, and train with the settings found",
            )

    def find_as_of(self) -> datetime:
        """Return the date of the run: the given one, else the midnight after the last event of the tables."""
        return self.as_of or find_day_after_last_event(self.inputs)

    def build_title(self) -> str:
        """Build the name of the run, which says what was requested.

        Examples
        --------
        `nps, as of 2024-07-15: truth, trials 20`
        """
        trials = self.diagnostics.search
        origins = self.config.evaluation.origins
        requested = [
            *(["truth"] if self.truth is not None else []),
            *([f"trials {trials.trials}"] if trials is not None else []),
            *(["ablation"] if self.diagnostics.ablation else []),
            *([f"origins {origins}"] if origins != EvaluationConfig().origins else []),
            *([f"trees on {workers} workers"] if (workers := self.config.model.tree_workers) else []),
        ]
        return f"{self.target}, as of {self.find_as_of():%Y-%m-%d}: {', '.join(requested) or 'plain'}"


class RunDestination(NamedTuple):
    """Destination of a run.

    Attributes
    ----------
    out_dir : Path, optional
        Folder for the artifacts, new or empty. Default: only in the MLflow store.
    tracking_uri : str, optional
        MLflow store; without one nothing is logged.
    register : bool
        Also register the model; needs a store.
    """

    out_dir: Path | None = None
    tracking_uri: str | None = None
    register: bool = False


@dataclass(frozen=True)
class RegisteredRun:
    """A logged run.

    Attributes
    ----------
    trained : TrainingResult
    gate : GateReport
        Every rule of the gate, without a repeated training run, and the recommendation.
    run_id : str or None
        None if no store was given.
    model_uri, version : str or None
        Of the registered version, if it was registered.
    """

    trained: TrainingResult
    gate: GateReport
    run_id: str | None
    model_uri: str | None
    version: str | None

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics by their logged names."""
        return self.trained.headline_metrics

    @property
    def test_rows(self) -> NDArray[np.int64]:
        """Positions of the test period's consignments in the table."""
        return self.trained.test_rows

    @property
    def test_scores(self) -> Floats:
        """Scores of these consignments."""
        return self.trained.test_scores

    def summarize(self) -> str:
        """Return the summary of the run as text, for a terminal."""
        lines = list(self.trained.sentences)
        if self.run_id is not None:
            lines.append(f"run {self.run_id}")
        if self.version is not None:
            lines.append(f"registered as {self.model_uri} (challenger)")
        recommended = self.gate.recommendation
        lines.append(f"Recommendation: {recommended.action}. {recommended.sentence}")
        return "\n".join(lines)


def run_training(
    task: TrainingTask, destination: RunDestination, jobs: int = 1, progress: Progress | None = None
) -> RegisteredRun:
    """Train, write the artifacts, log the run, register the version.

    Parameters
    ----------
    task, jobs, progress
        See `train_model`.
    destination : RunDestination
    """
    if destination.tracking_uri is None:
        trained = train_model(task, jobs, progress)
        with _choose_folder(destination) as folder:
            gate = _write_artifacts(trained, folder, progress)
        return RegisteredRun(trained, gate, None, None, None)
    from training.reporting.mlflow_tracking import open_run
    from training.runs.mlflow_run import (
        RunText,
        TrainingInputs,
        find_champion,
        log_training,
        register_training,
    )

    _require_outcomes(task.tables)
    title, as_of = task.build_title(), task.find_as_of()
    tags = {"kind": "training", "target": task.target, "as_of": as_of.isoformat()}
    with (
        open_run(title, tags, tracking_uri=destination.tracking_uri) as run,
        _choose_folder(destination) as folder,
    ):
        report = _combine_progress(progress, run.report_progress)
        trained = train_model(task, jobs, report)
        champion = find_champion(run, task.target) if destination.register else None
        gate = _write_artifacts(trained, folder, report, champion)
        text = RunText(title, describe_run(trained, gate))
        with report_progress(report, "logging the run"):
            inputs = TrainingInputs(task.inputs, task.truth, task.sources)
            log_training(run, text, trained, inputs, folder)
        if not destination.register:
            return RegisteredRun(trained, gate, run.run_id, None, None)
        with report_progress(report, "registering the version"):
            version = register_training(run, text, trained, folder)
        return RegisteredRun(trained, gate, run.run_id, version.uri, version.number)


@contextmanager
def _choose_folder(destination: RunDestination) -> Iterator[Path]:
    """Return the folder of the artifacts, a temporary one if none is wanted."""
    if destination.out_dir is not None:
        yield destination.out_dir
        return
    with TemporaryDirectory() as spare:
        yield Path(spare) / "run"


def _write_artifacts(
    trained: TrainingResult, folder: Path, progress: Progress | None, champion: str | None = None
) -> GateReport:
    with report_progress(progress, "writing report and bundle"):
        return write_artifacts(trained, folder, champion)


def _combine_progress(*reports: Progress | None) -> Progress:
    """Combine callbacks into one that calls them all."""

    def report(what: str, done: int, total: int) -> None:
        for each in reports:
            if each is not None:
                each(what, done, total)

    return report


def train_model(task: TrainingTask, jobs: int = 1, progress: Progress | None = None) -> TrainingResult:
    """Train a model on operation results as they were visible at a date, and evaluate it on later time.

    Parameters
    ----------
    task : TrainingTask
    jobs : int
        Processes that compute features, and threads that fit. Any number gives the same model, to the last byte of
        its bundle.
    progress : callable, optional

    Raises
    ------
    BadInput
        If the tables contain too little to train or to evaluate on.
    """
    task.check_tree_workers()
    data, source = _prepare_data(task, jobs, progress)
    with _open_tree_workers(task) as grower:
        return _fit_and_evaluate(task, data, source, grower, jobs, progress)


def _fit_and_evaluate(
    task: TrainingTask,
    data: TrainingData,
    source: TableFeatures,
    grower: TreeGrower | None,
    jobs: int,
    progress: Progress | None,
) -> TrainingResult:
    config, target = task.config, task.target
    digest = hash_training_tables(task.inputs, source.table)
    as_of, studied = data.evaluation.split.as_of, DiagnosticsResult()
    fit = FitTask(data.evaluation, source, config, grower)
    evaluated = fit_evaluation(fit, jobs, progress, also=data.keep)
    if task.diagnostics.is_wanted:
        origins = _cut_origins(data, evaluated, source, config)
        with _share_origins(task, origins) as rank:
            if task.diagnostics.search is not None:
                name = f"{target} {as_of:%Y-%m-%d} {digest[:16]} {config.digest()[:16]}"
                found = search(
                    origins, config, task.diagnostics.search, name=name, progress=progress, rank=rank
                )
                config, studied = found.config, DiagnosticsResult(trials=found.trials)
                data = data.reweight(config.weights)
                fit = fit._replace(data=data.evaluation, config=config)
                evaluated = fit_evaluation(fit, jobs, progress, also=data.keep)
            ablation = run_diagnostics(task.diagnostics, origins, config, progress, rank)
        studied = replace(ablation, trials=studied.trials)
    model = evaluated.model
    # The test period evaluates, on all its traffic, inspected or not, the model and its baselines.
    parts = SplitFeatures(data.evaluation, evaluated.matrix, jobs)
    with report_progress(progress, "fitting baselines"):
        at = np.flatnonzero(parts.select_part(TEST))
        scores = score_baselines(parts, at, evaluated.grown, config.model.seed)
    test = _evaluate_test(parts, model, scores, config, progress)
    by_truth, true_labels = None, None
    if task.truth is not None:
        true_labels = get_true_labels(source.frame["consignment_id"], task.truth, target)
        rows = parts.locate_rows(parts.select_part(TEST))
        weight = true_labels.known[rows] * test.traffic.traffic
        traffic = build_scored_period(parts, rows, test.traffic.score, true_labels, weight)
        by_truth = _evaluate_all(traffic, scores, _keep_capacity(config, test.traffic), progress)
    with report_progress(progress, "estimating detections"):
        estimates = _estimate_off_policy(parts, test, by_truth, config)
    with report_progress(progress, "replacing names"):
        name_swaps = _swap_names(parts, source, model, evaluated.grown.fitted, config)
    # The recipe as deployed: fits at earlier dates, each tested on the weeks after it.
    deployed = None
    if data.origins:
        fits, grown, own = fit_at_dates(data, fit, evaluated.matrix, jobs, progress)
        with report_progress(progress, "evaluating earlier dates"):
            known = SplitFeatures(data.final, evaluated.matrix, jobs)
            deployed = judge_origins(fits, known, config, test.traffic.weight, true_labels)
        # The served fit: the same recipe on every label known today.
        final = calibrate_final(data.final, grown, own, deployed.unseen, progress)
    else:
        validation = score_validation(evaluated, data.evaluation, config.model.seed)
        unseen = [validation, score_test(evaluated, data.evaluation, test.traffic.weight)]
        final = fit_final(fit._replace(data=data.final), evaluated.matrix, unseen, jobs, progress)
    leaks = check_leakage(
        task.inputs,
        parts.test_matrix.locate(data.evaluation.observed.kept.rows),
        test.traffic,
        source.frame.iloc[parts.test_matrix.rows],
        FeatureParameters(config.features, evaluated.grown.fitted),
        ComputeOptions(jobs, progress),
    )
    return TrainingResult(
        target=target,
        as_of=as_of,
        config=config,
        data=data.evaluation,
        data_sha256=digest,
        consignments=source.table,
        evaluated=evaluated,
        deployed=deployed,
        final=final,
        test=test,
        truth=by_truth,
        estimates=estimates,
        name_swaps=name_swaps,
        leaks=leaks,
        verdict=_judge(deployed, by_truth or test, target, by_truth is not None),
        studied=studied,
    )


def _prepare_data(
    task: TrainingTask, jobs: int, progress: Progress | None
) -> tuple[TrainingData, TableFeatures]:
    """Read labels and weights of all rows, select the rows to keep, and compute their features part by part."""
    config, inputs = task.config, task.inputs
    observed = ObservedTables(inputs.consignments.take_order(), _require_outcomes(inputs), task.find_as_of())
    with report_progress(progress, "reading labels"):
        # Labels as of the dates of the split, and row weights.
        whole = build_training_data(observed, task.target, config)
        sample = whole.sample_rows(config.evaluation.traffic_rows, config.model.seed)
    workers = config.model.tree_workers
    require_memory(_measure_size(whole, sample.rows, config), workers)
    store = FeatureRowStore(task.work.absolute().parent if workers and task.work is not None else None)
    dated = replace(inputs, as_of=pd.Timestamp(observed.as_of))
    options = ComputeOptions(jobs, progress)
    with _open_work_folder(task, sample.rows) as folder:
        place = FeaturePlace(folder, task.cluster, store)
        source = TableFeatures.compute(dated, config.features, sample.rows, options, place)
    return whole.keep_rows(sample, source.frame), source


def _measure_size(whole: TrainingData, kept: NDArray[np.int64], config: TrainConfig) -> TrainingSize:
    """Count the rows that decide how much memory the training needs."""
    part = whole.evaluation.part[kept]
    return TrainingSize(
        table=len(whole.evaluation.part),
        kept=len(kept),
        fitted=max(int(each.select_fitting_rows(TRAIN).sum()) for each in whole.sets),
        tested=int(np.isin(part, (VALIDATION, TEST)).sum()),
        fits=len(whole.sets),
        features=len(FeatureParameters(config.features).build_pipeline().spec),
    )


@contextmanager
def _open_tree_workers(task: TrainingTask) -> Iterator[TreeGrower | None]:
    """Connect to the workers that grow the trees; None if this process grows them."""
    workers = task.config.model.tree_workers
    if not workers or task.cluster is None or task.work is None:
        yield None
        return
    with create_tree_folder(task.work) as folder, connect(task.cluster) as runner:
        yield DistributedBoosting(runner, folder, workers)


@contextmanager
def _share_origins(task: TrainingTask, origins: Sequence[RollingOrigin]) -> Iterator[RankOrigins | None]:
    """Send the origins to the workers of the cluster; None without a cluster."""
    if task.cluster is None:
        yield None
        return
    with connect(task.cluster) as runner:
        yield SharedOrigins(origins, runner).rank


@contextmanager
def _open_work_folder(task: TrainingTask, rows: NDArray[np.int64]) -> Iterator[PartFolder | None]:
    """Open the folder of the computed features for this run; None if none is wanted."""
    if task.work is None:
        yield None
        return
    paths = {name: Path(path) for name, path in task.sources.items() if name != "truth"}
    inputs = {
        "as_of": task.find_as_of().isoformat(),
        "config": repr(task.config.features),
        "features": FeatureParameters(task.config.features).build_pipeline().spec.compute_digest(),
        "npsrisk": installed_version("npsrisk"),
        "rows": sha256(rows.tobytes()).hexdigest(),
    }
    with PartFolder.open(task.work, inputs | identify_tables(paths)) as folder:
        yield folder


def _judge(
    deployed: DeployedResult | None, test: EvaluatedModel, target: Target, by_truth: bool
) -> EvaluationVerdict:
    """Judge the recipe as deployed; if no earlier date could be evaluated, the evaluation fit on the test period."""
    if deployed is None:
        positives = int(test.traffic.positive.sum())
        return judge_model(test.model, test.baselines, target=target, positives=positives, by_truth=by_truth)
    return judge_model(
        deployed.judged, deployed.baselines, target=target, positives=deployed.positives, by_truth=by_truth
    )


def _cut_origins(
    data: TrainingData, evaluated: EvaluationFit, source: FeatureSource, config: TrainConfig
) -> list[RollingOrigin]:
    """Build the rolling origins for diagnostics; all their windows end before any reported period."""
    rows = _locate_fitting_rows(data.evaluation, evaluated.matrix)
    texts = [get_goods_text(record) for record in source.get_records(rows)]
    return cut_origins(data.evaluation, evaluated.matrix, texts, config, data.reported_from)


def _locate_fitting_rows(data: DataSet, matrix: FeatureMatrix) -> NDArray[np.int64]:
    """Return the positions of the matrix's rows of training and validation, in their order."""
    rows: NDArray[np.int64] = matrix.rows[np.isin(data.part[matrix.rows], (TRAIN, VALIDATION))]
    return rows


def find_day_after_last_event(inputs: FeatureInputs) -> datetime:
    """Find the midnight after the last arrival or result of the tables."""
    moments = [get_time_column_us(inputs.consignments.take_order(), "received_at")]
    if inputs.outcomes is not None:
        moments.append(compute_visible_us(inputs.outcomes))
    last = max((int(each.max()) for each in moments if len(each)), default=NO_TIME)
    if last == NO_TIME:
        raise BadInput("the tables contain no event", where="consignments")
    return truncate_to_day(to_datetime(last)) + timedelta(days=1)


def _require_outcomes(tables: Tables | FeatureInputs) -> pd.DataFrame:
    if tables.outcomes is None or tables.outcomes.empty:
        raise BadInput(
            "there are no results to train on", where="outcomes", expected="a table of inspection results"
        )
    return tables.outcomes


def _evaluate_test(
    parts: SplitFeatures,
    model: RiskModel,
    scores: Mapping[str, Floats],
    config: TrainConfig,
    progress: Progress | None,
) -> EvaluatedModel:
    test = parts.select_part(TEST)
    score = model.score(parts.X[test], parts.get_channels(test))
    with report_progress(progress, "weighting results"):
        weight = parts.estimate_result_weights(test, config.model.seed)[test]
    traffic = build_scored_period(parts, parts.locate_rows(test), score, parts.data.labels, weight)
    return _evaluate_all(traffic, scores, config, progress)


def _estimate_off_policy(
    parts: SplitFeatures, test: EvaluatedModel, by_truth: EvaluatedModel | None, config: TrainConfig
) -> OffPolicyEstimates:
    """Estimate precision and recall by three methods, together with the truth if there is one."""
    rows, labels = parts.locate_rows(parts.select_part(TEST)), parts.data.labels
    evidence = LoggedEvidence.from_scored_period(
        test.traffic, labels.selected_by[rows], labels.probability[rows]
    )
    truth = None if by_truth is None else by_truth.traffic.positive
    return OffPolicyEstimates.from_evidence(evidence, config.evaluation, truth)


def _swap_names(
    parts: SplitFeatures,
    source: FeatureSource,
    model: RiskModel,
    fitted: FittedParameters,
    config: TrainConfig,
) -> list[Row]:
    """Measure the effect of names from other languages on a sample of the test traffic."""
    rows = parts.locate_rows(parts.select_part(TEST))
    sample = sample_evenly(len(rows), config.evaluation.name_rows)
    records = source.get_records(rows[sample])
    return measure_name_swaps(
        records, parts.X[parts.select_part(TEST)][sample], model, config.features, fitted
    )


def _evaluate_all(
    traffic: ScoredPeriod, scores: Mapping[str, Floats], config: TrainConfig, progress: Progress | None
) -> EvaluatedModel:
    found = {}
    for done, (name, each) in enumerate(
        {MODEL: traffic, **{n: traffic.replace_score(s) for n, s in scores.items()}}.items()
    ):
        found[name] = evaluate(each, config.evaluation)
        if progress is not None:
            progress("evaluating", done + 1, len(scores) + 1)
    return EvaluatedModel(traffic, found.pop(MODEL), found, scores)


def _keep_capacity(config: TrainConfig, traffic: ScoredPeriod) -> TrainConfig:
    """Set the capacity to the daily capacity that was observed, for other labels of the same traffic."""
    capacity = compute_daily_capacity(traffic, config.evaluation)
    return msgspec.structs.replace(
        config, evaluation=msgspec.structs.replace(config.evaluation, capacity=capacity)
    )
