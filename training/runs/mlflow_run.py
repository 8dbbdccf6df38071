"""Logging of a training run to MLflow: its content, its child runs, and its registered version."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from consignments.records import Target
from features.streams import FeatureInputs
from models.registry import CHAMPION, ModelVersion, Registry
from training.data.data_hash import hash_tables
from training.fitting.search import SEARCH_SPACE
from training.reporting.mlflow_tracking import (
    MAX_DIGEST_CHARACTERS,
    InputTable,
    OpenRun,
    RunRecord,
    describe_schema,
    log_run,
)
from training.runs.input_example import build_example_consignments
from training.runs.result import TrainingResult

LINKED_METRICS = (
    *(
        "deployed/found_at_capacity",
        "deployed/effective_results",
        "deployed/recall_averaged",
        "deployed/recall_at_1pct",
        "deployed/precision_at_1pct",
    ),
    *("deployed/average_precision", "deployed/roc_auc", "deployed/calibration_ratio"),
)
"""Metrics that the page of the logged model shows too."""
ABLATION_METRICS = ("worth", "recall_at_1pct")
ENDS = ("", "_low", "_high")


@dataclass(frozen=True)
class TrainingInputs:
    """The tables of a training run, and the path of each one's file by its name."""

    tables: FeatureInputs
    truth: pd.DataFrame | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    def describe(self, trained: TrainingResult) -> dict[str, InputTable]:
        """Describe each table with its own hash, schema and path."""
        consignments = InputTable(
            trained.consignments.rows,
            hash_tables({"consignments": trained.consignments}),
            self.sources.get("consignments"),
            describe_schema(trained.data.observed.consignments),
        )
        others = {"outcomes": self.tables.outcomes, "alerts": self.tables.alerts, "truth": self.truth}
        return {"consignments": consignments} | {
            name: InputTable.from_frame(
                frame,
                hash_tables({name: frame}),
                self.sources.get(name),
                "evaluation" if name == "truth" else "training",
            )
            for name, frame in others.items()
            if frame is not None
        }


def find_champion(run: OpenRun, target: Target) -> str | None:
    """Find the number of the version that a registered one would replace; None if there is none."""
    champion = Registry(str(run.client.tracking_uri)).find_version(CHAMPION, target)
    return None if champion is None else champion.number


def log_training(
    run: OpenRun, name: str, description: str, trained: TrainingResult, inputs: TrainingInputs, folder: Path
) -> None:
    """Log the content of a training run whose artifacts are in a folder, and its studies as child runs."""
    record = RunRecord(
        name=name,
        description=description,
        tags=trained.tags,
        params={**describe_periods(trained), **trained.config.flatten()},
        metrics=trained.metrics,
        folder=folder,
        inputs=inputs.describe(trained),
    )
    run.log(record)
    for child in iterate_child_runs(trained, run.run_id):
        log_run(child, tracking_uri=str(run.client.tracking_uri))


def register_training(run: OpenRun, description: str, trained: TrainingResult, folder: Path) -> ModelVersion:
    """Register the final fit of a logged run as a new version, and show the main metrics on the page of the logged model."""
    version = Registry(str(run.client.tracking_uri)).register(
        run.run_id,
        folder / "bundle",
        example=build_example_consignments(trained.config.features),
        description=description,
        tags=trained.tags,
    )
    digest = hash_tables({"consignments": trained.consignments})[:MAX_DIGEST_CHARACTERS]
    linked = [name for name in LINKED_METRICS if name in trained.metrics]
    run.link_metrics(linked, ("consignments", digest))
    return version


def describe_periods(trained: TrainingResult) -> dict[str, str]:
    """Return the date and the periods of a run, as parameters that MLflow compares."""
    split = trained.data.split
    named = {"training": split.train, "validation": split.validation, "test": split.test}
    return {
        "as_of": trained.as_of.isoformat(),
        "target": trained.target,
        **{
            f"period.{name}": f"{period.begins:%Y-%m-%d} to {period.ends:%Y-%m-%d}"
            for name, period in named.items()
        },
    }


def iterate_child_runs(trained: TrainingResult, parent: str) -> Iterator[RunRecord]:
    """Yield the child runs: one for each trial of a search, and one for each group of features of an ablation."""
    tags = {"target": trained.target, "as_of": trained.as_of.isoformat()}
    for trial in trained.studied.trials:
        yield RunRecord(
            name=f"trial {trial['trial']}",
            description="A trial of the search, tested at the rolling origins before the test period.",
            tags={**tags, "kind": "trial", "best": str(bool(trial["best"])).lower()},
            params={name: trial[name] for name in SEARCH_SPACE},
            metrics={f"origins/{name}": float(trial[name]) for name in ABLATION_METRICS},
            parent=parent,
        )
    for row in trained.studied.ablation:
        yield RunRecord(
            name=f"without {row['group']}",
            description="A fit without a group of features: what is lost at the rolling origins before the test period.",
            tags={**tags, "kind": "ablation"},
            params={"group": row["group"], "features": row["features"]},
            metrics={
                f"loss/{name}{end}": float(row[f"{name}{end}"]) for name in ABLATION_METRICS for end in ENDS
            },
            parent=parent,
        )
