"""Logging of a run to MLflow with explicit calls; autologging is not used.

All calls use a client with its own tracking address; MLflow's global state is not changed.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunStatus, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_RUN_NOTE

from models.registry import EXPERIMENT

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
ARTIFACT_FOLDER = "mlartifacts"
"""Folder of the artifacts next to an SQLite file."""
MAX_METRICS_PER_CALL, MAX_PARAMS_PER_CALL = 1000, 100
"""Limits of MLflow for one call."""
MAX_PARAM_CHARACTERS = 500
MAX_DIGEST_CHARACTERS = 36
"""Maximum length of a data set's digest; MLflow's limit."""


@dataclass(frozen=True)
class RunRecord:
    """Content of a run to log.

    Attributes
    ----------
    name : str
    description : str
        Markdown for the page of the run.
    tags : mapping
        `as_of`, `target`, `data_sha256`, `code_version`, `feature_spec_sha256`, `verdict`.
    params : mapping
        Setting to value.
    metrics : mapping
        Finite numbers by their logged names.
    folder : Path
        Its content becomes the artifacts: `bundle/`, `config.json`, `report.html`, `tables/*.json`, plots.
    inputs : mapping
        Name of each input table to its number of rows.
    series : mapping
        Charts: metric to its finite numbers, each with its step.
    parent : str, optional
        Parent run.
    """

    name: str
    description: str
    tags: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    folder: Path
    inputs: Mapping[str, int] = field(default_factory=dict)
    series: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    parent: str | None = None


def log_run(
    record: RunRecord, *, tracking_uri: str = DEFAULT_TRACKING_URI, experiment: str = EXPERIMENT
) -> str:
    """Log a run to MLflow.

    Parameters
    ----------
    record : RunRecord
    tracking_uri : str
        Address of the MLflow store.
    experiment : str

    Returns
    -------
    str
        The run's identifier.
    """
    with hide_migrations():
        client = MlflowClient(tracking_uri=tracking_uri)
        experiment_id = _get_experiment_id(client, tracking_uri, experiment)
    with _open_run(client, experiment_id, record) as run_id:
        _log_numbers(client, run_id, record)
        _log_inputs(client, run_id, record)
        client.log_artifacts(run_id, str(record.folder))
    return run_id


@contextmanager
def _open_run(client: MlflowClient, experiment_id: str, record: RunRecord) -> Iterator[str]:
    """Open a run and close it, as failed if an error occurs."""
    tags = {**record.tags, MLFLOW_RUN_NOTE: record.description}
    if record.parent is not None:
        tags["mlflow.parentRunId"] = record.parent
    run_id = str(client.create_run(experiment_id, tags=tags, run_name=record.name).info.run_id)
    try:
        yield run_id
    except BaseException:
        client.set_terminated(run_id, RunStatus.to_string(RunStatus.FAILED))
        raise
    client.set_terminated(run_id)


def _get_experiment_id(client: MlflowClient, tracking_uri: str, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(name, artifact_location=_locate_artifacts(tracking_uri)))


def _locate_artifacts(tracking_uri: str) -> str | None:
    """Return the artifact folder next to an SQLite file; a server chooses its own."""
    path = tracking_uri.removeprefix("sqlite:///")
    if path == tracking_uri:
        return None
    return (Path(path).absolute().parent / ARTIFACT_FOLDER).as_uri()


@contextmanager
def hide_migrations() -> Iterator[None]:
    """Hide the migration log of a new SQLite file, about sixty lines."""
    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow.store.db.utils")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _log_numbers(client: MlflowClient, run_id: str, record: RunRecord) -> None:
    now = time.time_ns() // 1_000_000
    metrics = [Metric(name, float(value), now, 0) for name, value in record.metrics.items()]
    metrics += [
        Metric(name, float(value), now, step)
        for name, values in record.series.items()
        for step, value in values
    ]
    params = [
        Param(name, _format_param(value)[:MAX_PARAM_CHARACTERS]) for name, value in record.params.items()
    ]
    for start in range(0, len(metrics), MAX_METRICS_PER_CALL):
        client.log_batch(run_id, metrics=metrics[start : start + MAX_METRICS_PER_CALL])
    for start in range(0, len(params), MAX_PARAMS_PER_CALL):
        client.log_batch(run_id, params=params[start : start + MAX_PARAMS_PER_CALL])
    tables = [
        {"path": f"tables/{path.name}", "type": "table"}
        for path in sorted((record.folder / "tables").glob("*.json"))
    ]
    client.log_batch(run_id, tags=[RunTag(MLFLOW_LOGGED_ARTIFACTS, json.dumps(tables))])


def _format_param(value: Any) -> str:
    """Format a setting for people."""
    if value is None or value == ():
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _log_inputs(client: MlflowClient, run_id: str, record: RunRecord) -> None:
    """Log the input tables with our hash of all rows; MLflow's own hash covers only the first rows."""
    digest = record.tags.get("data_sha256", "")[:MAX_DIGEST_CHARACTERS]
    inputs = [
        DatasetInput(
            Dataset(
                name,
                digest,
                source_type="code",
                source=json.dumps({"tags": {}}),
                profile=json.dumps({"num_rows": rows}),
            )
        )
        for name, rows in record.inputs.items()
    ]
    if inputs:
        client.log_inputs(run_id, datasets=inputs)
