"""One world for the tests of the simulation and of what is measured of it: a lane with five NPS in a thousand."""

import pytest

from training.simulation.parameters import load_world
from training.simulation.realism import Lived, lived


@pytest.fixture(scope="session")
def lived_lane() -> Lived:
    return lived(load_world(), days=60, per_day=400, prevalence="operation", seed=2)
