"""The order of history: a score knows the events before its consignment, and none that became visible later.

`features.history.states` defines the effect of each event, `features.history.fold` applies them.

Events are arrivals, outcomes that become visible, and cancellations. A consignment reads the events before it in this order.
Then it is counted.

    1 March 09:00  A arrives                        reads nothing; counts
    1 March 15:00  B arrives, of the same sender    reads one arrival of this sender
    9 March 12:00  A's result nps becomes visible   counts on 9 March
    9 March 12:00  C arrives, of the same sender    reads two arrivals and one detection: at equal times results come first
    9 March 17:00  A arrives again, amended         A and its detection are removed; it reads B and C; both are added again
    9 March 18:00  A arrives again, issued earlier   it reads B and C; the amended version of 17:00 remains the one that counts
   12 March 09:00  A's result becomes clear         the detection of 9 March is removed; a clear of 12 March is counted
   20 March 12:00  B is cancelled                   B is removed as if it had never arrived
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from consignments.columns import normalize_names
from consignments.timestamps import NO_TIME
from features.history.states import NO_SEQUENCE

Longs = NDArray[np.int64]
Names = Any  # identifiers: a sequence of str, or an Arrow array of large_string if there are many


@dataclass(frozen=True)
class ArrivalEvents:
    """The arrivals in the order of their table, which need not be the order of history; times are microseconds since 1970 (UTC)."""

    consignment_id: Names  # a later row of a consignment amends an earlier one
    received_us: Longs
    cancelled_us: Longs  # NO_TIME without a cancellation
    sequence: Longs | None = None
    cancelled_sequence: Longs | None = None  # negative: before the first event whose time reaches it
    issued_us: Longs | None = None
    identity: Names | None = None  # in place of the identifiers in normal form
    carried: int = 0  # first rows that arrived before this table: only their cancellations are events
    second: NDArray[np.bool_] | None = None  # read as if their consignment arrived then, and not counted


@dataclass(frozen=True)
class Outcomes:
    """The outcomes in the order of their table; `result` is None if the inspection was missed."""

    consignment_id: Names
    visible_us: Longs
    known_us: Longs
    recorded_us: Longs
    sequence: Longs | None
    result: Sequence[str | None]
    identity: Names | None = None

    def take(self, rows: Longs) -> "Outcomes":
        """Return some rows."""
        return Outcomes(
            consignment_id=to_arrow_strings(self.consignment_id).take(pa.array(rows)),
            visible_us=self.visible_us[rows],
            known_us=self.known_us[rows],
            recorded_us=self.recorded_us[rows],
            sequence=None if self.sequence is None else self.sequence[rows],
            result=[self.result[row] for row in rows.tolist()],
            identity=None if self.identity is None else self.identity.take(pa.array(rows)),
        )


OUTCOME, CANCELLATION, ARRIVAL = range(3)


@dataclass(frozen=True)
class HistoryEvents:
    """The events of two tables in the order of history: what each is, and its row in the table of outcomes or of arrivals."""

    what: NDArray[np.int8]
    row: Longs

    def select(self, chosen: Any) -> "HistoryEvents":
        """Return some events."""
        return HistoryEvents(self.what[chosen], self.row[chosen])


def order_events(
    arrivals: ArrivalEvents, outcomes: Outcomes, as_of_us: int | None = None, clock_us: int = NO_TIME
) -> HistoryEvents:
    """Sort the events of two tables up to `as_of_us`: by sequence if both have one, else by time, results first."""
    last_us = np.iinfo(np.int64).max if as_of_us is None else as_of_us
    shown = np.flatnonzero(outcomes.visible_us <= last_us)
    cancelled = np.flatnonzero((arrivals.cancelled_us != NO_TIME) & (arrivals.cancelled_us <= last_us))
    arrived = np.arange(arrivals.carried, len(arrivals.consignment_id))
    rows = shown, cancelled, arrived
    what = np.repeat(np.array([OUTCOME, CANCELLATION, ARRIVAL], dtype=np.int8), [*map(len, rows)])
    events = HistoryEvents(what, np.concatenate(rows).astype(np.int64))
    if arrivals.sequence is not None and (outcomes.sequence is not None or len(shown) == 0):
        return _order_by_sequence(events, arrivals, outcomes, clock_us)
    return _order_by_time(events, arrivals, outcomes)


def _order_by_time(events: HistoryEvents, arrivals: ArrivalEvents, outcomes: Outcomes) -> HistoryEvents:
    """Sort by time. A consignment that was cancelled before it was received gets its features, but never counts."""
    moment = get_event_times(events, arrivals, outcomes)
    received = np.full(len(moment), NO_TIME)
    cancelling = events.what == CANCELLATION
    received[cancelling] = arrivals.received_us[events.row[cancelling]]
    never = cancelling & (moment <= received)
    moment = np.where(never, received, moment)
    keys = moment, (events.what == ARRIVAL) | never
    return _sort_events(events, keys, arrivals, outcomes, after_own=never)


def _order_by_sequence(
    events: HistoryEvents, arrivals: ArrivalEvents, outcomes: Outcomes, clock_us: int
) -> HistoryEvents:
    """Sort by sequence. Insert cancellations without a sequence at the place at which the times of the log reach them."""
    place = select_columns(events, outcomes.sequence, arrivals.cancelled_sequence, arrivals.sequence)
    loose = (events.what == CANCELLATION) & (place < 0)
    late, fixed = events.select(loose), events.select(~loose)
    fixed = _sort_events(fixed, (place[~loose], fixed.what == ARRIVAL), arrivals, outcomes)
    clock = np.maximum(np.maximum.accumulate(get_event_times(fixed, arrivals, outcomes)), clock_us)
    # Carried rows arrived before the first event.
    own = np.full(len(arrivals.consignment_id), -1, dtype=np.int64)
    own[fixed.row[fixed.what == ARRIVAL]] = np.flatnonzero(fixed.what == ARRIVAL)
    before = np.maximum(np.searchsorted(clock, arrivals.cancelled_us[late.row]), own[late.row] + 1)
    # Event p has position 2p + 1. What comes between it and the event before has 2p.
    stand = np.concatenate([2 * np.arange(len(fixed.row)) + 1, 2 * before])
    both = HistoryEvents(np.concatenate([fixed.what, late.what]), np.concatenate([fixed.row, late.row]))
    return _sort_events(both, (stand,), arrivals, outcomes)


def get_event_times(events: HistoryEvents, arrivals: ArrivalEvents, outcomes: Outcomes) -> Longs:
    """Return the time at which each event takes effect."""
    return select_columns(events, outcomes.visible_us, arrivals.cancelled_us, arrivals.received_us)


def select_columns(
    events: HistoryEvents, outcome: Longs | None, cancellation: Longs | None, arrival: Longs | None
) -> Longs:
    """Select the value of each event from the column of its kind; `NO_SEQUENCE` if there is no such column."""
    values = np.full(len(events.row), NO_SEQUENCE)
    for what, column in ((OUTCOME, outcome), (CANCELLATION, cancellation), (ARRIVAL, arrival)):
        chosen = events.what == what
        if column is not None:
            values[chosen] = column[events.row[chosen]]
    return values


def _sort_events(
    events: HistoryEvents,
    keys: tuple[NDArray[Any], ...],
    arrivals: ArrivalEvents,
    outcomes: Outcomes,
    *,
    after_own: NDArray[np.bool_] | None = None,
) -> HistoryEvents:
    """Sort events by keys, the first key first, and only ties by identifier and content, because sorting strings is slow."""
    order = np.lexsort(keys[::-1])
    differs = np.zeros(max(len(order) - 1, 0), dtype=bool)
    for key in keys:
        differs |= np.diff(key[order]) != 0
    begins = np.concatenate([[True], differs])[: len(order)]
    ends = np.concatenate([differs, [True]])[: len(order)]
    tied = np.flatnonzero(~(begins & ends))
    places = order[tied]
    after = np.zeros(len(order), dtype=bool) if after_own is None else after_own
    group = np.cumsum(begins)[tied]
    content = _get_tie_breakers(events.select(places), arrivals, outcomes, after[places])
    order[tied] = places[np.lexsort((*content[::-1], group))]
    return events.select(order)


def _get_tie_breakers(
    events: HistoryEvents, arrivals: ArrivalEvents, outcomes: Outcomes, after_own: NDArray[np.bool_]
) -> tuple[NDArray[Any], ...]:
    """Return the columns by which simultaneous events are sorted, the first one first."""
    is_outcome = events.what == OUTCOME
    rows = events.row[is_outcome]
    ranks = np.zeros((4, len(is_outcome)), dtype=np.int64)
    results = np.array([outcomes.result[row] or "" for row in rows.tolist()], dtype=str)
    columns = *get_outcome_order(outcomes, rows), np.unique(results, return_inverse=True)[1]
    for rank, column in zip(ranks, columns, strict=True):
        rank[is_outcome] = column
    return (_rank_names(events, arrivals, outcomes), after_own, events.what, *ranks)


def _rank_names(events: HistoryEvents, arrivals: ArrivalEvents, outcomes: Outcomes) -> Longs:
    """Return numbers that sort like the identifiers of events: by code points."""
    both = to_arrow_strings(arrivals.consignment_id), to_arrow_strings(outcomes.consignment_id)
    names = join_names(events, *both).dictionary_encode()
    rank_of = np.argsort(pc.array_sort_indices(names.dictionary).to_numpy())
    ranks: Longs = rank_of[names.indices.to_numpy()]
    return ranks


def join_names(events: HistoryEvents, arrivals: Any, outcomes: Any) -> Any:
    """Return the names of events, in order, from Arrow arrays of the names of both tables."""
    is_outcome = events.what == OUTCOME
    parts = (
        outcomes.take(pa.array(events.row[is_outcome])),
        arrivals.take(pa.array(events.row[~is_outcome])),
    )
    place = np.argsort(np.argsort(~is_outcome, kind="stable"))
    return pa.concat_arrays(parts).take(pa.array(place))


def get_identity(table: ArrivalEvents | Outcomes) -> Any:
    """Return what identifies the consignments of a table, as an Arrow array: `identity`, or the identifiers in normal form."""
    if table.identity is not None:
        return table.identity
    return normalize_names(to_arrow_strings(table.consignment_id))


def to_arrow_strings(names: Names) -> Any:
    """Convert identifiers to an Arrow array of large_string."""
    return names if isinstance(names, pa.Array) else pa.array(names, type=pa.large_string())


def get_outcome_order(outcomes: Outcomes, row: Any) -> Any:
    """Return the order of outcomes of a consignment, for one row or several: known, recorded, sequence."""
    sequence = NO_SEQUENCE if outcomes.sequence is None else outcomes.sequence[row]
    return outcomes.known_us[row], outcomes.recorded_us[row], sequence


def sort_outcomes(outcomes: Outcomes, rows: Longs) -> Longs:
    """Sort rows so that the valid outcome of each consignment comes last; equal ones stay in the given order."""
    keys = get_outcome_order(outcomes, rows)
    return rows[np.lexsort(np.broadcast_arrays(*reversed(keys)))]
