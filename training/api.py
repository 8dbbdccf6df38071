"""Short calls for every step, from files to a comparison: read, features, train, score, explain, compare, and learners of your own.

Each call is a step of the command line with tables in place of files. The longer calls of the other modules stay available.

Examples
--------
::

    from training import api

    tables = api.read_tables("consignments.parquet", "outcomes.parquet")
    run = api.train(tables, register=True)
    bundle = api.load_model("challenger")
    scores = api.score(bundle, api.read_tables("new.parquet"), history=tables)
    api.explain(bundle, tables, scores["consignment_id"][0])
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

from consignments.errors import UnknownName
from consignments.records import Alert, Consignment, Outcome, Target, Truth
from consignments.tables import read_table, to_consignments
from features.batch import (
    BATCH_KEY,
    FeatureParameters,
    Tables,
    compute_feature_matrix,
    join_history,
)
from features.history.pseudonyms import Pseudonyms
from features.normalization.normal_forms import get_goods_text
from features.streams import FeatureInputs
from models.batch_scoring import ScoreColumns, build_feature_parameters, score_table
from models.bundle import Bundle
from models.registry import Registry
from training.config import TrainConfig, parse_config
from training.promotion.compared_versions import ComparedVersions
from training.promotion.comparison import ComparedTraffic, Comparison
from training.promotion.review import log_reviewed_comparison
from training.reporting.mlflow_tracking import DEFAULT_TRACKING_URI
from training.runs.own_learner import LearnerResult, LearningRows, evaluate_learner, log_learner, select_rows
from training.runs.registered_run import RegisteredRun, RunDestination, run_training
from training.runs.task import TrainingTask

__all__ = [
    "LearnerResult",
    "LearningRows",
    "Tables",
    "compare",
    "compute_features",
    "evaluate_learner",
    "explain",
    "load_model",
    "log_learner",
    "read_tables",
    "read_truth",
    "score",
    "select_rows",
    "train",
]


def read_tables(
    consignments: Path | str,
    outcomes: Path | str | None = None,
    alerts: Path | str | None = None,
    *,
    config: TrainConfig | None = None,
    strict: bool = False,
) -> Tables:
    """Read and check tables from CSV, Parquet or JSON Lines.

    Parameters
    ----------
    consignments, outcomes, alerts : Path
    config : TrainConfig, optional
        Its declared columns are read too.
    strict : bool
        Raise an error if any row is invalid. Default: such rows are left out.

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

    Parameters
    ----------
    tables : Tables
    bundle : Bundle, optional
        Model whose fitted parameters are used. Default: features that need a fitted model are missing.
    history : Tables, optional
        Past consignments, outcomes and alerts.
    as_of : datetime, optional
        Outcomes and alerts that became visible later are ignored.

    Returns
    -------
    DataFrame
        float32, one column for each feature; the index is `consignment_id`.
    """
    parameters = FeatureParameters() if bundle is None else _build_parameters(bundle)
    joined, keep = join_history(_add_events(tables, history), _get_consignments(history))
    matrix = compute_feature_matrix(
        joined, parameters, keep=keep, as_of=None if as_of is None else pd.Timestamp(as_of)
    )
    ids = joined.consignments["consignment_id"].to_numpy()[matrix.rows]
    index = pd.Index(ids, name="consignment_id")
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
    tables : Tables
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
    return run_training(task, RunDestination(tracking_uri=_get_store(store), register=register), jobs)


def load_model(uri: str, *, target: Target = "nps", store: str | None = None) -> Bundle:
    """Load the served fit of a registered version.

    Parameters
    ----------
    uri : str
        Number or alias of a version, or `models:/NAME/VERSION`.
    target : str
        Target of the model, for a bare number or alias.
    store : str, optional
        See `train`.
    """
    registry = Registry(_get_store(store))
    return registry.fetch_bundle(registry.resolve(uri, target=target))


def score(bundle: Bundle, tables: Tables, *, history: Tables | None = None, reasons: int = 0) -> pd.DataFrame:
    """Score consignments.

    Parameters
    ----------
    bundle : Bundle
    tables : Tables
        Consignments to score.
    history : Tables, optional
        Past consignments, outcomes and alerts. Without it every sender looks new; the column `history` then says `none`.
    reasons : int
        Number of reasons of each score.

    Returns
    -------
    DataFrame
        See `models.batch_scoring.score_table`.
    """
    inputs = FeatureInputs.from_tables(_add_events(tables, history), _get_consignments(history))
    return score_table(bundle, inputs, Pseudonyms(BATCH_KEY), columns=ScoreColumns(reasons))


def explain(
    bundle: Bundle, tables: Tables, consignment_id: str, *, history: Tables | None = None, reasons: int = 10
) -> pd.DataFrame:
    """Explain the score of one consignment, with reasons that raise and that lower it.

    Parameters
    ----------
    bundle, tables, history
        See `score`.
    consignment_id : str
    reasons : int

    Returns
    -------
    DataFrame
        `code`, `text`, `value`, `usual`, `contribution` (log-odds) and `direction`, the strongest first.

    Raises
    ------
    UnknownName
        If the table has no such consignment.
    """
    places = tables.consignments["consignment_id"] == consignment_id
    if not places.any():
        raise UnknownName.from_candidates(
            consignment_id, tables.consignments["consignment_id"], kind="consignment"
        )
    parameters = _build_parameters(bundle)
    joined, given = join_history(_add_events(tables, history), _get_consignments(history))
    keep = given & (joined.consignments["consignment_id"] == consignment_id).to_numpy(dtype=bool)
    matrix = compute_feature_matrix(joined, parameters, keep=keep)
    record = _to_record(joined.consignments.iloc[matrix.rows[-1:]], bundle)
    model = bundle.model.replace_spec(matrix.spec)
    found = model.explain(matrix.X[-1], reasons, lowering=True, goods=get_goods_text(record))
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

    Parameters
    ----------
    a, b : str
        Versions, as in `load_model`; `b` is the candidate to replace `a`.
    tables : Tables
    target, store
        See `load_model`.
    truth : DataFrame, optional
        Of a simulated world.
    """
    registry = Registry(_get_store(store))
    one, other = (registry.resolve(name, target=target) for name in (a, b))
    found = ComparedVersions(registry, one, other).compare(ComparedTraffic(tables, truth))
    log_reviewed_comparison(registry, found, one, other)
    return found


def _read_frame(path: Path | str, record: type[msgspec.Struct], *, strict: bool) -> pd.DataFrame:
    table = read_table(path, record, strict=strict)
    if table.report.is_notable:
        warnings.warn(table.report.to_text(), stacklevel=3)
    return table.frame


def _get_store(store: str | None) -> str:
    return store or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI


def _build_parameters(bundle: Bundle) -> FeatureParameters:
    return build_feature_parameters(bundle, Pseudonyms(BATCH_KEY))


def _get_consignments(history: Tables | None) -> pd.DataFrame | None:
    return None if history is None else history.consignments


def _add_events(tables: Tables, history: Tables | None) -> Tables:
    """Use the outcomes and alerts of the history if the given tables have none."""
    if history is None:
        return tables
    outcomes = history.outcomes if tables.outcomes is None else tables.outcomes
    alerts = history.alerts if tables.alerts is None else tables.alerts
    return Tables(tables.consignments, outcomes, alerts)


def _to_record(frame: pd.DataFrame, bundle: Bundle) -> Consignment:
    return to_consignments(frame, bundle.config.build_record_type())[0]
