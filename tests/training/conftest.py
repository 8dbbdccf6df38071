"""What tests of training share: a lane with five NPS in a thousand, a registered run, and the same run again."""

import pytest
from support.trained_run import CONFIG, TARGET, SharedRun, train_shared_run

from benchmarks.realism import SimulatedPeriod, simulate_period
from training.runs.task import TrainingTask
from training.runs.train import TrainingResult, train_model
from training.simulation.parameters import load_parameters


@pytest.fixture(scope="session")
def lived_lane() -> SimulatedPeriod:
    return simulate_period(load_parameters(), days=60, per_day=320, prevalence="operation", seed=2)


@pytest.fixture(scope="session")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> SharedRun:
    return train_shared_run(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def repeated(shared_run: SharedRun) -> TrainingResult:
    """The training of the shared run again, without truth and ablation, and on one job."""
    return train_model(TrainingTask(shared_run.tables, shared_run.as_of, TARGET, CONFIG))
