"""Simulated worlds of the benchmarks: made from a preset, read like tables from files, with the truth that judges."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.records import Alert, Consignment, Outcome
from consignments.tables import check_frame
from consignments.timestamps import US_PER_DAY, get_time_column_us, to_datetime, to_us
from features.batch import Tables
from training.data.splits import TRAIN, VALIDATION
from training.data.training_set import DataSet, Labels, ObservedTables
from training.simulation.operation import SimulatedTables, simulate
from training.simulation.parameters import load_parameters

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class World(NamedTuple):
    """A simulated world: preset, seed, days, consignments a day, and changes of its parameters, as TOML."""

    preset: str
    seed: int
    days: int
    per_day: int
    changes: str = ""

    def simulate(self) -> SimulatedTables:
        """Simulate it."""
        with TemporaryDirectory() as folder:
            changes = Path(folder) / "changes.toml"
            changes.write_text(self.changes)
            parameters = load_parameters(changes, self.preset)
        return simulate(
            parameters, days=self.days, per_day=self.per_day, prevalence=self.preset, seed=self.seed
        )


class WorldTables(NamedTuple):
    """The tables of a world without its truth, as `npsrisk train` reads them, with the times of arrival."""

    tables: Tables
    frame: pd.DataFrame
    outcomes: pd.DataFrame
    received_us: NDArray[np.int64]

    def observe(self, as_of: datetime) -> ObservedTables:
        """Return what is visible at a time."""
        return ObservedTables(self.frame, self.outcomes, as_of)

    def find_end(self) -> datetime:
        """Return the midnight after the last arrival."""
        return to_datetime((int(self.received_us.max()) // US_PER_DAY + 1) * US_PER_DAY)

    def select_from(self, begins: datetime) -> Bools:
        """Return the mask of the arrivals from a time on."""
        return self.received_us >= to_us(begins)

    def iterate_windows(self, count: int, days: int) -> Iterator[tuple[datetime, Bools]]:
        """Yield the begin and the arrivals of the last windows of some days, the latest first."""
        for place in range(count):
            begins = self.find_end() - timedelta(days=days * (place + 1))
            yield begins, self.select_from(begins) & ~self.select_from(begins + timedelta(days=days))


def read_tables(made: SimulatedTables) -> WorldTables:
    """Check the tables of a simulated world like tables read from files, without the truth."""
    frame, outcomes, alerts = (
        check_frame(table, record).frame
        for table, record in (
            (made.consignments, Consignment),
            (made.outcomes, Outcome),
            (made.alerts, Alert),
        )
    )
    received_us = get_time_column_us(frame, "received_at")
    return WorldTables(Tables(frame, outcomes, alerts), frame, outcomes, received_us)


def replace_labels(data: DataSet, truth: Labels) -> DataSet:
    """Replace the labels of a data set by the true ones: all positives, and the drawn background with its weights."""
    learnt = np.isin(data.part, (TRAIN, VALIDATION))
    known = learnt & (data.labels.known | truth.positive)
    background = data.background & ~known
    nothing = np.zeros(len(known), dtype=bool)
    labels = Labels(known, known & truth.positive, truth.probability, nothing, known, truth.selected_by)
    weight = np.where(known, 1.0, np.where(background, data.traffic_weight, 0.0))
    return replace(data, labels=labels, background=background, weight=weight, report=[])


def rank_shares(score: Floats) -> Floats:
    """Return the rank of each row, the best first, as a share of all rows above 0."""
    rank = np.empty(len(score))
    rank[np.argsort(-score, kind="stable")] = np.arange(1, len(score) + 1)
    return rank / len(score)


def describe_interval(values: Floats) -> str:
    """Describe the value of the data, which is the first, with the 95 % interval of the resamples after it."""
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return f"{values[0]:.2f} ({low:.2f} to {high:.2f})"
