"""A small simulated world as tables in the order of history."""

import pandas as pd

from consignments.records import Alert, Consignment, Outcome
from consignments.tables import check_frame
from features.batch import Tables
from training.simulation.operation import simulate


def simulate_ordered(days: int, per_day: int) -> Tables:
    """Simulate a world in the order of time, some of it cancelled."""
    made = simulate(days=days, per_day=per_day, prevalence="operation", seed=6)
    frame = check_frame(made.consignments, Consignment).frame
    frame = frame.sort_values(["received_at", "consignment_id"], ignore_index=True)
    frame.loc[::37, "cancelled_at"] = frame["received_at"][::37] + pd.Timedelta(days=3)
    return Tables(frame, check_frame(made.outcomes, Outcome).frame, check_frame(made.alerts, Alert).frame)
