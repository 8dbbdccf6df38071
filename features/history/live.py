"""What counts for each consignment, event by event: the register, and the ledger that keeps history as it is lived.

A consignment counts once. An amendment takes its earlier version out, with its result; a corrected result takes the place
of the one before; a cancellation takes all of it out. The order of the events is that of `features.history.ordering`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from consignments.timestamps import convert_us_to_day
from features.history.kernels import ARRIVALS, NO_DAY, REMEMBERED_DAYS, RESULTS, STEP
from features.history.table import History

Keys = NDArray[np.uint64]
Rows = NDArray[np.float32]
Handle = TypeVar("Handle")

NOT_FINAL = ARRIVALS
"""Stands for a result that is not counted: pending, or missed."""
NO_SEQUENCE = -1
MAX_EVENT_STEPS = 4
"""Steps of one event: an amendment takes out a result and an arrival, and counts both again."""
FORGET_INTERVAL_DAYS = 30


HandledStep = tuple[int, int, Handle, int]
"""(change, counter, handle of the keys, day)."""


@dataclass(slots=True)
class CountedState(Generic[Handle]):
    """What counts for one consignment, and what each event of it adds to the table or takes out.

    It is begun anew once its latest event is more than REMEMBERED_DAYS old: history could not take it out any more. What
    comes of it later is of an unknown consignment.

    Attributes
    ----------
    handle : Handle or None
        Stands for its keys; None as long as only outcomes of it have come.
    day : int
        Day of its arrival.
    cancelled : bool
        Taken out; an arrival puts it back.
    standing : tuple or None
        (known, recorded, sequence, result) of the outcome that stands; the largest of those that are visible.
    result, result_day : int
        Counter and day of the outcome that stands.
    last_day : int
        Latest day of any event of it.
    """

    handle: Handle | None = None
    day: int = NO_DAY
    cancelled: bool = False
    standing: tuple[int, int, int, int] | None = None
    result: int = NOT_FINAL
    result_day: int = NO_DAY
    last_day: int = NO_DAY

    def record_arrival(self, handle: Handle, day: int, today: int) -> list[HandledStep[Handle]]:
        """Count the consignment, for the first time or amended; the step of its arrival is the one to read at.

        An amendment takes the earlier version out with its result, and puts the result back after the arrival. One that
        was cancelled counts again.
        """
        self._reset_if_expired(today)
        steps = [*self._build_steps(-1)]
        self.handle, self.day, self.cancelled = handle, day, False
        self.last_day = max(self.last_day, day)
        steps += self._build_steps(+1)
        return steps

    def record_outcome(
        self, order: tuple[int, int, int], result: str | None, day: int, today: int
    ) -> list[HandledStep[Handle]]:
        """Let an outcome stand, unless a later one does.

        Parameters
        ----------
        order : (known, recorded, sequence)
        result : str or None
        day : int
            When it became visible.
        today : int
        """
        self._reset_if_expired(today)
        self.last_day = max(self.last_day, day)
        counter = NOT_FINAL if result is None else RESULTS.get(result, NOT_FINAL)
        standing = (*order, counter)
        if self.standing is not None and standing <= self.standing:
            return []
        steps = [*self._build_result_steps(-1)]
        self.standing, self.result, self.result_day = standing, counter, day
        steps += self._build_result_steps(+1)
        return steps

    def cancel(self, today: int) -> list[HandledStep[Handle]]:
        """Take the consignment out with its result; one that is unknown or cancelled already stays so."""
        self._reset_if_expired(today)
        steps = [*self._build_steps(-1)]
        self.cancelled = self.handle is not None
        return steps

    def _reset_if_expired(self, today: int) -> None:
        if self.last_day < today - REMEMBERED_DAYS:
            self.handle, self.standing, self.cancelled = None, None, False
            self.result, self.last_day = NOT_FINAL, NO_DAY

    def _build_steps(self, change: int) -> Iterator[HandledStep[Handle]]:
        """Give the steps that count it as it stands, or take it out."""
        if self.handle is None or self.cancelled:
            return
        yield change, ARRIVALS, self.handle, self.day
        yield from self._build_result_steps(change)

    def _build_result_steps(self, change: int) -> Iterator[HandledStep[Handle]]:
        """Give the step that counts its result, where it has a final one, or takes it out."""
        if self.handle is not None and not self.cancelled and self.result != NOT_FINAL:
            yield change, self.result, self.handle, self.result_day


class CountedStates(Generic[Handle]):
    """The files of all consignments, in memory; whoever keeps them elsewhere overrides `get`."""

    def __init__(self) -> None:
        self.files: dict[str, CountedState[Handle]] = {}

    def get(self, consignment_id: str, today: int) -> CountedState[Handle]:  # noqa: ARG002
        """Give the file of a consignment on a day `today`, a new one where nothing is known of it."""
        file = self.files.get(consignment_id)
        if file is None:
            file = self.files[consignment_id] = CountedState()
        return file

    def record_arrival(
        self, consignment_id: str, handle: Handle, day: int, today: int
    ) -> list[HandledStep[Handle]]:
        """Count a consignment, see `CountedState.record_arrival`."""
        return self.get(consignment_id, today).record_arrival(handle, day, today)

    def record_outcome(
        self, consignment_id: str, order: tuple[int, int, int], result: str | None, day: int, today: int
    ) -> list[HandledStep[Handle]]:
        """Let an outcome stand, see `CountedState.record_outcome`; it is kept where the consignment is unknown so far."""
        return self.get(consignment_id, today).record_outcome(order, result, day, today)

    def cancel(self, consignment_id: str, today: int) -> list[HandledStep[Handle]]:
        """Take a consignment out, see `CountedState.cancel`."""
        return self.get(consignment_id, today).cancel(today)

    def forget(self, today: int) -> None:
        """Give back the memory of consignments that would be begun anew."""
        kept = {name: file for name, file in self.files.items() if file.last_day >= today - REMEMBERED_DAYS}
        self.files = kept


class VisibleOutcome(NamedTuple):
    """What history needs of one outcome.

    Attributes
    ----------
    visible_us : int
        When it became visible, in microseconds; it counts on that day.
    known_us, recorded_us : int
        NO_TIME where missing.
    sequence : int or None
        Place in the log.
    result : str or None
        None where missed.
    """

    visible_us: int
    known_us: int
    recorded_us: int
    sequence: int | None
    result: str | None


class LiveHistory:
    """History as it is lived: each event changes the table at once, in the order in which events come.

    Parameters
    ----------
    history : History
        Empty, or restored.
    register : Register, optional
        Where the files are kept; in memory by default.
    today : int
        The latest day of any event so far, where it is later than history's.

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
        """Give the number of files in memory; forgotten ones are dropped now and then."""
        return len(self.register.files)

    def record_arrival(
        self,
        consignment_id: str,
        day: int,
        keys: Keys,
        counterparts: Keys,
        row: Rows | None = None,
    ) -> None:
        """Read a consignment's history, then count it; where it is known, it is amended.

        Parameters
        ----------
        consignment_id : str
        day : int
            UTC days since the epoch.
        keys, counterparts : uint64 array, (kinds,)
            0 is missing.
        row : float32 array, (columns,), optional
            Where the readings are written, at its end. Without it nothing is read.

        Raises
        ------
        ServiceFault
            History is full; nothing was changed.
        """
        self.count_arrival(self._get_state(consignment_id, day), day, keys, counterparts, row)

    def count_arrival(
        self,
        file: CountedState[bytes],
        day: int,
        keys: Keys,
        counterparts: Keys,
        row: Rows | None = None,
    ) -> None:
        """Do what `record_arrival` does for a consignment whose state is at hand; `begin_event` was called for its day."""
        self._apply_steps(file.record_arrival(keys.tobytes(), day, self.today), counterparts, row)

    def record_arrivals(
        self,
        consignment_ids: Sequence[str],
        day: int,
        keys: Keys,
        counterparts: Keys,
        X: Rows,
    ) -> None:
        """Do what `record_arrival` does for consignments that come one after the other on a day, each once.

        Parameters
        ----------
        consignment_ids : sequence of str, (n,)
            No one twice; their files can be had, and history `has_room` for them.
        day : int
        keys, counterparts : uint64 array, (n, kinds)
        X : float32 array, (n, columns)
            The readings end each row.
        """
        self.count_arrivals(
            [self._get_state(consignment_id, day) for consignment_id in consignment_ids],
            day,
            keys,
            counterparts,
            X,
        )

    def count_arrivals(
        self, files: Sequence[CountedState[bytes]], day: int, keys: Keys, counterparts: Keys, X: Rows
    ) -> None:
        """Do what `record_arrivals` does for consignments whose states are at hand; `begin_event` was called for the day."""
        steps: list[tuple[int, int, int, int, int, int]] = []
        earlier: list[bytes] = []
        for place, file in enumerate(files):
            for change, counter, handle, on in file.record_arrival(keys[place].tobytes(), day, self.today):
                row, out_row = place, place
                if change < 0 or counter != ARRIVALS:
                    row, out_row = len(files) + len(earlier), -1
                    earlier.append(handle)
                steps.append((change, counter, row, out_row, on, self.today))
        if earlier:
            more = np.frombuffer(b"".join(earlier), dtype=np.uint64).reshape(-1, keys.shape[1])
            keys = np.concatenate([keys, more])
            counterparts = np.concatenate([counterparts, np.zeros_like(more)])
        self.history.run(np.array(steps, dtype=STEP), keys, counterparts, X)

    def record_outcome(self, consignment_id: str, outcome: VisibleOutcome) -> None:
        """Let an outcome stand from now on; a repeated one changes nothing.

        Parameters
        ----------
        consignment_id : str
            May be unknown so far.
        outcome : VisibleOutcome

        Raises
        ------
        ServiceFault
            History is full; nothing was changed.
        """
        day = convert_us_to_day(outcome.visible_us)
        sequence = NO_SEQUENCE if outcome.sequence is None else outcome.sequence
        order = outcome.known_us, outcome.recorded_us, sequence
        file = self._get_state(consignment_id, day)
        self._apply_steps(file.record_outcome(order, outcome.result, day, self.today))

    def cancel(self, consignment_id: str) -> None:
        """Take a consignment out with its result from now on; nothing happens where it is unknown."""
        self._apply_steps(self.register.cancel(consignment_id, self.today))

    def begin_event(self, day: int) -> None:
        """Make room for an event of a day, and forget what is too old by then; `today` never goes back.

        Raises
        ------
        ServiceFault
            History is full; nothing was changed.
        """
        self.today = self._make_room(day)

    def _get_state(self, consignment_id: str, day: int) -> CountedState[bytes]:
        """Give the file of a consignment for an event of a day; whatever can fail does so before anything is changed."""
        today = self._make_room(day)
        file = self.register.get(consignment_id, today)
        self.today = today
        return file

    def _make_room(self, day: int) -> int:
        """Make room for an event of a day; return the latest day of any event with it."""
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
            arrival = counter == ARRIVALS and change > 0
            self._keys[place] = np.frombuffer(handle, dtype=np.uint64)
            if arrival and counterparts is not None:
                self._counterparts[place] = counterparts
            out_row = 0 if arrival and row is not None else -1
            self._steps[place] = (change, counter, place, out_row, day, self.today)
        out = None if row is None else row[np.newaxis]
        self.history.run(self._steps[: len(steps)], self._keys, self._counterparts, out)
