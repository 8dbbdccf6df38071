"""The out-of-time scores of the deployed fits: one table that every figure of the deployed recipe is computed from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from consignments.errors import BadInput
from consignments.records import Target
from consignments.timestamps import US_PER_DAY, get_time_column_us
from models.arrays import Floats
from training.config import EvaluationConfig
from training.data.training_set import Labels
from training.evaluation.difference import Verdict, judge_difference, state_difference
from training.evaluation.estimate import describe_estimate
from training.evaluation.metrics import (
    METRIC_TITLES,
    PRIMARY_MEASURE,
    RANKING_METRICS,
    Evaluation,
    PairedEvaluation,
    describe_counts,
    estimate_difference,
    evaluate,
    evaluate_pair,
)
from training.evaluation.traffic import ScoredPeriod, extract_slices, extract_texts, fix_capacity

RANK, PROBABILITY = "rank", "probability"
BASELINE = "baseline_"  # beginning of the name of a column with the ranks of a baseline
DECLARED = ("consignment_id", "office", "channel", "service", "departure_country", "consignee")
TEXTS = (*DECLARED, "window", "chosen_by")
NUMBERS = ("day", "stands_for", "weight", RANK, PROBABILITY)
FLAGS = ("labelled", "positive", "guessed", "true_positive")
KINDS = {"text": TEXTS, "number": NUMBERS, "flag": FLAGS}
COLUMN_KINDS = {name: kind for kind, names in KINDS.items() for name in names}
"""Columns that every table has, and what they hold; see `StoredScores`."""
MISSING_ALLOWED = (PROBABILITY, "true_positive")


def build_stored_frame(
    rows: pd.DataFrame,
    labels: Labels,
    window: str,
    stands_for: Floats,
    weight: Floats,
    scores: Mapping[str, Any],
) -> pd.DataFrame:
    """Build the columns of stored scores of one window, with their ranks, probabilities and truth."""
    return pd.DataFrame(
        {name: extract_texts(rows, name) for name in DECLARED}
        | {
            "window": window,
            "day": get_time_column_us(rows, "received_at") // US_PER_DAY,
            "stands_for": stands_for,
        }
        | {"labelled": labels.known, "positive": labels.positive, "chosen_by": labels.selected_by}
        | {"weight": weight, "guessed": labels.known & np.isnan(labels.probability), **scores}
    )


class StoredScores:
    """Kept consignments of all windows with their scores and results, one row for each.

    `window` is its first day, as "2024-05-20", and `day` counts from 1970. Texts are empty if missing. `stands_for` is how many consignments
    of its window a row stands for, `weight` how many a result stands for, 0 without one; it is `guessed` if it rests on no logged
    probability. `rank` is that of the model, 0 to 1 in its window, higher is riskier, `baseline_NAME` that of a baseline; `probability`
    is what this fit would have served, NaN if none, and `true_positive` the truth, missing without one.
    """

    def __init__(self, frame: pd.DataFrame, content: bytes | None = None) -> None:
        _check_columns(frame)
        self.frame = frame
        self._content = content

    @classmethod
    def from_bytes(cls, content: bytes, where: str = "stored scores") -> "StoredScores":
        """Read the table from the bytes of its file; `where` is named in errors."""
        try:
            frame = pd.read_parquet(BytesIO(content))
        except (OSError, ValueError) as error:
            expected = "the file scores/deployed.parquet of a training run"
            raise _build_fault("cannot be read", where, str(error), expected) from error
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
    def baselines(self) -> list[str]:
        """Names of the baselines, in the order of their cost."""
        return [str(name).removeprefix(BASELINE) for name in self.frame.columns if name.startswith(BASELINE)]

    @property
    def has_truth(self) -> bool:
        """True if the truth of a simulated world is known."""
        return bool(self.frame["true_positive"].notna().any())

    def to_period(self, score: str = RANK, by_truth: bool = False) -> ScoredPeriod:
        """Build the traffic of all windows with one of its scores."""
        frame, stands_for = self.frame, self.frame["stands_for"].to_numpy(np.float64)
        if by_truth:
            labelled = frame["true_positive"].notna().to_numpy(bool)
            positive, weight = frame["true_positive"].fillna(False).to_numpy(bool), labelled * stands_for
        else:
            labelled, positive = (frame[name].to_numpy(bool) for name in ("labelled", "positive"))
            weight = frame["weight"].to_numpy(np.float64)
        own, day, office = score == RANK, frame["day"].to_numpy(np.int64), extract_texts(frame, "office")
        slices = extract_slices(frame) if own else {}
        probability = frame[PROBABILITY].to_numpy(np.float64) if own else np.full(len(frame), np.nan)
        ranks, results = frame[score].to_numpy(np.float64), (labelled, positive, weight)
        return ScoredPeriod(ranks, day, office, *results, slices, stands_for, probability)

    def compare(
        self, config: EvaluationConfig, score: str = RANK, base: str = "baseline_a", by_truth: bool = False
    ) -> PairedEvaluation:
        """Compare one of its scores with another on the same rows, with their slices."""
        mine = self.to_period(score, by_truth)
        other = replace(self.to_period(base, by_truth), slices=extract_slices(self.frame))
        return evaluate_pair(other, mine.score, fix_capacity(config, self.to_period()), mine.probability)


@dataclass(frozen=True)
class RecipeEvaluation:
    """The recipe as deployed, and its baselines on the same windows."""

    model: Evaluation
    baselines: Mapping[str, Evaluation]
    truth: "RecipeEvaluation | None" = None

    @property
    def rival(self) -> str:
        """Name of the strongest baseline: by the primary measure if it is shown of all, else by the known finds within all counted cuts."""
        shown = all(each[PRIMARY_MEASURE].is_shown for each in self.baselines.values())
        values = {name: each[PRIMARY_MEASURE].value for name, each in self.baselines.items()}
        found = {name: sum(each.counts.found.values()) for name, each in self.baselines.items()}
        return max(reversed(list(found)), key=lambda name: (values[name] if shown else 0.0, found[name]))

    def name_sides(self, model: str) -> dict[str, Evaluation]:
        """Name what is counted side by side: the model, the fixed rules, and the strongest baseline."""
        sides = {model: self.model, "the fixed rules": self.baselines[RULES]}
        return sides if self.rival == RULES else sides | {self.rival_title: self.baselines[self.rival]}

    @property
    def rival_title(self) -> str:
        """The strongest baseline in words."""
        return f"the strongest baseline ({self.rival.replace('_', ' ')})"

    def list_metrics(self) -> dict[str, float | None]:
        """List the metrics by their logged names, `deployed/…`; None for what may not be shown."""
        named = self.model.list_metrics("deployed")
        for name, baseline in self.baselines.items():
            named |= baseline.list_metrics(f"deployed/baseline/{name}", RANKING_METRICS)
        if self.truth is not None:
            named |= self.truth.model.list_metrics("deployed/truth")
        return named

    def flatten_metrics(self) -> dict[str, float]:
        """Return the logged metrics that may be shown."""
        return {name: value for name, value in self.list_metrics().items() if value is not None}


def evaluate_recipe(stored: StoredScores, config: EvaluationConfig) -> RecipeEvaluation:
    """Compute every figure of the deployed recipe from its stored scores."""
    config = fix_capacity(config, stored.to_period())

    def evaluate_all(by_truth: bool, truth: RecipeEvaluation | None = None) -> RecipeEvaluation:
        periods = {name: stored.to_period(BASELINE + name, by_truth) for name in stored.baselines}
        baselines = {name: evaluate(period, config) for name, period in periods.items()}
        return RecipeEvaluation(evaluate(stored.to_period(by_truth=by_truth), config), baselines, truth)

    return evaluate_all(False, evaluate_all(True) if stored.has_truth else None)


def _build_fault(what: str, where: str, got: str, expected: str) -> BadInput:
    todo = "take the file from the run again, or train again"
    return BadInput(f"the stored scores {what}", where=where, got=got, expected=expected, todo=todo)


def _check_columns(frame: pd.DataFrame) -> None:
    missing = [name for name in COLUMN_KINDS if name not in frame]
    if missing:
        raise _build_fault("lack a column", "stored scores", f"no {missing[0]}", ", ".join(COLUMN_KINDS))
    kinds = COLUMN_KINDS | {str(name): "number" for name in frame.columns if name.startswith(BASELINE)}
    for name, kind in kinds.items():
        values, is_flag = frame[name], pd.api.types.is_bool_dtype(frame[name])
        right = {
            "number": pd.api.types.is_numeric_dtype(values) and not is_flag,
            "flag": is_flag,
            "text": pd.api.types.is_string_dtype(values) or pd.api.types.is_object_dtype(values),
        }[kind]
        if not right or (values.isna().any() and name not in MISSING_ALLOWED):
            got = f"{values.dtype}, {int(values.isna().sum())} missing"
            where = f"stored scores, {name}"
            raise _build_fault("do not hold what a column should", where, got, f"a {kind} in every row")


RULES = "rules"
VERDICT_TITLES: dict[Verdict, str] = {
    "better": "better than {}",
    "worse": "worse than {}",
    "no clear difference": "no clear difference from {}",
    "too few results": "too few results to compare it with {}",
}


class EvaluationVerdict(NamedTuple):
    """The verdict of a run, and its title with the baseline."""

    name: Verdict
    title: str
    sentences: tuple[str, ...]


def judge_recipe(recipe: RecipeEvaluation, target: Target) -> EvaluationVerdict:
    """Compare the deployed recipe with its strongest baseline by inspection results, and write the verdict."""
    model, strongest = recipe.model, recipe.rival_title
    gain = estimate_difference(model, recipe.baselines[recipe.rival], PRIMARY_MEASURE)
    estimated = f"{METRIC_TITLES[PRIMARY_MEASURE]}: {describe_estimate(model[PRIMARY_MEASURE])}."
    support = f" {model.counts.describe_support()}" if model[PRIMARY_MEASURE].is_shown else ""
    counted = describe_counts(recipe.name_sides("the model"), target)
    difference = state_difference(gain, strongest, "the model")
    name = judge_difference(gain)
    title = VERDICT_TITLES[name].format(strongest)
    return EvaluationVerdict(name, title, (counted, f"{estimated}{support} {difference}"))
