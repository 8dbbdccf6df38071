"""The out-of-time scores of the deployed fits: one table that every figure of the deployed recipe is computed from.

A run stores the table. Training, gate, dossier and comparison call `evaluate_recipe` on it, in memory or as read from its file,
and get the same figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from consignments.errors import BadInput
from training.config import EvaluationConfig
from training.evaluation.capacity import compute_daily_capacity
from training.evaluation.metrics import PRIMARY_MEASURE, RANKING_METRICS, Evaluation, evaluate
from training.evaluation.paired import PairedEvaluation, evaluate_pair
from training.evaluation.traffic import ScoredPeriod, extract_slices, extract_texts

RANK, PROBABILITY = "rank", "probability"
BASELINE = "baseline_"
"""Beginning of the name of a column with the ranks of a baseline."""
COLUMN_KINDS = {
    "consignment_id": "text",
    "window": "text",
    "day": "number",
    "office": "text",
    "channel": "text",
    "service": "text",
    "departure_country": "text",
    "stands_for": "number",
    "labelled": "flag",
    "positive": "flag",
    "chosen_by": "text",
    "weight": "number",
    "guessed": "flag",
    RANK: "number",
    PROBABILITY: "number",
    "true_positive": "flag",
}
"""Columns that every table has, and what they hold; see `StoredScores`."""
MISSING_ALLOWED = (PROBABILITY, "true_positive")


class StoredScores:
    """Kept consignments of all windows with their scores and results, one row for each.

    Parameters
    ----------
    frame : DataFrame
        `consignment_id`; `window`: its first day, as "2024-05-20"; `day`: days since 1970; `office`, `channel`, `service`,
        `departure_country`: empty if missing; `stands_for`: how many consignments of its window a row stands for; `labelled`;
        `positive`; `chosen_by`: who chose it, empty if nobody; `weight`: how many consignments a result stands for, 0 without one;
        `guessed`: the weight rests on no logged probability; `rank`: of the model, 0 to 1 in its window, higher is riskier;
        `probability`: as this fit would have served it, NaN if none; `true_positive`: missing without the truth;
        `baseline_NAME`: ranks of a baseline.
    content : bytes, optional
        The Parquet file that the frame was read from.

    Raises
    ------
    BadInput
        If a column is missing or holds something else.
    """

    def __init__(self, frame: pd.DataFrame, content: bytes | None = None) -> None:
        _check_columns(frame)
        self.frame = frame
        self._content = content

    @classmethod
    def read(cls, path: Path) -> "StoredScores":
        """Read the table of a run."""
        return cls.from_bytes(_read_bytes(path), where=str(path))

    @classmethod
    def from_bytes(cls, content: bytes, where: str = "stored scores") -> "StoredScores":
        """Read the table from the bytes of its file; `where` is named in errors."""
        try:
            frame = pd.read_parquet(BytesIO(content))
        except (OSError, ValueError) as error:
            raise BadInput(
                "the stored scores cannot be read",
                where=where,
                got=str(error),
                expected="the Parquet file that a training run wrote",
                todo="take the file from the run again, or train again",
            ) from error
        return cls(frame, content)

    @cached_property
    def content(self) -> bytes:
        """The bytes of the table's file."""
        if self._content is not None:
            return self._content
        buffer = BytesIO()
        self.frame.to_parquet(buffer, index=False)
        return buffer.getvalue()

    @property
    def sha256(self) -> str:
        """The SHA-256 of the table's file."""
        return sha256(self.content).hexdigest()

    def write(self, path: Path) -> None:
        """Write the table as a Parquet file; its folder is created."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content)

    @property
    def baselines(self) -> list[str]:
        """Names of the baselines, in the order of their cost."""
        return [str(name).removeprefix(BASELINE) for name in self.frame.columns if name.startswith(BASELINE)]

    @property
    def has_truth(self) -> bool:
        """True if the truth of a simulated world is known."""
        return bool(self.frame["true_positive"].notna().any())

    def to_period(self, score: str = RANK, by_truth: bool = False) -> ScoredPeriod:
        """Build the traffic of all windows with one of its scores."""
        frame = self.frame
        stands_for = frame["stands_for"].to_numpy(np.float64)
        if by_truth:
            labelled = frame["true_positive"].notna().to_numpy(bool)
            positive = frame["true_positive"].fillna(False).to_numpy(bool)
            weight, guessed = labelled * stands_for, np.zeros(len(frame), dtype=bool)
        else:
            labelled, positive, guessed = (
                frame[name].to_numpy(bool) for name in ("labelled", "positive", "guessed")
            )
            weight = frame["weight"].to_numpy(np.float64)
        no_probability = np.full(len(frame), np.nan)
        return ScoredPeriod(
            score=frame[score].to_numpy(np.float64),
            day=frame["day"].to_numpy(np.int64),
            office=extract_texts(frame, "office"),
            labelled=labelled,
            positive=positive,
            weight=weight,
            slices=extract_slices(frame) if score == RANK else {},
            guessed=guessed,
            stands_for=stands_for,
            probability=frame[PROBABILITY].to_numpy(np.float64) if score == RANK else no_probability,
        )

    def compare(
        self, config: EvaluationConfig, score: str = RANK, base: str = "baseline_a", by_truth: bool = False
    ) -> PairedEvaluation:
        """Compare one of its scores with another on the same rows, with their slices."""
        mine = self.to_period(score, by_truth)
        other = replace(self.to_period(base, by_truth), slices=extract_slices(self.frame))
        return evaluate_pair(other, mine.score, self.fix_capacity(config), mine.probability)

    def fix_capacity(self, config: EvaluationConfig) -> EvaluationConfig:
        """Return the settings with the daily capacity of the observed inspections, whatever labels are evaluated."""
        capacity = compute_daily_capacity(self.to_period(), config)
        return msgspec.structs.replace(config, capacity=capacity)


@dataclass(frozen=True)
class RecipeEvaluation:
    """The recipe as deployed, and its baselines on the same windows."""

    model: Evaluation
    baselines: Mapping[str, Evaluation]
    truth: "RecipeEvaluation | None" = None

    @property
    def rival(self) -> str:
        """Name of the strongest baseline; of equally good ones the last, which costs most."""
        return max(
            reversed(list(self.baselines)),
            key=lambda name: np.nan_to_num(self.baselines[name][PRIMARY_MEASURE].value, nan=-1.0),
        )

    def list_metrics(self) -> dict[str, float | None]:
        """List the metrics by their logged names, `deployed/…`; None for what may not be shown."""
        named = self.model.list_metrics("deployed")
        for name, baseline in self.baselines.items():
            named |= baseline.list_metrics(f"deployed/baseline/{name}", RANKING_METRICS)
        if self.truth is not None:
            named |= self.truth.model.list_metrics("deployed/truth")
        return named

    def flatten_metrics(self) -> dict[str, float]:
        """Return the logged metrics, as `list_metrics`; what may not be shown is absent."""
        return {name: value for name, value in self.list_metrics().items() if value is not None}


def evaluate_recipe(stored: StoredScores, config: EvaluationConfig) -> RecipeEvaluation:
    """Compute every figure of the deployed recipe from its stored scores."""
    config = stored.fix_capacity(config)

    def evaluate_all(by_truth: bool, truth: RecipeEvaluation | None = None) -> RecipeEvaluation:
        baselines = {
            name: evaluate(stored.to_period(BASELINE + name, by_truth), config) for name in stored.baselines
        }
        return RecipeEvaluation(evaluate(stored.to_period(by_truth=by_truth), config), baselines, truth)

    return evaluate_all(False, evaluate_all(True) if stored.has_truth else None)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(
            "the stored scores cannot be read",
            where=str(path),
            got=error.strerror or "",
            expected="the file scores/deployed.parquet of a training run",
            todo="take the file from the run again, or train again",
        ) from error


def _check_columns(frame: pd.DataFrame) -> None:
    missing = [name for name in COLUMN_KINDS if name not in frame]
    if missing:
        raise BadInput(
            "the stored scores lack a column",
            where="stored scores",
            got=f"no {missing[0]}",
            expected=", ".join(COLUMN_KINDS),
            todo="take the file from the run again, or train again",
        )
    kinds = COLUMN_KINDS | {str(name): "number" for name in frame.columns if name.startswith(BASELINE)}
    for name, kind in kinds.items():
        values = frame[name]
        right = {
            "number": pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values),
            "flag": pd.api.types.is_bool_dtype(values),
            "text": pd.api.types.is_string_dtype(values) or pd.api.types.is_object_dtype(values),
        }[kind]
        if not right or (values.isna().any() and name not in MISSING_ALLOWED):
            raise BadInput(
                "a column of the stored scores does not hold what it should",
                where=f"stored scores, {name}",
                got=f"{values.dtype}, {int(values.isna().sum())} missing",
                expected=f"a {kind} in every row",
                todo="take the file from the run again, or train again",
            )
