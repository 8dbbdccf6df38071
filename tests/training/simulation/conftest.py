"""Two worlds that several claims are made of: a lane, and one in which NPS are many."""

import pytest

from benchmarks.realism import SimulatedPeriod, simulate_period
from training.simulation.parameters import load_parameters


@pytest.fixture(scope="session")
def lived_lane() -> SimulatedPeriod:
    """A lane with five NPS in a thousand, so that figures about NPS rest on more than a few."""
    return simulate_period(load_parameters(), days=60, per_day=320, prevalence="operation", seed=2)


@pytest.fixture(scope="session")
def enriched() -> SimulatedPeriod:
    return simulate_period(load_parameters(), days=60, per_day=250, prevalence="enriched", seed=1)
