"""Logging of a run to MLflow with explicit calls of a client with its own address; MLflow's global state is not changed."""

import getpass
import json
import math
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus
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
from models.formats import round_significant
from models.mlflow_model.folder import quiet_loggers
from models.registry import EXPERIMENT
from training.reporting.html import TEMPLATES
from training.reporting.tables import RunTable, format_setting

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
LOCAL_PAGES = "http://127.0.0.1:5000"  # where `mlflow ui` shows a store that is a file
ARTIFACT_FOLDER = "mlartifacts"  # folder of the artifacts next to an SQLite file
MAX_METRICS_PER_CALL, MAX_PARAMS_PER_CALL = 1000, 100
MAX_PARAM_CHARACTERS = 500
MAX_DIGEST_CHARACTERS = 36
SMALLEST_METRIC = 1e-12  # metrics closer to zero are logged as zero: bounds of exact intervals may be 1e-308
ERROR_TAG, NOTE_TAG = "error", MLFLOW_RUN_NOTE  # tags of a run: why it failed, and its description
GIT_SECONDS = 5
HOW_TO_READ = (TEMPLATES / "experiment.md").read_text(encoding="utf-8")


class InputTable(NamedTuple):
    """An input table of a run: its rows, hash, the path of its file, and its use."""

    rows: int
    digest: str = ""
    source: str | None = None
    context: str = "training"

    def describe(self, name: str, whole: str) -> DatasetInput:
        """Describe it for MLflow with our hash of all rows, by default that of the `whole` input; MLflow's own covers the first rows."""
        source: dict[str, Any] = {"tags": {}} if self.source is None else {"uri": self.source}
        kind = "code" if self.source is None else "local"
        digest = (self.digest or whole)[:MAX_DIGEST_CHARACTERS]
        rows = json.dumps({"num_rows": self.rows})
        table = Dataset(name, digest, kind, json.dumps(source), None, rows)
        return DatasetInput(table, [InputTag(MLFLOW_DATASET_CONTEXT, self.context)])


@dataclass(frozen=True)
class RunRecord:
    """Content of a run; its artifacts are tables, files by their path, and all that is in a folder."""

    name: str
    description: str
    tags: Mapping[str, str]
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    inputs: Mapping[str, InputTable] = field(default_factory=dict)
    tables: Mapping[str, RunTable] = field(default_factory=dict)
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    folder: Path | None = None
    parent: str | None = None

    def list_files(self) -> dict[str, bytes]:
        """List the contents of tables and files by their path; those of the folder are not in the list."""
        tables = {f"tables/{name}.json": table.to_json() for name, table in self.tables.items()}
        texts = {**tables, **self.files}.items()
        return {path: each.encode() if isinstance(each, str) else each for path, each in texts}

    def add_files(self, files: Mapping[str, str | bytes]) -> "RunRecord":
        """Return the record with further files."""
        return replace(self, files={**self.files, **files})

    def write(self, folder: Path) -> None:
        """Write tables and files into a folder."""
        for path, content in self.list_files().items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


@dataclass
class OpenRun:
    """A run that has started and has not ended."""

    client: MlflowClient
    run_id: str

    def log(self, record: RunRecord) -> None:
        """Log the content of the run."""
        for tag, text in {**record.tags, NOTE_TAG: record.description}.items():
            self.client.set_tag(self.run_id, tag, text)
        now = time.time_ns() // 1_000_000
        numbers = [(name, 0, value) for name, value in record.metrics.items()]
        numbers += [(name, step, value) for name, values in record.series.items() for step, value in values]
        known = [each for each in numbers if math.isfinite(each[2])]
        metrics = [Metric(name, _round_metric(value), now, step) for name, step, value in known]
        params = [
            Param(name, format_setting(value)[:MAX_PARAM_CHARACTERS]) for name, value in record.params.items()
        ]
        for start in range(0, len(metrics), MAX_METRICS_PER_CALL):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + MAX_METRICS_PER_CALL])
        for start in range(0, len(params), MAX_PARAMS_PER_CALL):
            self.client.log_batch(self.run_id, params=params[start : start + MAX_PARAMS_PER_CALL])
        if record.inputs:
            whole = record.tags.get("data_sha256", "")
            datasets = [each.describe(name, whole) for name, each in record.inputs.items()]
            self.client.log_inputs(self.run_id, datasets=datasets)
        with TemporaryDirectory() as spare:
            folder = record.folder or Path(spare)
            record.write(folder)
            self.client.log_artifacts(self.run_id, str(folder))
        tables = [{"path": f"tables/{name}.json", "type": "table"} for name in sorted(record.tables)]
        self.client.set_tag(self.run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps(tables))

    def link_metrics(self, names: Sequence[str], table: tuple[str, str]) -> None:
        """Show metrics of the run also on the page of the model that it logged, with the input table (name, digest)."""
        outputs = self.client.get_run(self.run_id).outputs
        assert outputs is not None
        model = outputs.model_outputs[-1].model_id
        points = [point for metric in names for point in self.client.get_metric_history(self.run_id, metric)]
        linked = [Metric(each.key, each.value, each.timestamp, each.step, model, *table) for each in points]
        self.client.log_batch(self.run_id, metrics=linked)


def log_run(record: RunRecord, *, tracking_uri: str = DEFAULT_TRACKING_URI) -> str:
    """Log a run to MLflow, and return its identifier."""
    with open_run(record.name, record.tags, tracking_uri=tracking_uri, parent=record.parent) as run:
        run.log(record)
    return run.run_id


@contextmanager
def open_run(
    name: str, tags: Mapping[str, str], *, tracking_uri: str, parent: str | None = None
) -> Iterator[OpenRun]:
    """Start a run, and end it: as failed if an error occurs, as killed if it is interrupted."""
    # A new SQLite file has a log of migrations, about sixty lines.
    with quiet_loggers("alembic", "mlflow.store.db.utils"):
        client = MlflowClient(tracking_uri=tracking_uri)
        experiment_id = _get_experiment_id(client, tracking_uri)
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
    client.set_terminated(run.run_id)


def build_addresses(tracking_uri: str, run_id: str, version: str | None = None) -> dict[str, str]:
    """Build the addresses of a run in MLflow's pages: of all runs, of the run, and of a version as `models:/NAME/NUMBER`."""
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


def _get_experiment_id(client: MlflowClient, tracking_uri: str) -> str:
    """Return the experiment; create it, and write its description unless a person wrote one."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        # Next to an SQLite file; a server chooses its own place.
        path = tracking_uri.removeprefix("sqlite:///")
        place = None if path == tracking_uri else (Path(path).absolute().parent / ARTIFACT_FOLDER).as_uri()
        tags = {NOTE_TAG: HOW_TO_READ}
        return str(client.create_experiment(EXPERIMENT, artifact_location=place, tags=tags))
    if NOTE_TAG not in found.tags:
        client.set_experiment_tag(found.experiment_id, NOTE_TAG, HOW_TO_READ)
    return str(found.experiment_id)


def _round_metric(value: float) -> float:
    return 0.0 if abs(value) < SMALLEST_METRIC else round_significant(value)
