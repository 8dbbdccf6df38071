"""Training run with its artifacts, its record in MLflow and its registered version."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pandas as pd

from consignments.tables import build_frame
from features.batch import Progress, report_progress
from features.config import FeatureConfig
from models.registry import CHAMPION, ModelVersion, Registry
from models.signatures.keys import SigningKey
from training.data.data_hash import hash_tables
from training.evaluation.estimate import ENDS
from training.fitting.diagnostics import SEARCH_SPACE
from training.gate.report import GATE_COLUMNS, GateReport
from training.gate.rules import REFIT_RULE
from training.reporting.html import replace_gate
from training.reporting.mlflow_tracking import (
    MAX_DIGEST_CHARACTERS,
    NOTE_TAG,
    InputTable,
    RunRecord,
    build_addresses,
    log_run,
    open_run,
)
from training.reporting.tables import RunTable
from training.runs.artifacts import BUNDLE_FOLDER, build_training_record, check_gate, write_run_bundles
from training.runs.run_report import COMPARISON_FILE, FACTS_FILE, REPORT_END, REPORT_FILE
from training.runs.task import TrainingTask, require_outcomes
from training.runs.train import TrainingResult, train_model

EXAMPLE = Path(__file__).with_name("input_example.json")
ACTION_TAG = "recommendation"  # tag of a run: what the latest report of the gate recommends
REPRODUCED_TAG = "reproduced_at"  # tag of a run: the day on which a gate last repeated it
STUDY_MEASURES = ("worth", "recall_at_1pct")


@dataclass(frozen=True, repr=False)
class RegisteredRun:
    """A logged training run, and its version if it was registered."""

    trained: TrainingResult
    gate: GateReport
    run_id: str
    model_uri: str | None = None
    version: str | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return the run, its version if it has one, and its result."""
        return f"<RegisteredRun {self.run_id}, {self.model_uri or 'not registered'}, {self.trained!r}>"

    def summarize(self) -> str:
        """Return the summary of the run as text, for a terminal."""
        registered = [] if self.version is None else [f"registered as {self.model_uri} (challenger)"]
        addresses = [f"{what} in MLflow: {address}" for what, address in self.addresses.items()]
        advice = f"Recommendation: {self.gate.recommendation.action}. {self.gate.recommendation.sentence}"
        return "\n".join([*self.trained.sentences, f"run {self.run_id}", *registered, *addresses, advice])


def run_training(
    task: TrainingTask,
    store: str,
    *,
    register: bool = False,
    key: SigningKey | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> RegisteredRun:
    """Train, log the run with its artifacts in an MLflow store, and register the version if wanted.

    An approver or evaluator signs the evidence with their `key`. Any number of `jobs` gives the same model, to the last byte of its bundle.
    """
    require_outcomes(task.tables)
    tags = {"kind": "training", "target": task.target, "as_of": task.find_as_of().isoformat()}
    with open_run(task.build_title(), tags, tracking_uri=store) as run, TemporaryDirectory() as spare:
        trained, registry, folder = train_model(task, jobs, progress), Registry(store), Path(spare)
        addresses = build_addresses(store, run.run_id)
        with report_progress(progress, "writing report and bundle"):
            write_run_bundles(trained, folder)
            champion = registry.find_version(CHAMPION, task.target) if register else None
            number = None if champion is None else champion.number
            gate = check_gate(trained, folder, number, is_signed=key is not None)
            page = f"#{addresses['run'].partition('#')[2]}/artifacts/{REPORT_FILE}"
            record = build_training_record(trained, gate, folder, key, page)
        with report_progress(progress, "logging the run"):
            run.log(replace(record, inputs=_describe_inputs(task, trained)))
            for child in iterate_child_runs(trained, run.run_id):
                log_run(child, tracking_uri=store)
        if not register:
            return RegisteredRun(trained, gate, run.run_id, addresses=addresses)
        with report_progress(progress, "registering the version"):
            version = registry.register(
                run.run_id,
                folder / BUNDLE_FOLDER,
                example=build_example_consignments(trained.config.features),
                description=record.description,
                tags=trained.tags | {"verdict": gate.recommendation.action},
            )
            titles, page = "(</title>|</h1>)", str(record.files[REPORT_FILE])
            named = re.sub(titles, rf", version {version.number}\1", page, count=2)
            registry.client.log_text(run.run_id, named, REPORT_FILE)
            # The page of the logged model shows the main metrics too.
            digest = hash_tables({"consignments": trained.consignments})[:MAX_DIGEST_CHARACTERS]
            main = [each for each in trained.metrics if each.count("/") == 1]
            linked = [each for each in main if not each.endswith(ENDS[1:])]
            run.link_metrics(linked, ("consignments", digest))
        addresses = build_addresses(store, run.run_id, version.uri)
        return RegisteredRun(trained, gate, run.run_id, version.uri, version.number, addresses)


def write_review(
    registry: Registry, version: ModelVersion, report: GateReport, comparison: str | None = None
) -> None:
    """Replace what is said of a version by a report of the gate: on its page, in its run, and in its comparison."""
    action, training = report.recommendation.action, version.run_id
    records = [each.record for each in registry.list_signed_records(version.name)]
    own = [record for record in records if record.version == version.number]
    compared = report.comparison_run or (own[-1].comparison if own else None)
    address = build_addresses(registry.tracking_uri, training)["run"]
    # All runs are in one experiment.
    links = {"The comparison in MLflow": address.replace(training, compared)} if compared else {}
    # A new comparison has the report even if it rests on an earlier one, which is signed.
    for run_id in filter(None, {report.comparison_run, comparison}):
        _write_report(registry, run_id, COMPARISON_FILE, report, {"The training run in MLflow": address})
    said, verdict = (own[-1].to_markdown(own[:-1]), "promoted") if own else (report.to_markdown(), action)
    registry.write_description(version, _describe(registry, training, said, links), verdict)
    if (refit := report.rules.get(REFIT_RULE)) is not None and refit.held:
        registry.client.set_tag(training, REPRODUCED_TAG, f"{datetime.now(UTC):%Y-%m-%d}")
    versions = registry.client.search_model_versions(f"run_id='{training}'")
    is_first = all(int(each.version) >= int(version.number) for each in versions)
    # A run keeps the report of its first version, and of the first promotion.
    if report.recommendation.way == "goes back" or len(own) > (action == "promoted") or not is_first:
        return
    _write_report(registry, training, REPORT_FILE, report, links)


def _write_report(
    registry: Registry, run_id: str, page_file: str, report: GateReport, links: Mapping[str, str]
) -> None:
    """Replace the report of the gate in the description of a run, in its tag and table, and on its page."""
    registry.client.set_tag(run_id, NOTE_TAG, _describe(registry, run_id, report.to_markdown(), links))
    registry.client.set_tag(run_id, ACTION_TAG, report.recommendation.action)
    gate = RunTable(report.to_rows(), GATE_COLUMNS).to_json()
    registry.client.log_text(run_id, gate, "tables/gate.json")
    page = registry.read_run_artifact(run_id, page_file)
    if page is not None:
        registry.client.log_text(run_id, replace_gate(page.decode(), report, links), page_file)


def _describe(registry: Registry, run_id: str, said: str, links: Mapping[str, str]) -> str:
    """Describe a run or its version: what is said of it, links to other runs on the same server, and its facts."""
    linked = (f"\n\n[{text}](#{address.partition('#')[2]})" for text, address in links.items())
    facts = (registry.read_run_artifact(run_id, FACTS_FILE) or b"").decode()
    return f"{said}{''.join(linked)}{REPORT_END}{facts}"


def build_example_consignments(config: FeatureConfig) -> pd.DataFrame:
    """Build a table of two invented consignments as an input example of a model; no real person is in it."""
    record = config.build_record_type()
    rows = [msgspec.convert(row, record) for row in msgspec.json.decode(EXAMPLE.read_bytes())]
    return build_frame(rows, record)


def iterate_child_runs(trained: TrainingResult, parent: str) -> Iterator[RunRecord]:
    """Yield the child runs: one for each trial of a search, and one for each feature or group of an ablation."""
    tags = {"target": trained.target, "as_of": trained.as_of.isoformat()}
    for row in trained.studied.trials:
        text = "A trial of the search, tested at the rolling origins before the test period."
        own = {**tags, "kind": "trial", "best": str(bool(row["best"])).lower()}
        params = {name: row[name] for name in SEARCH_SPACE}
        metrics = {f"origins/{name}": float(row[name]) for name in STUDY_MEASURES}
        yield RunRecord(f"trial {row['trial']}", text, own, params, metrics, parent=parent)
    for row in trained.studied.ablation:
        text = "A fit without a feature or group of them: what is lost at the rolling origins before the test period."
        params = {name: row[name] for name in ("left_out", "kind", "features")}
        metrics = {f"loss/{name}{end}": float(row[f"{name}{end}"]) for name in STUDY_MEASURES for end in ENDS}
        own = {**tags, "kind": "ablation"}
        yield RunRecord(f"without {row['left_out']}", text, own, params, metrics, parent=parent)


def _describe_inputs(task: TrainingTask, trained: TrainingResult) -> dict[str, InputTable]:
    given = {"outcomes": task.inputs.outcomes, "alerts": task.inputs.alerts, "truth": task.truth}
    source = task.sources.get
    hashed = hash_tables({"consignments": trained.consignments})
    found = {"consignments": InputTable(trained.consignments.rows, hashed, source("consignments"))}
    for name, frame in given.items():
        if frame is not None:
            use = "evaluation" if name == "truth" else "training"
            found[name] = InputTable(len(frame), hash_tables({name: frame}), source(name), use)
    return found
