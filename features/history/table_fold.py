"""The fold of whole tables of events, in the order of history. Keys of arrivals are given in chunks; readings do not depend on them.

For each event a few numbers are kept. Identifiers and keys are kept only of consignments that later events need: those that are
amended, are cancelled, or have an outcome.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from consignments.timestamps import NO_TIME, US_PER_DAY
from features.history import ordering
from features.history.fold import Change, EventChunk, build_steps, find_latest_days
from features.history.kernels import NO_DAY, Keys, Longs, Rows
from features.history.states import CountedState, CountedStates
from features.history.table import History


@dataclass(frozen=True)
class EarlierEvents:
    """The events before a table: latest day, latest time of the log, and the states that this table may meet again, by identity."""

    today: int = NO_DAY
    clock_us: int = NO_TIME
    states: Mapping[Any, CountedState] = field(default_factory=dict)


class TableFold:
    """The fold of tables of events in the order of history; with `earlier`, events after the last arrival are `left` for later tables."""

    def __init__(
        self,
        arrivals: ordering.ArrivalEvents,
        outcomes: ordering.Outcomes,
        as_of_us: int | None = None,
        *,
        earlier: EarlierEvents | None = None,
        keep: Callable[[Longs, NDArray[np.int32], Keys], None] | None = None,
    ) -> None:
        before = earlier or EarlierEvents()
        events = ordering.order_events(arrivals, outcomes, as_of_us, before.clock_us)
        last_arrival = np.flatnonzero(events.what == ordering.ARRIVAL).max(initial=-1)
        until = len(events.what) if earlier is None else int(last_arrival) + 1
        self.left = events.select(slice(until, None))
        self.events = events = events.select(slice(until))
        self.rows: Longs = events.row[events.what == ordering.ARRIVAL] - arrivals.carried
        self._days = (ordering.get_event_times(events, arrivals, outcomes) // US_PER_DAY).astype(np.int32)
        dated = np.where(events.what == ordering.CANCELLATION, np.int32(NO_DAY), self._days)
        self._today = find_latest_days(dated, before.today)
        self.today = int(self._today[-1]) if until else before.today
        names, inspected = ordering.get_identity(arrivals), ordering.get_identity(outcomes)
        self._alone = _mark_single_arrivals(names, inspected, events, before.states)
        self._names = iter(ordering.join_names(events.select(~self._alone), names, inspected))
        self.states = CountedStates()
        self.states.states.update(before.states)
        self._done, self._carried, self._outcomes, self._keep = 0, arrivals.carried, outcomes, keep
        self._issued_us, self._second = arrivals.issued_us, arrivals.second

    def process_arrivals(
        self, history: History, keys: Keys, counterparts: Keys, out: Rows, out_rows: Longs
    ) -> None:
        """Read and count the next arrivals, and fold the other events before and between them; if the table is full, the result so far cannot be used."""
        places = self._find_next_places(len(keys))
        arrives, alone = self.events.what[places] == ordering.ARRIVAL, self._alone[places]
        arrival = np.cumsum(arrives) - 1
        if self._keep is not None:
            rows = self.events.row[places[alone]] - self._carried
            self._keep(rows, self._days[places[alone]], keys[arrival[alone]])
        others = zip(places[~alone].tolist(), arrival[~alone].tolist(), strict=True)
        changes = (self._build_change(place, keys, mine) for place, mine in others)
        day, today = self._days[places], self._today[places]
        events = EventChunk(today, arrival, changes, keys, counterparts, out_rows, alone, day)
        history.run(*build_steps(events), out)

    def _find_next_places(self, arrivals: int) -> Longs:
        """Return the positions of all events up to the next `arrivals` arrivals; after the last arrival, all that are left."""
        begin, window = self._done, arrivals + 1
        while True:
            found = np.flatnonzero(self.events.what[begin : begin + window] == ordering.ARRIVAL)
            if len(found) > arrivals or begin + window >= len(self._days):
                break
            window *= 2
        self._done = begin + int(found[arrivals]) if len(found) > arrivals else len(self._days)
        return np.arange(begin, self._done)

    def _build_change(self, place: int, keys: Keys, arrival: int) -> Change:
        """Return what an event does to the state of its consignment."""
        row, day, name = int(self.events.row[place]), int(self._days[place]), next(self._names).as_py()
        state = self.states.get(name, int(self._today[place]))
        if self.events.what[place] == ordering.CANCELLATION:
            return state.cancel
        if self.events.what[place] == ordering.OUTCOME:
            known, recorded, sequence = ordering.get_outcome_order(self._outcomes, row)
            order = int(known), int(recorded), int(sequence)
            return partial(state.record_outcome, order, self._outcomes.result[row], day)
        if self._second is not None and self._second[row]:
            steps = state.read_instead(keys[arrival].tobytes(), day)
            return lambda _: steps
        issued_us = NO_TIME if self._issued_us is None else int(self._issued_us[row])
        return partial(state.record_arrival, keys[arrival].tobytes(), day, issued_us)


def _mark_single_arrivals(
    names: Any, inspected: Any, events: ordering.HistoryEvents, earlier: Collection[Any]
) -> NDArray[np.bool_]:
    """Mark arrivals whose consignment arrives once and has no outcome and no cancellation."""
    codes = names.dictionary_encode().indices.to_numpy()
    inspected = inspected.take(pa.array(events.row[events.what == ordering.OUTCOME]))
    cancelled = names.take(pa.array(events.row[events.what == ordering.CANCELLATION]))
    met = pa.array(list(earlier), type=names.type)
    more = pc.is_in(names, value_set=pc.unique(pa.concat_arrays([inspected, cancelled, met])))
    alone = (np.bincount(codes)[codes] == 1) & ~more.to_numpy(zero_copy_only=False)
    marked: NDArray[np.bool_] = events.what == ordering.ARRIVAL
    marked[marked] = alone[events.row[marked]]
    return marked
