"""One world for the tests of the simulation and of what is measured of it: a lane with five NPS in a thousand."""

import pytest

from benchmarks.realism import SimulatedPeriod, simulate_period
from training.simulation.parameters import load_parameters


@pytest.fixture(scope="session")
def lived_lane() -> SimulatedPeriod:
    return simulate_period(load_parameters(), days=60, per_day=400, prevalence="operation", seed=2)
