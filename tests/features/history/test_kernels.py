"""The numbers of the kernels of history, and the places they write to; what they count is tested through their table."""

import pytest

from features.history.kernels import DECAY, DECAYED, FINDS, NEW, SIDE_COUNT, SINCE_FIND, VELOCITY, WIDTH
from features.history.readings import READINGS, SIDES


def test_the_decay_halves_every_seven_and_every_thirty_days() -> None:
    assert DECAY[[0, 7, 14], 0] == pytest.approx([1, 1 / 2, 1 / 4])
    assert DECAY[[0, 30, 90], 1] == pytest.approx([1, 1 / 2, 1 / 8])


def test_the_kernel_writes_readings_where_the_spec_names_them() -> None:
    names = [reading.name for reading in READINGS]
    places = {NEW: "new", DECAYED: "decayed_7d", VELOCITY: "velocity", SINCE_FIND: "days_since_find"}
    assert [names[place] for place in places] == list(places.values())
    assert names[FINDS : FINDS + 2] == ["nps_365d", "nps_ever"]
    assert (len(READINGS), len(SIDES)) == (WIDTH, SIDE_COUNT)
