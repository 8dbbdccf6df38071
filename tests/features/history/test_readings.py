"""What an arrival reads of its history, in small worlds by hand, where 1 March 2024 is day 0; and what the page says of it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cases import read_cases
from support.history_oracle import LARGEST_NETWORK, MOST_ARRIVALS, Arrival, Outcome
from support.history_worlds import (
    NETWORK_KINDS,
    NO_OTHERS,
    START,
    batch,
    moment,
    numbers,
    one_by_one,
    oracle,
    restarted,
    same,
)

from consignments.timestamps import NO_TIME
from features.history.keys import COMMON_KINDS
from features.history.live import LiveHistory, VisibleOutcome
from features.history.readings import EITHER, READINGS, SIDE_READINGS
from features.history.table import History
from features.table import SIDES

KINDS = (*(kind.name for kind in NETWORK_KINDS), *(f"{side}_network" for side in SIDES))
NAMES = [f"{kind}.{reading.name}" for kind in KINDS for reading in READINGS]


def arrive(name: str, day: float, keys: Sequence[int] = (1,), given: dict[str, Any] | None = None) -> Arrival:
    """Keys are sender, its phone, its account, consignee, its phone, route; `other` is whom the sender sends to."""
    rest = dict(given or {})
    others = (rest.pop("other", 0), *NO_OTHERS[1:])
    times = {f"{what}_us": moment(rest.pop(what)) for what in ("cancelled", "issued") if what in rest}
    return Arrival(name, moment(day), (*keys, *NO_OTHERS)[: len(NETWORK_KINDS)], others, **rest, **times)


def find(name: str, day: float, given: dict[str, Any] | None = None) -> Outcome:
    rest = {"result": "nps"} | (given or {})
    known = moment(day) if rest.pop("known", True) else None
    recorded = {"recorded_us": moment(rest.pop("recorded"))} if "recorded" in rest else {}
    return Outcome(name, known, opened_us=moment(day), **rest, **recorded)


def read(arrivals: Sequence[Arrival], outcomes: Sequence[Outcome] = ()) -> list[dict[str, float]]:
    """What each arrival reads, by the batch, the ledger and the definition."""
    values = batch(arrivals, outcomes, kinds=NETWORK_KINDS)
    assert same(values, one_by_one(arrivals, outcomes, kinds=NETWORK_KINDS))
    assert same(values, oracle(arrivals, outcomes, kinds=NETWORK_KINDS))
    return [dict(zip(NAMES, row, strict=False)) for row in values.tolist()]


def test_the_worked_example_of_the_page() -> None:
    nine, noon, three, five, six = 9 / 24, 12 / 24, 15 / 24, 17 / 24, 18 / 24
    arrivals = [
        arrive("a", 0 + nine, given={"sequence": 1}),
        arrive("b", 0 + three, given={"sequence": 2, "cancelled": 19 + noon}),
        arrive("c", 8 + noon, given={"sequence": 4}),
        arrive("a", 8 + five, given={"sequence": 5, "issued": 8}),
        arrive("a", 8 + six, given={"sequence": 6, "issued": 7}),
        arrive("d", 12, given={"sequence": 8}),
        arrive("e", 20, given={"sequence": 9}),
    ]
    known = [find("a", 8 + noon, {"sequence": 3}), find("a", 11 + nine, {"result": "clear", "sequence": 7})]
    columns = ("arrivals_30d", "nps_365d", "inspections_365d")
    found = [[row[f"sender.{name}"] for name in columns] for row in read(arrivals, known)]
    assert found == [[0, 0, 0], [1, 0, 0], [2, 1, 1], [2, 0, 0], [2, 0, 0], [3, 0, 1], [3, 0, 1]]


@pytest.mark.parametrize("case", read_cases("history_readings"))
def test_the_last_arrival_reads(case: dict[str, Any]) -> None:
    """Each line has arrivals as name, day, keys and the rest, outcomes, and what the last arrival reads; null is missing."""
    found = read([arrive(*row) for row in case["arrivals"]], [find(*row) for row in case["outcomes"]])[-1]
    expected = {name: np.nan if value is None else value for name, value in case["last"].items()}
    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("before_us", "arrivals", "finds"), [(0, 1, 1), (1, 2, 0)])
def test_as_of_a_moment_what_became_visible_then_counts(before_us: int, arrivals: int, finds: int) -> None:
    rows = [arrive("a", 0, given={"cancelled": 2}), arrive("b", 1), arrive("c", 3)]
    values = batch(rows, [find("b", 2)], moment(2) - before_us, kinds=NETWORK_KINDS)[-1]
    counts = [values[NAMES.index(f"sender.{name}")] for name in ("arrivals_ever", "nps_ever")]
    assert counts == [arrivals, finds]


def test_an_outcome_of_an_unknown_consignment_moves_the_day_across_a_restart() -> None:
    width = len(NETWORK_KINDS)
    (keys,), (nobody,) = numbers([(1, *NO_OTHERS[1:])], width), numbers([NO_OTHERS], width)
    ledger = LiveHistory(History(NETWORK_KINDS))
    ledger.record_arrival("a", START, keys, nobody)
    ledger.record_outcome("unknown", VisibleOutcome(moment(400), moment(400), NO_TIME, None, "nps"))
    row = np.zeros(ledger.history.width, dtype=np.float32)
    restarted(ledger).record_arrival("b", START + 100, keys, nobody, row)
    assert row[NAMES.index("sender.new")] == 1


@pytest.mark.parametrize(("arrivals", "joins"), [(MOST_ARRIVALS, True), (MOST_ARRIVALS + 1, False)])
def test_a_key_that_too_many_share_joins_nobody(arrivals: int, joins: bool) -> None:
    """The phone of sender 1, and of many others, is that of the last consignment."""
    crowd = [arrive(f"b{n:02}", 0, (10 + n, 7)) for n in range(arrivals - 1)]
    found = read([arrive("a", 0, (1, 7)), *crowd, arrive("z", 2, (2, 7))], [find("a", 1)])
    assert found[-1]["sender_network.nps_ever"] == joins


def crowd_of_a_phone() -> list[Arrival]:
    """Fifty consignments with one phone, the first of them with account 3, and X, the 51st, which no network counts."""
    phones = [(10 + n, 7, 3 if n == 0 else 0) for n in range(MOST_ARRIVALS)]
    rows = [arrive(f"b{n:02}", 0, keys, {"sequence": n}) for n, keys in enumerate(phones)]
    return [*rows, arrive("x", 1, (99, 7), {"sequence": 60, "issued": 2})]


@pytest.mark.parametrize("found", [[], [find("x", 2, {"sequence": 61})]])
def test_a_late_version_of_what_no_network_counted_changes_no_bit(found: list[Outcome]) -> None:
    first, *others = crowd_of_a_phone()
    crowd = [replace(first, cancelled_us=moment(1.5)) if not found else first, *others]
    between = arrive("q", 2.5, (98,), {"sequence": 62})
    late = arrive("x", 3, (99, 7), {"sequence": 63, "issued": 1})
    rows = [*crowd, between, late, arrive("z", 4, (97, 0, 3), {"sequence": 64})]
    one_by_one(rows, found, compare=True, kinds=NETWORK_KINDS)
    assert read(rows, found)[-1]["sender_network.nps_ever"] == 0


@pytest.mark.parametrize("again", [[], [arrive("x", 3, (99, 7), {"sequence": 63, "issued": 3})]])
def test_an_amendment_of_what_no_network_counted_takes_nothing_from_others(again: list[Arrival]) -> None:
    rows = [*crowd_of_a_phone(), arrive("y", 1.2, (98, 0, 3), {"sequence": 61})]
    found = [find("x", 2, {"sequence": 62}), find("y", 2.1, {"sequence": 62})]
    last = arrive("z", 4, (97, 0, 3), {"sequence": 64})
    assert read([*rows, *again, last], found)[-1]["sender_network.nps_ever"] == 1


def test_networks_that_are_too_large_together_stay_apart_and_count_both() -> None:
    half = LARGEST_NETWORK // 2 // (MOST_ARRIVALS - 5)
    crowd = [
        arrive(f"{side}{n:03}{m:02}", 0, (1, 1000 * side + n, 1000 * side + 500 + n + (m == 0)))
        for side in (1, 2)
        for n in range(half + 1)
        for m in range(MOST_ARRIVALS - 5)
    ]
    joint = arrive("b", 1, (1, 1000, 2500))
    found = read([*crowd, joint, arrive("z", 3, (2, 1000))], [find("b", 2)])[-1]
    counts = [found[f"sender_network.{name}"] for name in ("arrivals_ever", "nps_ever")]
    assert counts == [len(crowd) // 2 + 1, 1]


def test_the_page_explains_every_reading_and_every_kind() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "history.md").read_text()
    names = [reading.name for reading in (*READINGS, *SIDE_READINGS)]
    names += [kind.name for kind in COMMON_KINDS]
    names += [f"history.{side}_side.READING" for side in (*SIDES, EITHER)]
    assert [name for name in names if f"`{name}`" not in page] == []
