"""Networks by hand: the parties that share a house, phone, mail or account one after the other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.cases import read_cases
from support.history_oracle import LARGEST_NETWORK, MOST_ARRIVALS, US_PER_DAY, Arrival, Outcome
from support.history_worlds import NETWORK_KINDS, NO_OTHERS, START, batch, one_by_one, oracle, same

from features.history.kernels import WIDTH
from features.history.readings import READINGS
from features.table import SIDES

NAMES = [f"{side}.{reading.name}" for side in SIDES for reading in READINGS]


def at(day: float) -> int:
    return int((START + day) * US_PER_DAY)


def arrive(name: str, day: float, keys: Sequence[int], given: dict[str, Any] | None = None) -> Arrival:
    """Keys are sender, its phone, its account, consignee, its phone, route."""
    rest = dict(given or {})
    times = {f"{what}_us": at(rest.pop(what)) for what in ("cancelled", "issued") if what in rest}
    return Arrival(name, at(day), (*keys, *NO_OTHERS)[: len(NETWORK_KINDS)], NO_OTHERS, **rest, **times)


def find(name: str, day: float, result: str = "nps", sequence: int | None = None) -> Outcome:
    return Outcome(name, at(day), result, sequence=sequence)


def read(arrivals: Sequence[Arrival], outcomes: Sequence[Outcome] = ()) -> dict[str, float]:
    """What the last arrival reads of its networks, by the batch, the ledger and the definition."""
    values = batch(arrivals, outcomes, kinds=NETWORK_KINDS)
    assert same(values, one_by_one(arrivals, outcomes, kinds=NETWORK_KINDS))
    assert same(values, oracle(arrivals, outcomes, kinds=NETWORK_KINDS))
    begin = len(NETWORK_KINDS) * WIDTH
    return dict(zip(NAMES, values[-1, begin : begin + 2 * WIDTH].tolist(), strict=True))


@pytest.mark.parametrize("case", read_cases("network_readings"))
def test_the_last_arrival_reads_of_its_networks(case: dict[str, Any]) -> None:
    """Each line has arrivals as name, day, keys and the rest, outcomes, and what the last arrival reads; null is missing."""
    found = read([arrive(*row) for row in case["arrivals"]], [find(*row) for row in case["outcomes"]])
    expected = {name: np.nan if value is None else value for name, value in case["last"].items()}
    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("arrivals", "joins"), [(MOST_ARRIVALS, True), (MOST_ARRIVALS + 1, False)])
def test_a_key_that_too_many_share_joins_nobody(arrivals: int, joins: bool) -> None:
    """The phone of sender 1, and of many others, is that of the last consignment."""
    crowd = [arrive(f"b{n:02}", 0, (10 + n, 7)) for n in range(arrivals - 1)]
    found = read([arrive("a", 0, (1, 7)), *crowd, arrive("z", 2, (2, 7))], [find("a", 1)])
    assert found["sender.nps_ever"] == joins


def crowd_of_a_phone() -> list[Arrival]:
    """Fifty consignments with one phone, the first of them with account 3, and X, the 51st, which no network counts."""
    phones = [(10 + n, 7, 3 if n == 0 else 0) for n in range(MOST_ARRIVALS)]
    rows = [arrive(f"b{n:02}", 0, keys, {"sequence": n}) for n, keys in enumerate(phones)]
    return [*rows, arrive("x", 1, (99, 7), {"sequence": 60, "issued": 2})]


@pytest.mark.parametrize("found", [[], [find("x", 2, sequence=61)]])
def test_a_late_version_of_what_no_network_counted_changes_no_bit(found: list[Outcome]) -> None:
    first, *others = crowd_of_a_phone()
    crowd = [replace(first, cancelled_us=at(1.5)) if not found else first, *others]
    between = arrive("q", 2.5, (98,), {"sequence": 62})
    late = arrive("x", 3, (99, 7), {"sequence": 63, "issued": 1})
    rows = [*crowd, between, late, arrive("z", 4, (97, 0, 3), {"sequence": 64})]
    one_by_one(rows, found, compare=True, kinds=NETWORK_KINDS)
    assert read(rows, found)["sender.nps_ever"] == 0


@pytest.mark.parametrize("again", [[], [arrive("x", 3, (99, 7), {"sequence": 63, "issued": 3})]])
def test_an_amendment_of_what_no_network_counted_takes_nothing_from_others(again: list[Arrival]) -> None:
    rows = [*crowd_of_a_phone(), arrive("y", 1.2, (98, 0, 3), {"sequence": 61})]
    found = [find("x", 2, sequence=62), find("y", 2.1, sequence=62)]
    assert read([*rows, *again, arrive("z", 4, (97, 0, 3), {"sequence": 64})], found)["sender.nps_ever"] == 1


def test_networks_that_are_too_large_together_stay_apart_and_count_both() -> None:
    half = LARGEST_NETWORK // 2 // (MOST_ARRIVALS - 5)
    crowd = [
        arrive(f"{side}{n:03}{m:02}", 0, (1, 1000 * side + n, 1000 * side + 500 + n + (m == 0)))
        for side in (1, 2)
        for n in range(half + 1)
        for m in range(MOST_ARRIVALS - 5)
    ]
    joint = arrive("b", 1, (1, 1000, 2500))
    found = read([*crowd, joint, arrive("z", 3, (2, 1000))], [find("b", 2)])
    assert (found["sender.arrivals_ever"], found["sender.nps_ever"]) == (len(crowd) // 2 + 1, 1)
