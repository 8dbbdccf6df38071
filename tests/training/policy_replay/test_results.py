"""Claims about what a contest comes to, on tables small enough to count by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from support.replayed import FOUND, contest

from consignments.errors import BadInput
from training.policy_replay.results import compute_results, estimate_over_seeds


@pytest.fixture(scope="module")
def findings():
    return compute_results(contest())


def test_finds_are_counted_after_the_warm_up_and_within_the_capacity_and_weeks_add_up(findings):
    mine = findings.runs.set_index(["policy", "seed"]).loc[("greedy", 1)]
    assert (mine["found"], mine["opened"], mine["sent"], mine["found_on_tips"]) == (1, 6, 3, 1)
    shares = mine["hit_rate"], mine["offence_rate"], mine["share_of_oracle"]
    assert shares == pytest.approx((1 / 6, 4 / 6, 1 / 3))
    weeks = findings.weeks.query("policy == 'explore' and seed == 1")
    assert weeks["week"].tolist() == [2, 3, 4]
    assert weeks["found_so_far"].tolist() == [0, 1, 2]


def test_policies_stand_best_first_with_differences_seed_by_seed(findings):
    table = findings.policies.set_index("policy")
    assert list(table.index) == ["oracle", "explore", "greedy"]
    assert table.loc["explore", "found_more_than_greedy"] == 1
    assert table.loc["explore", "found_more_than_greedy_low"] == 1
    assert table.loc["greedy", "found_low"] < 1.5 < table.loc["greedy", "found_high"]
    # Student's t over the seeds.
    found = estimate_over_seeds(pd.Series([1.0, 2.0, 3.0]))
    assert (found.value, round(found.low, 4), round(found.high, 4)) == (2.0, -0.4841, 4.4841)


def test_what_was_missed_is_told_by_kind_of_network_and_by_channel(findings):
    table = findings.missed.set_index(["by", "value", "policy"])
    khat = table.loc[("network", "khat_network", "greedy")]
    assert (khat["sent"], khat["found"], khat["missed"]) == (2, 1, 1)
    assert table.loc[("channel", "postal", "oracle"), "share_found"] == 1


NOTHING = {1: (0, 0, 0), 2: (0, 0, 0)}
ALIKE = "Over these seeds the difference to greedy is not significant."


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({}, ["changes the number of detections by +66.7 % (+66.7 % to +66.7 %)"]),
        ({"explore": {1: (1, 1, 0), 2: (1, 0, 1)}}, [ALIKE]),
        ({"explore": {1: (0, 0, 0), 2: (1, 1, 1)}}, ["by 0 % (", "the difference is not significant"]),
        ({"greedy": {1: (0, 0, 0), 2: (1, 0, 1)}}, ["by +150 %"]),
        ({"greedy": NOTHING, "oracle": NOTHING}, ["the number of detections by +2.5 (-3.9 to +8.9)"]),
    ],
)
def test_the_price_of_exploring_is_told_with_its_interval(changes, sentences):
    found = compute_results(contest(FOUND | changes))
    assert [each for each in sentences if each not in " ".join(found.sentences)] == []
    assert not np.isinf(found.runs["share_of_oracle"]).any()


def test_one_seed_gives_no_interval():
    found = compute_results(contest({policy: {1: seeds[1]} for policy, seeds in FOUND.items()}))
    assert np.isnan(found.policies["found_low"]).all()
    assert "one seed gives no interval" in found.sentences[-1]


def test_if_there_was_nothing_to_find_that_is_said():
    held = contest()
    with pytest.raises(BadInput, match="nothing to detect"):
        compute_results(replace(held, positives=held.positives.head(0)))
