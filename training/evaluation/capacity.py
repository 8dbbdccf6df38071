"""Inspection capacity: shares of all traffic, and a number of inspections for each office and UTC day."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.config import EvaluationConfig
from training.evaluation.traffic import ScoredPeriod

Floats = NDArray[np.float64]

SHARES = {"0.1pct": 0.001, "1pct": 0.01, "5pct": 0.05, "10pct": 0.1}
"""Capacities by name: shares of all traffic."""
AT_CAPACITY = "capacity"
"""The daily capacity of each office, in addition to the `SHARES`."""
ALL_OFFICES = "all offices"


def compute_daily_capacity(traffic: ScoredPeriod, config: EvaluationConfig) -> int:
    """Compute the inspections for each office and UTC day: as configured, else the average number made.

    If every consignment is labelled, nothing was selected, and 1 % of the traffic is used instead.
    """
    if config.capacity is not None:
        return config.capacity
    opened = SHARES["1pct"] * traffic.traffic.sum() if traffic.complete else float(traffic.labelled.sum())
    return max(1, round(opened / len(np.unique(index_office_days(traffic.office, traffic.day)))))


def compute_capacity_shares(traffic: ScoredPeriod, config: EvaluationConfig) -> dict[str, float]:
    """Compute the share of the traffic that the daily capacity of each office inspects."""
    capacity = compute_daily_capacity(traffic, config)
    cell = index_office_days(traffic.office, traffic.day)
    office, names = pd.factorize(traffic.office)
    arrived = np.bincount(cell, traffic.traffic)
    inspected = np.minimum(arrived, capacity)
    of = np.zeros(len(arrived), dtype=np.int64)
    of[cell] = office
    shares = np.bincount(of, inspected, len(names)) / np.bincount(of, arrived, len(names))
    return {
        ALL_OFFICES: float(inspected.sum() / arrived.sum()),
        **{str(name): float(share) for name, share in zip(names, shares, strict=True)},
    }


def index_office_days(office: NDArray[np.object_], day: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the pairs of office and UTC day; (n,) of each gives (n,)."""
    offices, _ = pd.factorize(office)
    days, known = pd.factorize(day)
    return offices.astype(np.int64) * len(known) + days


def select_at_capacity(
    group: NDArray[np.int64], cell: NDArray[np.int64], capacity: float, traffic: Floats | None = None
) -> Floats:
    """Compute the share of each consignment that is selected if each office takes its top scores of each UTC day."""
    order = np.lexsort((group, cell))
    tie = np.concatenate([[True], (np.diff(cell[order]) != 0) | (np.diff(group[order]) != 0)])
    start = np.flatnonzero(tie)
    end = np.append(start[1:], len(order))
    cell_start = np.flatnonzero(np.concatenate([[True], np.diff(cell[order]) != 0]))
    first = cell_start[np.searchsorted(cell_start, start, side="right") - 1]
    summed = np.concatenate([[0.0], np.cumsum(np.ones(len(order)) if traffic is None else traffic[order])])
    part = np.clip((capacity - (summed[start] - summed[first])) / (summed[end] - summed[start]), 0.0, 1.0)
    taken = np.empty(len(order))
    taken[order] = np.repeat(part, end - start)
    return taken
