"""Diagnostics of a training run besides its fits: ablation of feature groups, and a search for better parameters.

Both use rolling origins whose windows end before any period that is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from consignments.errors import BadInput
from features.batch import FeatureMatrix, Progress
from features.spec import Spec
from training.config import TrainConfig
from training.data.training_set import DataSet
from training.fitting.rolling_origin import (
    DetectionRanks,
    RollingOrigin,
    build_rolling_origins,
    estimate_gain,
    evaluate_origins,
)
from training.fitting.search import SearchBudget

ORIGINS = 3
"""Maximum number of dates for ablation and search."""
HISTORY_GROUP = "history"


@dataclass(frozen=True)
class DiagnosticsOptions:
    """Options of the diagnostics.

    Attributes
    ----------
    ablation : bool
        Also fit without each group of features.
    search : SearchBudget or None
        Budget of the search for better parameters; None: no search.
    """

    ablation: bool = False
    search: SearchBudget | None = None

    @property
    def is_wanted(self) -> bool:
        """True if any diagnostic is configured."""
        return self.ablation or self.search is not None


@dataclass(frozen=True)
class DiagnosticsResult:
    """Results of the diagnostics, as tables.

    Attributes
    ----------
    ablation, trials : list of dict
        Empty if not configured.
    """

    ablation: list[dict[str, Any]] = field(default_factory=list)
    trials: list[dict[str, Any]] = field(default_factory=list)


def cut_origins(
    data: DataSet, matrix: FeatureMatrix, texts: Sequence[str], config: TrainConfig, before: datetime
) -> list[RollingOrigin]:
    """Build the rolling origins as `build_rolling_origins` does, or raise `BadInput` if there is none."""
    origins = build_rolling_origins(data, matrix, texts, config, before)[:ORIGINS]
    if not origins:
        raise BadInput(
            "too few positives before the reported periods, for ablation and search",
            where=f"arrivals before {before:%Y-%m-%d}",
            todo="train without --ablation and --trials, with fewer `origins` in [evaluation], or provide earlier data",
        )
    return origins


def run_diagnostics(
    studies: DiagnosticsOptions,
    origins: list[RollingOrigin],
    config: TrainConfig,
    progress: Progress | None,
) -> DiagnosticsResult:
    """Compute the table of the ablation, if it is configured."""
    if not studies.ablation:
        return DiagnosticsResult()
    whole = evaluate_origins(origins, config.model, config.weights)
    return DiagnosticsResult(run_ablation(origins, config, whole, progress))


def group_features(spec: Spec) -> dict[str, list[int]]:
    """Return the columns of each group, and within history those of each key.

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
        `group`, `features`, `worth` (loss of the log-discounted rank score without it, with `_low` and `_high`) and
        `recall_at_1pct` (loss of recall, likewise), the most valuable first.
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
