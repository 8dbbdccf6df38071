"""History never sees the future, and batch, one by one and the plain definition agree to the last bit."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from history_oracle import US_PER_DAY, Arrival, Outcome, PlainHistory, as_floats, in_order
from hypothesis import given, settings
from hypothesis import strategies as st

from consignments.visibility import NO_TIME
from features.history import WIDTH, History
from features.keys import KeyKind
from features.timeline import (
    ARRIVAL,
    OUTCOME,
    Arrivals,
    Ledger,
    Outcomes,
    fold,
    order_events,
)

KINDS = tuple(KeyKind(name, name, None, lambda _, __: "") for name in ("sender", "consignee"))
START = 19_783
"""1 March 2024."""


def arrivals_of(rows: Sequence[Arrival]) -> Arrivals:
    return Arrivals(
        [row.name for row in rows],
        moments(row.received_us for row in rows),
        moments(row.cancelled_us for row in rows),
        None if any(row.sequence is None for row in rows) else moments(row.sequence for row in rows),
        moments(-1 if row.cancelled_sequence is None else row.cancelled_sequence for row in rows),
    )


def outcomes_of(rows: Sequence[Outcome]) -> Outcomes:
    return Outcomes(
        [row.name for row in rows],
        moments(row.visible_us for row in rows),
        moments(row.known_us for row in rows),
        moments(row.recorded_us for row in rows),
        None if any(row.sequence is None for row in rows) else moments(row.sequence for row in rows),
        [row.result for row in rows],
    )


def moments(values: "Sequence[int | None] | object") -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array([NO_TIME if value is None else value for value in values], dtype=np.int64)  # type: ignore[attr-defined]


def numbers(rows: Sequence[tuple[int, ...]]) -> "np.ndarray[tuple[int, int], np.dtype[np.uint64]]":
    return np.array(rows, dtype=np.uint64).reshape(-1, len(KINDS))


def batch(arrivals: Sequence[Arrival], outcomes: Sequence[Outcome], as_of_us=None, **options):
    """Readings of every arrival, in the order of `arrivals`."""
    out = np.full((len(arrivals), len(KINDS) * WIDTH), -1, dtype=np.float32)
    fold(
        History(KINDS, capacity=options.pop("capacity", 4)),
        arrivals_of(arrivals),
        outcomes_of(outcomes),
        numbers([row.keys for row in arrivals]),
        numbers([row.counterparts for row in arrivals]),
        out,
        0,
        np.arange(len(arrivals)),
        as_of_us,
        **options,
    )
    return out


def one_by_one(arrivals: Sequence[Arrival], outcomes: Sequence[Outcome], restart_every: int = 0):
    """The same through the ledger, event by event, with a restart from a snapshot now and then."""
    ledger = Ledger(History(KINDS, capacity=4))
    out = np.full((len(arrivals), len(KINDS) * WIDTH), -1, dtype=np.float32)
    keys = numbers([row.keys for row in arrivals])
    counterparts = numbers([row.counterparts for row in arrivals])
    events = order_events(arrivals_of(arrivals), outcomes_of(outcomes))
    for place, (what, row) in enumerate(zip(events.what, events.row, strict=True)):
        if restart_every and place % restart_every == 0:
            ledger = restarted(ledger)
        if what == ARRIVAL:
            day = arrivals[row].received_us // US_PER_DAY
            ledger.arrive(arrivals[row].name, day, keys[row], counterparts[row], out[row])
        elif what == OUTCOME:
            told = outcomes[row]
            ledger.conclude(
                told.name,
                told.visible_us,
                NO_TIME if told.known_us is None else told.known_us,
                NO_TIME if told.recorded_us is None else told.recorded_us,
                told.sequence,
                told.result,
            )
        else:
            ledger.cancel(arrivals[row].name)
    return out


def restarted(ledger: Ledger) -> Ledger:
    history, consignments = ledger.history.to_arrays(), ledger.to_arrays()
    return Ledger.from_arrays(History.from_arrays(KINDS, history), consignments)


def oracle(arrivals: Sequence[Arrival], outcomes: Sequence[Outcome], as_of_us=None):
    read = PlainHistory().fold(in_order(list(arrivals), list(outcomes), as_of_us))
    rows = {id(arrival): values for arrival, values in read}
    return as_floats([rows[id(arrival)] for arrival in arrivals])


def same(left, right) -> bool:
    return left.shape == right.shape and left.tobytes() == right.tobytes()


# Days that lie at, before and after the edges of every window and of what is remembered.
GAPS = [0, 0, 0, 0, 1, 1, 2, 6, 7, 8, 29, 30, 89, 90, 364, 365, 366, 367, 400]
gaps = st.sampled_from(GAPS)
hours = st.sampled_from([0, 9, 9, 23])
key_rows = st.tuples(st.sampled_from([0, 1, 1, 2, 3]), st.sampled_from([0, 5, 5, 6]))
counterpart_rows = st.tuples(st.integers(0, 12), st.integers(0, 3))
results = st.sampled_from(["nps", "controlled_drug", "other_offence", "clear", "clear", "pending", None])


@st.composite
def worlds(draw, sequenced: bool):
    """Arrivals and outcomes: days may go backwards and names repeat only where there is a sequence."""
    day = START
    arrivals: list[Arrival] = []
    outcomes: list[Outcome] = []
    for number in range(draw(st.integers(1, 14))):
        if sequenced and draw(st.integers(0, 4)) == 0:
            day -= draw(gaps)
        else:
            day += draw(gaps)
        moment = day * US_PER_DAY + draw(hours) * 3_600_000_000
        if draw(st.integers(0, 2)) < 2 or not arrivals:
            name = f"c{draw(st.integers(0, 5)) if sequenced else number}"
            cancelled = draw(st.none() | st.just(None) | gaps)
            arrivals.append(
                Arrival(
                    name,
                    moment,
                    draw(key_rows),
                    draw(counterpart_rows),
                    2 * number if sequenced else None,
                    None if cancelled is None else moment + cancelled * US_PER_DAY,
                )
            )
        else:
            outcomes.append(draw(outcome_rows(moment, 2 * number if sequenced else None)))
            if draw(st.integers(0, 3)) == 0:
                outcomes.append(
                    replace(outcomes[-1], sequence=2 * number + 1) if sequenced else outcomes[-1]
                )
    return arrivals, outcomes


@st.composite
def outcome_rows(draw, moment: int, sequence: int | None):
    known = moment - draw(gaps) * US_PER_DAY if draw(st.booleans()) else moment
    result = draw(results)
    return Outcome(
        name=f"c{draw(st.integers(0, 13))}",
        known_us=known if result not in (None, "pending") else None,
        result=result,
        recorded_us=moment if draw(st.booleans()) or known != moment else None,
        sequence=sequence,
        opened_us=known,
    )


any_world = st.booleans().flatmap(worlds)


@settings(max_examples=400, deadline=None)
@given(any_world)
def test_the_batch_reads_what_the_definition_says(world) -> None:
    arrivals, outcomes = world
    assert same(batch(arrivals, outcomes), oracle(arrivals, outcomes))


@settings(max_examples=200, deadline=None)
@given(any_world, st.integers(0, 3))
def test_one_by_one_with_restarts_reads_what_the_batch_reads(world, restart_every: int) -> None:
    arrivals, outcomes = world
    assert same(one_by_one(arrivals, outcomes, restart_every), batch(arrivals, outcomes))
