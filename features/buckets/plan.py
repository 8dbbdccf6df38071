"""The plan of history: the steps of all events in order, before any key is known.

Which steps an event has depends on the earlier events of its consignment, not on keys. So one process computes the plan from
identifiers and times, and each bucket of keys applies its part of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.history.kept_state import StateRun
from features.history.kernels import NO_DAY, STEP
from features.history.ordering import HistoryFold, Keys, Longs, Rows
from features.history.sorted_table import release_pages
from features.streams import OrderedTables

CHUNK_ROWS = 1 << 16
SLICE_STEPS = 1 << 20
"""Steps that a task holds at a time, with their readings 140 bytes each."""


@dataclass(frozen=True)
class HistoryPlan:
    """The steps of all events in the order of history.

    Attributes
    ----------
    steps : STEP array, (steps,)
        `row` is the arrival whose keys are counted; those of earlier consignments of a state follow. `out_row` is the given row
        that is read, or -1.
    own : bool array, (steps,)
        True if the step also counts the counterparts of its arrival.
    """

    steps: NDArray[Any]
    own: NDArray[np.bool_]

    @classmethod
    def build(cls, tables: OrderedTables, state_run: StateRun | None = None) -> "HistoryPlan":
        """Build the plan of tables, which may continue a kept state."""
        recorder = _StepRecorder()
        arrivals, outcomes, past = tables.arrivals, tables.outcomes, int(tables.kept.sum())
        if state_run is None:
            fold = HistoryFold(recorder, arrivals, outcomes, tables.as_of_us)
        else:
            fold = state_run.start_plan(recorder, arrivals, outcomes)
        order = fold.rows
        nothing = np.zeros((0, 0), dtype=np.float32)
        for begin in range(0, len(order), CHUNK_ROWS):
            rows = order[begin : begin + CHUNK_ROWS]
            numbers = (rows + 1).astype(np.uint64)[:, np.newaxis]
            fold.process_arrivals(numbers, numbers, nothing, np.maximum(rows - past, -1))
        return cls(np.concatenate(recorder.steps), np.concatenate(recorder.own))

    def write(self, folder: Path) -> None:
        """Write the plan to a folder."""
        np.save(folder / "steps.npy", self.steps)
        np.save(folder / "own.npy", self.own)

    @classmethod
    def read_slices(cls, folder: Path) -> Iterator["HistoryPlan"]:
        """Read the plan of a folder in slices, in order. Only one of them is in memory."""
        steps, own = (np.load(folder / name, mmap_mode="r") for name in ("steps.npy", "own.npy"))
        for begin in range(0, len(steps), SLICE_STEPS):
            part = slice(begin, begin + SLICE_STEPS)
            yield cls(np.array(steps[part]), np.array(own[part]))
            release_pages(steps)
            release_pages(own)


class _StepRecorder:
    """A recorder of steps in place of a history. The only key of an arrival is its number, from 1."""

    kinds = (None,)
    today = NO_DAY

    def __init__(self) -> None:
        self.steps: list[NDArray[Any]] = [np.zeros(0, dtype=STEP)]
        self.own: list[NDArray[np.bool_]] = [np.zeros(0, dtype=bool)]

    def run(self, steps: NDArray[Any], keys: Keys, counterparts: Keys, out: Rows) -> None:  # noqa: ARG002
        rows: Longs = steps["row"]
        made = steps.copy()
        made["row"] = keys[rows, 0].astype(np.int64) - 1
        self.steps.append(made)
        self.own.append(counterparts[rows, 0] != 0)
