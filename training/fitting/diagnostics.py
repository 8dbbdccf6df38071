"""What a training run looks into beside its one fit: stability over time, what features are worth, better parameters.

All of it looks at rolling origins before the test period; the test period is never seen.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from consignments.errors import BadInput
from consignments.records import Target
from features.batch import FeatureMatrix
from training.config import TrainConfig
from training.data.training_set import DataSet
from training.fitting.ablation import run_ablation
from training.fitting.rolling_origin import (
    RollingOrigin,
    build_origin_rows,
    build_rolling_origins,
    evaluate_origins,
)
from training.fitting.search import SearchBudget

Progress = Callable[[str, int, int], None]
DEFAULT_ORIGINS = 3
"""That ablation and search look at, where no number is given."""


@dataclass(frozen=True)
class DiagnosticsOptions:
    """What to look into.

    Attributes
    ----------
    origins : int
        Rolling origins of the table of stability; 0: none, unless another study needs them.
    ablation : bool
        Fit without each group of features.
    search : Budget or None
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
    frame: pd.DataFrame,
    outcomes: pd.DataFrame,
    data: DataSet,
    matrix: FeatureMatrix,
    texts: list[str],
    config: TrainConfig,
    target: Target,
    count: int,
) -> list[RollingOrigin]:
    """Cut the rolling origins, or raise `BadInput` where there is none to look at."""
    origins = build_rolling_origins(frame, outcomes, data, matrix, texts, config, target, count)
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
    matrix: FeatureMatrix,
    config: TrainConfig,
    progress: Progress | None,
) -> DiagnosticsResult:
    """Make the table of stability, and that of the ablation where asked for."""
    whole = evaluate_origins(origins, matrix, config.model, config.weights)
    rows = run_ablation(origins, matrix, config, whole, progress) if studies.ablation else []
    return DiagnosticsResult(build_origin_rows(origins, whole), rows)
