"""The order of history, and the processing of whole tables of events. `features.history.live` defines the effect of each event.

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

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from consignments.columns import normalize_names
from consignments.timestamps import NO_TIME, US_PER_DAY
from features.history.kernels import ADD, ARRIVALS, NO_DAY, STEP
from features.history.live import NO_SEQUENCE, CountedState, CountedStates, HandledStep, is_own_arrival

Longs = NDArray[np.int64]
Keys = NDArray[np.uint64]
Rows = NDArray[np.float32]
Names = Any
"""Identifiers: a sequence of str, or an Arrow array of large_string if there are many."""

CHUNK_ROWS = 1 << 16


@dataclass(frozen=True)
class ArrivalEvents:
    """The arrivals in the order of their table, which need not be the order of history.

    Attributes
    ----------
    consignment_id : sequence of str or Arrow array, (n,)
        Repeated only if there is a sequence: a later row amends an earlier one.
    received_us, cancelled_us : int64 array, (n,)
        Microseconds since 1970 (UTC); `cancelled_us` is NO_TIME if the consignment was not cancelled.
    sequence : int64 array, (n,), or None
        Sequence number in the log.
    cancelled_sequence : int64 array, (n,), or None
        Sequence number of the cancellation in the log; negative if unknown. It then takes effect just before the first event
        at which the times of the log have reached `cancelled_us`.
    issued_us : int64 array, (n,), or None
    identity : Arrow array or None, (n,)
        Identifies the consignments; `consignment_id` then only orders simultaneous arrivals. Default: the identifiers in normal form.
    carried : int
        Number of rows at the start whose consignments arrived before this table. Only their cancellations are events.
    second : bool array, (n,), or None
        Rows that read history as if their consignment arrived then instead of when it did. They do not count.
    """

    consignment_id: Names
    received_us: Longs
    cancelled_us: Longs
    sequence: Longs | None = None
    cancelled_sequence: Longs | None = None
    issued_us: Longs | None = None
    identity: Names | None = None
    carried: int = 0
    second: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Outcomes:
    """The outcomes in the order of their table.

    Attributes
    ----------
    consignment_id : sequence of str or Arrow array, (m,)
    visible_us : int64 array, (m,)
        Time at which each became visible. It counts on the day of this time.
    known_us, recorded_us : int64 array, (m,)
        NO_TIME if missing.
    sequence : int64 array, (m,), or None
    result : sequence of str or None, (m,)
        None if the inspection was missed.
    identity : Arrow array or None, (m,)
        As in `ArrivalEvents`.
    """

    consignment_id: Names
    visible_us: Longs
    known_us: Longs
    recorded_us: Longs
    sequence: Longs | None
    result: Sequence[str | None]
    identity: Names | None = None


OUTCOME, CANCELLATION, ARRIVAL = range(3)


@dataclass(frozen=True)
class HistoryEvents:
    """The events of two tables in the order of history.

    Attributes
    ----------
    what : int8 array, (events,)
        OUTCOME, CANCELLATION or ARRIVAL.
    row : int64 array, (events,)
        Row in the table of outcomes for an outcome, else in the table of arrivals.
    """

    what: NDArray[np.int8]
    row: Longs


def order_events(
    arrivals: ArrivalEvents, outcomes: Outcomes, as_of_us: int | None = None, clock_us: int = NO_TIME
) -> HistoryEvents:
    """Sort the events of two tables in the order of history.

    If both tables have a sequence, it is the order. Else the order is time, then results and cancellations before arrivals, then
    `consignment_id`. Outcomes and cancellations after `as_of_us` are ignored. `clock_us` is the latest time of the log before
    these tables.
    """
    last_us = np.iinfo(np.int64).max if as_of_us is None else as_of_us
    shown = np.flatnonzero(outcomes.visible_us <= last_us)
    cancelled = np.flatnonzero((arrivals.cancelled_us != NO_TIME) & (arrivals.cancelled_us <= last_us))
    arrived = np.arange(arrivals.carried, len(arrivals.consignment_id))
    what = np.repeat(
        np.array([OUTCOME, CANCELLATION, ARRIVAL], dtype=np.int8), [len(shown), len(cancelled), len(arrived)]
    )
    events = HistoryEvents(what, np.concatenate([shown, cancelled, arrived]).astype(np.int64))
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
    return _sort_events(
        events, (moment, (events.what == ARRIVAL) | never), arrivals, outcomes, after_own=never
    )


def _order_by_sequence(
    events: HistoryEvents, arrivals: ArrivalEvents, outcomes: Outcomes, clock_us: int
) -> HistoryEvents:
    """Sort by sequence. Insert cancellations without a sequence at the place at which the times of the log reach them."""
    place = _get_sequences(events, arrivals, outcomes)
    loose = (events.what == CANCELLATION) & (place < 0)
    late = HistoryEvents(events.what[loose], events.row[loose])
    fixed = HistoryEvents(events.what[~loose], events.row[~loose])
    fixed = _sort_events(fixed, (place[~loose], fixed.what == ARRIVAL), arrivals, outcomes)
    clock = np.maximum(np.maximum.accumulate(get_event_times(fixed, arrivals, outcomes)), clock_us)
    own = np.full(
        len(arrivals.consignment_id), -1, dtype=np.int64
    )  # carried rows arrived before the first event
    own[fixed.row[fixed.what == ARRIVAL]] = np.flatnonzero(fixed.what == ARRIVAL)
    before = np.maximum(np.searchsorted(clock, arrivals.cancelled_us[late.row]), own[late.row] + 1)
    # Event p has position 2p + 1. What comes between it and the event before has 2p.
    stand = np.concatenate([2 * np.arange(len(fixed.row)) + 1, 2 * before])
    both = HistoryEvents(np.concatenate([fixed.what, late.what]), np.concatenate([fixed.row, late.row]))
    return _sort_events(both, (stand,), arrivals, outcomes)


def get_event_times(events: HistoryEvents, arrivals: ArrivalEvents, outcomes: Outcomes) -> Longs:
    """Return the time at which each event takes effect."""
    return _select_columns(events, outcomes.visible_us, arrivals.cancelled_us, arrivals.received_us)


def _get_sequences(events: HistoryEvents, arrivals: ArrivalEvents, outcomes: Outcomes) -> Longs:
    """Return the sequence number of each event; negative if it has none."""
    cancelled = arrivals.cancelled_sequence
    if cancelled is None:
        cancelled = np.full(len(arrivals.consignment_id), NO_SEQUENCE)
    return _select_columns(events, outcomes.sequence, cancelled, arrivals.sequence)


def _select_columns(
    events: HistoryEvents, outcome: Longs | None, cancellation: Longs, arrival: Longs | None
) -> Longs:
    """Select the value of each event from the column of its kind."""
    values = np.empty(len(events.row), dtype=np.int64)
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
    """Sort events by keys, the first key first, and ties by identifier and content.

    Identifiers are compared for ties only, because sorting strings is slow.
    """
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
    content = _get_tie_breakers(
        HistoryEvents(events.what[places], events.row[places]), arrivals, outcomes, after[places]
    )
    order[tied] = places[np.lexsort((*content[::-1], group))]
    return HistoryEvents(events.what[order], events.row[order])


def _get_tie_breakers(
    events: HistoryEvents, arrivals: ArrivalEvents, outcomes: Outcomes, after_own: NDArray[np.bool_]
) -> tuple[NDArray[Any], ...]:
    """Return the columns by which simultaneous events are sorted, the first one first."""
    is_outcome = events.what == OUTCOME
    rows = events.row[is_outcome]
    ranks = np.zeros((4, len(is_outcome)), dtype=np.int64)
    ranks[0, is_outcome], ranks[1, is_outcome], ranks[2, is_outcome] = _get_outcome_order(outcomes, rows)
    results = [outcomes.result[row] or "" for row in rows.tolist()]
    ranks[3, is_outcome] = np.unique(np.array(results, dtype=str), return_inverse=True)[1]
    return (_rank_names(events, arrivals, outcomes), after_own, events.what, *ranks)


def _rank_names(events: HistoryEvents, arrivals: ArrivalEvents, outcomes: Outcomes) -> Longs:
    """Return numbers that sort like the identifiers of events: by code points."""
    names = _join_names(
        events, to_arrow_strings(arrivals.consignment_id), to_arrow_strings(outcomes.consignment_id)
    ).dictionary_encode()
    rank_of = np.argsort(pc.array_sort_indices(names.dictionary).to_numpy())
    ranks: Longs = rank_of[names.indices.to_numpy()]
    return ranks


def _join_names(events: HistoryEvents, arrivals: Any, outcomes: Any) -> Any:
    """Return the names of events, in order, from Arrow arrays of the names of both tables."""
    is_outcome = events.what == OUTCOME
    names = pa.concat_arrays(
        [
            outcomes.take(pa.array(events.row[is_outcome])),
            arrivals.take(pa.array(events.row[~is_outcome])),
        ]
    )
    place = np.empty(len(is_outcome), dtype=np.int64)
    place[np.concatenate([np.flatnonzero(is_outcome), np.flatnonzero(~is_outcome)])] = np.arange(
        len(is_outcome)
    )
    return names.take(pa.array(place))


def get_identity(table: ArrivalEvents | Outcomes) -> Any:
    """Return what identifies the consignments of a table, as an Arrow array: `identity`, or the identifiers in normal form."""
    return (
        normalize_names(to_arrow_strings(table.consignment_id)) if table.identity is None else table.identity
    )


def to_arrow_strings(names: Names) -> Any:
    """Convert identifiers to an Arrow array of large_string."""
    return names if isinstance(names, pa.Array) else pa.array(names, type=pa.large_string())


def _get_outcome_order(outcomes: Outcomes, row: Any) -> Any:
    """Return the order of outcomes of a consignment, for one row or several: known, recorded, sequence."""
    sequence = NO_SEQUENCE if outcomes.sequence is None else outcomes.sequence[row]
    return outcomes.known_us[row], outcomes.recorded_us[row], sequence


class StepTarget(Protocol):
    """A table to which a fold applies its steps: `History`, or a recorder of the steps."""

    @property
    def kinds(self) -> Sequence[Any]:
        """Return the kinds of keys."""

    @property
    def today(self) -> int:
        """Return the latest day of any event so far."""

    def run(self, steps: Any, keys: Keys, counterparts: Keys, out: Rows) -> None:
        """Apply steps, see `History.run`."""


@dataclass(frozen=True)
class EarlierEvents:
    """The events before a table, as far as its own events need them besides the table of history.

    Attributes
    ----------
    kinds : int
        Number of kinds of keys.
    today : int
        Latest day of any event.
    clock_us : int
        Latest time of the log.
    states : dict
        State of each earlier consignment that this table may meet again, by its identity. A handle is a row of `keys`.
    known_keys : uint64 array, (handles, kinds), or None
    """

    kinds: int
    today: int = NO_DAY
    clock_us: int = NO_TIME
    states: Mapping[Any, CountedState[int]] = field(default_factory=dict)
    known_keys: Keys | None = None

    @property
    def keys(self) -> Keys:
        """Return the keys of the states."""
        return np.zeros((0, self.kinds), dtype=np.uint64) if self.known_keys is None else self.known_keys


class HistoryFold:
    """The fold that reads and counts whole tables of events in the order of history. Keys of arrivals are given in chunks.

    Only keys that later events need are kept: those of consignments that are amended, are cancelled, or have an outcome. The
    readings do not depend on the chunks. For each event a few numbers are kept, and the identifiers only of these consignments.

    Parameters
    ----------
    history : StepTarget
        `History`: empty, or the result of earlier tables. Without `earlier`, their consignments can no longer be amended.
    arrivals : ArrivalEvents
    outcomes : Outcomes
    as_of_us : int, optional
        Outcomes and cancellations after this time are ignored.
    earlier : EarlierEvents, optional
        What is known of the events before these tables. Events after the last arrival are then left for later tables.
    keep : callable, optional
        Receives the row, day and keys of arrivals without other events, in the order of history.

    Attributes
    ----------
    events, left : HistoryEvents
        The events that are processed, and those that are left for later tables.
    register : CountedStates
        States of the consignments that have several events.
    """

    def __init__(
        self,
        history: StepTarget,
        arrivals: ArrivalEvents,
        outcomes: Outcomes,
        as_of_us: int | None = None,
        *,
        earlier: "EarlierEvents | None" = None,
        keep: Callable[[Longs, NDArray[np.int32], Keys], None] | None = None,
    ) -> None:
        before = earlier or EarlierEvents(len(history.kinds))
        events = order_events(arrivals, outcomes, as_of_us, before.clock_us)
        until = len(events.what) if earlier is None else _find_end_of_arrivals(events)
        self.left = HistoryEvents(events.what[until:], events.row[until:])
        self.events = events = HistoryEvents(events.what[:until], events.row[:until])
        days = (get_event_times(events, arrivals, outcomes) // US_PER_DAY).astype(np.int32)
        dated = np.where(events.what == CANCELLATION, np.int32(NO_DAY), days)
        self._history, self._outcomes, self._days, self._keep = history, outcomes, days, keep
        self._first_today = max(history.today, before.today)
        self._today = np.maximum(np.maximum.accumulate(dated), np.int32(self._first_today))
        names, inspected = get_identity(arrivals), get_identity(outcomes)
        self._alone = _mark_single_arrivals(names, inspected, events, before.states)
        followed = HistoryEvents(events.what[~self._alone], events.row[~self._alone])
        self._names = iter(_join_names(followed, names, inspected))
        self._done, self._carried = 0, arrivals.carried
        self.register: CountedStates[int] = CountedStates()
        self.register.files.update(before.states)
        self._issued_us, self._second = arrivals.issued_us, arrivals.second
        self._kept = _KeyStore(before.keys)

    def process_arrivals(self, keys: Keys, counterparts: Keys, out: Rows, out_rows: Longs) -> None:
        """Read and count the next arrivals, and the other events before and between them.

        Parameters
        ----------
        keys, counterparts : uint64 array, (n, kinds)
            Keys of the next n arrivals; 0 if missing.
        out : float32 array, (m, columns)
            Readings are written at the end of each row.
        out_rows : int64 array, (n,)
            Row of `out` for each arrival; -1 if its readings are not wanted.

        Raises
        ------
        ServiceFault
            If history is full. The result so far cannot be used.
        """
        places = self._find_next_places(len(keys))
        arrival = np.cumsum(self.events.what[places] == ARRIVAL) - 1
        alone = self._alone[places]
        single = self._build_single_steps(places[alone], arrival[alone], out_rows)
        if self._keep is not None:
            self._keep(
                self.events.row[places[alone]] - self._carried,
                self._days[places[alone]],
                keys[arrival[alone]],
            )
        handled = self._apply_events(places[~alone], arrival[~alone], keys)
        if len(handled) == 0:
            self._history.run(single, keys, counterparts, out)
            return
        # The keys of earlier consignments follow those of this chunk.
        handles, place_of = np.unique(handled["handle"], return_inverse=True)
        known = self._kept.get(handles)
        steps = np.concatenate([single, self._build_event_steps(handled, len(keys) + place_of, out_rows)])
        order = np.argsort(np.concatenate([places[alone], handled["place"]]), kind="stable")
        self._history.run(
            steps[order],
            np.concatenate([keys, known]),
            np.concatenate([counterparts, np.zeros_like(known)]),
            out,
        )

    def process_table(
        self,
        keys: Keys,
        counterparts: Keys,
        out: Rows,
        out_rows: Longs,
        *,
        piece_rows: int = CHUNK_ROWS,
    ) -> None:
        """Read and count all arrivals. Their rows may be in any order.

        Parameters
        ----------
        keys, counterparts : uint64 array, (n, kinds)
            Keys of the arrivals in the order of their table; 0 if missing.
        out, out_rows
            See `process_arrivals`.
        piece_rows : int
            Number of arrivals per chunk. It affects memory only.

        Raises
        ------
        ServiceFault
            If history is full. The result so far cannot be used.
        """
        order = self.rows
        for begin in range(0, len(order), piece_rows):
            rows = order[begin : begin + piece_rows]
            self.process_arrivals(keys[rows], counterparts[rows], out, out_rows[rows])

    @property
    def rows(self) -> Longs:
        """Return the row of each arrival in the order of history, in which they are processed; int64, (arrivals,)."""
        rows: Longs = self.events.row[self.events.what == ARRIVAL] - self._carried
        return rows

    @property
    def today(self) -> int:
        """Return the latest day of all processed events and of those before these tables."""
        return int(self._today[-1]) if len(self._today) else self._first_today

    def get_keys(self, handles: Longs) -> Keys:
        """Return the keys of states of the register; uint64, (n, kinds)."""
        return self._kept.get(handles)

    def _find_next_places(self, arrivals: int) -> Longs:
        """Return the positions of all events up to the next `arrivals` arrivals; after the last arrival, all that are left."""
        begin, window = self._done, arrivals + 1
        while True:
            found = np.flatnonzero(self.events.what[begin : begin + window] == ARRIVAL)
            if len(found) > arrivals or begin + window >= len(self._days):
                break
            window *= 2
        self._done = begin + int(found[arrivals]) if len(found) > arrivals else len(self._days)
        return np.arange(begin, self._done)

    def _build_single_steps(self, places: Longs, arrival: Longs, out_rows: Longs) -> NDArray[Any]:
        """Build the steps of arrivals without other events: one step each, without a state."""
        steps = np.zeros(len(places), dtype=STEP)
        steps["change"], steps["counter"] = ADD, ARRIVALS
        steps["row"], steps["out_row"] = arrival, out_rows[arrival]
        steps["day"], steps["today"] = self._days[places], self._today[places]
        return steps

    def _apply_events(self, places: Longs, arrival: Longs, keys: Keys) -> NDArray[Any]:
        handled = [
            (place, mine, *step)
            for place, mine in zip(places.tolist(), arrival.tolist(), strict=True)
            for step in self._apply_event(place, mine, keys)
        ]
        return np.array(handled, dtype=EVENT_STEP)

    def _apply_event(self, place: int, arrival: int, keys: Keys) -> list[HandledStep[int]]:
        """Apply an event to the states, and return its steps."""
        row, day, today = int(self.events.row[place]), int(self._days[place]), int(self._today[place])
        name = next(self._names).as_py()
        if self.events.what[place] == ARRIVAL:
            if self._second is not None and self._second[row]:
                return self.register.get(name, today).read_instead(self._kept.keep(keys[arrival]), day)
            issued = NO_TIME if self._issued_us is None else int(self._issued_us[row])
            return self.register.record_arrival(name, self._kept.keep(keys[arrival]), day, today, issued)
        if self.events.what[place] == CANCELLATION:
            return self.register.cancel(name, today)
        outcomes = self._outcomes
        known, recorded, sequence = _get_outcome_order(outcomes, row)
        order = int(known), int(recorded), int(sequence)
        return self.register.record_outcome(name, order, outcomes.result[row], day, today)

    def _build_event_steps(self, handled: NDArray[Any], rows: Longs, out_rows: Longs) -> NDArray[Any]:
        steps = np.zeros(len(handled), dtype=STEP)
        for name in ("change", "counter", "day"):
            steps[name] = handled[name]
        reads = is_own_arrival(handled["change"], handled["counter"])
        steps["row"] = np.where(reads, handled["arrival"], rows)
        steps["out_row"] = np.where(reads, out_rows[handled["arrival"]], -1)
        steps["today"] = self._today[handled["place"]]
        return steps


EVENT_STEP = np.dtype(
    [
        ("place", "<i8"),
        ("arrival", "<i8"),
        ("change", "<i4"),
        ("counter", "<i4"),
        ("handle", "<i8"),
        ("day", "<i4"),
    ]
)
"""Type of a step of an event: position of the event, arrival in the chunk, and the fields of `HandledStep`."""


class _KeyStore:
    """A store of keys of consignments that may be needed again, each under a number."""

    def __init__(self, first: Keys) -> None:
        self._rows = np.concatenate([first, np.zeros((1, first.shape[1]), dtype=np.uint64)])
        self._used = len(first)

    def keep(self, keys: Keys) -> int:
        if self._used == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[self._used] = keys
        self._used += 1
        return self._used - 1

    def get(self, handles: Longs) -> Keys:
        return self._rows[handles]


def _find_end_of_arrivals(events: HistoryEvents) -> int:
    """Return the position after the last arrival."""
    arrived = np.flatnonzero(events.what == ARRIVAL)
    return int(arrived[-1]) + 1 if len(arrived) else 0


def _mark_single_arrivals(
    names: Any, inspected: Any, events: HistoryEvents, earlier: Collection[Any]
) -> NDArray[np.bool_]:
    """Mark arrivals whose consignment arrives once, is not cancelled, has no outcome and is not an earlier one.

    The first two are the identities of arrivals and of outcomes.
    """
    codes = names.dictionary_encode().indices.to_numpy()
    inspected = inspected.take(pa.array(events.row[events.what == OUTCOME]))
    cancelled = names.take(pa.array(events.row[events.what == CANCELLATION]))
    met = pa.array(list(earlier), type=names.type)
    more = pc.is_in(names, value_set=pc.unique(pa.concat_arrays([inspected, cancelled, met])))
    alone = (np.bincount(codes)[codes] == 1) & ~more.to_numpy(zero_copy_only=False)
    marked: NDArray[np.bool_] = events.what == ARRIVAL
    marked[marked] = alone[events.row[marked]]
    return marked
