"""Claims about policies: what each takes of one offer."""

from collections import Counter

import numpy as np
import pytest

from consignments.errors import UnknownName
from features.spec import Feature, Spec
from training.policy_replay.policies import (
    POLICIES,
    RESULT_PRIORITY,
    BadChoice,
    SelectionContext,
    check_choices,
    get_policy,
)

SPEC = Spec(
    [
        Feature("history.sender.inspections_ever", "count", "finds", "{value}"),
        Feature("goods.names_specific", "count", "goods", "{value}"),
    ]
)
ROWS = 40
OFFICES = tuple("AB"[row % 2] for row in range(ROWS))
SCORES = np.linspace(0.9, 0.1, ROWS)


class Halves:
    """A model whose trees disagree about the later rows."""

    class trees:  # noqa: N801
        @staticmethod
        def compute_disagreement(X):
            return np.arange(len(X), dtype=np.float64)


def offer(**more):
    X = np.zeros((ROWS, 2), dtype=np.float32)
    X[:, 0] = np.arange(ROWS)[::-1]
    X[:, 1] = np.arange(ROWS) == 7
    values = {
        "consignment_ids": tuple(f"C{row}" for row in range(ROWS)),
        "offices": OFFICES,
        "day": 20_000,
        "capacity": 4,
        "explore": 0.25,
        "seed": 1,
        "X": X,
        "spec": SPEC,
        "scores": SCORES,
        "model": Halves(),
        "suspect": np.zeros(ROWS, dtype=bool),
    }
    return SelectionContext(**values | more)


def rows(picks):
    return {pick.row for pick in picks}


FREE = sorted(set(POLICIES) - {"officer", "oracle"})


@pytest.mark.parametrize("name", FREE)
def test_a_policy_fills_the_capacity_of_each_office(name):
    picks = POLICIES[name].choose(offer())
    check_choices(picks, offer(), name)
    assert Counter(OFFICES[pick.row] for pick in picks) == {"A": 4, "B": 4}


@pytest.mark.parametrize("name", FREE)
def test_where_fewer_arrived_than_can_be_opened_all_are_opened(name):
    picks = POLICIES[name].choose(offer(capacity=100))
    assert rows(picks) == set(range(ROWS))


def test_random_gives_all_the_same_chance_and_says_so():
    picks = POLICIES["random"].choose(offer())
    assert {(pick.selected_by, pick.probability) for pick in picks} == {("random", 4 / 20)}


@pytest.mark.parametrize("name", ["rules", "greedy", "explore", "uncertain", "novel"])
def test_whose_picture_looked_wrong_is_opened_first(name):
    suspect = np.isin(np.arange(ROWS), [30, 31, 35])
    picks = POLICIES[name].choose(offer(suspect=suspect))
    assert {30, 31, 35} <= rows(picks)
    check_choices(picks, offer(), name)


def test_more_suspects_than_places_are_taken_by_their_scores():
    picks = POLICIES["greedy"].choose(offer(suspect=np.arange(ROWS) >= 20))
    assert rows(picks) == set(range(20, 28))


def test_a_part_of_an_offer_is_a_copy_for_reading():
    whole = offer()
    part = whole.select_rows(np.array([3, 5]))
    assert part.consignment_ids == ("C3", "C5")
    assert part.scores.tolist() == SCORES[[3, 5]].tolist()
    for values in (part.X, part.scores, part.suspect):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1


def test_rules_take_what_scores_points():
    assert 7 in rows(POLICIES["rules"].choose(offer()))


def test_greedy_takes_the_highest_scores_for_sure():
    picks = POLICIES["greedy"].choose(offer())
    assert rows(picks) == set(range(8))
    assert {pick.probability for pick in picks} == {1.0}


def test_explore_spends_its_share_by_lot_with_the_probability_of_the_lot():
    picks = POLICIES["explore"].choose(offer())
    drawn = [pick for pick in picks if pick.selected_by == "random"]
    assert len(drawn) == 2
    assert {pick.probability for pick in drawn} == {1 / 17}
    assert rows(picks) >= set(range(6))


def test_uncertain_spends_it_where_the_trees_disagree():
    assert rows(POLICIES["uncertain"].choose(offer())) == {*range(6), 38, 39}


def test_novel_spends_it_on_what_was_inspected_least():
    assert rows(POLICIES["novel"].choose(offer())) == {*range(6), 38, 39}


def test_the_oracle_takes_nps_before_drugs_before_other_offences():
    truth = ["clear"] * ROWS
    truth[30], truth[32], truth[34], truth[36], truth[38] = (
        "other_offence",
        "nps",
        *["controlled_drug"] * 2,
        "nps",
    )
    picks = POLICIES["oracle"].choose(offer(), truth)
    assert {row for row in rows(picks) if OFFICES[row] == "A"} == {32, 34, 36, 38}
    assert sorted(RESULT_PRIORITY, key=RESULT_PRIORITY.get) == ["other_offence", "controlled_drug", "nps"]


def test_a_share_too_small_for_a_whole_place_is_one_place():
    assert rows(POLICIES["novel"].choose(offer(explore=0.01))) == {*range(6), 38, 39}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda picks: [*picks, picks[0]], "twice"),
        (lambda picks: [*picks, picks[0]._replace(row=ROWS)], "an unknown consignment"),
        (lambda picks: [*picks, picks[0]._replace(row=39)], "more than an office can inspect"),
        (lambda picks: [picks[0]._replace(probability=0.0)], "out of range"),
    ],
)
def test_choices_that_cannot_be_are_refused(change, message):
    picks = POLICIES["greedy"].choose(offer())
    with pytest.raises(BadChoice, match=message):
        check_choices(change(picks), offer(), "planted")


def test_an_unknown_policy_names_the_nearest():
    with pytest.raises(UnknownName, match="greedy"):
        get_policy("greddy")
