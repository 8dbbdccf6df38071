"""The state of each consignment, and the steps of the table of history that each of its events takes.

A consignment counts once. An amendment removes its earlier version together with its result. A corrected result replaces the
earlier one. A cancellation removes everything. The order of the events is the order of `features.history.ordering`.
"""

from typing import Any

import msgspec

from consignments.timestamps import NO_TIME
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
)

NOT_FINAL = ARRIVALS
"""Counter of a result that is not counted: pending or missed."""
NO_SEQUENCE = -1

KeyStep = tuple[int, int, bytes, int]
"""A step: (change, counter, keys as bytes of uint64, day)."""


class CountedState(msgspec.Struct, gc=False):  # there are many, and none refers to itself
    """The counted state of one consignment, which returns the steps of each event."""

    keys: bytes | None = None  # None if only outcomes arrived so far
    day: int = NO_DAY
    cancelled: bool = False
    standing: tuple[int, int, int, int] | None = None  # known, recorded, sequence, result: the valid outcome
    result: int = NOT_FINAL
    result_day: int = NO_DAY
    last_day: int = NO_DAY
    issued_us: int = NO_TIME

    def record_arrival(self, keys: bytes, day: int, issued_us: int, today: int) -> list[KeyStep]:
        """Build the steps that count the consignment; an amendment first takes the earlier version out."""
        self._reset_if_expired(today)
        if self.is_late(issued_us):
            return self.read_instead(keys, day)
        steps = self._build_steps(REMOVE)
        self.keys, self.day, self.cancelled, self.issued_us = keys, day, False, issued_us
        self.last_day = max(self.last_day, day)
        steps += self._build_steps(ADD)
        return steps

    def read_instead(self, keys: bytes, day: int) -> list[KeyStep]:
        """Build the steps that read history as if the consignment arrived on a day instead of its earlier version, and restore it."""
        return [*self._build_steps(REMOVE), (READ_ONLY, ARRIVALS, keys, day), *self._build_steps(RESTORE)]

    def is_late(self, issued_us: int) -> bool:
        """Check if a version was issued before the one that counts: it is read, and does not replace it."""
        return self.keys is not None and is_late(issued_us, self.issued_us)

    def record_outcome(
        self, order: tuple[int, int, int], result: str | None, day: int, today: int
    ) -> list[KeyStep]:
        """Build the steps that record an outcome of (known, recorded, sequence), visible on a day, unless a later one is valid."""
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

    def cancel(self, today: int) -> list[KeyStep]:
        """Build the steps that remove the consignment with its result. Return none if it is unknown or cancelled."""
        self._reset_if_expired(today)
        steps = self._build_steps(REMOVE)
        self.cancelled = self.keys is not None
        return steps

    def _reset_if_expired(self, today: int) -> None:
        if self.last_day < today - REMEMBERED_DAYS:
            self.keys, self.standing, self.cancelled = None, None, False
            self.result, self.last_day, self.issued_us = NOT_FINAL, NO_DAY, NO_TIME

    def _build_steps(self, change: int) -> list[KeyStep]:
        """Build the steps that add, remove or restore the consignment with its current result, which is removed first."""
        if self.keys is None or self.cancelled:
            return []
        steps = [(change, ARRIVALS, self.keys, self.day), *self._build_result_steps(change)]
        return steps[::-1] if change == REMOVE else steps

    def _build_result_steps(self, change: int) -> list[KeyStep]:
        """Build the step that adds, removes or restores its result, if it has a final one."""
        if self.result == NOT_FINAL or self.keys is None or self.cancelled:
            return []
        return [(change, self.result, self.keys, self.result_day)]


class CountedStates:
    """The counted states of consignments by what identifies them, in memory. A subclass may store them elsewhere."""

    def __init__(self) -> None:
        self.states: dict[Any, CountedState] = {}

    def get(self, name: Any, today: int) -> CountedState:  # noqa: ARG002
        """Return the state of a consignment on the day `today`; a new state if it is unknown."""
        state = self.states.get(name)
        if state is None:
            state = self.states[name] = CountedState()
        return state

    def forget(self, today: int) -> None:
        """Free the memory of consignments whose state would be reset."""
        oldest = today - REMEMBERED_DAYS
        self.states = {name: state for name, state in self.states.items() if state.last_day >= oldest}
