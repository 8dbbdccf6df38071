"""Short calls for every step, from files to a comparison: read, features, train, score, explain, compare, and a learner of your own.

Each call is a step of the command line with tables in place of files. The longer calls of the other modules stay available.
"""

import os
import warnings
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from consignments.errors import BadInput, UnknownName
from consignments.records import Alert, Outcome, Target, Truth
from consignments.tables import read_table, to_records
from features.batch import BATCH_KEY, FeatureMatrix, FeatureParameters
from features.batch import Tables as Tables  # of this module, too
from features.history.pseudonyms import Pseudonyms
from features.normalization.normal_forms import get_declared_texts
from features.streams import FeatureInputs, compute_feature_matrix
from models.batch_scoring import ScoreColumns, build_feature_parameters, score_table
from models.bundle import Bundle
from models.registry import Registry
from training.config import TrainConfig, parse_config
from training.data.splits import TRAIN
from training.evaluation.metrics import PairedEvaluation, evaluate_pair
from training.promotion.compared_versions import ComparedVersions
from training.promotion.comparison import ComparedTraffic, Comparison
from training.promotion.comparison_report import log_comparison
from training.reporting.mlflow_tracking import DEFAULT_TRACKING_URI
from training.runs.registered_run import RegisteredRun, run_training
from training.runs.task import TrainingTask


def read_tables(
    consignments: Path | str,
    outcomes: Path | str | None = None,
    alerts: Path | str | None = None,
    *,
    config: TrainConfig | None = None,
    strict: bool = False,
) -> Tables:
    """Read and check tables from CSV, Parquet or JSON Lines, with the declared columns of a configuration.

    Invalid rows are left out, or raise an error if `strict`.

    Warns
    -----
    UserWarning
        With the report of a table that has invalid rows, unknown columns or implausible values.
    """
    record = (config or TrainConfig()).features.build_record_type()
    return Tables(
        _read_frame(consignments, record, strict=strict),
        None if outcomes is None else _read_frame(outcomes, Outcome, strict=strict),
        None if alerts is None else _read_frame(alerts, Alert, strict=strict),
    )


def read_truth(path: Path | str) -> pd.DataFrame:
    """Read the truth of a simulated world, for evaluation only."""
    return _read_frame(path, Truth, strict=True)


def compute_features(
    tables: Tables,
    bundle: Bundle | None = None,
    *,
    history: Tables | None = None,
    as_of: datetime | None = None,
) -> pd.DataFrame:
    """Compute the features of each consignment as of its time of scoring.

    Without a `bundle`, features that need a fitted model are missing. `history` are past consignments, outcomes and alerts; outcomes and
    alerts that became visible after `as_of` are ignored.

    Returns
    -------
    DataFrame
        float32, one column for each feature; the index is `consignment_id`.
    """
    joined, matrix = _compute_matrix(bundle, tables, history, as_of=as_of)
    index = pd.Index(joined["consignment_id"].to_numpy()[matrix.rows], name="consignment_id")
    return pd.DataFrame(np.asarray(matrix.X), columns=matrix.spec.names, index=index)


def train(
    tables: Tables,
    *,
    as_of: datetime | None = None,
    target: Target = "nps",
    config: TrainConfig | Mapping[str, Any] | None = None,
    truth: pd.DataFrame | None = None,
    register: bool = False,
    store: str | None = None,
    jobs: int = 1,
) -> RegisteredRun:
    """Train a model on outcomes, evaluate it on later time, and log the run.

    Parameters
    ----------
    as_of, target, truth
        See `training.runs.task.TrainingTask`.
    config : TrainConfig or mapping, optional
        Settings; a mapping as `{"model": {"trees": 60}}`.
    register : bool
        Register the model as a new version.
    store : str, optional
        MLflow store. Default: `MLFLOW_TRACKING_URI`, else the file `mlflow.db` of the working directory.
    jobs : int
        Processes that compute features, and threads that fit.
    """
    settings = config if isinstance(config, TrainConfig) else parse_config(dict(config or {}))
    task = TrainingTask(tables, as_of, target, settings, truth)
    return run_training(task, _get_store(store), register=register, jobs=jobs)


def evaluate_learner(run: RegisteredRun, learner: Any) -> PairedEvaluation:
    """Fit a learner of another kind on the training rows of a run, and compare it with the model on the same test traffic.

    It gets the features, labels and weights that the trees of the evaluation fit had. It cannot be registered or promoted.

    Parameters
    ----------
    learner : object
        A classifier with scikit-learn's `fit(X, y, sample_weight=...)` and `predict_proba(X)`. `X` is float32 with NaN for missing
        features; uninspected rows are weak negatives.

    Returns
    -------
    PairedEvaluation
        `a` is the evaluation of the model, `b` that of the learner, and `gains` their difference for each metric, paired by day.

    Raises
    ------
    BadInput
        If the learner does not give a finite number for each consignment.
    """
    trained = run.trained
    matrix, data, traffic = trained.matrix, trained.data, trained.test_traffic
    mine = data.select_fitting_rows(TRAIN)[matrix.rows]
    rows = matrix.rows[mine]
    positive = data.labels.positive[rows].astype(np.int8)
    learner.fit(matrix.take(mine), positive, sample_weight=data.weight[rows])
    scores = np.asarray(learner.predict_proba(matrix.take(trained.test_matrix_rows)), dtype=np.float64)[:, -1]
    if scores.shape != traffic.score.shape or not np.isfinite(scores).all():
        raise BadInput(
            "the scores of the learner do not fit to the test period",
            where=type(learner).__name__,
            got=f"{len(scores):,} numbers, {int((~np.isfinite(scores)).sum())} of them not finite",
            expected=f"a finite number for each of {len(traffic.score):,} consignments",
            todo="correct its predict_proba",
        )
    return evaluate_pair(traffic, scores, trained.settings)


def load_model(uri: str, *, target: Target = "nps", store: str | None = None) -> Bundle:
    """Load the served fit of a registered version: its number or alias for a target, or `models:/NAME/VERSION`.

    `store` is the MLflow store, as in `train`.
    """
    registry = Registry(_get_store(store))
    return registry.fetch_bundle(registry.resolve(uri, target=target))


def score(bundle: Bundle, tables: Tables, *, history: Tables | None = None, reasons: int = 0) -> pd.DataFrame:
    """Score consignments, with a number of reasons for each; `models.batch_scoring.score_table` describes the columns.

    Without `history`, which are past consignments, outcomes and alerts, every sender looks new, and the column `history` says `none`.
    """
    inputs = FeatureInputs.from_tables(*_split_history(tables, history))
    return score_table(bundle, inputs, Pseudonyms(BATCH_KEY), columns=ScoreColumns(reasons, bundle.version))


def explain(
    bundle: Bundle, tables: Tables, consignment_id: str, *, history: Tables | None = None, reasons: int = 10
) -> pd.DataFrame:
    """Explain the score of one consignment, with reasons that raise and that lower it; tables and history as in `score`.

    Returns
    -------
    DataFrame
        `code`, `text`, `value`, `usual`, `contribution` (log-odds) and `direction`, the strongest first; last what
        nobody can act on.

    Raises
    ------
    UnknownName
        If the table has no such consignment.
    """
    ids = tables.consignments["consignment_id"]
    if not (ids == consignment_id).any():
        raise UnknownName.from_candidates(consignment_id, ids, kind="consignment")
    joined, matrix = _compute_matrix(bundle, tables, history, only=consignment_id)
    record = to_records(joined.iloc[matrix.rows[-1:]], bundle.config.build_record_type())[0]
    model = bundle.model.replace_spec(matrix.spec)
    found = model.explain(matrix.X[-1], reasons, lowering=True, declared=get_declared_texts(record))
    return pd.DataFrame(
        [msgspec.to_builtins(reason) for reason in found],
        columns=["code", "text", "value", "usual", "contribution", "direction"],
    )


def compare(
    a: str,
    b: str,
    tables: Tables,
    *,
    target: Target = "nps",
    truth: pd.DataFrame | None = None,
    store: str | None = None,
) -> Comparison:
    """Compare two registered versions on the same consignments, in weeks of which neither fit has learnt, and log the result.

    `a` and `b` are versions as in `load_model`; `b` is the candidate to replace `a`. `truth` is that of a simulated world.
    """
    registry = Registry(_get_store(store))
    one, other = (registry.resolve(name, target=target) for name in (a, b))
    found = ComparedVersions.fetch(registry, one, other).compare(ComparedTraffic(tables, truth))
    log_comparison(registry, found, one, other)
    return found


def _read_frame(path: Path | str, record: type[msgspec.Struct], *, strict: bool) -> pd.DataFrame:
    table = read_table(path, record, strict=strict)
    if table.report.is_notable:
        warnings.warn(table.report.to_text(), stacklevel=3)
    return table.frame


def _get_store(store: str | None) -> str:
    return store or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI


def _split_history(tables: Tables, history: Tables | None) -> tuple[Tables, pd.DataFrame | None]:
    """Return the tables, with outcomes and alerts of the history if they have none, and the past consignments."""
    if history is None:
        return tables, None
    outcomes = history.outcomes if tables.outcomes is None else tables.outcomes
    alerts = history.alerts if tables.alerts is None else tables.alerts
    return Tables(tables.consignments, outcomes, alerts), history.consignments


def _compute_matrix(
    bundle: Bundle | None,
    tables: Tables,
    history: Tables | None,
    *,
    as_of: datetime | None = None,
    only: str | None = None,
) -> tuple[pd.DataFrame, FeatureMatrix]:
    """Compute the features of the given consignments, or of one of them; return them with the consignments that rows refer to."""
    parameters = FeatureParameters()
    if bundle is not None:
        parameters = build_feature_parameters(bundle, Pseudonyms(BATCH_KEY))
    keep = None if only is None else (tables.consignments["consignment_id"] == only).to_numpy(dtype=bool)
    given, past = _split_history(tables, history)
    inputs = FeatureInputs.from_tables(given, past, None if as_of is None else pd.Timestamp(as_of))
    return tables.consignments, compute_feature_matrix(inputs, parameters, keep=keep)
