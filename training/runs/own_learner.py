"""Learners of your own: rows to learn from, evaluation on the same test traffic as the model, and a logged run.

A learner of another kind gets the same features, labels, weights and test period as the model, and is compared with it in pairs of
days. It cannot be promoted: a registered version is a bundle that the service loads, and a bundle holds trees of npsrisk,
which score in one way in service, batch and replay and give exact reasons.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadInput
from models.registry import LEARNER_KIND
from training.data.splits import TEST, TRAIN, VALIDATION
from training.evaluation.estimate import Estimate
from training.evaluation.metrics import Evaluation
from training.evaluation.paired import evaluate_pair
from training.reporting.mlflow_tracking import DEFAULT_TRACKING_URI, RunRecord, log_run
from training.reporting.tables import serialize_table
from training.runs.result import TrainingResult

Floats = NDArray[np.float64]
LearningPart = Literal["training", "validation", "test"]
PARTS: Mapping[str, int] = {"training": TRAIN, "validation": VALIDATION, "test": TEST}
COMPARED_METRICS = (
    *("roc_auc", "average_precision"),
    *(f"{name}_at_{each}" for name in ("precision", "recall") for each in ("1pct", "5pct", "10pct")),
)
"""Metrics of a learner that are logged, and compared with the model's."""


@dataclass(frozen=True)
class LearningRows:
    """Rows of one period for a learner.

    Attributes
    ----------
    X : float32 array, (n, features)
        NaN is missing.
    y : float64 array, (n,)
        1 positive, 0 negative. Uninspected rows of training and validation are weak negatives; of the test period they are 0 too,
        and only `evaluate_learner` may judge them.
    weight : float64 array, (n,)
        Weight in fitting; 0 for a row without a label that is no weak negative.
    consignment_ids : object array of str, (n,)
    """

    X: NDArray[np.float32]
    y: Floats
    weight: Floats
    consignment_ids: NDArray[np.object_]


@dataclass(frozen=True)
class LearnerResult:
    """Evaluation of a learner on the test period of a training run, compared with the model of the run.

    Attributes
    ----------
    name : str
    trained : TrainingResult
    evaluation : Evaluation
        By inspection results, corrected for selection.
    differences : dict
        Metric to the learner's value minus the model's, paired by day, with a 95 % interval.
    params : dict
        Settings of the learner, for the record.
    """

    name: str
    trained: TrainingResult
    evaluation: Evaluation
    differences: dict[str, Estimate]
    params: dict[str, Any] = field(default_factory=dict)

    def flatten_metrics(self) -> dict[str, float]:
        """Return the metrics of the run: `test/…` and `difference/…`, with `_low` and `_high`."""
        groups = {
            "test": {name: self.evaluation[name] for name in COMPARED_METRICS},
            "difference": self.differences,
        }
        named = {
            f"{group}/{name}{end}": value
            for group, estimates in groups.items()
            for name, estimate in estimates.items()
            for end, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
        }
        return {name: value for name, value in named.items() if np.isfinite(value)}

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the differences as a table."""
        return [
            {
                "metric": name,
                "difference": each.value,
                "low": each.low,
                "high": each.high,
            }
            for name, each in self.differences.items()
        ]


def select_rows(trained: TrainingResult, part: LearningPart) -> LearningRows:
    """Select the rows of a period of a training run, with the features, labels and weights that the model's trees had.

    Parameters
    ----------
    trained : TrainingResult
    part : {"training", "validation", "test"}
        The test part has all traffic, in the order of `evaluate_learner`.
    """
    data, matrix = trained.data, trained.matrix
    code = PARTS[part]
    wanted = data.part == code if part == "test" else data.select_fitting_rows(code)
    mine = np.flatnonzero(wanted[matrix.rows])
    rows = matrix.rows[mine]
    return LearningRows(
        X=np.ascontiguousarray(matrix.X[mine]),
        y=(data.labels.known & data.labels.positive)[rows].astype(np.float64),
        weight=data.weight[rows],
        consignment_ids=data.observed.consignments["consignment_id"].to_numpy(dtype=object)[rows],
    )


def evaluate_learner(
    trained: TrainingResult, scores: Floats, name: str, params: Mapping[str, Any] | None = None
) -> LearnerResult:
    """Evaluate the scores of a learner on the test period of a training run, and compare them with the model's.

    Parameters
    ----------
    trained : TrainingResult
    scores : float64 array, (n,)
        One for each row of `select_rows(trained, "test")`; probabilities, or any numbers that rank.
    name : str
        Name of the learner.
    params : mapping, optional
        Its settings, for the record.

    Raises
    ------
    BadInput
        If the scores do not fit to the rows or are not finite.
    """
    given, expected = np.asarray(scores, dtype=np.float64), len(trained.test_scores)
    if given.shape != (expected,) or not np.isfinite(given).all():
        raise BadInput(
            "the scores do not fit to the test period",
            where=name,
            got=f"shape {given.shape}, {int((~np.isfinite(given)).sum())} not finite",
            expected=f"{expected} finite numbers",
            todo='score the rows of select_rows(trained, "test"), in their order',
        )
    pair = evaluate_pair(trained.test_traffic, given, trained.config.evaluation)
    differences = {metric: pair.gains[metric] for metric in COMPARED_METRICS}
    return LearnerResult(name, trained, pair.b, differences, dict(params or {}))


def log_learner(
    result: LearnerResult, *, tracking_uri: str = DEFAULT_TRACKING_URI, parent: str | None = None
) -> str:
    """Log the evaluation of a learner as a run of kind `learner`, and return its identifier.

    Parameters
    ----------
    result : LearnerResult
    tracking_uri : str
    parent : str, optional
        The training run that it is compared with.
    """
    trained = result.trained
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tables").mkdir()
        (folder / "tables" / "learner.json").write_text(serialize_table(result.to_rows()), encoding="utf-8")
        record = RunRecord(
            name=f"{trained.target}, as of {trained.as_of:%Y-%m-%d}: learner {result.name}",
            description=f"The learner **{result.name}** on the test period of the model, compared with it in pairs of days "
            "(`difference/…` is the learner minus the model). A learner has no bundle and cannot be promoted.",
            tags={
                "kind": LEARNER_KIND,
                "learner": result.name,
                "target": trained.target,
                "as_of": trained.as_of.isoformat(),
                "data_sha256": trained.data_sha256,
            },
            params=result.params,
            metrics=result.flatten_metrics(),
            folder=folder,
            parent=parent,
        )
        return log_run(record, tracking_uri=tracking_uri)
