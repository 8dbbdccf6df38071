"""Selection: capacities are kept, and the stated probabilities are true."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import make_consignment, make_late_versions

from consignments.errors import BadInput
from consignments.records import Consignment
from consignments.tables import build_frame
from models.batch_scoring import add_work_columns, build_selection_table
from models.selection import SelectedConsignment, SelectionRule, compute_selection_probabilities, select

SCORES = [0.9, 0.8, 0.5, 0.5, 0.5, 0.1, 0.1]
"""The example of the module, whose probabilities for four inspections, a quarter of them random, are these."""
EXAMPLE = [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
SEEDS = 800
# Four standard errors of a share over so many seeds.
NOISE = 4 * 0.5 / SEEDS**0.5


ONE_DAY = np.zeros(100, dtype=np.int64)


def one_office(scores: list[float], seed: int = 1, **policy: Any) -> list[SelectedConsignment]:
    count, rule = len(scores), SelectionRule(**policy, seed=seed)
    return select([f"RB{i}" for i in range(count)], np.array(scores), ["ICN"] * count, ONE_DAY[:count], rule)


def stated(scores: list[float], **policy: Any) -> list[float]:
    count = len(scores)
    found = compute_selection_probabilities(np.array(scores), ["ICN"] * count, ONE_DAY[:count], **policy)
    return found.tolist()


POLICIES = [
    {"capacity": 4, "explore": 0.25},
    {"capacity": 4, "explore": 0.3},  # 1.2 places: sometimes one, sometimes two
    {"capacity": 4, "explore": 0.05},  # 0.2 places: mostly none
    {"capacity": 3, "explore": 0.0},
    {"capacity": 4, "explore": 1.0},
    {"capacity": 6, "explore": 0.5},
    {"capacity": 1, "explore": 0.5},
    {"capacity": 9, "explore": 0.2},
]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("scores", [SCORES, [0.5] * 7, [0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]], ids=str)
def test_over_many_seeds_each_row_is_chosen_as_often_as_is_stated(scores: list[float], policy: Any) -> None:
    chosen = Counter(row.place for seed in range(SEEDS) for row in one_office(scores, seed, **policy))
    shares = [chosen[place] / SEEDS for place in range(len(scores))]
    assert shares == pytest.approx(stated(scores, **policy), abs=NOISE)


@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.2, 0.5, 0.9]), min_size=1, max_size=40),
    st.integers(1, 50),
    st.floats(0, 1),
    st.integers(0, 2**31),
)
def test_the_capacity_is_filled_and_stated(
    scores: list[float], capacity: int, explore: float, seed: int
) -> None:
    rows = one_office(scores, seed, capacity=capacity, explore=explore)
    probability = stated(scores, capacity=capacity, explore=explore)
    assert len(rows) == len({row.place for row in rows}) == min(capacity, len(scores))
    assert sum(probability) == pytest.approx(min(capacity, len(scores)))
    for row in rows:
        assert 0 < row.selection_probability <= 1
        assert row.selection_probability == pytest.approx(probability[row.place])


def test_the_highest_scores_are_chosen_by_the_model_and_others_at_random() -> None:
    assert stated(SCORES, capacity=4, explore=0.25) == pytest.approx(EXAMPLE)
    rows = one_office([i / 100 for i in range(100)], capacity=20, explore=0.25)
    assert [row.place for row in rows[:15]] == list(range(99, 84, -1))
    assert [row.selected_by for row in rows] == ["model"] * 15 + ["random"] * 5
    assert {row.selection_probability for row in rows[15:]} == {5 / 85}
    spread = one_office([i / 100 for i in range(100)], capacity=20, explore=0.5)
    places = [row.place for row in spread if row.selected_by == "random"]
    assert [place // 9 for place in sorted(places)] == list(range(10)), "over all scores"


def test_the_list_does_not_depend_on_the_order_of_the_rows() -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 5, 60) / 10
    ids = np.array([f"RB{i}" for i in range(60)])
    lists = []
    for order in (np.arange(60), rng.permutation(60)):
        given = ids[order].tolist(), scores[order], ["ICN"] * 60, ONE_DAY[:60]
        rows = select(*given, SelectionRule(9, 0.3, 4))
        lists.append([row[1:] for row in rows])
    assert lists[0] == lists[1]


BAD = [
    ({"scores": [0.1, float("nan")]}, "scores row 1: a score is not a number"),
    ({"ids": ["a", "a"]}, "an identifier repeats; got 'a'"),
    ({"capacity": 0}, "capacity 0"),
    ({"explore": 1.5}, "explore 1.5"),
]


@pytest.mark.parametrize(("change", "said"), BAD, ids=[said for _, said in BAD])
def test_what_cannot_be_selected_from_is_named(change: Any, said: str) -> None:
    given = {"ids": ["a", "b"], "scores": [0.1, 0.2], "capacity": 1, "explore": 0.1} | change
    rule = SelectionRule(given["capacity"], given["explore"], 1)
    with pytest.raises(BadInput, match=said):
        select(given["ids"], np.array(given["scores"]), ["", ""], ONE_DAY[:2], rule)


def test_a_score_table_becomes_a_selection_table() -> None:
    days = ("4T01:00", "4T23:59", "4T05:00", "5T00:00", "5T09:00")
    scores = pd.DataFrame({"consignment_id": list("abcde"), "score": [0.1, 0.9, 0.3, 0.4, 0.5]})
    scores["office"] = ["ICN", "ICN", None, "ICN", "ICN"]
    scores["received_at"] = pd.to_datetime([f"2024-03-0{each}Z" for each in days]).as_unit("us")
    table = build_selection_table(scores, capacity=1, explore=0.0, seed=1)
    assert table["consignment_id"].tolist() == ["c", "b", "e"]
    assert table["office"].isna().tolist() == [True, False, False]
    assert table["selected_by"].tolist() == ["model"] * 3
    assert table["selection_probability"].tolist() == [1.0, 1.0, 1.0]
    assert table["selected_at"].dt.strftime("%d %H:%M").tolist() == ["04 05:00", "04 23:59", "05 09:00"]
    assert len(build_selection_table(scores[:0], capacity=1, explore=0.1, seed=1)) == 0


def show_goods(name: str, goods: pd.DataFrame) -> list[str]:
    chosen = pd.DataFrame({"consignment_id": [name]})
    shown: list[str] = add_work_columns(chosen, chosen.assign(score=0.5, band="high"), goods)["description"]
    return [*shown]


def test_the_list_shows_the_goods_of_the_version_that_counts_in_any_spelling() -> None:
    late = build_frame(make_late_versions("A", 0, description="powder"), Consignment)
    assert show_goods("A", late) == ["cotton t-shirts"]
    names = ("057-51987552", "05751987552")
    spelt = build_frame([make_consignment(name, description=name) for name in names], Consignment)
    for name in names:
        assert show_goods(name, spelt.assign(sequence=[1, 2])) == ["05751987552"]
