"""Claims about policies: what each takes of one offer."""

from collections import Counter

import numpy as np
import pytest

from consignments.errors import BadInput
from features.spec import Feature, Spec
from training.policy_replay.policies import POLICIES, SelectionContext, check_choices

NAMES = {"history.sender.inspections_ever": "finds", "goods.names_specific": "goods"}
SPEC = Spec([Feature(name, "count", theme, "{value}") for name, theme in NAMES.items()])
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
    names = tuple(f"C{row}" for row in range(ROWS))
    suspect = np.zeros(ROWS, dtype=bool)
    offered = {"consignment_ids": names, "offices": OFFICES, "X": X, "scores": SCORES, "suspect": suspect}
    usual = {"day": 20_000, "capacity": 4, "explore": 0.25, "seed": 1, "spec": SPEC, "model": Halves()}
    return SelectionContext(**offered | usual | more)


def rows(picks):
    return {pick.row for pick in picks}


FREE = sorted(set(POLICIES) - {"officer", "oracle"})


@pytest.mark.parametrize("name", FREE)
def test_a_policy_fills_the_capacity_of_each_office_or_opens_all_there_are(name):
    picks = POLICIES[name].choose(offer())
    check_choices(picks, offer(), name)
    assert Counter(OFFICES[pick.row] for pick in picks) == {"A": 4, "B": 4}
    assert rows(POLICIES[name].choose(offer(capacity=100))) == set(range(ROWS))


@pytest.mark.parametrize("name", ["rules", "greedy", "explore", "uncertain", "novel"])
def test_whose_picture_looked_wrong_is_opened_first(name):
    picks = POLICIES[name].choose(offer(suspect=np.isin(np.arange(ROWS), [30, 31, 35])))
    assert {30, 31, 35} <= rows(picks)
    check_choices(picks, offer(), name)


TAKEN = {
    "greedy takes the highest scores": ("greedy", {}, {*range(8)}),
    "too many suspects are taken by score": ("greedy", {"suspect": np.arange(ROWS) >= 20}, {*range(20, 28)}),
    "uncertain: those on which the trees disagree": ("uncertain", {}, {*range(6), 38, 39}),
    "novel: what was inspected least": ("novel", {}, {*range(6), 38, 39}),
    "too small a share is one place": ("novel", {"explore": 0.01}, {*range(6), 38, 39}),
}


@pytest.mark.parametrize(("name", "given", "expected"), TAKEN.values(), ids=TAKEN)
def test_what_a_policy_takes(name, given, expected):
    assert rows(POLICIES[name].choose(offer(**given))) == expected


@pytest.mark.parametrize(
    ("name", "certain", "chances"),
    [("random", set(), {4 / 20}), ("greedy", {*range(8)}, set()), ("explore", {*range(6)}, {1 / 17})],
)
def test_who_chooses_by_lot_says_the_probability_of_the_lot(name, certain, chances):
    picks = POLICIES[name].choose(offer())
    assert {pick.row for pick in picks if pick.probability == 1.0} == certain
    assert {pick.probability for pick in picks if pick.selected_by == "random"} == chances


def test_rules_take_what_scores_points():
    assert 7 in rows(POLICIES["rules"].choose(offer()))


def test_the_oracle_takes_nps_before_drugs_before_other_offences():
    known = {30: "other_offence", 32: "nps", 34: "controlled_drug", 36: "controlled_drug", 38: "nps"}
    truth = [known.get(row, "clear") for row in range(ROWS)]
    for capacity, expected in ((2, {32, 38}), (4, {32, 34, 36, 38}), (5, {30, 32, 34, 36, 38})):
        picks = POLICIES["oracle"].choose(offer(capacity=capacity), truth)
        assert {row for row in rows(picks) if OFFICES[row] == "A"} == expected


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
    with pytest.raises(BadInput, match=message):
        check_choices(change(picks), offer(), "planted")
