"""Result of a training run, as `training.runs.train` returns it."""

import platform
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from importlib.metadata import version as installed_version

import numpy as np

from consignments.records import Target
from features.batch import FeatureMatrix
from models.formats import format_count
from training.arrays import Floats, Ints
from training.config import TrainConfig
from training.data.data_hash import TableHash
from training.data.splits import TEST
from training.data.training_set import DataSet
from training.evaluation.metrics import Evaluation, evaluate
from training.evaluation.name_invariance import Row
from training.evaluation.stored_scores import EvaluationVerdict
from training.evaluation.traffic import ScoredPeriod
from training.fitting.deployed import DeployedResult
from training.fitting.diagnostics import DiagnosticsResult
from training.fitting.fit import CalibratedFit

PROCESSOR_TAG = "processor"


@dataclass(frozen=True, repr=False)
class TrainingResult:
    """A trained model with its evaluation."""

    target: Target
    as_of: datetime
    config: TrainConfig
    data: DataSet
    data_sha256: str
    consignments: TableHash
    """Hash and number of rows of the whole consignment table."""
    evaluated: CalibratedFit
    """The evaluation fit, with the feature rows of all fitted, calibrated and tested rows."""
    deployed: DeployedResult
    """The recipe evaluated as deployed, at earlier dates; if none can be evaluated, the evaluation fit on the test period."""
    final: CalibratedFit
    """The same recipe fitted on every label known at `as_of`; this fit is served."""
    test_traffic: ScoredPeriod
    """The test period with the evaluation fit's scores, and the results known at `as_of`."""
    name_swaps: list[Row]
    leaks: list[Row]
    verdict: EvaluationVerdict
    studied: DiagnosticsResult = field(default_factory=DiagnosticsResult)

    def __repr__(self) -> str:
        """Return target, date, positives and verdict."""
        return f"<TrainingResult {self.target} as of {self.as_of:%Y-%m-%d}, {self.final.positives} positives, verdict {self.verdict.name}>"

    @property
    def matrix(self) -> FeatureMatrix:
        """Feature rows under the evaluation fit; `matrix.rows` are positions among the kept consignments of `data`."""
        return self.evaluated.matrix

    @property
    def test_matrix_rows(self) -> Ints:
        """Rows of the feature matrix that belong to the test period, in the order of the test scores."""
        return np.flatnonzero(self.data.part[self.matrix.rows] == TEST)

    @property
    def test_rows(self) -> Ints:
        """Positions of the test period's consignments in the table, int64 (t,)."""
        rows: Ints = self.data.observed.kept.rows[self.matrix.rows[self.test_matrix_rows]]
        return rows

    @property
    def test_scores(self) -> Floats:
        """The evaluation fit's scores of the test period, float64 (t,)."""
        return self.test_traffic.score

    @cached_property
    def evaluation_fit(self) -> Evaluation:
        """The evaluation fit's own figures on the test period, by inspection results."""
        return evaluate(self.test_traffic, self.config.evaluation)

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics by their logged names; what is not shown is absent."""
        return self.deployed.recipe.flatten_metrics()

    @property
    def sentences(self) -> list[str]:
        """Summary of the run: what was counted, then the estimates, then what they rest on."""
        evaluated, final, kept = self.evaluated, self.final, self.data.observed.kept
        fits = (
            f"The final fit, which is served, was trained on {format_count(final.positives, 'positive')} among {final.labelled:,} results "
            f"known on {self.as_of:%Y-%m-%d}. The evaluation fit, which was tested on the test period, was trained on "
            f"{format_count(evaluated.positives, 'positive')} that arrived until {evaluated.learnt_until:%Y-%m-%d}."
        )
        level = final.level.to_sentence()
        sentences = [*self.verdict.sentences, *self.deployed.sentences, fits, level]
        if kept.is_drawn:
            sentences.append(
                f"The table has {kept.of:,} consignments; {len(kept.rows):,} were kept. All inspected ones of the tested weeks are "
                f"evaluated. Of the others a uniform sample stands for all of them: up to {kept.stands_for.max():,.1f} consignments "
                "each. Shares of traffic, bands and the reference profile are estimates from this sample."
            )
        return sentences

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the run."""
        return {
            "kind": "training",
            "verdict": self.verdict.name,
            "target": self.target,
            "as_of": self.as_of.isoformat(),
            "code_version": installed_version("npsrisk"),
            "data_sha256": self.data_sha256,
            "feature_spec_sha256": self.evaluated.model.spec.compute_digest(),
            "traffic": "sample" if self.data.observed.kept.is_drawn else "all",
            PROCESSOR_TAG: describe_processor(),
        }


def describe_processor() -> str:
    """Describe the kind of this processor by its vector instructions: libraries that choose others may give other last bits."""
    found = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])
    return " ".join([platform.machine(), *found])
