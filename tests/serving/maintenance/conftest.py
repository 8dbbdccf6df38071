"""Logs that many tests read, made once; a test that changes one copies it first."""

from pathlib import Path

import pytest
from support.databases import copy_state
from support.serving_past import make_past
from support.serving_world import live_through_a_world
from support.site import Site

MARKED = "marker goods"
MARKED_NAME = "Marker Personname"


@pytest.fixture(scope="session")
def lived_world(tmp_path_factory: pytest.TempPathFactory, bundle: Path, other_bundle: Path) -> Path:
    """The state directory of a service that lived through much, with two models of other keys of history."""
    return live_through_a_world(tmp_path_factory.mktemp("world") / "state", bundle, other_bundle)


@pytest.fixture
def state(lived_world: Path, tmp_path: Path) -> Path:
    return copy_state(lived_world, tmp_path / "state")


@pytest.fixture(scope="session")
def lived_past(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    """The state directory of a log of old consignments and later ones."""
    return make_past(tmp_path_factory.mktemp("past") / "state", bundle)


@pytest.fixture(scope="session")
def few_decisions(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    """The state directory of three consignments of one sender, of which RB1 is amended between the others."""
    made = Site(tmp_path_factory.mktemp("few") / "state", bundle)
    with made.serve() as client:
        for number, weight in ((1, 1.0), (2, 1.0), (1, 2.0), (3, 1.0)):
            client.score(f"RB{number}", sender_name=MARKED_NAME, description=MARKED, gross_weight_kg=weight)
    return made.folder


@pytest.fixture
def few(few_decisions: Path, tmp_path: Path) -> Path:
    return copy_state(few_decisions, tmp_path / "state")


@pytest.fixture
def past(lived_past: Path, tmp_path: Path) -> Path:
    return copy_state(lived_past, tmp_path / "state")
