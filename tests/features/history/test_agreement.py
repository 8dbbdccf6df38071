"""History never sees the future, and batch, one by one and the plain definition agree to the last bit, with networks and without."""

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st
from support.history_worlds import (
    GAPS,
    KINDS,
    NETWORK_KINDS,
    START,
    arrivals_of,
    batch,
    joined_worlds,
    one_by_one,
    oracle,
    outcomes_of,
    same,
    worlds,
)

from consignments.timestamps import US_PER_DAY
from features.history.ordering import ARRIVAL, CANCELLATION, OUTCOME, order_events


def draw_cases(sequenced: bool):
    """Arrivals, outcomes, and the kinds of their keys."""
    plain = worlds(sequenced).map(lambda world: (*world, KINDS))
    return plain | joined_worlds(sequenced).map(lambda world: (*world, NETWORK_KINDS))


any_case = st.booleans().flatmap(draw_cases)


@given(any_case)
def test_the_batch_reads_what_the_definition_says(case) -> None:
    arrivals, outcomes, kinds = case
    assert same(batch(arrivals, outcomes, kinds=kinds), oracle(arrivals, outcomes, kinds=kinds))


@given(any_case, st.integers(0, 3))
def test_one_by_one_with_restarts_reads_what_the_batch_reads(case, restart_every: int) -> None:
    arrivals, outcomes, kinds = case
    found = one_by_one(arrivals, outcomes, restart_every, kinds=kinds)
    assert same(found, batch(arrivals, outcomes, kinds=kinds))


@given(draw_cases(sequenced=True))
def test_a_late_version_changes_no_bit_of_the_table(case) -> None:
    arrivals, outcomes, kinds = case
    one_by_one(arrivals, outcomes, compare=True, kinds=kinds)


@given(any_case, st.integers(1, 5), st.randoms(use_true_random=False))
def test_neither_the_split_nor_the_order_of_the_rows_matters(case, rows: int, random) -> None:
    arrivals, outcomes, kinds = case
    expected = batch(arrivals, outcomes, kinds=kinds)
    assert same(batch(arrivals, outcomes, kinds=kinds, piece_rows=rows), expected)
    order = list(range(len(arrivals)))
    random.shuffle(order)
    random.shuffle(outcomes)
    assert same(batch([arrivals[place] for place in order], outcomes, kinds=kinds), expected[order])


@given(any_case, st.integers(0, 60))
def test_what_comes_later_changes_nothing_that_was_read(case, past: int) -> None:
    """Everything after an event is left out, with what it cancels and makes known."""
    arrivals, outcomes, kinds = case
    events = order_events(arrivals_of(arrivals), outcomes_of(outcomes))
    seen = list(zip(events.what[:past].tolist(), events.row[:past].tolist(), strict=True))
    rows = [row for what, row in seen if what == ARRIVAL]
    assume(rows)
    cancelled = {row for what, row in seen if what == CANCELLATION}
    known = [outcomes[row] for what, row in seen if what == OUTCOME]
    kept = [arrivals[row] if row in cancelled else replace(arrivals[row], cancelled_us=None) for row in rows]
    assert same(batch(kept, known, kinds=kinds), batch(arrivals, outcomes, kinds=kinds)[rows])


@given(any_case, st.sampled_from(GAPS))
def test_as_of_hides_what_became_visible_later(case, days: int) -> None:
    rows, outcomes, kinds = case
    as_of_us = (START + days) * US_PER_DAY
    read = batch(rows, outcomes, as_of_us, kinds=kinds)
    assert same(read, oracle(rows, outcomes, as_of_us, kinds=kinds))
    shown = [outcome for outcome in outcomes if outcome.visible_us <= as_of_us]
    kept = [replace(row, cancelled_us=None) if (row.cancelled_us or 0) > as_of_us else row for row in rows]
    assert same(read, batch(kept, shown, kinds=kinds))
