"""What an arrival reads of its history, in small worlds by hand, where 1 March 2024 is day 0; and what the page says of it."""

from collections.abc import Sequence
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
    """What each arrival reads, by the batch, the ledger, where a late version changes no bit, and the definition."""
    values = batch(arrivals, outcomes, kinds=NETWORK_KINDS)
    assert same(values, one_by_one(arrivals, outcomes, compare=True, kinds=NETWORK_KINDS))
    assert same(values, oracle(arrivals, outcomes, kinds=NETWORK_KINDS))
    return [dict(zip(NAMES, row, strict=False)) for row in values.tolist()]


@pytest.mark.parametrize("case", read_cases("history_readings"))
def test_arrivals_read(case: dict[str, Any]) -> None:
    """Each line has arrivals as name, day, keys and the rest, outcomes, and what the last arrival or each one reads; null is missing."""
    found = read([arrive(*row) for row in case["arrivals"]], [find(*row) for row in case["outcomes"]])
    for name, value in case.get("last", {}).items():
        assert found[-1][name] == pytest.approx(np.nan if value is None else value, nan_ok=True), name
    for name, values in case.get("each", {}).items():
        assert [row[name] for row in found] == values


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
