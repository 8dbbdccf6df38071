"""Live history: each event changes the table at once, in the order in which the events come."""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import repeat
from typing import NamedTuple

import numpy as np

from consignments.timestamps import NO_TIME, convert_us_to_day
from features.history.fold import Change, EventChunk, build_steps
from features.history.kernels import ARRIVALS, NO_DAY, READ_ONLY, STEP, Keys, Rows
from features.history.states import NO_SEQUENCE, CountedState, CountedStates
from features.history.table import History

FORGET_INTERVAL_DAYS = 30


class VisibleOutcome(NamedTuple):
    """The part of an outcome that history needs; `result` is None if the inspection was missed."""

    visible_us: int
    known_us: int
    recorded_us: int
    sequence: int | None
    result: str | None


class LiveHistory:
    """The live history over a table that is empty or restored; if it is full, each method raises `ServiceFault` and changes nothing."""

    def __init__(self, history: History, states: CountedStates | None = None, today: int = NO_DAY) -> None:
        self.history = history
        self.states = CountedStates() if states is None else states
        self.today = max(history.today, today)
        self._forgot_on = self.today
        self._no_keys = np.zeros((0, len(history.kinds)), dtype=np.uint64)

    def record_arrival(
        self,
        name: str,
        day: int,
        keys: Keys,
        counterparts: Keys,
        row: Rows | None = None,
        issued_us: int = NO_TIME,
    ) -> None:
        """Read the history of a consignment, and then count it, or amend it if it is known; see `record_arrivals`."""
        state = self._get_state(name, day)
        X = None if row is None else row[None]
        self.record_arrivals([state], day, keys[None], counterparts[None], X, [issued_us])

    def record_arrivals(
        self,
        states: Sequence[CountedState],
        day: int,
        keys: Keys,
        counterparts: Keys,
        X: Rows | None = None,
        issued_us: Sequence[int] = (),
    ) -> None:
        """Record arrivals of different consignments on one day, and write what each reads to the end of its row of `X`."""
        handles, size = keys.tobytes(), keys.itemsize * keys.shape[1]
        owns = (handles[size * place : size * (place + 1)] for place in range(len(states)))
        times = issued_us or repeat(NO_TIME)
        changes = (
            partial(state.record_arrival, own, day, issued)
            for state, own, issued in zip(states, owns, times, strict=False)
        )
        self._apply(changes, keys, counterparts, X)

    def read_arrival(self, day: int, keys: Keys, counterparts: Keys, row: Rows) -> None:
        """Read the history of a consignment to the end of a row, as if it arrived now, and change nothing."""
        steps = np.array([(READ_ONLY, ARRIVALS, 0, 0, day, max(day, self.today))], dtype=STEP)
        self.history.run(steps, keys[None], counterparts[None], row[None])

    def read_instead(self, state: CountedState, day: int, keys: Keys, counterparts: Keys, row: Rows) -> None:
        """Read the history of a counted consignment as if it arrived on a day instead, and change nothing."""
        steps = state.read_instead(keys.tobytes(), day)
        self._apply([lambda _: steps], keys[None], counterparts[None], row[None])

    def record_outcome(self, name: str, outcome: VisibleOutcome) -> None:
        """Record an outcome, also of a consignment that is still unknown. A repeated one changes nothing."""
        day = convert_us_to_day(outcome.visible_us)
        sequence = NO_SEQUENCE if outcome.sequence is None else outcome.sequence
        order = outcome.known_us, outcome.recorded_us, sequence
        self._apply([partial(self._get_state(name, day).record_outcome, order, outcome.result, day)])

    def cancel(self, name: str) -> None:
        """Remove a consignment with its result. An unknown consignment changes nothing."""
        self._apply([self.states.get(name, self.today).cancel])

    def begin_event(self, day: int) -> None:
        """Make room for an event of a day, and forget what is too old by then. `today` never decreases."""
        self.today = self._make_room(day)

    def _get_state(self, name: str, day: int) -> CountedState:
        """Return the state of a consignment for an event of a day. Errors occur here, before anything is changed."""
        today = self._make_room(day)
        state = self.states.get(name, today)
        self.today = today
        return state

    def _make_room(self, day: int) -> int:
        """Make room for an event of a day, and return the latest day of all events including it."""
        today = max(day, self.today)
        self.history.reserve(today)
        if today - self._forgot_on >= FORGET_INTERVAL_DAYS:
            self.states.forget(today)
            self._forgot_on = today
        return today

    def _apply(
        self,
        changes: Iterable[Change],
        keys: Keys | None = None,
        counterparts: Keys | None = None,
        X: Rows | None = None,
    ) -> None:
        """Fold events of today: arrivals, which have keys, or another event."""
        if keys is None or counterparts is None:
            keys = counterparts = self._no_keys
        count = max(len(keys), 1)
        out_rows = range(count) if X is not None else [-1] * count
        events = EventChunk([self.today] * count, range(count), changes, keys, counterparts, out_rows)
        self.history.run(*build_steps(events), X)
