"""The order of history, and the fold of whole tables of events; `features.ledger` says what each event does.

Events are arrivals, outcomes that become visible, and cancellations. A consignment reads what precedes it in their order,
then it is counted.

    1 March 09:00  A arrives                        reads nothing; counts
    1 March 15:00  B arrives, of the same sender    reads one arrival of this sender
    9 March 12:00  A's result nps becomes visible   counts on 9 March
    9 March 12:00  C arrives, of the same sender    reads two arrivals and one find: at one instant results come first
    9 March 17:00  A arrives again, amended         A and its find are taken out; it reads B and C; both are put back
   12 March 09:00  A's result becomes clear         the find of 9 March is taken out; a clear of 12 March is counted
   20 March 12:00  B is cancelled                   from here on B has never been
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consignments.visibility import NO_TIME, US_PER_DAY
from features.history import ARRIVALS, NO_DAY, STEP, History
from features.ledger import NO_SEQUENCE, HandledStep, Register

Longs = NDArray[np.int64]
Keys = NDArray[np.uint64]
Rows = NDArray[np.float32]
Progress = Callable[[int, int], None]

CHUNK_EVENTS = 1 << 16


@dataclass(frozen=True)
class Arrivals:
    """Consignments in the order of their table, which says nothing about the order of history.

    Attributes
    ----------
    consignment_id : sequence of str, (n,)
        Repeated only where there is a sequence: a later row amends an earlier one.
    received_us, cancelled_us : int64 array, (n,)
        Microseconds since the epoch; `cancelled_us` is NO_TIME where it was not cancelled.
    sequence : int64 array, (n,), or None
        Place in the log.
    cancelled_sequence : int64 array, (n,), or None
        Place of the cancellation in the log, below 0 where not known: then it takes effect just before the first event
        by which the log's moments have reached `cancelled_us`.
    """

    consignment_id: Sequence[str]
    received_us: Longs
    cancelled_us: Longs
    sequence: Longs | None = None
    cancelled_sequence: Longs | None = None


@dataclass(frozen=True)
class Outcomes:
    """Outcomes in the order of their table.

    Attributes
    ----------
    consignment_id : sequence of str, (m,)
    visible_us : int64 array, (m,)
        When each became visible; it counts on the day of this moment.
    known_us, recorded_us : int64 array, (m,)
        NO_TIME where missing.
    sequence : int64 array, (m,), or None
    result : sequence of str or None, (m,)
        None where missed.
    """

    consignment_id: Sequence[str]
    visible_us: Longs
    known_us: Longs
    recorded_us: Longs
    sequence: Longs | None
    result: Sequence[str | None]


OUTCOME, CANCELLATION, ARRIVAL = range(3)
BEFORE_ARRIVALS, WITH_ARRIVALS = range(2)


@dataclass(frozen=True)
class Events:
    """Events in the order of history.

    Attributes
    ----------
    what : int8 array, (events,)
        OUTCOME, CANCELLATION or ARRIVAL.
    row : int64 array, (events,)
        Row of the table: of outcomes for an outcome, else of arrivals.
    """

    what: NDArray[np.int8]
    row: Longs


def order_events(arrivals: Arrivals, outcomes: Outcomes, as_of_us: int | None = None) -> Events:
    """Put the events of two tables in the order of history.

    Where both have a sequence, it is the order. Else it is time, results and cancellations before arrivals, then
    `consignment_id`. What became visible or was cancelled after `as_of_us` is hidden.
    """
    last_us = np.iinfo(np.int64).max if as_of_us is None else as_of_us
    shown = np.flatnonzero(outcomes.visible_us <= last_us)
    cancelled = np.flatnonzero((arrivals.cancelled_us != NO_TIME) & (arrivals.cancelled_us <= last_us))
    arrived = np.arange(len(arrivals.consignment_id))
    what = np.repeat(
        np.array([OUTCOME, CANCELLATION, ARRIVAL], dtype=np.int8), [len(shown), len(cancelled), len(arrived)]
    )
    events = Events(what, np.concatenate([shown, cancelled, arrived]).astype(np.int64))
    if arrivals.sequence is not None and (outcomes.sequence is not None or len(shown) == 0):
        return _by_sequence(events, arrivals, outcomes)
    return _by_time(events, arrivals, outcomes)


def _by_time(events: Events, arrivals: Arrivals, outcomes: Outcomes) -> Events:
    """Order by time; a consignment cancelled before it was received is read, and never counts after that."""
    moment = _moments(events, arrivals, outcomes)
    received = np.full(len(moment), NO_TIME)
    cancelling = events.what == CANCELLATION
    received[cancelling] = arrivals.received_us[events.row[cancelling]]
    never = cancelling & (moment <= received)
    moment = np.where(never, received, moment)
    return _sorted(events, (moment, (events.what == ARRIVAL) | never), arrivals, outcomes, after_own=never)


def _by_sequence(events: Events, arrivals: Arrivals, outcomes: Outcomes) -> Events:
    """Order by sequence, then put cancellations without one where the log's moments reach them."""
    place = _sequences(events, arrivals, outcomes)
    loose = (events.what == CANCELLATION) & (place < 0)
    late = Events(events.what[loose], events.row[loose])
    fixed = Events(events.what[~loose], events.row[~loose])
    fixed = _sorted(fixed, (place[~loose], fixed.what == ARRIVAL), arrivals, outcomes)
    clock = np.maximum.accumulate(_moments(fixed, arrivals, outcomes))
    own = np.zeros(len(arrivals.consignment_id), dtype=np.int64)
    own[fixed.row[fixed.what == ARRIVAL]] = np.flatnonzero(fixed.what == ARRIVAL)
    before = np.maximum(np.searchsorted(clock, arrivals.cancelled_us[late.row]), own[late.row] + 1)
    # Event p stands at 2p + 1, what comes between it and the one before at 2p.
    stand = np.concatenate([2 * np.arange(len(fixed.row)) + 1, 2 * before])
    both = Events(np.concatenate([fixed.what, late.what]), np.concatenate([fixed.row, late.row]))
    return _sorted(both, (stand,), arrivals, outcomes)


def _moments(events: Events, arrivals: Arrivals, outcomes: Outcomes) -> Longs:
    return _columns(events, outcomes.visible_us, arrivals.cancelled_us, arrivals.received_us)


def _sequences(events: Events, arrivals: Arrivals, outcomes: Outcomes) -> Longs:
    """Give the place of each event in the log, below 0 where it has none."""
    cancelled = arrivals.cancelled_sequence
    if cancelled is None:
        cancelled = np.full(len(arrivals.consignment_id), NO_SEQUENCE)
    return _columns(events, outcomes.sequence, cancelled, arrivals.sequence)


def _columns(events: Events, outcome: Longs | None, cancellation: Longs, arrival: Longs | None) -> Longs:
    """Give each event its value of the column for its kind."""
    values = np.empty(len(events.row), dtype=np.int64)
    for what, column in ((OUTCOME, outcome), (CANCELLATION, cancellation), (ARRIVAL, arrival)):
        chosen = events.what == what
        if column is not None:
            values[chosen] = column[events.row[chosen]]
    return values


def _sorted(
    events: Events,
    keys: tuple[NDArray[Any], ...],
    arrivals: Arrivals,
    outcomes: Outcomes,
    *,
    after_own: NDArray[np.bool_] | None = None,
) -> Events:
    """Sort by keys, the first one first, and what is equal in all of them by identifier and content.

    Identifiers are compared for ties only: sorting strings is slow.
    """
    order = np.lexsort(keys[::-1])
    differs = np.zeros(max(len(order) - 1, 0), dtype=bool)
    for key in keys:
        differs |= np.diff(key[order]) != 0
    cuts = np.concatenate([[0], np.flatnonzero(differs) + 1, [len(order)]])
    after = np.zeros(len(order), dtype=bool) if after_own is None else after_own
    for begin, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        if end - begin > 1:
            tied = order[begin:end].tolist()
            tied.sort(key=lambda place: _content(events, place, arrivals, outcomes, bool(after[place])))
            order[begin:end] = tied
    return Events(events.what[order], events.row[order])


def _content(
    events: Events, place: int, arrivals: Arrivals, outcomes: Outcomes, after_own: bool
) -> tuple[Any, ...]:
    what, row = int(events.what[place]), int(events.row[place])
    if what == OUTCOME:
        return (
            outcomes.consignment_id[row],
            after_own,
            what,
            *_order_of(outcomes, row),
            outcomes.result[row] or "",
        )
    return (arrivals.consignment_id[row], after_own, what)


def _order_of(outcomes: Outcomes, row: int) -> tuple[int, int, int]:
    sequence = NO_SEQUENCE if outcomes.sequence is None else int(outcomes.sequence[row])
    return int(outcomes.known_us[row]), int(outcomes.recorded_us[row]), sequence


def fold(
    history: History,
    arrivals: Arrivals,
    outcomes: Outcomes,
    keys: Keys,
    counterparts: Keys,
    out: Rows,
    at: int,
    out_rows: Longs,
    as_of_us: int | None = None,
    *,
    progress: Progress | None = None,
    chunk_events: int = CHUNK_EVENTS,
) -> None:
    """Read and count whole tables of events, in the order of history.

    Parameters
    ----------
    history : History
        Empty, or what earlier tables left; consignments of earlier tables can no longer be amended.
    arrivals : Arrivals
        n rows.
    outcomes : Outcomes
    keys, counterparts : uint64 array, (n, kinds)
        0 is missing.
    out : float32 array, (m, columns)
        Readings are written from column `at` on.
    at : int
    out_rows : int64 array, (n,)
        Row of `out` for each arrival; -1 where its readings are not wanted.
    as_of_us : int, optional
        Outcomes and cancellations after this moment are hidden.
    progress : callable, optional
        Called with the number of events done, and of all.
    chunk_events : int
        Events taken together; changes nothing but memory.

    Raises
    ------
    ServiceFault
        History is full; what was folded so far is of no use.
    """
    batch = _Batch(arrivals, outcomes, order_events(arrivals, outcomes, as_of_us), history.today, out_rows)
    events = len(batch.days)
    for begin in range(0, events, chunk_events):
        end = min(begin + chunk_events, events)
        history.run(batch.steps(begin, end), keys, counterparts, out, at)
        if progress is not None:
            progress(end, events)


class _Batch:
    """Turn a table's events into steps, by the same register as the ledger; keys are told by their row.

    A consignment of which nothing else is known takes one step, and the register need not hear of it.
    """

    def __init__(
        self, arrivals: Arrivals, outcomes: Outcomes, events: Events, today: int, out_rows: Longs
    ) -> None:
        self.arrivals, self.outcomes, self.events, self.out_rows = arrivals, outcomes, events, out_rows
        self.days = _moments(events, arrivals, outcomes) // US_PER_DAY
        dated = np.where(events.what == CANCELLATION, NO_DAY, self.days)
        self.today = np.maximum(np.maximum.accumulate(dated), today)
        self.alone = _are_alone(arrivals, outcomes, events)
        self.register: Register[int] = Register()

    def steps(self, begin: int, end: int) -> NDArray[Any]:
        """Give the steps of some events, in order."""
        places = np.arange(begin, end)
        single = places[self.alone[begin:end]]
        told = [
            (place, *step) for place in places[~self.alone[begin:end]].tolist() for step in self._tell(place)
        ]
        steps = np.zeros(len(single) + len(told), dtype=STEP)
        self._fill_single(steps[: len(single)], single)
        if told:
            self._fill_told(steps[len(single) :], told)
        order = np.argsort(np.concatenate([single, [step[0] for step in told]]), kind="stable")
        return steps[order]

    def _tell(self, place: int) -> list[HandledStep[int]]:
        """Let the register hear of an event."""
        row, day, today = int(self.events.row[place]), int(self.days[place]), int(self.today[place])
        if self.events.what[place] == ARRIVAL:
            return self.register.arrive(self.arrivals.consignment_id[row], row, day, today)
        if self.events.what[place] == CANCELLATION:
            return self.register.cancel(self.arrivals.consignment_id[row], today)
        outcomes = self.outcomes
        order = _order_of(outcomes, row)
        return self.register.conclude(outcomes.consignment_id[row], order, outcomes.result[row], day, today)

    def _fill_single(self, steps: NDArray[Any], places: Longs) -> None:
        rows = self.events.row[places]
        steps["change"], steps["counter"] = 1, ARRIVALS
        steps["row"], steps["out_row"] = rows, self.out_rows[rows]
        steps["day"], steps["today"] = self.days[places], self.today[places]

    def _fill_told(self, steps: NDArray[Any], told: list[tuple[int, int, int, int, int]]) -> None:
        places, change, counter, rows, days = np.array(told, dtype=np.int64).T
        steps["change"], steps["counter"], steps["row"], steps["day"] = change, counter, rows, days
        # Only the arrival that is this event is read; one that is put back is not there, for register.cancel never does.
        reads = (change > 0) & (counter == ARRIVALS)
        steps["out_row"] = np.where(reads, self.out_rows[rows], -1)
        steps["today"] = self.today[places]


def _are_alone(arrivals: Arrivals, outcomes: Outcomes, events: Events) -> NDArray[np.bool_]:
    """Mark arrivals whose consignment comes once, is not cancelled, and has no outcome."""
    names = arrivals.consignment_id
    told = {outcomes.consignment_id[row] for row in events.row[events.what == OUTCOME].tolist()}
    told |= {names[row] for row in events.row[events.what == CANCELLATION].tolist()}
    if len(set(names)) != len(names):
        told |= {name for name, times in Counter(names).items() if times > 1}
    alone = np.fromiter((name not in told for name in names), dtype=bool, count=len(names))
    marked: NDArray[np.bool_] = events.what == ARRIVAL
    marked[marked] = alone[events.row[marked]]
    return marked
