"""The consignments of a period with their scores and labels, and the columns that define slices of traffic."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.errors import BadInput

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

SLICES = {
    "channel": "channel",
    "service": "service",
    "departure": "departure_country",
    "office": "office",
    "consignee": "consignee",
}
"""Kinds of slices, and the columns that hold them."""


@dataclass(frozen=True)
class ScoredPeriod:
    """Consignments of a period with their scores, and what is known of them.

    Attributes
    ----------
    score : float64 array, (n,)
        Probability, or any number that ranks.
    day : int64 array, (n,)
        UTC day of arrival.
    office : str array, (n,)
        Customs office; empty where missing.
    labelled, positive : bool array, (n,)
    weight : float64 array, (n,)
        How many consignments a labelled row stands for; 0 for the others.
    slices : mapping
        Kind (`channel`) to the value of each row, empty where missing.
    guessed : bool array, (n,), optional
        Rows whose weight is not based on a logged probability. Default: none.
    stands_for : float64 array, (n,), optional
        How many consignments of the traffic a row stands for, if a sample of those without a label was kept. Default: 1 each.
    probability : float64 array, (n,), optional
        Calibrated probability of a positive, if the score is a rank; NaN if there is none. Default: the score.

    Raises
    ------
    BadInput
        If a score is NaN or infinite.
    """

    score: Floats
    day: NDArray[np.int64]
    office: NDArray[np.object_]
    labelled: Bools
    positive: Bools
    weight: Floats
    slices: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    guessed: Bools | None = None
    stands_for: Floats | None = None
    probability: Floats | None = None

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
        return ScoredPeriod(
            self.score[rows],
            self.day[rows],
            self.office[rows],
            self.labelled[rows],
            self.positive[rows],
            self.weight[rows],
            guessed=None if self.guessed is None else self.guessed[rows],
            stands_for=None if self.stands_for is None else self.stands_for[rows],
            probability=None if self.probability is None else self.probability[rows],
        )


def extract_texts(
    frame: pd.DataFrame, column: str, rows: NDArray[np.int64] | None = None
) -> NDArray[np.object_]:
    """Return a column of codes as strings, empty if missing or if there is no such column."""
    if column not in frame:
        return np.full(len(frame) if rows is None else len(rows), "", dtype=object)
    values = frame[column] if rows is None else frame[column].iloc[rows]
    return values.astype(object).where(values.notna(), "").to_numpy(dtype=object)


def extract_slices(
    frame: pd.DataFrame, rows: NDArray[np.int64] | None = None
) -> dict[str, NDArray[np.object_]]:
    """Return the values of each kind of slice for which the table has a column; rows as in `extract_texts`."""
    return {kind: extract_texts(frame, column, rows) for kind, column in SLICES.items() if column in frame}
