"""Networks by hand: the parties that share a house, phone, mail or account one after the other."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from support.history_oracle import LARGEST_NETWORK, MOST_ARRIVALS, US_PER_DAY, Arrival, Outcome
from support.history_worlds import NETWORK_KINDS, NO_OTHERS, START, batch, one_by_one, oracle, same

from features.history.kernels import WIDTH
from features.history.readings import READINGS
from features.table import SIDES

NAMES = [f"{side}.{reading.name}" for side in SIDES for reading in READINGS]


# By hand: keys are (sender, its phone, its account, consignee, its phone, route).


def arrive(name: str, day: float, *keys: int, **rest) -> Arrival:
    own = (*keys, *NO_OTHERS)[: len(NETWORK_KINDS)]
    return Arrival(name, int((START + day) * US_PER_DAY), own, NO_OTHERS, **rest)


def find(name: str, day: float, result: str = "nps", sequence: int | None = None) -> Outcome:
    return Outcome(name, int((START + day) * US_PER_DAY), result, sequence=sequence)


def read(arrivals: Sequence[Arrival], outcomes: Sequence[Outcome] = ()) -> dict[str, float]:
    """What the last arrival reads of its networks, by the batch, the ledger and the definition."""
    values = batch(arrivals, outcomes, kinds=NETWORK_KINDS)
    assert same(values, one_by_one(arrivals, outcomes, kinds=NETWORK_KINDS))
    assert same(values, oracle(arrivals, outcomes, kinds=NETWORK_KINDS))
    begin = len(NETWORK_KINDS) * WIDTH
    return dict(zip(NAMES, values[-1, begin : begin + 2 * WIDTH].tolist(), strict=True))


CHAIN = [arrive("a", 0, 1, 7), arrive("b", 1, 2, 7, 9), arrive("c", 1, 3, 0, 9)]
"""Sender 1 had the phone of sender 2, whose account sender 3 has."""


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (find("a", 3), {"nps_ever": 1, "any_offence_ever": 1, "days_since_find": 2}),
        (find("c", 4, "clear"), {"nps_ever": 0, "inspections_ever": 1, "days_since_find": np.nan}),
        (find("c", 4, "controlled_drug"), {"controlled_drug_ever": 1, "days_since_find": 1}),
    ],
)
def test_a_network_has_the_events_of_all_who_share_keys_one_after_the_other(found: Outcome, expected) -> None:
    told = read([*CHAIN, arrive("z", 5, 4, 0, 9)], [found])
    assert (told["sender.arrivals_ever"], told["sender.counterparts"]) == (3, 2)
    assert {name: told[f"sender.{name}"] for name in expected} == pytest.approx(expected, nan_ok=True)
    assert np.isnan(told["consignee.new"]), "a side without a key that joins is missing"


def test_an_arrival_reads_the_network_with_the_most_finds_and_merges_both() -> None:
    apart = [arrive("a", 0, 1, 7), arrive("b", 0, 1, 7), arrive("c", 0, 2, 0, 9), arrive("d", 2, 3, 7, 9)]
    found = [find("c", 1)]
    assert read(apart, found)["sender.arrivals_ever"] == 1, "that of the account, which has the find"
    merged = read([*apart, arrive("z", 3, 4, 7)], found)
    assert (merged["sender.arrivals_ever"], merged["sender.nps_ever"], merged["sender.counterparts"]) == (
        4,
        1,
        2,
    )


def test_the_sides_and_the_names_are_apart() -> None:
    told = read([arrive("a", 0, 1, 7, 0, 4, 5), arrive("z", 1, 1, 8, 0, 4, 6)], [find("a", 0.5)])
    assert (told["sender.new"], told["consignee.new"]) == (1, 1)


@pytest.mark.parametrize(("arrivals", "joins"), [(MOST_ARRIVALS, True), (MOST_ARRIVALS + 1, False)])
def test_a_key_that_too_many_share_joins_nobody(arrivals: int, joins: bool) -> None:
    """The phone of sender 1, and of many others, is that of the last consignment."""
    crowd = [arrive(f"b{n:02}", 0, 10 + n, 7) for n in range(arrivals - 1)]
    told = read([arrive("a", 0, 1, 7), *crowd, arrive("z", 2, 2, 7)], [find("a", 1)])
    assert told["sender.nps_ever"] == joins


def crowd_of_a_phone() -> list[Arrival]:
    """Fifty consignments with one phone, the first of them with account 3, and X, the 51st, which no network counts."""
    rows = [
        arrive(f"b{n:02}", 0, 10 + n, 7, *((3,) if n == 0 else ()), sequence=n) for n in range(MOST_ARRIVALS)
    ]
    return [*rows, arrive("x", 1, 99, 7, sequence=60, issued_us=2)]


@pytest.mark.parametrize("found", [[], [find("x", 2, sequence=61)]])
def test_a_late_version_of_what_no_network_counted_changes_no_bit(found: list[Outcome]) -> None:
    first, *others = crowd_of_a_phone()
    crowd = [replace(first, cancelled_us=int((START + 1.5) * US_PER_DAY)) if not found else first, *others]
    between = arrive("q", 2.5, 98, sequence=62)
    late = arrive("x", 3, 99, 7, sequence=63, issued_us=1)
    rows = [*crowd, between, late, arrive("z", 4, 97, 0, 3, sequence=64)]
    one_by_one(rows, found, compare=True, kinds=NETWORK_KINDS)
    assert read(rows, found)["sender.nps_ever"] == 0


@pytest.mark.parametrize("again", [[], [arrive("x", 3, 99, 7, sequence=63, issued_us=3)]])
def test_an_amendment_of_what_no_network_counted_takes_nothing_from_others(again: list[Arrival]) -> None:
    rows = [*crowd_of_a_phone(), arrive("y", 1.2, 98, 0, 3, sequence=61)]
    found = [find("x", 2, sequence=62), find("y", 2.1, sequence=62)]
    assert read([*rows, *again, arrive("z", 4, 97, 0, 3, sequence=64)], found)["sender.nps_ever"] == 1


def test_networks_that_are_too_large_together_stay_apart_and_count_both() -> None:
    half = LARGEST_NETWORK // 2 // (MOST_ARRIVALS - 5)
    crowd = [
        arrive(f"{side}{n:03}{m:02}", 0, 1, 1000 * side + n, 1000 * side + 500 + n + (m == 0))
        for side in (1, 2)
        for n in range(half + 1)
        for m in range(MOST_ARRIVALS - 5)
    ]
    joint = arrive("b", 1, 1, 1000, 2500)
    told = read([*crowd, joint, arrive("z", 3, 2, 1000)], [find("b", 2)])
    assert (told["sender.arrivals_ever"], told["sender.nps_ever"]) == (len(crowd) // 2 + 1, 1)


@pytest.mark.parametrize(("day", "known"), [(366, 3), (367, 0)])
def test_a_network_is_remembered_as_long_as_an_event_of_it(day: int, known: int) -> None:
    arrivals = [
        arrive("a", 0, 1, 7),
        arrive("b", 0, 2, 7, 9),
        arrive("c", 0, 2, 0, 9),
        arrive("z", day, 3, 7),
    ]
    assert read(arrivals)["sender.arrivals_ever"] == known


def test_a_forgotten_identity_belongs_to_no_network_any_more() -> None:
    arrivals = [*CHAIN, arrive("d", 300, 3, 0, 9), arrive("z", 400, 4, 7)]
    assert read(arrivals)["sender.new"] == 1
    assert read([*arrivals[:-1], arrive("z", 400, 4, 0, 9)])["sender.arrivals_ever"] == 4


def test_a_correction_takes_the_find_away_and_a_cancellation_all_but_the_link() -> None:
    corrected = read([*CHAIN, arrive("z", 5, 4, 0, 9)], [find("a", 3), find("a", 4, "clear")])
    assert (corrected["sender.nps_ever"], corrected["sender.inspections_ever"]) == (0, 1)
    cancelled = replace(CHAIN[1], cancelled_us=int((START + 2) * US_PER_DAY))
    told = read([CHAIN[0], cancelled, CHAIN[2], arrive("z", 5, 4, 0, 9)], [find("a", 1.5), find("b", 1.7)])
    assert (told["sender.arrivals_ever"], told["sender.nps_ever"]) == (2, 1)


@pytest.mark.parametrize(("issued_us", "arrivals"), [(3, 2), (1, 1)])
def test_an_amendment_counts_once_and_a_late_version_joins_nobody(issued_us: int, arrivals: int) -> None:
    before = [arrive("a", 0, 1, 7, sequence=1, issued_us=2), arrive("b", 0, 2, 0, 9, sequence=2)]
    again = arrive("a", 1, 1, 7, 9, sequence=4, issued_us=issued_us)
    told = read([*before, again, arrive("z", 2, 3, 0, 9, sequence=5)])
    assert told["sender.arrivals_ever"] == arrivals
