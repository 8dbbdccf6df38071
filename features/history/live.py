"""Live history: the state of each consignment, and the updates of the table of history, event by event.

A consignment counts once. An amendment removes its earlier version together with its result. A corrected result replaces the
earlier one. A cancellation removes everything. The order of the events is the order of `features.history.ordering`.
"""

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.timestamps import NO_TIME, convert_us_to_day
from consignments.versions import is_late
from features.history.kernels import (
    ADD,
    ARRIVALS,
    NO_DAY,
    READ_ONLY,
    REMEMBERED_DAYS,
    REMOVE,
    RESTORE,
    RESULTS,
    STEP,
)
from features.history.table import History

Keys = NDArray[np.uint64]
Rows = NDArray[np.float32]
Handle = TypeVar("Handle")

NOT_FINAL = ARRIVALS
"""Counter of a result that is not counted: pending or missed."""
NO_SEQUENCE = -1
MAX_EVENT_STEPS = 5
"""Maximum number of steps of one event: a late version removes an arrival and a result, is read, and restores both."""
FORGET_INTERVAL_DAYS = 30


HandledStep = tuple[int, int, Handle, int]
"""A step: (change, counter, handle of the keys, day)."""


def is_own_arrival(change: Any, counter: Any) -> Any:
    """Check if a step is the arrival of its event itself: it is read, and has the counterparts of the event. Also for arrays."""
    return (counter == ARRIVALS) & (change >= READ_ONLY) & (change <= ADD)


class CountedState(msgspec.Struct, Generic[Handle], gc=False):
    """The counted state of one consignment. It returns the steps that each event adds to the table or removes.

    The garbage collector does not scan states: there are many, and none refers to itself.

    The state is reset when its latest event is more than REMEMBERED_DAYS old, because history can no longer remove it. Later
    events then belong to an unknown consignment.

    Attributes
    ----------
    handle : Handle or None
        Handle of its keys; None if only outcomes arrived so far.
    day : int
        Day of its arrival.
    cancelled : bool
        True if it was removed. An arrival adds it again.
    standing : tuple or None
        (known, recorded, sequence, result) of the valid outcome: the largest of the visible ones.
    result, result_day : int
        Counter and day of the valid outcome.
    issued_us : int
        When its sender issued the version that counts; NO_TIME if unknown. A version issued before it is read only.
    last_day : int
        Latest day of any of its events.
    """

    handle: Handle | None = None
    day: int = NO_DAY
    cancelled: bool = False
    standing: tuple[int, int, int, int] | None = None
    result: int = NOT_FINAL
    result_day: int = NO_DAY
    last_day: int = NO_DAY
    issued_us: int = NO_TIME

    def record_arrival(
        self, handle: Handle, day: int, today: int, issued_us: int = NO_TIME
    ) -> list[HandledStep[Handle]]:
        """Build the steps that count the consignment, for the first time or as an amendment.

        History is read at the step of the arrival. An amendment removes the earlier version with its result, and adds the result
        again after the arrival. A cancelled consignment counts again.
        """
        self._reset_if_expired(today)
        if self.is_late(issued_us):
            return self.read_instead(handle, day)
        steps = self._build_steps(REMOVE)
        self.handle, self.day, self.cancelled, self.issued_us = handle, day, False, issued_us
        self.last_day = max(self.last_day, day)
        steps += self._build_steps(ADD)
        return steps

    def read_instead(self, handle: Handle, day: int) -> list[HandledStep[Handle]]:
        """Build the steps that read history as if the consignment arrived on a day instead of its earlier version, and restore it."""
        return [*self._build_steps(REMOVE), (READ_ONLY, ARRIVALS, handle, day), *self._build_steps(RESTORE)]

    def is_late(self, issued_us: int) -> bool:
        """Check if a version was issued before the one that counts: it is read, and does not replace it."""
        return self.handle is not None and is_late(issued_us, self.issued_us)

    def record_outcome(
        self, order: tuple[int, int, int], result: str | None, day: int, today: int
    ) -> list[HandledStep[Handle]]:
        """Build the steps that record an outcome, unless a later one is valid.

        Parameters
        ----------
        order : (known, recorded, sequence)
        result : str or None
        day : int
            Day on which it became visible.
        today : int
        """
        self._reset_if_expired(today)
        self.last_day = max(self.last_day, day)
        counter = NOT_FINAL if result is None else RESULTS.get(result, NOT_FINAL)
        standing = (*order, counter)
        if self.standing is not None and standing <= self.standing:
            return []
        steps = self._build_result_steps(REMOVE)
        self.standing, self.result, self.result_day = standing, counter, day
        steps += self._build_result_steps(ADD)
        return steps

    def cancel(self, today: int) -> list[HandledStep[Handle]]:
        """Build the steps that remove the consignment with its result. Return none if it is unknown or cancelled."""
        self._reset_if_expired(today)
        steps = self._build_steps(REMOVE)
        self.cancelled = self.handle is not None
        return steps

    def _reset_if_expired(self, today: int) -> None:
        if self.last_day < today - REMEMBERED_DAYS:
            self.handle, self.standing, self.cancelled = None, None, False
            self.result, self.last_day, self.issued_us = NOT_FINAL, NO_DAY, NO_TIME

    def _build_steps(self, change: int) -> list[HandledStep[Handle]]:
        """Build the steps that add, remove or restore the consignment with its current result."""
        if self.handle is None or self.cancelled:
            return []
        return [(change, ARRIVALS, self.handle, self.day), *self._build_result_steps(change)]

    def _build_result_steps(self, change: int) -> list[HandledStep[Handle]]:
        """Build the step that adds, removes or restores its result, if it has a final one."""
        if self.result == NOT_FINAL or self.handle is None or self.cancelled:
            return []
        return [(change, self.result, self.handle, self.result_day)]


class CountedStates(Generic[Handle]):
    """The counted states of all consignments, in memory. A subclass that stores them elsewhere overrides `get`."""

    def __init__(self) -> None:
        self.files: dict[str, CountedState[Handle]] = {}

    def get(self, consignment_id: str, today: int) -> CountedState[Handle]:  # noqa: ARG002
        """Return the state of a consignment on the day `today`; a new state if it is unknown."""
        file = self.files.get(consignment_id)
        if file is None:
            file = self.files[consignment_id] = CountedState()
        return file

    def record_arrival(
        self, consignment_id: str, handle: Handle, day: int, today: int, issued_us: int = NO_TIME
    ) -> list[HandledStep[Handle]]:
        """Record an arrival; see `CountedState.record_arrival`."""
        return self.get(consignment_id, today).record_arrival(handle, day, today, issued_us)

    def record_outcome(
        self, consignment_id: str, order: tuple[int, int, int], result: str | None, day: int, today: int
    ) -> list[HandledStep[Handle]]:
        """Record an outcome; see `CountedState.record_outcome`. It is kept if the consignment is still unknown."""
        return self.get(consignment_id, today).record_outcome(order, result, day, today)

    def cancel(self, consignment_id: str, today: int) -> list[HandledStep[Handle]]:
        """Cancel a consignment; see `CountedState.cancel`."""
        return self.get(consignment_id, today).cancel(today)

    def forget(self, today: int) -> None:
        """Free the memory of consignments whose state would be reset."""
        kept = {name: file for name, file in self.files.items() if file.last_day >= today - REMEMBERED_DAYS}
        self.files = kept


class VisibleOutcome(NamedTuple):
    """The part of an outcome that history needs.

    Attributes
    ----------
    visible_us : int
        Time at which it became visible, in microseconds since 1970 (UTC). It counts on that day.
    known_us, recorded_us : int
        NO_TIME if missing.
    sequence : int or None
        Sequence number in the log.
    result : str or None
        None if the inspection was missed.
    """

    visible_us: int
    known_us: int
    recorded_us: int
    sequence: int | None
    result: str | None


class LiveHistory:
    """The live history: each event changes the table at once, in the order of arrival of the events.

    Parameters
    ----------
    history : History
        Empty, or restored.
    register : CountedStates, optional
        Store of the states; in memory by default.
    today : int
        Latest day of any event so far, if it is later than that of `history`.

    Attributes
    ----------
    today : int
    """

    def __init__(
        self, history: History, register: CountedStates[bytes] | None = None, today: int = NO_DAY
    ) -> None:
        self.history = history
        self.register = CountedStates[bytes]() if register is None else register
        self.today = max(history.today, today)
        self._forgot_on = self.today
        kinds = len(history.kinds)
        self._steps = np.zeros(MAX_EVENT_STEPS, dtype=STEP)
        self._keys = np.zeros((MAX_EVENT_STEPS, kinds), dtype=np.uint64)
        self._counterparts = np.zeros((MAX_EVENT_STEPS, kinds), dtype=np.uint64)

    def __len__(self) -> int:
        """Return the number of states in memory. Forgotten ones are dropped from time to time."""
        return len(self.register.files)

    def record_arrival(
        self,
        consignment_id: str,
        day: int,
        keys: Keys,
        counterparts: Keys,
        row: Rows | None = None,
        issued_us: int = NO_TIME,
    ) -> None:
        """Read the history of a consignment, and then count it. A known consignment is amended.

        Parameters
        ----------
        consignment_id : str
        day : int
            UTC day since 1970-01-01.
        keys, counterparts : uint64 array, (kinds,)
            0 if missing.
        row : float32 array, (columns,), optional
            Row to write the readings to, at its end. Without it nothing is read.

        Raises
        ------
        ServiceFault
            If history is full. Nothing was changed.
        """
        self.count_arrival(self._get_state(consignment_id, day), day, keys, counterparts, row, issued_us)

    def count_arrival(
        self,
        file: CountedState[bytes],
        day: int,
        keys: Keys,
        counterparts: Keys,
        row: Rows | None = None,
        issued_us: int = NO_TIME,
    ) -> None:
        """Record an arrival of a consignment whose state is given. `begin_event` must have been called for its day."""
        steps = file.record_arrival(keys.tobytes(), day, self.today, issued_us)
        self._apply_steps(steps, counterparts, row)

    def read_arrival(self, day: int, keys: Keys, counterparts: Keys, row: Rows) -> None:
        """Read the history of a consignment as if it arrived on a day, and change nothing.

        Parameters
        ----------
        day : int
            UTC day since 1970-01-01, not before the earliest day of an event that may still come.
        keys, counterparts : uint64 array, (kinds,)
        row : float32 array, (columns,)
            Row to write the readings to, at its end.
        """
        steps = np.array([(READ_ONLY, ARRIVALS, 0, 0, day, max(day, self.today))], dtype=STEP)
        self.history.run(steps, keys[None, :], counterparts[None, :], row[None, :])

    def read_instead(
        self, file: CountedState[bytes], day: int, keys: Keys, counterparts: Keys, row: Rows
    ) -> None:
        """Read the history of a counted consignment as if it arrived on a day instead, and change nothing.

        The parameters are those of `count_arrival`.
        """
        self._apply_steps(file.read_instead(keys.tobytes(), day), counterparts, row)

    def record_arrivals(
        self,
        consignment_ids: Sequence[str],
        day: int,
        keys: Keys,
        counterparts: Keys,
        X: Rows,
    ) -> None:
        """Record the arrivals of several consignments on one day, in order, each once.

        Parameters
        ----------
        consignment_ids : sequence of str, (n,)
            Distinct. Their states must be available, and history must have room for them (`has_room`).
        day : int
        keys, counterparts : uint64 array, (n, kinds)
        X : float32 array, (n, columns)
            Rows to write the readings to, at their end.
        """
        self.count_arrivals(
            [self._get_state(consignment_id, day) for consignment_id in consignment_ids],
            day,
            keys,
            counterparts,
            X,
        )

    def count_arrivals(
        self,
        files: Sequence[CountedState[bytes]],
        day: int,
        keys: Keys,
        counterparts: Keys,
        X: Rows,
        issued_us: Sequence[int] = (),
    ) -> None:
        """Record arrivals of consignments whose states are given. `begin_event` must have been called for the day."""
        steps: list[tuple[int, int, int, int, int, int]] = []
        earlier: list[bytes] = []
        handles, size = keys.tobytes(), keys.itemsize * keys.shape[1]
        for place, file in enumerate(files):
            issued = issued_us[place] if issued_us else NO_TIME
            own = handles[size * place : size * (place + 1)]
            for change, counter, handle, on in file.record_arrival(own, day, self.today, issued):
                row, out_row = place, place
                if not is_own_arrival(change, counter):
                    row, out_row = len(files) + len(earlier), -1
                    earlier.append(handle)
                steps.append((change, counter, row, out_row, on, self.today))
        if earlier:
            more = np.frombuffer(b"".join(earlier), dtype=np.uint64).reshape(-1, keys.shape[1])
            keys = np.concatenate([keys, more])
            counterparts = np.concatenate([counterparts, np.zeros_like(more)])
        self.history.run(np.array(steps, dtype=STEP), keys, counterparts, X)

    def record_outcome(self, consignment_id: str, outcome: VisibleOutcome) -> None:
        """Record an outcome. A repeated one changes nothing.

        Parameters
        ----------
        consignment_id : str
            It may be still unknown.
        outcome : VisibleOutcome

        Raises
        ------
        ServiceFault
            If history is full. Nothing was changed.
        """
        day = convert_us_to_day(outcome.visible_us)
        sequence = NO_SEQUENCE if outcome.sequence is None else outcome.sequence
        order = outcome.known_us, outcome.recorded_us, sequence
        file = self._get_state(consignment_id, day)
        self._apply_steps(file.record_outcome(order, outcome.result, day, self.today))

    def cancel(self, consignment_id: str) -> None:
        """Remove a consignment with its result. An unknown consignment changes nothing."""
        self._apply_steps(self.register.cancel(consignment_id, self.today))

    def begin_event(self, day: int) -> None:
        """Make room for an event of a day, and forget what is too old by then. `today` never decreases.

        Raises
        ------
        ServiceFault
            If history is full. Nothing was changed.
        """
        self.today = self._make_room(day)

    def _get_state(self, consignment_id: str, day: int) -> CountedState[bytes]:
        """Return the state of a consignment for an event of a day. Errors occur here, before anything is changed."""
        today = self._make_room(day)
        file = self.register.get(consignment_id, today)
        self.today = today
        return file

    def _make_room(self, day: int) -> int:
        """Make room for an event of a day, and return the latest day of all events including it."""
        today = max(day, self.today)
        self.history.reserve(today)
        if today - self._forgot_on >= FORGET_INTERVAL_DAYS:
            self.register.forget(today)
            self._forgot_on = today
        return today

    def _apply_steps(
        self,
        steps: list[HandledStep[bytes]],
        counterparts: Keys | None = None,
        row: Rows | None = None,
    ) -> None:
        if not steps:
            return
        for place, (change, counter, handle, day) in enumerate(steps):
            arrival = is_own_arrival(change, counter)
            self._keys[place] = np.frombuffer(handle, dtype=np.uint64)
            self._counterparts[place] = counterparts if arrival and counterparts is not None else 0
            out_row = 0 if arrival and row is not None else -1
            self._steps[place] = (change, counter, place, out_row, day, self.today)
        out = None if row is None else row[np.newaxis]
        self.history.run(self._steps[: len(steps)], self._keys, self._counterparts, out)
