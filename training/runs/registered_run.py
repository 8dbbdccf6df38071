"""Training run with its artifacts, its record in MLflow and its registered version."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.batch import Progress, report_progress
from models.signatures.keys import SigningKey
from training.gate.report import GateReport
from training.runs.artifacts import REPORT_FILE, write_artifacts
from training.runs.evidence import build_training_evidence, write_evidence
from training.runs.result import TrainingResult
from training.runs.run_report import describe_run
from training.runs.task import TrainingTask, require_outcomes
from training.runs.train import train_model

Floats = NDArray[np.float64]


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
    key : SigningKey, optional
        Of an approver or evaluator, who signs the evidence of the run.
    """

    out_dir: Path | None = None
    tracking_uri: str | None = None
    register: bool = False
    key: SigningKey | None = None


@dataclass(frozen=True, repr=False)
class RegisteredRun:
    """A logged run."""

    trained: TrainingResult
    gate: GateReport
    run_id: str | None = None
    model_uri: str | None = None
    version: str | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return the run, its version if it has one, and its result."""
        return f"<RegisteredRun {self.run_id}, {self.model_uri or 'not registered'}, {self.trained!r}>"

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
        """Scores of these consignments."""
        return self.trained.test_scores

    def summarize(self) -> str:
        """Return the summary of the run as text, for a terminal."""
        lines = list(self.trained.sentences)
        if self.run_id is not None:
            lines.append(f"run {self.run_id}")
        if self.version is not None:
            lines.append(f"registered as {self.model_uri} (challenger)")
        lines += [f"{what} in MLflow: {address}" for what, address in self.addresses.items()]
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
            gate = _write_artifacts(trained, folder, destination.key, progress)
        return RegisteredRun(trained, gate)
    from training.reporting.mlflow_tracking import build_addresses, open_run
    from training.runs.mlflow_run import (
        TrainingInputs,
        find_champion,
        log_training,
        register_training,
    )

    require_outcomes(task.tables)
    title, as_of = task.build_title(), task.find_as_of()
    tags = {"kind": "training", "target": task.target, "as_of": as_of.isoformat()}
    with (
        open_run(title, tags, tracking_uri=destination.tracking_uri) as run,
        _choose_folder(destination) as folder,
    ):
        report = _combine_progress(progress, run.report_progress)
        trained = train_model(task, jobs, report)
        champion = find_champion(run, task.target) if destination.register else None
        gate = _write_artifacts(trained, folder, destination.key, report, champion)
        addresses = build_addresses(destination.tracking_uri, run.run_id)
        text = describe_run(trained, gate, f"#{addresses['run'].partition('#')[2]}/artifacts/{REPORT_FILE}")
        with report_progress(report, "logging the run"):
            inputs = TrainingInputs(task.inputs, task.truth, task.sources)
            log_training(run, title, text, trained, inputs, folder)
        if not destination.register:
            return RegisteredRun(trained, gate, run.run_id, addresses=addresses)
        with report_progress(report, "registering the version"):
            version = register_training(run, text, trained, folder)
        addresses = build_addresses(destination.tracking_uri, run.run_id, version.uri)
        return RegisteredRun(trained, gate, run.run_id, version.uri, version.number, addresses)


@contextmanager
def _choose_folder(destination: RunDestination) -> Iterator[Path]:
    """Return the folder of the artifacts, a temporary one if none is wanted."""
    if destination.out_dir is not None:
        yield destination.out_dir
        return
    with TemporaryDirectory() as spare:
        yield Path(spare) / "run"


def _write_artifacts(
    trained: TrainingResult,
    folder: Path,
    key: SigningKey | None,
    progress: Progress | None,
    champion: str | None = None,
) -> GateReport:
    with report_progress(progress, "writing report and bundle"):
        gate = write_artifacts(trained, folder, champion, is_signed=key is not None)
        write_evidence(folder, build_training_evidence(trained, folder), key)
    return gate


def _combine_progress(*reports: Progress | None) -> Progress:
    """Combine callbacks into one that calls them all."""

    def report(what: str, done: int, total: int) -> None:
        for each in reports:
            if each is not None:
                each(what, done, total)

    return report
