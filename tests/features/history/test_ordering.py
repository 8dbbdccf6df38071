"""What an arrival reads of its history, in small worlds by hand: by the batch and one by one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from support.cases import read_cases
from support.history_oracle import US_PER_DAY, Arrival, Outcome
from support.history_worlds import (
    KINDS,
    ROW,
    START,
    arrivals_of,
    batch,
    numbers,
    one_by_one,
    outcomes_of,
    process_table,
    restarted,
    same,
)

from consignments.timestamps import NO_TIME
from features.history.kernels import NETWORKS_WIDTH, WIDTH
from features.history.live import LiveHistory, VisibleOutcome
from features.history.ordering import order_events
from features.history.readings import READINGS
from features.history.table import History
from features.history.table_fold import TableFold

SIDES_AT = len(KINDS) * WIDTH + NETWORKS_WIDTH
NAMES = tuple(reading.name for reading in READINGS)


# Small worlds by hand: 1 March 2024 is day 0 here.


def moment(day: float) -> int:
    return int((START + day) * US_PER_DAY)


def arrive(name: str, day: float, given: dict[str, float] | None = None) -> Arrival:
    rest = dict(given or {})
    keys, others = (rest.pop("sender", 1), rest.pop("consignee", 0)), (rest.pop("with_", 0), 0)
    times = {f"{what}_us": moment(rest.pop(what)) for what in ("cancelled", "issued") if what in rest}
    return Arrival(name, moment(day), keys, others, **rest, **times)


def find(name: str, day: float, given: dict[str, Any] | None = None) -> Outcome:
    rest = {"result": "nps"} | (given or {})
    known = moment(day) if rest.pop("known", True) else None
    recorded = {"recorded_us": moment(rest.pop("recorded"))} if "recorded" in rest else {}
    return Outcome(name, known, opened_us=moment(day), **rest, **recorded)


def read(arrivals: Sequence[Arrival], outcomes: Sequence[Outcome] = ()) -> list[dict[str, float]]:
    """What each arrival reads of its sender, by the batch and by the ledger."""
    values = batch(arrivals, outcomes)
    assert same(values, one_by_one(arrivals, outcomes))
    return [dict(zip(NAMES, row.tolist(), strict=True)) for row in values[:, :WIDTH]]


def check(found: dict[str, float], **expected: float) -> None:
    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)


def test_the_worked_example_of_the_page() -> None:
    nine, noon, three, five, six = 9 / 24, 12 / 24, 15 / 24, 17 / 24, 18 / 24
    arrivals = [
        arrive("a", 0 + nine, {"sequence": 1}),
        arrive("b", 0 + three, {"sequence": 2, "cancelled": 19 + noon}),
        arrive("c", 8 + noon, {"sequence": 4}),
        arrive("a", 8 + five, {"sequence": 5, "issued": 8}),
        arrive("a", 8 + six, {"sequence": 6, "issued": 7}),
        arrive("d", 12, {"sequence": 8}),
        arrive("e", 20, {"sequence": 9}),
    ]
    known = [find("a", 8 + noon, {"sequence": 3}), find("a", 11 + nine, {"result": "clear", "sequence": 7})]
    found = read(arrivals, known)
    columns = ("arrivals_30d", "nps_365d", "inspections_365d")
    expected = [[0, 0, 0], [1, 0, 0], [2, 1, 1], [2, 0, 0], [2, 0, 0], [3, 0, 1], [3, 0, 1]]
    assert [[row[name] for name in columns] for row in found] == expected


@pytest.mark.parametrize("case", read_cases("history_readings"))
def test_the_last_arrival_reads(case: dict[str, Any]) -> None:
    """Each line has arrivals and outcomes as name, day and the rest, and what the last arrival reads; null is missing."""
    found = read([arrive(*row) for row in case["arrivals"]], [find(*row) for row in case["outcomes"]])
    check(found[-1], **{name: np.nan if value is None else value for name, value in case["last"].items()})


def test_velocity_compares_this_week_with_the_usual_week() -> None:
    rows = [*(arrive(f"a{n:02}", n) for n in range(90)), *(arrive(f"b{n}", 89.5) for n in range(14))]
    check(read([*rows, arrive("z", 90)])[-1], velocity=21 / (103 * 7 / 90 + 1))


def test_a_new_key_reads_zeros_and_no_days_since_and_a_missing_one_nothing() -> None:
    (found,) = read([arrive("a", 0)])
    expected = dict.fromkeys(("days_since_first", "days_since_last", "days_since_find"), np.nan)
    rates = {"nps_rate": 0.01, "controlled_drug_rate": 0.01, "any_offence_rate": 0.05}
    expected |= rates | {"velocity": 1, "new": 1}
    check(found, **dict.fromkeys(NAMES, 0.0) | expected)
    assert np.isnan(batch([arrive("a", 0, {"sender": 0}), arrive("b", 1, {"sender": 0})], [])).all()


@pytest.mark.parametrize(("before_us", "arrivals", "finds"), [(0, 1, 1), (1, 2, 0)])
def test_as_of_a_moment_what_became_visible_then_counts(before_us: int, arrivals: int, finds: int) -> None:
    rows = [arrive("a", 0, {"cancelled": 2}), arrive("b", 1), arrive("c", 3)]
    found = dict(zip(NAMES, batch(rows, [find("b", 2)], moment(2) - before_us)[-1].tolist(), strict=False))
    check(found, arrivals_ever=arrivals, nps_ever=finds)


def test_an_outcome_of_an_unknown_consignment_moves_the_day_across_a_restart() -> None:
    keys, nobody = numbers([(1, 0)])[0], numbers([(0, 0)])[0]
    ledger = LiveHistory(History(KINDS))
    ledger.record_arrival("a", START, keys, nobody)
    ledger.record_outcome("unknown", VisibleOutcome(moment(400), moment(400), NO_TIME, None, "nps"))
    row = np.zeros(ROW, dtype=np.float32)
    restarted(ledger).record_arrival("b", START + 100, keys, nobody, row)
    assert row[NAMES.index("new")] == 1


def test_a_side_reads_the_key_whose_finds_weigh_most_in_what_it_sends() -> None:
    rows = [*(arrive(f"a{n:02}", 0) for n in range(15)), arrive("b", 0, {"sender": 2, "consignee": 9})]
    rows += [arrive("y", 2, {"sender": 0}), arrive("z", 2, {"sender": 7})]
    outcomes = [find("a00", 1), find("b", 1)]
    sides = slice(SIDES_AT, SIDES_AT + 3)
    for consignee, share in ((9, 1 / 6), (0, 1 / 20)):
        values = batch([*rows, arrive("zz", 2, {"consignee": consignee})], outcomes)[:, sides]
        assert values[-1] == pytest.approx([share, 0, share])
    assert np.isnan(values[-3]).all(), "a side without a key is missing"
    assert values[-2].tolist() == [0, 0, 0], "one of new keys had no finds"


def test_the_readings_that_are_not_wanted_are_not_written() -> None:
    rows = [arrive("a", 0), arrive("b", 1)]
    out = np.full((1, 3 + ROW), 7, dtype=np.float32)
    keys = numbers([row.keys for row in rows])
    fold = TableFold(arrivals_of(rows), outcomes_of([]))
    process_table(fold, History(KINDS), keys, np.zeros_like(keys), out, np.array([-1, 0]))
    assert out[0, :3].tolist() == [7, 7, 7]
    assert same(out[0, 3:], batch(rows, [])[1])


def test_empty_tables_are_no_events() -> None:
    assert batch([], []).shape == (0, ROW)
    assert len(order_events(arrivals_of([]), outcomes_of([find("a", 1)])).row) == 1
