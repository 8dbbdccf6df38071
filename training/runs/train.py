"""Retraining, from tables to a judged model, in the order in which it runs.

Nothing is learnt from what was not visible: features learn from the training fold, trees from training, when to stop and
the calibration from validation, and the test period only judges. `train_model` takes tables and returns values; `run_training`
also writes the artifacts, logs the run and registers the version.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.records import Consignment, Target
from consignments.tables import to_consignments
from consignments.timestamps import NO_TIME, US_PER_DAY, get_time_column_us, to_datetime
from consignments.visibility import compute_visible_us
from features.batch import (
    BATCH_KEY,
    ComputeOptions,
    FeatureMatrix,
    FeatureParameters,
    Progress,
    Tables,
    compute_feature_matrix,
    report_progress,
)
from features.fitted import FittedParameters, fit_features
from features.history.pseudonyms import Pseudonyms
from features.normalization.normal_forms import get_goods_text
from models.bands import Bands
from models.baselines import fit_baselines
from models.calibration import Calibration
from models.risk_model import BandSample, FitOptions, LabelledRows, RiskModel
from training.config import TrainConfig
from training.data.data_hash import hash_tables
from training.data.propensity import compute_result_weights, estimate_known_probability
from training.data.splits import TEST, TRAIN, VALIDATION, truncate_to_day
from training.data.training_set import DataSet, Labels, build_data_set, get_true_labels
from training.evaluation.fairness import CONSIGNEE, classify_consignee
from training.evaluation.leakage import check_leakage
from training.evaluation.metrics import ScoredPeriod, compute_daily_capacity, evaluate
from training.evaluation.name_invariance import Row, measure_name_swaps, sample_evenly
from training.evaluation.off_policy import LoggedEvidence, OffPolicyEstimates
from training.evaluation.verdict import judge_model
from training.fitting.diagnostics import DiagnosticsOptions, DiagnosticsResult, cut_origins, run_diagnostics
from training.fitting.rolling_origin import TEXT_SCORE, compute_text_scores
from training.fitting.search import SEARCH_SPACE, search
from training.runs.artifacts import build_example_consignments, describe_run, write_artifacts
from training.runs.result import EvaluatedModel, TrainingResult

SLICES = {
    "channel": "channel",
    "service": "service",
    "departure": "departure_country",
    "office": "office",
}
"""Kinds of slices, and the columns that hold them."""

MODEL = "model"
"""What is judged beside the baselines."""
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RegisteredRun:
    """A logged run.

    Attributes
    ----------
    trained : Trained
    run_id : str or None
        None where no store was given.
    model_uri, version : str or None
        Of the registered version, where it was registered.
    """

    trained: TrainingResult
    run_id: str | None
    model_uri: str | None
    version: str | None

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics by their logged names."""
        return self.trained.metrics

    @property
    def test_rows(self) -> NDArray[np.int64]:
        """Positions of the test period's consignments in the table."""
        return self.trained.test_rows

    @property
    def test_scores(self) -> Floats:
        """Their scores."""
        return self.trained.test_scores

    def summarize(self) -> str:
        """Say what came out, for a terminal."""
        lines = [*self.trained.verdict.sentences]
        if self.run_id is not None:
            lines.append(f"run {self.run_id}")
        if self.version is not None:
            lines.append(f"registered as {self.model_uri} (challenger)")
        return "\n".join(lines)


def run_training(
    tables: Tables,
    *,
    as_of: datetime | None = None,
    target: Target = "nps",
    config: TrainConfig | None = None,
    truth: pd.DataFrame | None = None,
    pseudonyms: Pseudonyms | None = None,
    out_dir: Path | None = None,
    tracking_uri: str | None = None,
    register: bool = False,
    jobs: int = 1,
    studies: DiagnosticsOptions | None = None,
    progress: Progress | None = None,
) -> RegisteredRun:
    """Train, write the artifacts, log the run, register the version.

    Parameters
    ----------
    tables, as_of, target, config, truth, pseudonyms, jobs, studies, progress
        See `train_model`.
    out_dir : Path, optional
        Where the artifacts are kept; a new or an empty folder. Default: only in the store.
    tracking_uri : str, optional
        MLflow store; without one nothing is logged.
    register : bool
        Also register the model; needs a store.
    """
    trained = train_model(
        tables,
        as_of=as_of,
        target=target,
        config=config,
        truth=truth,
        pseudonyms=pseudonyms,
        jobs=jobs,
        studies=studies,
        progress=progress,
    )
    with TemporaryDirectory() as spare:
        folder = Path(spare) / "run" if out_dir is None else out_dir
        with report_progress(progress, "writing page and bundle"):
            write_artifacts(trained, tables, folder)
        if tracking_uri is None:
            return RegisteredRun(trained, None, None, None)
        with report_progress(progress, "logging the run"):
            return _log_and_register(trained, tables, folder, tracking_uri, register)


def train_model(
    tables: Tables,
    *,
    as_of: datetime | None = None,
    target: Target = "nps",
    config: TrainConfig | None = None,
    truth: pd.DataFrame | None = None,
    pseudonyms: Pseudonyms | None = None,
    jobs: int = 1,
    studies: DiagnosticsOptions | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train a model on operation results as they were visible at a date, and judge it on later time.

    Parameters
    ----------
    tables : Tables
        Consignments, outcomes, alerts.
    as_of : datetime, optional
        Arrivals from then on and outcomes that became visible later do not exist. Default: the midnight after the last
        event of the tables.
    target : {"nps", "controlled_drug", "any_offence"}
    config : TrainConfig, optional
    truth : DataFrame, optional
        Of a simulated world; it judges, and takes no part in training.
    pseudonyms : Pseudonyms, optional
    jobs : int
        Processes that describe consignments, and threads that grow trees; any number gives the same model, to the last
        byte of its bundle.
    studies : Studies, optional
        What else to look into: rolling origins, ablation, search. Default: nothing.
    progress : callable, optional

    Raises
    ------
    BadInput
        Where the tables hold too little to train or to judge on.
    """
    config = config or TrainConfig()
    frame, outcomes = tables.consignments, _require_outcomes(tables)
    as_of = as_of or find_day_after_last_event(tables)

    studies, studied = studies or DiagnosticsOptions(), DiagnosticsResult()
    pseudonyms = pseudonyms or Pseudonyms(BATCH_KEY)
    with report_progress(progress, "reading labels"):
        digest = hash_tables({"consignments": frame, "outcomes": outcomes, "alerts": tables.alerts})
        # Who has a label, as of when, and what each row counts.
        data = _build_data_set(frame, outcomes, as_of, target, config)
    source = _TableFeatures(tables, as_of, config, pseudonyms, jobs, progress)
    fitted, matrix, model = fit(frame, data, source, config, progress, jobs)
    if studies.count:
        texts = [get_goods_text(record) for record in source.get_records(_locate_fitting_rows(data, matrix))]
        origins = cut_origins(frame, outcomes, data, matrix, texts, config, target, studies.count)
        if studies.search is not None:
            name = f"{target} {as_of:%Y-%m-%d} {digest[:16]} {config.digest()[:16]}"
            found = search(origins, matrix, config, studies.search, name=name, progress=progress)
            config, studied = found.config, DiagnosticsResult(trials=found.trials)
            data = _build_data_set(frame, outcomes, as_of, target, config)
            fitted, matrix, model = fit(frame, data, source, config, progress, jobs)
        studied = replace(run_diagnostics(studies, origins, matrix, config, progress), trials=studied.trials)
    # The test period judges: all its traffic, opened or not, the model beside its baselines.
    parts = _SplitFeatures(frame, data, matrix)
    with report_progress(progress, "fitting baselines"):
        scores = _score_baselines(parts, config)
    test = _evaluate_test(parts, model, scores, config, progress)
    by_truth = None
    if truth is not None:
        labels = get_true_labels(frame["consignment_id"], truth, target)
        traffic = parts.build_scored_period(
            test.traffic.score, labels, labels.known[parts.locate_rows(TEST)].astype(np.float64)
        )
        by_truth = _evaluate_all(traffic, scores, _keep_capacity(config, test.traffic), progress)
    with report_progress(progress, "estimating finds"):
        estimates = _estimate_off_policy(parts, test, by_truth, config)
    with report_progress(progress, "swapping names"):
        name_swaps = _swap_names(parts, source, model, fitted, config)
    leaks = check_leakage(
        tables, parts.test_matrix, test.traffic, config.features, fitted, pseudonyms, jobs, progress
    )
    return TrainingResult(
        target=target,
        as_of=as_of,
        config=config,
        data=data,
        data_sha256=digest,
        fitted=fitted,
        model=model,
        matrix=matrix,
        test_rows=parts.locate_rows(TEST),
        test_scores=test.traffic.score,
        test=test,
        truth=by_truth,
        estimates=estimates,
        name_swaps=name_swaps,
        leaks=leaks,
        verdict=judge_model(
            (by_truth or test).model,
            (by_truth or test).baselines,
            target=target,
            positives=int((by_truth or test).traffic.positive.sum()),
            by_truth=by_truth is not None,
        ),
        studied=studied,
    )


def _build_data_set(
    frame: pd.DataFrame, outcomes: pd.DataFrame, as_of: datetime, target: Target, config: TrainConfig
) -> DataSet:
    return build_data_set(
        frame,
        outcomes,
        as_of=as_of,
        target=target,
        split=config.split,
        weights=config.weights,
        seed=config.model.seed,
    )


def _locate_fitting_rows(data: DataSet, matrix: FeatureMatrix) -> NDArray[np.int64]:
    """Positions of the matrix's rows of training and validation, in their order."""
    rows: NDArray[np.int64] = matrix.rows[np.isin(data.part[matrix.rows], (TRAIN, VALIDATION))]
    return rows


class FeatureSource(Protocol):
    """Where the features of a data set come from: computed from tables, or kept as they were at the time."""

    def get_records(self, rows: NDArray[np.int64]) -> list[Consignment]:
        """Give the consignments at some positions of the table."""

    def build_matrix(self, fitted: FittedParameters, keep: Bools) -> FeatureMatrix:
        """Give the feature rows of the kept consignments, each as of its own moment of scoring."""


class FitResult(NamedTuple):
    """What was learnt, and the feature rows that it was learnt from."""

    fitted: FittedParameters
    matrix: FeatureMatrix
    model: RiskModel


def fit(
    frame: pd.DataFrame,
    data: DataSet,
    source: FeatureSource,
    config: TrainConfig,
    progress: Progress | None = None,
    jobs: int = 1,
) -> FitResult:
    """Learn the features' learnt part, then trees, calibration and bands.

    Parameters
    ----------
    frame : DataFrame, (n rows)
        The consignments; `received_at` and `channel` suffice.
    data : DataSet
        Of the same rows.
    source : FeatureSource
    config : TrainConfig
    progress : callable, optional
    jobs : int
        Threads that grow trees; any number gives the same model.
    """
    # What features learn, they learn from the training fold; its own rows get the score of words out of fold.
    with report_progress(progress, "learning words"):
        fitted, text_scores = _learn_features(frame, data, source, config)
    # Rows only for what is fitted, calibrated or tested on.
    matrix = source.build_matrix(fitted, data.keep)
    parts = _SplitFeatures(frame, data, matrix)
    matrix.X[parts.select_fitting_rows(TRAIN), matrix.spec.get_column(TEXT_SCORE)] = text_scores
    # Trees from training, stopped by validation; then calibrated on validation as if nobody had selected.
    return FitResult(fitted, matrix, _fit_model(parts, config, jobs, progress))


class _TableFeatures:
    """Features of whole tables: one pass over all events in their order."""

    def __init__(
        self,
        tables: Tables,
        as_of: datetime,
        config: TrainConfig,
        pseudonyms: Pseudonyms,
        jobs: int,
        progress: Progress | None,
    ) -> None:
        self._tables, self._as_of, self._config = tables, as_of, config.features
        self._pseudonyms, self._jobs, self._progress = pseudonyms, jobs, progress

    def get_records(self, rows: NDArray[np.int64]) -> list[Consignment]:
        return to_consignments(self._tables.consignments.iloc[rows], self._config.build_record_type())

    def build_matrix(self, fitted: FittedParameters, keep: Bools) -> FeatureMatrix:
        return compute_feature_matrix(
            self._tables,
            FeatureParameters(self._config, fitted, self._pseudonyms),
            keep=keep,
            as_of=pd.Timestamp(self._as_of),
            options=ComputeOptions(self._jobs, self._progress),
        )


def find_day_after_last_event(tables: Tables) -> datetime:
    """Give the midnight after the last arrival or result of the tables."""
    moments = [get_time_column_us(tables.consignments, "received_at")]
    if tables.outcomes is not None:
        moments.append(compute_visible_us(tables.outcomes))
    last = max((int(each.max()) for each in moments if len(each)), default=NO_TIME)
    if last == NO_TIME:
        raise BadInput("the tables hold no event", where="consignments")
    return truncate_to_day(to_datetime(last)) + timedelta(days=1)


class _SplitFeatures:
    """The feature rows with what belongs to them, by part of the split."""

    def __init__(self, frame: pd.DataFrame, data: DataSet, matrix: FeatureMatrix) -> None:
        self.frame, self.data, self.X, self.spec = frame, data, matrix.X, matrix.spec
        self._rows = matrix.rows
        self._part = data.part[matrix.rows]
        self.known = data.labels.known[matrix.rows]
        self.positive = data.labels.positive[matrix.rows]
        self.logged = data.labels.probability[matrix.rows]
        self.tipped = data.labels.selected_by[matrix.rows] == "intelligence"
        self.weight = data.weight[matrix.rows]
        self.background = data.background[matrix.rows]
        self.stands_for = data.traffic_weight[matrix.rows]
        self.day = get_time_column_us(frame, "received_at")[matrix.rows] // US_PER_DAY
        self._channels = extract_texts(frame, "channel", matrix.rows)

    def select_part(self, part: int) -> Bools:
        """Feature rows of a part."""
        rows: Bools = self._part == part
        return rows

    def select_fitting_rows(self, part: int) -> Bools:
        """Feature rows of a part that are fitted on."""
        rows: Bools = self.select_part(part) & (self.known | self.background)
        return rows

    def locate_rows(self, part: int) -> NDArray[np.int64]:
        """Positions of a part's rows in the table."""
        return self._rows[self.select_part(part)]

    @property
    def test_matrix(self) -> FeatureMatrix:
        """The feature rows of the test period."""
        return FeatureMatrix(self.X[self.select_part(TEST)], self.locate_rows(TEST), self.spec)

    def get_channels(self, mine: Bools) -> list[str]:
        """Channels of some feature rows."""
        return list(self._channels[mine])

    def compute_result_weights(self, part: int, seed: int) -> Floats:
        """How many consignments each known result of a part stands for; for the rows of the part."""
        mine = self.select_part(part)
        known, logged = self.known[mine], self.logged[mine]
        if known.all():
            return np.ones(len(known))
        estimated = None
        if np.isnan(logged[known]).any():
            # What was opened on a tip stands for itself alone: nothing in the data tells who else had one.
            rest = ~self.tipped[mine]
            estimated = np.ones(len(known))
            estimated[rest] = estimate_known_probability(
                self.X[mine][rest], known[rest], self.stands_for[mine][rest], self.day[mine][rest], seed=seed
            )
        return compute_result_weights(known, logged, estimated)

    def build_scored_period(self, score: Floats, labels: Labels, weight: Floats) -> ScoredPeriod:
        """The test period's consignments under a score; weights without a logged probability are guesses."""
        rows = self.locate_rows(TEST)
        return ScoredPeriod(
            score=score,
            day=self.day[self.select_part(TEST)],
            office=extract_texts(self.frame, "office", rows),
            labelled=labels.known[rows],
            positive=labels.positive[rows],
            weight=weight,
            slices={
                kind: extract_texts(self.frame, column, rows)
                for kind, column in SLICES.items()
                if column in self.frame
            }
            | {CONSIGNEE: classify_consignee(self.X[self.select_part(TEST)], self.spec)},
            guessed=np.isnan(labels.probability[rows]),
        )


def extract_texts(frame: pd.DataFrame, column: str, rows: NDArray[np.int64]) -> NDArray[np.object_]:
    """Give a column of codes as strings, empty where missing or where there is no such column."""
    if column not in frame:
        return np.full(len(rows), "", dtype=object)
    values = frame[column].iloc[rows]
    return values.astype(object).where(values.notna(), "").to_numpy(dtype=object)


def _require_outcomes(tables: Tables) -> pd.DataFrame:
    if tables.outcomes is None or tables.outcomes.empty:
        raise BadInput(
            "there is nothing to learn from", where="outcomes", expected="a table of what was found"
        )
    return tables.outcomes


def _learn_features(
    frame: pd.DataFrame, data: DataSet, source: FeatureSource, config: TrainConfig
) -> tuple[FittedParameters, NDArray[np.float32]]:
    """Fit the learnt part of the features, and score the training rows' words out of fold."""
    rows = np.flatnonzero(data.select_fitting_rows(TRAIN))
    records = source.get_records(rows)
    labels, weights = data.labels.positive[rows].astype(np.int8), data.weight[rows]
    fitted = fit_features(records, config.features, labels, weights)
    texts = np.array([get_goods_text(record) for record in records], dtype=object)
    received = get_time_column_us(frame, "received_at")[rows]
    return fitted, compute_text_scores(texts, data.labels.positive[rows], weights, received)


def _fit_model(parts: _SplitFeatures, config: TrainConfig, jobs: int, progress: Progress | None) -> RiskModel:
    train, later = parts.select_fitting_rows(TRAIN), parts.select_fitting_rows(VALIDATION)
    finds = int(parts.positive[later].sum())
    # Few finds would stop the trees by chance; without rows they are all grown.
    stopping = later if config.model.can_stop_early(finds) else np.zeros_like(later)
    sample = _sample_traffic(parts, config.model.seed)
    params = config.model.build_tree_params(finds)
    if progress is not None:
        progress("growing trees", 0, params.trees)
    training, validation = (
        LabelledRows(
            parts.X[rows],
            parts.positive[rows].astype(np.float64),
            parts.weight[rows],
            parts.get_channels(rows),
        )
        for rows in (train, stopping)
    )
    grown = RiskModel.fit(
        training,
        spec=parts.spec,
        validation=validation,
        traffic=BandSample(parts.X[sample], parts.get_channels(sample)),
        options=FitOptions(params, config.model.seed, jobs, progress),
    )
    with report_progress(progress, "calibrating"):
        return _calibrate(grown, parts, sample, config)


def _calibrate(grown: RiskModel, parts: _SplitFeatures, sample: Bools, config: TrainConfig) -> RiskModel:
    """Calibrate on the known results of validation, each for as many as it stands for; bands on its traffic."""
    mine = parts.select_part(VALIDATION)
    weight = parts.compute_result_weights(VALIDATION, config.model.seed)
    known = parts.known[mine]
    raw = grown.predict_raw(parts.X[mine][known])
    calibration = Calibration.fit(
        raw,
        parts.positive[mine][known].astype(np.float64),
        weight[known],
        parts.get_channels(mine & parts.known),
    )
    scores = calibration.calibrate(grown.predict_raw(parts.X[sample]), parts.get_channels(sample))
    return RiskModel(grown.trees, calibration, Bands.from_scores(scores), grown.spec)


def _sample_traffic(parts: _SplitFeatures, seed: int) -> Bools:
    """Draw validation traffic evenly: the background, and of the opened ones the same share."""
    known = parts.select_part(VALIDATION) & parts.known
    background = parts.select_part(VALIDATION) & parts.background
    rate = parts.data.background_rate.get(VALIDATION, 0.0)
    if not background.any() or rate <= 0:
        return known
    drawn = np.random.default_rng([seed, VALIDATION, 1]).random(len(known)) < rate
    sample: Bools = background | (known & drawn)
    return sample


def _score_baselines(parts: _SplitFeatures, config: TrainConfig) -> dict[str, Floats]:
    train, test = parts.select_fitting_rows(TRAIN), parts.select_part(TEST)
    fitted = fit_baselines(
        parts.X[train],
        parts.positive[train].astype(np.float64),
        parts.weight[train],
        parts.spec,
        seed=config.model.seed,
    )
    ids = parts.frame["consignment_id"].iloc[parts.locate_rows(TEST)].tolist()
    return {baseline.name: baseline.compute_scores(parts.X[test], ids) for baseline in fitted}


def _evaluate_test(
    parts: _SplitFeatures,
    model: RiskModel,
    scores: Mapping[str, Floats],
    config: TrainConfig,
    progress: Progress | None,
) -> EvaluatedModel:
    test = parts.select_part(TEST)
    score = model.score(parts.X[test], parts.get_channels(test))
    with report_progress(progress, "weighing results"):
        weight = parts.compute_result_weights(TEST, config.model.seed)
    return _evaluate_all(
        parts.build_scored_period(score, parts.data.labels, weight), scores, config, progress
    )


def _estimate_off_policy(
    parts: _SplitFeatures, test: EvaluatedModel, by_truth: EvaluatedModel | None, config: TrainConfig
) -> OffPolicyEstimates:
    """Estimate what the model would find in three ways, beside the truth where there is one."""
    rows, labels = parts.locate_rows(TEST), parts.data.labels
    evidence = LoggedEvidence.from_scored_period(
        test.traffic, labels.selected_by[rows], labels.probability[rows]
    )
    truth = None if by_truth is None else by_truth.traffic.positive
    return OffPolicyEstimates.from_evidence(evidence, config.evaluation, truth)


def _swap_names(
    parts: _SplitFeatures,
    source: FeatureSource,
    model: RiskModel,
    fitted: FittedParameters,
    config: TrainConfig,
) -> list[Row]:
    """Swap the names of a sample of the test traffic for names of other languages."""
    rows = parts.locate_rows(TEST)
    sample = sample_evenly(len(rows))
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
            progress("judging", done + 1, len(scores) + 1)
    return EvaluatedModel(traffic, found.pop(MODEL), found, scores)


def _keep_capacity(config: TrainConfig, traffic: ScoredPeriod) -> TrainConfig:
    """Hold other labels of the same traffic to the daily capacity that was observed."""
    capacity = compute_daily_capacity(traffic, config.evaluation)
    return msgspec.structs.replace(
        config, evaluation=msgspec.structs.replace(config.evaluation, capacity=capacity)
    )


def _log_and_register(
    trained: TrainingResult, tables: Tables, folder: Path, tracking_uri: str, register: bool
) -> RegisteredRun:
    """Log the run, and register the version where asked for."""
    from models.registry import Registry
    from training.reporting.mlflow_tracking import RunRecord, log_run

    text = describe_run(trained)
    inputs = {"consignments": tables.consignments, "outcomes": tables.outcomes, "alerts": tables.alerts}
    record = RunRecord(
        name=f"{trained.target}, as of {trained.as_of:%Y-%m-%d}",
        description=text,
        tags=trained.tags,
        params=trained.config.flatten(),
        metrics=trained.metrics,
        folder=folder,
        inputs={name: len(frame) for name, frame in inputs.items() if frame is not None},
    )
    run_id = log_run(record, tracking_uri=tracking_uri)
    _log_trials(trained, run_id, tracking_uri)
    if not register:
        return RegisteredRun(trained, run_id, None, None)
    version = Registry(tracking_uri).register(
        run_id,
        folder / "bundle",
        example=build_example_consignments(trained.config.features),
        description=text,
        tags=trained.tags,
    )
    return RegisteredRun(trained, run_id, version.uri, version.number)


def _log_trials(trained: TrainingResult, run_id: str, tracking_uri: str) -> None:
    """Log each trial of a search as a run under the run."""
    from training.reporting.mlflow_tracking import RunRecord, log_run

    for trial in trained.studied.trials:
        with TemporaryDirectory() as nothing:
            record = RunRecord(
                name=f"trial {trial['trial']}",
                description="A trial of the search, judged at the rolling origins before the test period.",
                tags={"target": trained.target, "as_of": trained.as_of.isoformat()},
                params={name: trial[name] for name in SEARCH_SPACE},
                metrics={f"origins/{name}": trial[name] for name in ("worth", "recall_at_1pct")},
                folder=Path(nothing),
                parent=run_id,
            )
            log_run(record, tracking_uri=tracking_uri)
