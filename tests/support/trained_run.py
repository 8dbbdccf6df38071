"""One small training run, in a store, from which tests of its figures, artifacts, pages and versions start; and its tables as files."""

import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from mlflow import MlflowClient
from support.stores import NAME, create_store

from consignments.files.table_writers import write_table
from consignments.records import Alert, Consignment, Outcome
from consignments.tables import read_table, stream_table
from features.batch import Tables
from features.streams import FeatureInputs
from models.registry import ModelVersion, Registry
from training.config import parse_config
from training.fitting.diagnostics import DiagnosticsOptions
from training.runs.registered_run import RegisteredRun, run_training
from training.runs.task import TrainingTask
from training.simulation.operation import SimulatedTables, simulate
from training.simulation.parameters import load_parameters

SETTINGS = {
    "split": {"validation_days": 14, "test_days": 14, "label_delay_days": 10},
    "model": {"trees": 10},
    "evaluation": {"name_rows": 60, "smallest_slice": 10, "origins": 2},
}
CONFIG = parse_config(SETTINGS)
AT_ONE_DATE = parse_config(SETTINGS | {"evaluation": SETTINGS["evaluation"] | {"origins": 0}})
"""The same settings, evaluated at one date."""
TARGET = "any_offence"
GOODS = "<b>pigment</b> & sample"
"""Goods text of some of the consignments in which something is found."""


@dataclass(frozen=True)
class SharedRun:
    """A registered run with truth and ablation, the tables that it learnt from, and its store; nobody approved it."""

    world: SimulatedTables
    run: RegisteredRun
    registry: Registry

    @property
    def tables(self) -> Tables:
        return Tables(self.world.consignments, self.world.outcomes, self.world.alerts)

    @property
    def as_of(self) -> datetime:
        return self.run.trained.as_of

    @property
    def version(self) -> ModelVersion:
        return self.registry.resolve(self.run.model_uri or "")

    @cached_property
    def folder(self) -> Path:
        """What the run left behind, as MLflow keeps it."""
        return Path(MlflowClient(self.registry.tracking_uri).download_artifacts(self.run.run_id, ""))

    def copy_store(self, folder: Path) -> "SharedRun":
        """Give the run in a store of its own, whose tags, aliases and versions a test may change."""
        shutil.copy(self.registry.tracking_uri.removeprefix("sqlite:///"), folder / NAME)
        return SharedRun(self.world, self.run, Registry(f"sqlite:///{folder / NAME}"))


def write_tables(world: SimulatedTables, folder: Path) -> Path:
    """Write the tables as Parquet files, those of consignments in parts."""
    (folder / "consignments").mkdir()
    for number, begin in enumerate(range(0, len(world.consignments), 1500)):
        part = world.consignments.iloc[begin : begin + 1500]
        write_table(part, folder / "consignments" / f"{number}.parquet")
    write_table(world.outcomes, folder / "outcomes.parquet")
    write_table(world.alerts, folder / "alerts.parquet")
    return folder


def open_inputs(folder: Path) -> FeatureInputs:
    """Open such files, to be read in chunks."""
    return FeatureInputs(
        stream_table(folder / "consignments", Consignment, piece_rows=400),
        outcomes=read_table(folder / "outcomes.parquet", Outcome).frame,
        alerts=read_table(folder / "alerts.parquet", Alert).frame,
    )


def simulate_marked() -> SimulatedTables:
    """Simulate ninety days with twice the usual inspections, of which some goods texts hold markup."""
    busy = load_parameters().replace(prevalence={"operation": {"opened": 0.04}})
    world = simulate(busy, days=90, per_day=60, prevalence="operation", seed=8)
    found = world.truth["consignment_id"][world.truth["result"] != "clear"].iloc[::3]
    texts = world.consignments["description"]
    marked = texts.mask(world.consignments["consignment_id"].isin(found), GOODS)
    return replace(world, consignments=world.consignments.assign(description=marked))


def train_shared_run(folder: Path) -> SharedRun:
    world = simulate_marked()
    tables = Tables(world.consignments, world.outcomes, world.alerts)
    diagnostics = DiagnosticsOptions(ablation=("route", "history.sender"))
    task = TrainingTask(tables, None, TARGET, CONFIG, world.truth, diagnostics)
    registry = Registry(create_store(folder))
    return SharedRun(world, run_training(task, registry.tracking_uri, register=True, jobs=2), registry)
