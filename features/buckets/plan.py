"""The plan of history: the steps of all events in order, before any key is known.

Which steps an event has depends on the earlier events of its consignment, not on keys. So one process computes the plan from
identifiers and times, and each bucket of keys applies its part of it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.history.kept_table import release_pages
from features.history.kernels import STEP, Steps
from features.history.table_fold import TableFold

CHUNK_ROWS = 1 << 16
SLICE_STEPS = 1 << 20
"""Steps that a task holds at a time, with their readings 140 bytes each."""
Flags = NDArray[np.bool_]


def write_plan(fold: TableFold, out_rows: NDArray[np.int64], folder: Path) -> None:
    """Write the steps of tables of events to a folder, and which steps also count the counterparts of their arrival."""
    plan = [(np.zeros(0, dtype=STEP), np.zeros(0, dtype=bool))]
    for begin in range(0, len(fold.rows), CHUNK_ROWS):
        rows = fold.rows[begin : begin + CHUNK_ROWS]
        # The only key of an arrival; 0 would be a missing key.
        numbers = (rows + 1).astype(np.uint64)[:, np.newaxis]
        steps, keys, counterparts = fold.build_steps(numbers, numbers, out_rows[rows])
        own = counterparts[steps["row"], 0] != 0
        steps["row"] = keys[steps["row"], 0].astype(np.int64) - 1
        plan.append((steps, own))
    for name, parts in zip(("steps", "own"), zip(*plan, strict=True), strict=True):
        np.save(folder / f"{name}.npy", np.concatenate(parts))


def read_plan(folder: Path) -> Iterator[tuple[Steps, Flags]]:
    """Read the plan of a folder in slices, in order. Only one of them is in memory."""
    steps, own = (np.load(folder / name, mmap_mode="r") for name in ("steps.npy", "own.npy"))
    for begin in range(0, len(steps), SLICE_STEPS):
        part = slice(begin, begin + SLICE_STEPS)
        yield np.array(steps[part]), np.array(own[part])
        release_pages(steps)
        release_pages(own)
