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


def run(findings, policy, seed):
    return findings.runs.set_index(["policy", "seed"]).loc[(policy, seed)]


def test_finds_are_counted_after_the_warm_up_and_within_the_capacity(findings):
    mine = run(findings, "greedy", 1)
    assert (mine["found"], mine["opened"], mine["sent"], mine["found_on_tips"]) == (1, 6, 3, 1)
    assert mine["hit_rate"] == pytest.approx(1 / 6)
    assert mine["offence_rate"] == pytest.approx(4 / 6)
    assert mine["share_of_oracle"] == pytest.approx(1 / 3)


def test_policies_stand_best_first_with_differences_seed_by_seed(findings):
    table = findings.policies.set_index("policy")
    assert list(table.index) == ["oracle", "explore", "greedy"]
    assert table.loc["explore", "found_more_than_greedy"] == 1
    assert table.loc["explore", "found_more_than_greedy_low"] == 1
    assert table.loc["greedy", "found_low"] < 1.5 < table.loc["greedy", "found_high"]


def test_weeks_add_up(findings):
    mine = findings.weeks.query("policy == 'explore' and seed == 1")
    assert mine["week"].tolist() == [2, 3, 4]
    assert mine["found_so_far"].tolist() == [0, 1, 2]


def test_what_was_missed_is_told_by_kind_of_network_and_by_channel(findings):
    table = findings.missed.set_index(["by", "value", "policy"])
    khat = table.loc[("network", "khat_network", "greedy")]
    assert (khat["sent"], khat["found"], khat["missed"]) == (2, 1, 1)
    assert table.loc[("channel", "postal", "oracle"), "share_found"] == 1


def test_the_first_sentence_names_the_policy_to_run_and_not_the_oracle(findings):
    assert findings.sentences[0].startswith("Run explore. ")
    assert "83.3 % of the oracle's detections" in findings.sentences[0]


def test_policies_that_seeds_do_not_tell_apart_are_named():
    found = {**FOUND, "explore": {1: (1, 1, 0), 2: (1, 0, 1)}}
    assert (
        "Over these seeds the difference to greedy is not significant."
        in compute_results(contest(found)).sentences
    )


def test_the_price_of_exploring_is_told_with_its_interval(findings):
    assert "changes the number of detections by +66.7 % (+66.7 % to +66.7 %)" in findings.sentences[-1]
    unequal = compute_results(contest({**FOUND, "explore": {1: (0, 0, 0), 2: (1, 1, 1)}}))
    assert "by 0 % (" in unequal.sentences[-1]
    assert "the difference is not significant" in unequal.sentences[-1]


def test_a_reference_and_an_oracle_without_a_detection_give_numbers_and_no_infinite_share():
    nothing = {1: (0, 0, 0), 2: (0, 0, 0)}
    found = compute_results(contest({"greedy": nothing, "explore": FOUND["explore"], "oracle": nothing}))
    assert "changes the number of detections by +2.5 (-3.9 to +8.9)" in found.sentences[-1]
    assert not np.isinf(found.runs["share_of_oracle"]).any()
    once = compute_results(contest({**FOUND, "greedy": {1: (0, 0, 0), 2: (1, 0, 1)}}))
    assert "by +150 %" in once.sentences[-1]


def test_one_seed_gives_no_interval():
    only = {policy: {1: seeds[1]} for policy, seeds in FOUND.items()}
    found = compute_results(contest(only))
    assert np.isnan(found.policies["found_low"]).all()
    assert "one seed gives no interval" in found.sentences[-1]


def test_the_interval_over_seeds_is_students():
    estimate = estimate_over_seeds(pd.Series([1.0, 2.0, 3.0]))
    assert (estimate.value, round(estimate.low, 4), round(estimate.high, 4)) == (2.0, -0.4841, 4.4841)


def test_where_there_was_nothing_to_find_that_is_said():
    held = contest()
    with pytest.raises(BadInput, match="nothing to detect"):
        compute_results(replace(held, positives=held.positives.head(0)))
