"""What a training run looks into beside its one fit: stability over time, what features are worth, better parameters.

All of it looks at rolling origins before the test period; the test period is never seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from consignments.errors import BadInput
from features.batch import FeatureMatrix, Progress
from features.spec import Spec
from training.config import TrainConfig
from training.data.training_set import DataSet
from training.fitting.rolling_origin import (
    DetectionRanks,
    RollingOrigin,
    build_origin_rows,
    build_rolling_origins,
    estimate_gain,
    evaluate_origins,
)
from training.fitting.search import SearchBudget

DEFAULT_ORIGINS = 3
"""That ablation and search look at, where no number is given."""
HISTORY_GROUP = "history"


@dataclass(frozen=True)
class DiagnosticsOptions:
    """What to look into.

    Attributes
    ----------
    origins : int
        Rolling origins of the table of stability; 0: none, unless another study needs them.
    ablation : bool
        Fit without each group of features.
    search : SearchBudget or None
        Look for better parameters.
    """

    origins: int = 0
    ablation: bool = False
    search: SearchBudget | None = None

    @property
    def count(self) -> int:
        """How many origins are needed."""
        others = self.ablation or self.search is not None
        return self.origins or (DEFAULT_ORIGINS if others else 0)


@dataclass(frozen=True)
class DiagnosticsResult:
    """What was found, as tables.

    Attributes
    ----------
    origins, ablation, trials : list of dict
        Empty where not asked for.
    """

    origins: list[dict[str, Any]] = field(default_factory=list)
    ablation: list[dict[str, Any]] = field(default_factory=list)
    trials: list[dict[str, Any]] = field(default_factory=list)


def cut_origins(
    data: DataSet, matrix: FeatureMatrix, texts: Sequence[str], config: TrainConfig, count: int
) -> list[RollingOrigin]:
    """Cut the rolling origins as `build_rolling_origins` does, or raise `BadInput` if there is none to look at."""
    origins = build_rolling_origins(data, matrix, texts, config, count)
    if not origins:
        raise BadInput(
            "too few finds before the test period for rolling origins",
            where="validation period",
            todo="train without --origins, --ablation and --trials, or give more of the past",
        )
    return origins


def run_diagnostics(
    studies: DiagnosticsOptions,
    origins: list[RollingOrigin],
    config: TrainConfig,
    progress: Progress | None,
) -> DiagnosticsResult:
    """Make the table of stability, and that of the ablation where asked for."""
    whole = evaluate_origins(origins, config.model, config.weights)
    rows = run_ablation(origins, config, whole, progress) if studies.ablation else []
    return DiagnosticsResult(build_origin_rows(origins, whole), rows)


def group_features(spec: Spec) -> dict[str, list[int]]:
    """Give the columns of each group, and within history those of each key.

    Returns
    -------
    dict
        `goods`, `history`, `history.sender`, … to columns.
    """
    groups: dict[str, list[int]] = {}
    for place, feature in enumerate(spec.features):
        groups.setdefault(feature.group, []).append(place)
        if feature.group == HISTORY_GROUP:
            groups.setdefault(feature.name.rpartition(".")[0], []).append(place)
    return groups


def run_ablation(
    origins: Sequence[RollingOrigin],
    config: TrainConfig,
    whole: DetectionRanks,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Fit without each group of features, at every origin.

    Parameters
    ----------
    origins : sequence of RollingOrigin
        At least one.
    config : TrainConfig
    whole : DetectionRanks
        With all features.
    progress : callable, optional

    Returns
    -------
    list of dict
        `group`, `features`, `worth` (what the finds lose without it, with `_low` and `_high`) and `recall_at_1pct`
        (what recall loses, likewise), the most valuable first.
    """
    rows = []
    groups = group_features(origins[0].spec)
    for done, (group, columns) in enumerate(groups.items()):
        without = evaluate_origins(origins, config.model, config.weights, without=columns)
        worth, recall = estimate_gain(whole, without), estimate_gain(whole, without, "at_1pct")
        rows.append(
            {
                "group": group,
                "features": len(columns),
                "worth": worth.value,
                "worth_low": worth.low,
                "worth_high": worth.high,
                "recall_at_1pct": recall.value,
                "recall_at_1pct_low": recall.low,
                "recall_at_1pct_high": recall.high,
            }
        )
        if progress is not None:
            progress("ablation", done + 1, len(groups))
    return sorted(rows, key=lambda row: -float(row["worth"]))
