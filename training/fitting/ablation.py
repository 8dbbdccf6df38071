"""What each group of features is worth: the same fit without it, at every origin; a group that is worth nothing may go."""

from collections.abc import Callable, Sequence
from typing import Any

from features.batch import FeatureMatrix
from features.spec import Spec
from training.config import TrainConfig
from training.fitting.rolling_origin import DetectionRanks, RollingOrigin, estimate_gain, evaluate_origins

Progress = Callable[[str, int, int], None]
HISTORY_GROUP = "history"


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
    matrix: FeatureMatrix,
    config: TrainConfig,
    whole: DetectionRanks,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Fit without each group of features, at every origin.

    Parameters
    ----------
    origins : sequence of Origin
    matrix : Matrix
    config : TrainConfig
    whole : Found
        With all features.
    progress : callable, optional

    Returns
    -------
    list of dict
        `group`, `features`, `worth` (what the finds lose without it, with `_low` and `_high`) and `recall_at_1pct`
        (what recall loses, likewise), the most valuable first.
    """
    rows = []
    groups = group_features(matrix.spec)
    for done, (group, columns) in enumerate(groups.items()):
        without = evaluate_origins(origins, matrix, config.model, config.weights, without=columns)
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
