"""History never sees the future, and batch, one by one and the plain definition agree to the last bit."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.history_oracle import US_PER_DAY, Arrival, Outcome, PlainHistory, as_floats, in_order
from support.history_runs import batch, list_sides, one_by_one, oracle, restarted, same
from support.history_worlds import (
    GAPS,
    KINDS,
    ROW,
    START,
    arrivals_of,
    numbers,
    outcomes_of,
    process_table,
    worlds,
)

from consignments.timestamps import NO_TIME
from features.history.kernels import NETWORKS_WIDTH, WIDTH
from features.history.live import LiveHistory, VisibleOutcome
from features.history.ordering import ARRIVAL, CANCELLATION, OUTCOME, order_events
from features.history.readings import READINGS
from features.history.table import History
from features.history.table_fold import TableFold

SIDES_AT = len(KINDS) * WIDTH + NETWORKS_WIDTH
NAMES = tuple(reading.name for reading in READINGS)
CASES = (Path(__file__).parents[2] / "data" / "history_readings.jsonl").read_text().splitlines()


any_world = st.booleans().flatmap(worlds)


@settings(max_examples=120)
@given(any_world)
def test_the_batch_reads_what_the_definition_says(world) -> None:
    arrivals, outcomes = world
    assert same(batch(arrivals, outcomes), oracle(arrivals, outcomes))


@settings(max_examples=60)
@given(any_world, st.integers(0, 3))
def test_one_by_one_with_restarts_reads_what_the_batch_reads(world, restart_every: int) -> None:
    arrivals, outcomes = world
    assert same(one_by_one(arrivals, outcomes, restart_every), batch(arrivals, outcomes))


@settings(max_examples=60)
@given(worlds(sequenced=True))
def test_a_late_version_changes_no_bit_of_the_table(world) -> None:
    one_by_one(*world, compare=True)


@settings(max_examples=60)
@given(any_world, st.integers(1, 5))
def test_splitting_a_batch_anywhere_changes_nothing(world, chunk_events: int) -> None:
    arrivals, outcomes = world
    assert same(batch(arrivals, outcomes, piece_rows=chunk_events), batch(arrivals, outcomes))


@settings(max_examples=60)
@given(any_world, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(world, random) -> None:
    arrivals, outcomes = world
    expected = batch(arrivals, outcomes)
    order = list(range(len(arrivals)))
    random.shuffle(order)
    random.shuffle(outcomes)
    assert same(batch([arrivals[place] for place in order], outcomes), expected[order])


@settings(max_examples=60)
@given(any_world, st.integers(0, 20), worlds(sequenced=False))
def test_what_comes_later_changes_nothing_that_was_read(world, past: int, other_world) -> None:
    arrivals, outcomes = world
    events = order_events(arrivals_of(arrivals), outcomes_of(outcomes))
    seen = list(zip(events.what[:past].tolist(), events.row[:past].tolist(), strict=True))
    rows = [row for what, row in seen if what == ARRIVAL]
    cancelled = {row for what, row in seen if what == CANCELLATION}
    only_past = [
        arrivals[row] if row in cancelled else replace(arrivals[row], cancelled_us=None) for row in rows
    ]
    known = [outcomes[row] for what, row in seen if what == OUTCOME]
    future, more = later(other_world, arrivals, outcomes)
    read = batch(only_past + future, known + more)[: len(rows)]
    assert same(read, batch(arrivals, outcomes)[rows])


def later(world, arrivals: list[Arrival], outcomes: list[Outcome]):
    """Move a world behind everything in another."""
    last = max(
        [row.received_us for row in arrivals]
        + [row.cancelled_us or 0 for row in arrivals]
        + [row.visible_us for row in outcomes]
    )
    shift = last - START * US_PER_DAY + 400 * US_PER_DAY
    sequenced = arrivals[0].sequence is not None
    moved_arrivals = [
        replace(
            row,
            name=row.name if sequenced else f"later {row.name}",
            received_us=row.received_us + shift,
            cancelled_us=None if row.cancelled_us is None else row.cancelled_us + shift,
            sequence=1_000 + place if sequenced else None,
        )
        for place, row in enumerate(world[0])
    ]
    moved_outcomes = [
        replace(
            row,
            known_us=None if row.known_us is None else row.known_us + shift + 1200 * US_PER_DAY,
            opened_us=row.opened_us + shift + 1200 * US_PER_DAY,
            recorded_us=None,
            sequence=2_000 + place if sequenced else None,
        )
        for place, row in enumerate(world[1])
    ]
    return moved_arrivals, moved_outcomes


@settings(max_examples=60)
@given(any_world, st.sampled_from(GAPS))
def test_as_of_hides_what_became_visible_later(world, days: int) -> None:
    arrivals, outcomes = world
    as_of_us = (START + days) * US_PER_DAY
    read = batch(arrivals, outcomes, as_of_us)
    assert same(read, oracle(arrivals, outcomes, as_of_us))
    shown = [outcome for outcome in outcomes if outcome.visible_us <= as_of_us]
    kept = [
        replace(row, cancelled_us=None) if (row.cancelled_us or 0) > as_of_us else row for row in arrivals
    ]
    assert same(read, batch(kept, shown))


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
    outcomes = [
        find("a", 8 + noon, {"sequence": 3}),
        find("a", 11 + nine, {"result": "clear", "sequence": 7}),
    ]
    found = read(arrivals, outcomes)
    columns = ("arrivals_30d", "nps_365d", "inspections_365d")
    expected = [[0, 0, 0], [1, 0, 0], [2, 1, 1], [2, 0, 0], [2, 0, 0], [3, 0, 1], [3, 0, 1]]
    assert [[row[name] for name in columns] for row in found] == expected


@pytest.mark.parametrize(
    ("days_later", "windows"),
    [
        (0, [1, 1, 1, 1, 1]),
        (1, [0, 1, 1, 1, 1]),
        (6, [0, 1, 1, 1, 1]),
        (7, [0, 0, 1, 1, 1]),
        (29, [0, 0, 1, 1, 1]),
        (30, [0, 0, 0, 1, 1]),
        (89, [0, 0, 0, 1, 1]),
        (90, [0, 0, 0, 0, 1]),
        (364, [0, 0, 0, 0, 1]),
        (365, [0, 0, 0, 0, 0]),
    ],
)
def test_a_window_holds_its_own_day_and_the_days_before(days_later: int, windows: list[int]) -> None:
    last = read([arrive("a", 0), arrive("b", days_later)])[-1]
    assert [last[f"arrivals_{days}d"] for days in (1, 7, 30, 90, 365)] == windows
    check(last, arrivals_ever=1, days_since_last=days_later)


@pytest.mark.parametrize("line", CASES)
def test_the_last_arrival_reads(line: str) -> None:
    """Each line has arrivals and outcomes as name, day and the rest, and what the last arrival reads; null is missing."""
    case = json.loads(line)
    found = read(
        *([make(*row) for row in case[table]] for table, make in (("arrivals", arrive), ("outcomes", find)))
    )
    check(found[-1], **{name: np.nan if value is None else value for name, value in case["last"].items()})


def test_velocity_compares_this_week_with_the_usual_week() -> None:
    rows = [*(arrive(f"a{n:02}", n) for n in range(90)), *(arrive(f"b{n}", 89.5) for n in range(14))]
    check(read([*rows, arrive("z", 90)])[-1], velocity=21 / (103 * 7 / 90 + 1))


def test_a_new_key_reads_zeros_and_no_days_since_and_a_missing_one_nothing() -> None:
    (found,) = read([arrive("a", 0)])
    expected = dict.fromkeys(("days_since_first", "days_since_last", "days_since_find"), np.nan)
    expected |= {
        "nps_rate": 0.01,
        "controlled_drug_rate": 0.01,
        "any_offence_rate": 0.05,
        "velocity": 1,
        "new": 1,
    }
    check(found, **dict.fromkeys(NAMES, 0.0) | expected)
    assert np.isnan(batch([arrive("a", 0, {"sender": 0}), arrive("b", 1, {"sender": 0})], [])).all()


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


CONSIGNEES = 1_000_000
"""Numbers of two kinds never meet: the kind is in the pseudonym."""


def large_world(count: int, seed: int):
    """A log of a year and a half: repeats, amendments, corrections, late results, cancellations, hot and rare keys."""
    random = np.random.default_rng(seed)
    days = np.sort(random.integers(0, 540, count)) + START
    arrivals: list[Arrival] = []
    outcomes: list[Outcome] = []
    for number in range(count):
        at = int(days[number] - (random.integers(0, 3) if random.random() < 0.05 else 0)) * US_PER_DAY
        at += int(random.integers(0, US_PER_DAY))
        old = arrivals and random.random() < 0.1
        name = arrivals[random.integers(max(0, number - 3_000), number)].name if old else f"c{number}"
        sender = 1 if random.random() < 0.5 else int(random.integers(2, count // 3))
        keys = (sender, CONSIGNEES + int(random.integers(0, 200)))
        cancelled = at + int(random.integers(0, 40)) * US_PER_DAY if random.random() < 0.02 else None
        issued = at - int(random.integers(0, 40)) * US_PER_DAY if random.random() < 0.7 else None
        arrivals.append(Arrival(name, at, keys, (keys[1], sender), 10 * number, cancelled, issued_us=issued))
        if random.random() < 0.1:
            told = arrivals[random.integers(max(0, number - 2_000), number + 1)].name
            result = ("nps", "controlled_drug", "other_offence", "clear", "clear", "clear")[
                random.integers(0, 6)
            ]
            late = int(random.integers(0, 30)) * US_PER_DAY
            outcomes.append(Outcome(told, at - late, result, at, 10 * number + 1))
            if random.random() < 0.1:
                outcomes.append(replace(outcomes[-1], sequence=10 * number + 2))
    return arrivals, outcomes


def check_large_world(count: int, seed: int, sampled: int) -> None:
    """Four ways to the same bits, and what may not matter, over a world of many rows."""
    arrivals, outcomes = large_world(count, seed)
    random = np.random.default_rng(seed)
    read = batch(arrivals, outcomes)
    assert same(read, batch(arrivals, outcomes, piece_rows=int(random.integers(1_000, 9_000))))
    kills = {*random.integers(0, count, 5).tolist()}
    assert same(read, one_by_one(arrivals, outcomes, kills=kills))
    order = random.permutation(count)
    mixed = [outcomes[place] for place in random.permutation(len(outcomes))]
    assert same(read[order], batch([arrivals[place] for place in order], mixed))
    cut = int(random.integers(count // 3, count))
    assert same(read[:cut], batch(*another_future(arrivals, outcomes, cut))[:cut])
    check_by_definition(arrivals, outcomes, read, range(seed, count, count // sampled))


def another_future(arrivals: list[Arrival], outcomes: list[Outcome], cut: int):
    """Keep what the log knew when arrival number `cut` came, and change, drop or add to all that came after."""
    last = 10 * cut
    told = [row for row in outcomes if row.sequence < last]
    clock = max(row.received_us for row in arrivals[:cut])
    clock = max(clock, *(row.visible_us for row in told))
    past = [
        replace(row, cancelled_us=clock + 1) if (row.cancelled_us or 0) > clock else row
        for row in arrivals[:cut]
    ]
    future = [replace(row, keys=row.keys[::-1], cancelled_us=None) for row in arrivals[cut::2]]
    swapped = {"clear": "nps", "nps": "clear"}
    later = [replace(row, result=swapped.get(row.result)) for row in outcomes if row.sequence >= last]
    return past + future, told + later + [replace(row, sequence=row.sequence + 5) for row in later]


def check_by_definition(arrivals: list[Arrival], outcomes: list[Outcome], read, sampled: range) -> None:
    rows = {id(arrivals[row]): row for row in sampled}
    plain = PlainHistory(list_sides(KINDS), wanted=lambda row: id(row) in rows).fold(
        in_order(arrivals, outcomes)
    )
    assert len(plain) == len(rows)
    for row, values in plain:
        assert same(read[rows[id(row)]], as_floats([values])[0])


def test_thousands_of_arrivals_agree_in_every_way_and_with_the_definition() -> None:
    check_large_world(6_000, seed=3, sampled=60)


def test_many_outcomes_before_an_arrival_are_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [Outcome(f"o{number}", START * US_PER_DAY, "clear") for number in range(3_000)]
    arrivals = [Arrival("a", (START + 1) * US_PER_DAY, (1, 2), (1, 1))]
    fold = TableFold(arrivals_of(arrivals), outcomes_of(outcomes))
    searched, search = [], np.flatnonzero

    def count(values: object) -> object:
        searched.append(values)
        return search(values)

    monkeypatch.setattr(np, "flatnonzero", count)
    places = fold._find_next_places(1)
    assert len(places) == 3_001
    assert len(searched) < 20
