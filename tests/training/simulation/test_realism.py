"""The acceptance of the simulated world, on a small one; docs/simulator.md has the figures of a large one."""

import numpy as np
import pytest

from benchmarks import realism
from training.simulation.parameters import load_parameters


def test_no_single_field_gives_nps_away(lived_lane):
    aucs = realism.measure_field_aucs(lived_lane.tables.consignments, lived_lane.nps)
    assert len(aucs) > 30
    assert 0.6 < max(aucs.values()) <= 0.85, aucs


def test_names_of_substances_find_few_of_the_nps(lived_lane):
    found = realism.match_descriptions(lived_lane, realism.list_substance_names(load_parameters()))
    assert 0 < found[lived_lane.nps].mean() < 0.10
    assert found[~lived_lane.nps].mean() < 0.001


@pytest.mark.parametrize("world", ["lived_lane", "enriched"])
def test_look_alikes_outnumber_nps_by_thirty(world, request):
    assert realism.compute_look_alike_ratio(request.getfixturevalue(world)) > 28


def test_each_sign_is_weak_and_points_the_right_way():
    """2 to 10 in the large worlds of the report; here fewer networks send, so the bounds are wider.

    Powder covers are left out: with so many NPS most honest goods are look-alikes, and they are powders.
    """
    crowded = load_parameters().replace(prevalence={"operation": {"nps": 0.02}})
    living = realism.simulate_period(crowded, days=60, per_day=200, prevalence="operation", seed=2)
    assert living.nps.sum() > 200
    found = realism.measure_signs(living.sent)
    assert len(found) == 11
    del found["powder_cover_to_private_person"]
    assert all(0.0 < tell.negatives < tell.positives for tell in found.values()), found
    assert all(tell.ratio < 16 for tell in found.values()), found


def test_openings_hit_as_often_as_the_sources_say(enriched):
    """30 to 34 % of opened mail held prohibited goods (ANAO; 2016-17); the spec allows 25 to 40 %."""
    results = realism.InspectionResults.from_tables(enriched.tables)
    assert 0.22 < results.hits < 0.40
    assert 0.008 < results.compute_share("nps") < 0.10


def test_the_laboratory_takes_a_median_of_ten_days(lived_lane):
    results = realism.InspectionResults.from_tables(lived_lane.tables)
    days = results.compute_laboratory_days()
    assert 7 < np.median(days) < 14
    assert 25 < np.quantile(days, 0.95) < 75
    assert 0.25 < (results.submitted["result"] == "clear").mean() < 0.65


def test_networks_leave_their_names_behind_after_a_seizure(lived_lane):
    kept = realism.measure_kept_senders(lived_lane, range(-2, 5))
    assert kept[-1] == 1.0
    assert kept[4] < 0.6
