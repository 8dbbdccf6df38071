"""Scores that the service gave with a version, for a comparison with a version of other features."""

from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.errors import BadInput


class LoggedDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table `decisions` of an export."""

    consignment_id: str
    sequence: int
    received_at: datetime
    score: float
    model: str
    model_version: str
    reasons: str | None = None


@dataclass(frozen=True)
class LoggedScores:
    """Scores that the service gave while a version decided, from the table `decisions` of an export."""

    frame: pd.DataFrame

    @classmethod
    def from_decisions(cls, decisions: pd.DataFrame, name: str, number: str) -> "LoggedScores":
        """Select the last decision of a version on each consignment.

        Parameters
        ----------
        decisions : DataFrame
            The table `decisions` of `npsrisk export`.
        name, number : str
            Of the registered version.
        """
        own = (decisions["model"] == name) & (decisions["model_version"].astype(str) == number)
        last = decisions[own].sort_values("sequence").drop_duplicates("consignment_id", keep="last")
        if last.empty:
            raise BadInput(
                "the service made no decision with this version",
                where="--decisions",
                got=f"{len(decisions):,} decisions of other versions",
                expected=f"decisions of {name}, version {number}",
                todo="export the log of the service that used it, or leave --decisions out",
            )
        return cls(last.set_index("consignment_id"))

    @property
    def begins(self) -> datetime:
        """The earliest arrival that the version decided on."""
        first: datetime = self.frame["received_at"].min().to_pydatetime()
        return first

    def get_scores(self, ids: "pd.Series") -> NDArray[np.float64]:
        """Return the scores of some consignments; NaN without a decision."""
        return self.frame["score"].reindex(ids).to_numpy(np.float64)

    def get_reasons(self, ids: "pd.Series") -> list[str]:
        """Return the logged reasons of some consignments, as JSON."""
        return self.frame["reasons"].reindex(ids).fillna("[]").astype(str).tolist()
