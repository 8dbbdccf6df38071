"""Scores of a version on given consignments, with their reasons: by one of its fits, or as the service gave them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from consignments.errors import BadInput
from features.batch import BATCH_KEY, ComputeOptions, Progress
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs
from models.batch_scoring import ScoreColumns, score_table
from models.bundle import Bundle
from models.registry import ModelVersion
from training.arrays import Bools, Floats, Ints
from training.data.training_set import Labels, TrafficSample
from training.gate.rules import ScoreSource
from training.reporting.consignments import describe_consignments

MAX_REASONS = 3


@dataclass(frozen=True)
class FitScores:
    """Scores of a fit; what is not scored counts for history."""

    fit: Bundle

    @property
    def source(self) -> ScoreSource:
        """The kind of fit, and the time from which it learnt nothing."""
        return ScoreSource(self.fit.card.fit, self.fit.unseen_from)

    def select_scored(self, ids: pd.Series) -> Bools:
        """Select the consignments that it can score: all."""
        return np.ones(len(ids), dtype=bool)

    def compute(
        self, inputs: FeatureInputs, sample: TrafficSample, progress: Progress | None = None
    ) -> Floats:
        """Compute the scores of the kept consignments."""
        scored = self._score(inputs, sample, np.arange(len(sample.rows)), ScoreColumns(), progress)
        return scored["score"].to_numpy(np.float64)

    def list_reasons(self, inputs: FeatureInputs, sample: TrafficSample, at: Ints) -> list[str]:
        """List the reasons of some of the kept consignments, as JSON."""
        columns = ScoreColumns(reasons=MAX_REASONS, lowering=True)
        texts: list[str] = self._score(inputs, sample, np.sort(at), columns)["reasons"].tolist()
        return [texts[place] for place in np.argsort(np.argsort(at))]

    def _score(
        self,
        inputs: FeatureInputs,
        sample: TrafficSample,
        at: Ints,
        columns: ScoreColumns,
        progress: Progress | None = None,
    ) -> pd.DataFrame:
        wanted, options = np.zeros(sample.of, dtype=bool), ComputeOptions(progress=progress)
        wanted[sample.rows[at]] = True
        key = Pseudonyms(BATCH_KEY)
        return score_table(self.fit, inputs, key, columns=columns, options=options, wanted=wanted)


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
    source = ScoreSource("decisions")

    @classmethod
    def from_decisions(cls, decisions: pd.DataFrame, version: ModelVersion) -> "LoggedScores":
        """Select the last decision of a version on each consignment."""
        numbers = decisions["model_version"].astype(str)
        own = decisions[(decisions["model"] == version.name) & (numbers == version.number)]
        last = own.sort_values("sequence").drop_duplicates("consignment_id", keep="last")
        if last.empty:
            raise BadInput(
                "the service made no decision with this version",
                where="--decisions",
                got=f"{len(decisions):,} decisions of other versions",
                expected=f"decisions of {version.name}, {version.title}",
                todo="export the log of the service that used it, or leave --decisions out",
            )
        return cls(last.set_index("consignment_id"))

    @property
    def begins(self) -> datetime:
        """The earliest arrival that the version decided on."""
        first: datetime = self.frame["received_at"].min().to_pydatetime()
        return first

    def select_scored(self, ids: pd.Series) -> Bools:
        """Select the consignments that have a decision."""
        return self.frame["score"].reindex(ids).notna().to_numpy(bool)

    def compute(self, inputs: FeatureInputs, sample: TrafficSample, _: Progress | None = None) -> Floats:
        """Return the scores of the kept consignments."""
        return self.frame["score"].reindex(_get_ids(inputs, sample)).to_numpy(np.float64)

    def list_reasons(self, inputs: FeatureInputs, sample: TrafficSample, at: Ints) -> list[str]:
        """List the logged reasons of some of the kept consignments, as JSON."""
        return (
            self.frame["reasons"].reindex(_get_ids(inputs, sample).iloc[at]).fillna("[]").astype(str).tolist()
        )


def _get_ids(inputs: FeatureInputs, sample: TrafficSample) -> pd.Series:
    return inputs.consignments.take_order()["consignment_id"].iloc[sample.rows]


TOP_SHARE = 0.01
"""Share of the traffic within which the two rankings are compared."""
MAX_EXAMPLES = 40
REASON_SEPARATOR = "\n"
"""Between reasons; a reason itself may hold semicolons."""
DISAGREEMENT_COLUMNS = (
    *("consignment_id", "channel", "goods", "route", "weight", "value"),
    *("rank_a", "rank_b", "score_a", "score_b", "reasons_a", "reasons_b", "result"),
)
RESULT_ORDER = ("positive", "negative", "not inspected")


def list_disagreements(
    sides: Sequence[FitScores | LoggedScores],
    inputs: FeatureInputs,
    sample: TrafficSample,
    rows: pd.DataFrame,
    scores: Sequence[Floats],
    labels: Labels,
) -> list[dict[str, Any]]:
    """List the consignments of a sample that only one of two versions ranks in its top share, positives first, without personal data."""
    rank_a, rank_b = (compute_ranks(score, sample.stands_for) for score in scores)
    result = np.where(labels.positive, 0, np.where(labels.known, 1, 2))
    top = max(1, round(TOP_SHARE * float(sample.stands_for.sum())))
    apart = np.flatnonzero((rank_a < top) != (rank_b < top))
    order = np.lexsort((-np.abs(rank_a[apart] - rank_b[apart]), result[apart]))
    at = apart[order][:MAX_EXAMPLES]
    if not len(at):
        return []
    chosen = rows.iloc[at]
    columns = (
        chosen["consignment_id"].astype(str),
        chosen["channel"].astype(str),
        *zip(*describe_consignments(chosen), strict=True),
        (rank_a[at] + 1).tolist(),
        (rank_b[at] + 1).tolist(),
        *(score[at].tolist() for score in scores),
        *(map(_join_reasons, side.list_reasons(inputs, sample, at)) for side in sides),
        [RESULT_ORDER[row] for row in result[at]],
    )
    return [dict(zip(DISAGREEMENT_COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]


def _join_reasons(text: str) -> str:
    reasons = msgspec.json.decode(text)[:MAX_REASONS]
    return REASON_SEPARATOR.join(f"{reason['text']} ({reason['direction']} the score)" for reason in reasons)


def compute_ranks(score: Floats, traffic: Floats) -> Ints:
    """Return the rank of each score in the traffic that the rows stand for, 0 for the highest."""
    order = np.argsort(-score, kind="stable")
    ranks = np.empty(len(score), dtype=np.int64)
    ranks[order] = np.round(np.cumsum(traffic[order]) - traffic[order])
    return ranks
