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
from features.history.kept_table import release_pages
from features.history.kernels import STEP
from features.history.table_fold import TableFold
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
        arrivals, outcomes, past = tables.arrivals, tables.outcomes, int(tables.kept.sum())
        if state_run is None:
            fold = TableFold(arrivals, outcomes, tables.as_of_us)
        else:
            fold = state_run.start_plan(arrivals, outcomes)
        plan = [cls(np.zeros(0, dtype=STEP), np.zeros(0, dtype=bool))]
        for begin in range(0, len(fold.rows), CHUNK_ROWS):
            rows = fold.rows[begin : begin + CHUNK_ROWS]
            numbers = (rows + 1).astype(np.uint64)[:, np.newaxis]
            steps, keys, own = fold.build_steps(numbers, numbers, np.maximum(rows - past, -1))
            own = own[steps["row"], 0] != 0
            steps["row"] = keys[steps["row"], 0].astype(np.int64) - 1
            plan.append(cls(steps, own))
        return cls(np.concatenate([part.steps for part in plan]), np.concatenate([part.own for part in plan]))

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
