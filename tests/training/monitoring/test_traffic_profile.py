"""The portrait: counts of traffic, with bins for what was never there."""

import numpy as np
import pytest
from support.examples import day, make_consignment

from consignments.records import Consignment
from consignments.tables import build_frame, check_frame
from features.config import FeatureConfig
from features.spec import Feature, Spec
from training.monitoring import traffic_profile

COUNT = Feature("made.count", "count", "c", "C is {value}")
SPEC = Spec([COUNT, Feature("category.service", "code", "s", "Service", fitted=True)])
F32 = np.float32


def test_a_feature_of_few_values_has_a_bin_for_each_and_for_what_was_never_there() -> None:
    edges = traffic_profile.compute_bin_edges(COUNT, np.array([1, 3, 3, np.nan], dtype=F32))
    places = traffic_profile.assign_bins(np.array([0, 1, 3, 99, np.nan], dtype=F32), edges)
    assert places.tolist() == [0, 1, 2, 3, 4]


def test_a_feature_of_many_values_has_bins_of_equal_counts() -> None:
    values = np.random.default_rng(1).lognormal(size=5000).astype(F32)
    edges = traffic_profile.compute_bin_edges(COUNT, values)
    counts = np.bincount(traffic_profile.assign_bins(values, edges))
    assert counts.min() >= 499
    assert counts.max() <= 501


def test_a_portrait_counts_what_is_there() -> None:
    records = [
        make_consignment(f"C{n}", received_at=day(n // 2), office=("Incheon", "Busan")[n % 2], hs_code=None)
        for n in range(8)
    ]
    frame = check_frame(build_frame(records, Consignment), Consignment).frame
    X = np.array([[n % 3, n % 2] for n in range(8)], dtype=F32)
    traffic = traffic_profile.ScoredTraffic(frame, X, SPEC, np.arange(8) / 10, FeatureConfig())
    portrait = traffic_profile.build_traffic_profile(traffic, capacity=1)
    assert (portrait.first_day, portrait.days, portrait.channels) == ("2024-03-04", 4, {"postal": 8})
    assert [sum(counts) for counts in portrait.features["postal"]] == [8, 8]
    assert portrait.means["postal"] == pytest.approx([0.875, 0.5])
    assert portrait.mix["office"] == {"Busan": 4, "Incheon": 4}
    assert portrait.missing["postal"]["hs_code"] == 8
    assert portrait.missing["postal"]["sender_name"] == 0
    assert portrait.sources["office"]["Busan"].longest_silence_days == 0
    # One of each office and day is taken, which is every consignment.
    assert portrait.expected_precision == pytest.approx(0.35)
    portrait.require_fit(SPEC, "here")


def test_rare_values_are_counted_together() -> None:
    values = np.array([*["A"] * 3, *(f"v{n:03d}" for n in range(300))], dtype=object)
    mix = traffic_profile.count_values(values)
    assert mix["A"] == 3
    assert mix[traffic_profile.OTHERS] == 303 - 3 - 199
    assert sum(mix.values()) == 303
