"""What counts for each consignment, event by event: the register, and the ledger that keeps history as it is lived.

A consignment counts once. An amendment takes its earlier version out, with its result; a corrected result takes the place
of the one before; a cancellation takes all of it out. The order of the events is that of `features.timeline`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from consignments.errors import ServiceFault
from consignments.visibility import day_of_us
from features.history import ARRIVALS, NO_DAY, REMEMBERED_DAYS, RESULTS, STEP, History

Keys = NDArray[np.uint64]
Rows = NDArray[np.float32]
Handle = TypeVar("Handle")

NOT_FINAL = ARRIVALS
"""Stands for a result that is not counted: pending, or missed."""
NO_SEQUENCE = -1
MOST_STEPS = 4
"""Steps of one event: an amendment takes out a result and an arrival, and counts both again."""
FORGET_EVERY_DAYS = 30
LEDGER_FORMAT = 1


@dataclass(slots=True)
class _File(Generic[Handle]):
    """What is known of one consignment.

    Attributes
    ----------
    handle : Handle or None
        Stands for its keys; None as long as only outcomes of it have come.
    day : int
        Day of its arrival.
    cancelled : bool
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

    def steps(self, change: int) -> Iterator[tuple[int, int, Handle, int]]:
        """Give the steps that count it as it stands, or take it out."""
        if self.handle is None or self.cancelled:
            return
        yield change, ARRIVALS, self.handle, self.day
        yield from self.result_steps(change)

    def result_steps(self, change: int) -> Iterator[tuple[int, int, Handle, int]]:
        """Give the step that counts its result, where it has a final one, or takes it out."""
        if self.handle is not None and not self.cancelled and self.result != NOT_FINAL:
            yield change, self.result, self.handle, self.result_day


HandledStep = tuple[int, int, Handle, int]
"""(change, counter, handle of the keys, day)."""


class Register(Generic[Handle]):
    """Know what counts for each consignment, and turn events into steps of the table.

    A consignment is forgotten once its latest event is more than REMEMBERED_DAYS old: history could not take it out any
    more. What comes of it later is of an unknown consignment.
    """

    def __init__(self) -> None:
        self.files: dict[str, _File[Handle]] = {}

    def arrive(self, consignment_id: str, handle: Handle, day: int, today: int) -> list[HandledStep[Handle]]:
        """Count a consignment, for the first time or amended; the step of its arrival is the one to read at.

        An amendment takes the earlier version out with its result, and puts the result back after the arrival. One that
        was cancelled counts again.
        """
        file = self._file(consignment_id, today)
        steps = [*file.steps(-1)]
        file.handle, file.day, file.cancelled = handle, day, False
        file.last_day = max(file.last_day, day)
        steps += file.steps(+1)
        return steps

    def conclude(
        self, consignment_id: str, order: tuple[int, int, int], result: str | None, day: int, today: int
    ) -> list[HandledStep[Handle]]:
        """Let an outcome stand, unless a later one does.

        Parameters
        ----------
        consignment_id : str
            Kept where it is unknown so far.
        order : (known, recorded, sequence)
        result : str or None
        day : int
            When it became visible.
        today : int
        """
        file = self._file(consignment_id, today)
        file.last_day = max(file.last_day, day)
        counter = NOT_FINAL if result is None else RESULTS.get(result, NOT_FINAL)
        standing = (*order, counter)
        if file.standing is not None and standing <= file.standing:
            return []
        steps = [*file.result_steps(-1)]
        file.standing, file.result, file.result_day = standing, counter, day
        steps += file.result_steps(+1)
        return steps

    def cancel(self, consignment_id: str, today: int) -> list[HandledStep[Handle]]:
        """Take a consignment out with its result; one that is unknown or cancelled already stays so."""
        if consignment_id not in self.files:
            return []
        file = self._file(consignment_id, today)
        steps = [*file.steps(-1)]
        file.cancelled = file.handle is not None
        return steps

    def forget(self, today: int) -> None:
        """Give back the memory of forgotten consignments."""
        kept = {name: file for name, file in self.files.items() if file.last_day >= today - REMEMBERED_DAYS}
        self.files = kept

    def _file(self, consignment_id: str, today: int) -> _File[Handle]:
        file = self.files.get(consignment_id)
        if file is None or file.last_day < today - REMEMBERED_DAYS:
            file = self.files[consignment_id] = _File()
        return file


class Ledger:
    """History as it is lived: each event changes the table at once, in the order in which events come.

    Parameters
    ----------
    history : History
        Empty, or restored together with this ledger.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.today = history.today
        self._register: Register[bytes] = Register()
        self._forgot_on = self.today
        kinds = len(history.kinds)
        self._steps = np.zeros(MOST_STEPS, dtype=STEP)
        self._keys = np.zeros((MOST_STEPS, kinds), dtype=np.uint64)
        self._counterparts = np.zeros((MOST_STEPS, kinds), dtype=np.uint64)

    def __len__(self) -> int:
        """Give the number of consignments held; forgotten ones are dropped now and then."""
        return len(self._register.files)

    def arrive(
        self,
        consignment_id: str,
        day: int,
        keys: Keys,
        counterparts: Keys,
        row: Rows | None = None,
        at: int = 0,
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
            Where the readings are written, from column `at` on. Without it nothing is read.
        at : int

        Raises
        ------
        ServiceFault
            History is full; nothing was changed.
        """
        self.history.reserve(max(day, self.today))
        self._advance(day)
        steps = self._register.arrive(consignment_id, keys.tobytes(), day, self.today)
        self._take(steps, counterparts, row, at)

    def conclude(
        self,
        consignment_id: str,
        visible_us: int,
        known_us: int,
        recorded_us: int,
        sequence: int | None,
        result: str | None,
    ) -> None:
        """Let an outcome stand from now on; a repeated one changes nothing.

        Parameters
        ----------
        consignment_id : str
            May be unknown so far.
        visible_us : int
            When it became visible, in microseconds; it counts on that day.
        known_us, recorded_us : int
            NO_TIME where missing.
        sequence : int or None
        result : str or None
            None where missed.

        Raises
        ------
        ServiceFault
            History is full; nothing was changed.
        """
        day = day_of_us(visible_us)
        self.history.reserve(max(day, self.today))
        self._advance(day)
        order = known_us, recorded_us, NO_SEQUENCE if sequence is None else sequence
        self._take(self._register.conclude(consignment_id, order, result, day, self.today))

    def cancel(self, consignment_id: str) -> None:
        """Take a consignment out with its result from now on; nothing happens where it is unknown."""
        self._take(self._register.cancel(consignment_id, self.today))

    def _advance(self, day: int) -> None:
        self.today = max(self.today, day)
        if self.today - self._forgot_on >= FORGET_EVERY_DAYS:
            self._register.forget(self.today)
            self._forgot_on = self.today

    def _take(
        self,
        steps: list[HandledStep[bytes]],
        counterparts: Keys | None = None,
        row: Rows | None = None,
        at: int = 0,
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
        self.history.run(self._steps[: len(steps)], self._keys, self._counterparts, out, at)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give the consignments as plain arrays, for a snapshot; those of the table stand in `history.to_arrays`."""
        files = self._register.files
        names = [name.encode() for name in files]
        kinds = len(self.history.kinds)
        keys = [file.handle if file.handle is not None else bytes(8 * kinds) for file in files.values()]
        numbers = [
            (
                file.handle is not None,
                file.cancelled,
                file.standing is not None,
                file.day,
                file.result,
                file.result_day,
                file.last_day,
                *(file.standing or (0, 0, 0, 0)),
            )
            for file in files.values()
        ]
        return {
            "format": np.array([LEDGER_FORMAT, self.today, self._forgot_on], dtype=np.int64),
            "names": np.frombuffer(b"".join(names), dtype=np.uint8),
            "name_ends": np.cumsum([len(name) for name in names], dtype=np.int64),
            "keys": np.frombuffer(b"".join(keys), dtype=np.uint64).reshape(-1, kinds),
            "numbers": np.array(numbers, dtype=np.int64).reshape(-1, 11),
        }

    @classmethod
    def from_arrays(cls, history: History, arrays: Mapping[str, NDArray[Any]]) -> "Ledger":
        """Restore what `to_arrays` gave, over the history that was restored with it.

        Raises
        ------
        ServiceFault
            Where the snapshot was written by another version; rebuild it from the log.
        """
        version, today, forgot_on = arrays["format"].tolist()
        if version != LEDGER_FORMAT or arrays["keys"].shape[1:] != (len(history.kinds),):
            raise ServiceFault(
                "this snapshot of consignments cannot be used: it was written by another version of npsrisk",
                todo="drop it; history is rebuilt from the log",
            )
        ledger = cls(history)
        ledger.today, ledger._forgot_on = today, forgot_on
        names, begin = arrays["names"].tobytes(), 0
        for end, keys, numbers in zip(
            arrays["name_ends"].tolist(), arrays["keys"], arrays["numbers"].tolist(), strict=True
        ):
            known, cancelled, concluded, day, result, result_day, last_day, *standing = numbers
            ledger._register.files[names[begin:end].decode()] = _File(
                handle=keys.tobytes() if known else None,
                day=day,
                cancelled=bool(cancelled),
                standing=tuple(standing) if concluded else None,
                result=result,
                result_day=result_day,
                last_day=last_day,
            )
            begin = end
        return ledger
