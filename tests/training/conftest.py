"""What tests of training share: a registered run, the same run again, and a second version after a search."""

import pytest
from support.trained_run import AT_ONE_DATE, CONFIG, TARGET, SharedRun, train_shared_run

from training.fitting.diagnostics import DiagnosticsOptions, SearchBudget
from training.runs.registered_run import run_training
from training.runs.task import TrainingTask
from training.runs.train import TrainingResult, train_model


@pytest.fixture(scope="session")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> SharedRun:
    return train_shared_run(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def repeated(shared_run: SharedRun) -> TrainingResult:
    """The training of the shared run again, without truth and ablation, and on one job."""
    return train_model(TrainingTask(shared_run.tables, shared_run.as_of, TARGET, CONFIG))


@pytest.fixture(scope="session")
def searched(shared_run: SharedRun, tmp_path_factory: pytest.TempPathFactory) -> SharedRun:
    """Version 2 of a copy of the store, trained on the same tables with a search and evaluated at one date."""
    folder = tmp_path_factory.mktemp("searched")
    own = shared_run.copy_store(folder)
    studies = DiagnosticsOptions(search=SearchBudget(2, study=folder / "search.log"))
    task = TrainingTask(own.tables, own.as_of, TARGET, AT_ONE_DATE, diagnostics=studies)
    return SharedRun(own.world, run_training(task, own.registry.tracking_uri, register=True), own.registry)
