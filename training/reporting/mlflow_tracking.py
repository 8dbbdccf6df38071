"""Logging of a run to MLflow with explicit calls; autologging is not used.

All calls use a client with its own tracking address; MLflow's global state is not changed.
"""

import getpass
import json
import logging
import math
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.types import ColSpec, DataType, Schema
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_GIT_COMMIT,
    MLFLOW_LOGGED_ARTIFACTS,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)

from consignments import HOME
from consignments.errors import NpsriskError
from models.registry import EXPERIMENT
from training.reporting.tables import Row, RunTable, serialize_table, write_tables

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
LOCAL_PAGES = "http://127.0.0.1:5000"
"""Where `mlflow ui` shows a store that is a file."""
ARTIFACT_FOLDER = "mlartifacts"
"""Folder of the artifacts next to an SQLite file."""
MAX_METRICS_PER_CALL, MAX_PARAMS_PER_CALL = 1000, 100
"""Limits of MLflow for one call."""
MAX_PARAM_CHARACTERS = 500
MAX_DIGEST_CHARACTERS = 36
"""Maximum length of a data set's digest; MLflow's limit."""
MAX_SCHEMA_CHARACTERS = 65_535
"""Maximum length of a data set's schema; MLflow's limit."""
METRIC_DIGITS = 9
"""Significant digits of a metric; the last bits of sums may differ between machines."""
SMALLEST_METRIC = 1e-12
"""A metric closer to zero is logged as zero: a bound of an exact interval may be 1e-308, which means zero."""
PHASE_TAG, ERROR_TAG = "phase", "error"
"""Tags of a run: what it computes now, and why it failed."""
GIT_SECONDS = 5
HOW_TO_READ = (Path(__file__).parent / "templates" / "experiment.md").read_text(encoding="utf-8")
"""Description of the experiment."""


@dataclass(frozen=True)
class InputTable:
    """An input table of a run: its rows, hash, columns as MLflow's JSON, the path of its file, and its use."""

    rows: int
    digest: str = ""
    source: str | None = None
    schema: str = ""
    context: str = "training"

    @classmethod
    def from_frame(
        cls, frame: pd.DataFrame, digest: str, source: str | None, context: str = "training"
    ) -> "InputTable":
        """Describe a table in memory."""
        return cls(len(frame), digest, source, describe_schema(frame), context)


@dataclass(frozen=True)
class RunRecord:
    """Content of a run: tables and files are added to the folder, and `finish` gets it complete before it is logged."""

    name: str
    description: str
    tags: Mapping[str, str]
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Row] | RunTable] = field(default_factory=dict)
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    folder: Path | None = None
    inputs: Mapping[str, InputTable | int] = field(default_factory=dict)
    series: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    parent: str | None = None
    finish: Callable[[Path], None] | None = None

    def write(self, folder: Path) -> None:
        """Write tables and files into a folder."""
        write_tables(folder, self.tables)
        for path, content in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
        if self.finish is not None:
            self.finish(folder)


@dataclass
class OpenRun:
    """A run that has started and has not ended."""

    client: MlflowClient
    run_id: str
    _phases: list[tuple[str, float]] = field(default_factory=list)

    def report_progress(self, what: str, done: int, total: int) -> None:  # noqa: ARG002
        """Log the phase that the run is in, as its tag `phase`; a `features.batch.Progress`."""
        if self._phases and self._phases[-1][0] == what:
            return
        self._phases.append((what, time.monotonic()))
        # A store that does not answer for a moment must not end hours of training.
        with suppress(MlflowException, OSError):
            self.client.set_tag(self.run_id, PHASE_TAG, what)

    def log(self, record: RunRecord) -> None:
        """Log the content of the run."""
        for name, value in {**record.tags, MLFLOW_RUN_NOTE: record.description}.items():
            self.client.set_tag(self.run_id, name, value)
        _log_numbers(self.client, self.run_id, record)
        _log_inputs(self.client, self.run_id, record)
        with TemporaryDirectory() as spare:
            folder = record.folder or Path(spare)
            record.write(folder)
            tables = sorted(path.name for path in (folder / "tables").glob("*.json"))
            announced = [{"path": f"tables/{name}", "type": "table"} for name in tables]
            self.client.set_tag(self.run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps(announced))
            self.client.log_artifacts(self.run_id, str(folder))
        if self._phases:
            self.client.log_text(self.run_id, self._serialize_phases(), "tables/phases.json")

    def link_metrics(self, names: Sequence[str], table: tuple[str, str]) -> None:
        """Show metrics of the run also on the page of the model that it logged, with the input table (name, digest)."""
        outputs = self.client.get_run(self.run_id).outputs
        if outputs is None or not outputs.model_outputs:
            return
        model_id = outputs.model_outputs[-1].model_id
        points = [point for metric in names for point in self.client.get_metric_history(self.run_id, metric)]
        linked = [
            Metric(point.key, point.value, point.timestamp, point.step, model_id, *table) for point in points
        ]
        self.client.log_batch(self.run_id, metrics=linked)

    def end(self) -> None:
        """End the run as finished; a finished run is in no phase."""
        if self._phases:
            self.client.delete_tag(self.run_id, PHASE_TAG)
        self.client.set_terminated(self.run_id)

    def _serialize_phases(self) -> str:
        ends = [start for _, start in self._phases[1:]] + [time.monotonic()]
        rows = [
            {"phase": what, "seconds": round(end - start, 3)}
            for (what, start), end in zip(self._phases, ends, strict=True)
        ]
        return serialize_table(rows, ("phase", "seconds"))


def log_run(
    record: RunRecord, *, tracking_uri: str = DEFAULT_TRACKING_URI, experiment: str = EXPERIMENT
) -> str:
    """Log a run to MLflow, and return its identifier."""
    with open_run(
        record.name, record.tags, tracking_uri=tracking_uri, experiment=experiment, parent=record.parent
    ) as run:
        run.log(record)
    return run.run_id


@contextmanager
def open_run(
    name: str,
    tags: Mapping[str, str],
    *,
    tracking_uri: str = DEFAULT_TRACKING_URI,
    experiment: str = EXPERIMENT,
    parent: str | None = None,
) -> Iterator[OpenRun]:
    """Start a run, and end it: as failed if an error occurs, as killed if it is interrupted."""
    with _quiet_migrations():
        client = MlflowClient(tracking_uri=tracking_uri)
        experiment_id = _get_experiment_id(client, tracking_uri, experiment)
    all_tags = {**describe_origin(tags.get("kind", "")), **tags}
    if parent is not None:
        all_tags[MLFLOW_PARENT_RUN_ID] = parent
    run = OpenRun(client, str(client.create_run(experiment_id, tags=all_tags, run_name=name).info.run_id))
    try:
        yield run
    except BaseException as error:
        status = RunStatus.FAILED if isinstance(error, Exception) else RunStatus.KILLED
        if isinstance(error, NpsriskError):
            client.set_tag(run.run_id, ERROR_TAG, str(error)[:MAX_PARAM_CHARACTERS])
        client.set_terminated(run.run_id, RunStatus.to_string(status))
        raise
    run.end()


def build_addresses(tracking_uri: str, run_id: str, version: str | None = None) -> dict[str, str]:
    """Build the addresses of a run in MLflow's pages: of all runs, of the run, and of a version as `models:/NAME/NUMBER`.

    Addresses of a store that is a file are those of `mlflow ui` on this machine.
    """
    experiment = MlflowClient(tracking_uri=tracking_uri).get_run(run_id).info.experiment_id
    base = tracking_uri.rstrip("/") if tracking_uri.startswith("http") else LOCAL_PAGES
    # Without the parameter MLflow opens its pages for language models.
    addresses = {
        "runs": f"{base}/#/experiments/{experiment}/runs?workflowType=machine_learning",
        "run": f"{base}/#/experiments/{experiment}/runs/{run_id}",
    }
    if version is not None:
        name, _, number = version.removeprefix("models:/").rpartition("/")
        addresses["version"] = f"{base}/#/models/{name}/versions/{number}"
    return addresses


def read_artifact(tracking_uri: str, run_id: str, path: str) -> str:
    """Read a text among the artifacts of a run; empty if there is none."""
    with TemporaryDirectory() as folder:
        try:
            found = MlflowClient(tracking_uri=tracking_uri).download_artifacts(run_id, path, folder)
            return Path(found).read_text(encoding="utf-8")
        except (MlflowException, OSError):
            return ""


def read_note(tracking_uri: str, run_id: str) -> str:
    """Read the description of a run."""
    tags = MlflowClient(tracking_uri=tracking_uri).get_run(run_id).data.tags
    return str(tags.get(MLFLOW_RUN_NOTE, ""))


def rewrite_run(tracking_uri: str, run_id: str, note: str, files: Mapping[str, str]) -> None:
    """Replace the description of a run, and some of its artifacts."""
    client = MlflowClient(tracking_uri=tracking_uri)
    client.set_tag(run_id, MLFLOW_RUN_NOTE, note)
    for path, text in files.items():
        client.log_text(run_id, text, path)


def describe_origin(kind: str = "") -> dict[str, str]:
    """Return the tags on who runs which code: user, source, and git commit if the code is a checkout."""
    tags = {MLFLOW_SOURCE_NAME: f"npsrisk {kind}".rstrip(), MLFLOW_SOURCE_TYPE: "LOCAL"}
    with suppress(OSError, KeyError, ImportError):  # a user without a name
        tags[MLFLOW_USER] = getpass.getuser()
    commit = read_git_commit(HOME)
    if commit is not None:
        tags[MLFLOW_GIT_COMMIT] = commit
    return tags


def read_git_commit(folder: Path) -> str | None:
    """Read the commit of a checkout whose top folder is `folder`; None for an installed wheel, also inside another checkout."""
    command = ["git", "-C", str(folder), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    top, _, commit = found.stdout.strip().partition("\n")
    return commit if Path(top).resolve() == folder.resolve() else None


def describe_schema(frame: pd.DataFrame) -> str:
    """Return the columns of a table with their types, as the JSON that MLflow shows; '' if it is too long for MLflow."""
    schema = Schema([ColSpec(_get_column_type(frame[name].dtype), str(name)) for name in frame.columns])
    text = json.dumps({"mlflow_colspec": schema.to_dict()})
    return text if len(text) <= MAX_SCHEMA_CHARACTERS else ""


def _get_column_type(dtype: Any) -> DataType:
    if isinstance(dtype, pd.DatetimeTZDtype):
        return DataType.datetime
    if pd.api.types.is_integer_dtype(dtype):
        return DataType.long
    return DataType.double if pd.api.types.is_float_dtype(dtype) else DataType.string


def clean_metric(value: float) -> float:
    """Round a metric to nine significant digits, and to zero what is closer to zero than 1e-12.

    Examples
    --------
    >>> clean_metric(1.0000000000000002), clean_metric(2.2e-308), clean_metric(0.1 + 0.2)
    (1.0, 0.0, 0.3)
    """
    return 0.0 if abs(value) < SMALLEST_METRIC else float(f"{value:.{METRIC_DIGITS}g}")


def _get_experiment_id(client: MlflowClient, tracking_uri: str, name: str) -> str:
    """Return the experiment; create it, and write its description unless a person wrote one."""
    found = client.get_experiment_by_name(name)
    if found is None:
        made = client.create_experiment(
            name,
            artifact_location=_locate_artifacts(tracking_uri),
            tags={MLFLOW_RUN_NOTE: HOW_TO_READ},
        )
        return str(made)
    if MLFLOW_RUN_NOTE not in found.tags:
        client.set_experiment_tag(found.experiment_id, MLFLOW_RUN_NOTE, HOW_TO_READ)
    return str(found.experiment_id)


def _locate_artifacts(tracking_uri: str) -> str | None:
    """Return the artifact folder next to an SQLite file; a server chooses its own."""
    path = tracking_uri.removeprefix("sqlite:///")
    if path == tracking_uri:
        return None
    return (Path(path).absolute().parent / ARTIFACT_FOLDER).as_uri()


@contextmanager
def _quiet_migrations() -> Iterator[None]:
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
    numbers = [(name, 0, value) for name, value in record.metrics.items()]
    numbers += [(name, step, value) for name, values in record.series.items() for step, value in values]
    metrics = [
        Metric(name, clean_metric(value), now, step) for name, step, value in numbers if math.isfinite(value)
    ]
    params = [
        Param(name, _format_param(value)[:MAX_PARAM_CHARACTERS]) for name, value in record.params.items()
    ]
    for start in range(0, len(metrics), MAX_METRICS_PER_CALL):
        client.log_batch(run_id, metrics=metrics[start : start + MAX_METRICS_PER_CALL])
    for start in range(0, len(params), MAX_PARAMS_PER_CALL):
        client.log_batch(run_id, params=params[start : start + MAX_PARAMS_PER_CALL])


def _format_param(value: Any) -> str:
    """Format a setting for people."""
    if value is None or value == ():
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _log_inputs(client: MlflowClient, run_id: str, record: RunRecord) -> None:
    """Log the input tables with our hash of all rows; MLflow's own hash covers only the first rows."""
    given = {
        name: InputTable(table) if isinstance(table, int) else table for name, table in record.inputs.items()
    }
    whole = record.tags.get("data_sha256", "")
    inputs = [
        DatasetInput(
            Dataset(
                name,
                (table.digest or whole)[:MAX_DIGEST_CHARACTERS],
                source_type="code" if table.source is None else "local",
                source=json.dumps({"tags": {}} if table.source is None else {"uri": table.source}),
                schema=table.schema or None,
                profile=json.dumps({"num_rows": table.rows}),
            ),
            [InputTag(MLFLOW_DATASET_CONTEXT, table.context)],
        )
        for name, table in given.items()
    ]
    if inputs:
        client.log_inputs(run_id, datasets=inputs)
