"""Worlds for the tests of feature streams: a simulated one in the order of history, its past and given rows as one, a store in memory."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.columns import adopt_spellings
from consignments.records import Alert, Consignment, Outcome
from consignments.tables import check_frame
from features.batch import Tables, mask_past_rows
from features.history.kept_state import SegmentSource, StateSegment
from features.history.kept_table import join_parts
from features.history.kernels import HistoryArrays
from training.simulation.operation import simulate


def simulate_ordered(days: int, per_day: int) -> Tables:
    """Simulate a world in the order of time, some of it cancelled."""
    made = simulate(days=days, per_day=per_day, prevalence="operation", seed=6)
    frame = check_frame(made.consignments, Consignment).frame
    frame = frame.sort_values(["received_at", "consignment_id"], ignore_index=True)
    frame.loc[::37, "cancelled_at"] = frame["received_at"][::37] + pd.Timedelta(days=3)
    return Tables(frame, check_frame(made.outcomes, Outcome).frame, check_frame(made.alerts, Alert).frame)


def join_history(given: Tables, history: pd.DataFrame) -> tuple[Tables, NDArray[np.bool_]]:
    """Join past and given consignments, to compare with tables that are read as two."""
    past = history[mask_past_rows(history, given.consignments)]
    both = pd.concat([past, given.consignments], ignore_index=True)
    outcomes = adopt_spellings(given.outcomes, both["consignment_id"])
    return Tables(both, outcomes, given.alerts), np.arange(len(both)) >= len(past)


class MemoryStore:
    """A store that keeps the parts of the next state in memory."""

    def write_segment(self, segment: StateSegment) -> SegmentSource:
        return segment

    def write_table(self, parts: Iterable[HistoryArrays], today: int) -> HistoryArrays:
        return join_parts(parts, today)
