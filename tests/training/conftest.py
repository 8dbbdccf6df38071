"""What tests of training share: a small bundle, a registered run, the same run again, and a second version after a search."""

from dataclasses import replace

import pandas as pd
import pytest
from support.serving_examples import make_bundle
from support.trained_run import (
    AT_ONE_DATE,
    CONFIG,
    TARGET,
    SharedRun,
    open_inputs,
    train_shared_run,
    write_tables,
)

from features.config import FeatureConfig
from models.bundle import Bundle, load_bundle
from training.fitting.diagnostics import DiagnosticsOptions, SearchBudget
from training.runs.registered_run import run_training
from training.runs.task import TrainingTask
from training.runs.train import TrainingResult, train_model


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small model that was never trained on what tests show it."""
    return load_bundle(make_bundle(tmp_path_factory.mktemp("small") / "bundle", FeatureConfig(), seed=1))


@pytest.fixture(scope="session")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> SharedRun:
    return train_shared_run(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def repeated(shared_run: SharedRun, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """The same training without truth and ablation, on one job, of files that are read in chunks and also hold what came later."""
    world, as_of = shared_run.world, pd.Timestamp(shared_run.as_of)
    last = world.consignments.tail(50)
    received = last["received_at"] + pd.Timedelta(days=200)
    later = last.assign(consignment_id=[f"later-{n}" for n in range(50)], received_at=received)
    visible = world.outcomes[world.outcomes["known_at"] <= as_of]
    corrected = visible.assign(result="nps", known_at=as_of + pd.Timedelta(days=1))
    consignments = pd.concat([world.consignments, later], ignore_index=True)
    outcomes = pd.concat([world.outcomes, corrected], ignore_index=True)
    more = replace(world, consignments=consignments, outcomes=outcomes)
    folder = write_tables(more, tmp_path_factory.mktemp("later"))
    return train_model(TrainingTask(open_inputs(folder), shared_run.as_of, TARGET, CONFIG))


@pytest.fixture(scope="session")
def trained(shared_run: SharedRun) -> TrainingResult:
    return shared_run.run.trained


@pytest.fixture(scope="session")
def searched(shared_run: SharedRun, tmp_path_factory: pytest.TempPathFactory) -> SharedRun:
    """Version 2 of a copy of the store, trained on the same tables with a search and evaluated at one date."""
    folder = tmp_path_factory.mktemp("searched")
    own = shared_run.copy_store(folder)
    studies = DiagnosticsOptions(search=SearchBudget(2, study=folder / "search.log"))
    task = TrainingTask(own.tables, own.as_of, TARGET, AT_ONE_DATE, diagnostics=studies)
    return SharedRun(own.world, run_training(task, own.registry.tracking_uri, register=True), own.registry)
