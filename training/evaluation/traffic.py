"""The consignments of a period with their scores and labels, slices of them, and the inspection capacity."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import pandas as pd

from consignments.errors import BadInput
from models.arrays import Bools, Floats, Ints, Texts
from training.config import EvaluationConfig

SLICES = {"channel": "channel", "service": "service", "departure": "departure_country"}
SLICES |= {"office": "office", "consignee": "consignee"}
"""Kinds of slices, and the columns that hold them."""
SHARES = {"0.1pct": 0.001, "1pct": 0.01, "5pct": 0.05, "10pct": 0.1}  # capacities, as shares of all traffic
AT_CAPACITY = "capacity"  # the daily capacity of each office, in addition to the `SHARES`


@dataclass(frozen=True)
class ScoredPeriod:
    """Consignments of a period with their scores, and what is known of them; every array is (n,)."""

    score: Floats  # any number that ranks
    day: Ints  # UTC day of arrival
    office: Texts
    labelled: Bools
    positive: Bools
    weight: Floats  # consignments that a labelled row stands for, else 0
    slices: Mapping[str, Texts] = field(default_factory=dict)  # values of each kind
    stands_for: Floats | None = None  # consignments of the traffic that a row stands for, by default 1
    probability: Floats | None = None  # calibrated, NaN if there is none; by default the score

    def __post_init__(self) -> None:
        finite = np.isfinite(self.score)
        if not finite.all():
            row = int(np.argmin(finite))
            raise BadInput(
                "a score is not a finite number",
                where=f"row {row} of {len(finite)} scored consignments",
                got=str(self.score[row]),
                expected="a probability, or any number that ranks",
                todo="score the consignments again",
            )

    @property
    def complete(self) -> bool:
        """True if every row is labelled."""
        return bool(self.labelled.all())

    @property
    def traffic(self) -> Floats:
        """Number of consignments that each row stands for, regardless of labels; float64 (n,)."""
        return np.ones(len(self.score)) if self.stands_for is None else self.stands_for

    @property
    def weights(self) -> Floats:
        """The weights in use: those of the traffic if every row is labelled."""
        return self.traffic if self.complete else np.where(self.labelled, self.weight, 0.0)

    @property
    def probabilities(self) -> Floats:
        """Probability of a positive, NaN if there is none; float64 (n,)."""
        return self.score if self.probability is None else self.probability

    def replace_score(self, score: Floats, probability: Floats | None = None) -> "ScoredPeriod":
        """Return the same traffic with another score, without slices."""
        return replace(self, score=score, slices={}, probability=probability)

    def select_rows(self, rows: Bools) -> "ScoredPeriod":
        """Return some of the consignments, without slices."""
        arrays = {name: each for name, each in vars(self).items() if isinstance(each, np.ndarray)}
        return replace(self, slices={}, **{name: each[rows] for name, each in arrays.items()})


def extract_texts(frame: pd.DataFrame, column: str, rows: Ints | None = None) -> Texts:
    """Return a column of codes as strings, empty if missing or if there is no such column."""
    if column not in frame:
        return np.full(len(frame) if rows is None else len(rows), "", dtype=object)
    values = frame[column] if rows is None else frame[column].iloc[rows]
    return values.astype(object).where(values.notna(), "").to_numpy(dtype=object)


def extract_slices(frame: pd.DataFrame, rows: Ints | None = None) -> dict[str, Texts]:
    """Return the values of each kind of slice for which the table has a column; rows as in `extract_texts`."""
    return {kind: extract_texts(frame, column, rows) for kind, column in SLICES.items() if column in frame}


def compute_daily_capacity(traffic: ScoredPeriod, config: EvaluationConfig) -> int:
    """Compute the inspections for each office and UTC day: as configured, else the average made; if all is labelled, 1 % of the traffic."""
    if config.capacity is not None:
        return config.capacity
    opened = SHARES["1pct"] * traffic.traffic.sum() if traffic.complete else float(traffic.labelled.sum())
    return max(1, round(opened / len(np.unique(index_office_days(traffic.office, traffic.day)))))


def fix_capacity(config: EvaluationConfig, traffic: ScoredPeriod) -> EvaluationConfig:
    """Return the settings with the daily capacity of some traffic, for every figure that belongs to it."""
    return msgspec.structs.replace(config, capacity=compute_daily_capacity(traffic, config))


def index_office_days(office: Texts, day: Ints) -> Ints:
    """Number the pairs of office and UTC day; (n,) of each gives (n,)."""
    offices, _ = pd.factorize(office)
    days, known = pd.factorize(day)
    return offices.astype(np.int64) * len(known) + days


def select_at_capacity(group: Ints, cell: Ints, capacity: float, traffic: Floats | None = None) -> Floats:
    """Compute the part of each consignment that is selected if each office takes its top scores of each UTC day."""
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
