"""A trained model with all that is known of it: what `training.runs.train` gives and `training.runs.artifacts` writes down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version as installed_version

import numpy as np
from numpy.typing import NDArray

from consignments.records import Target
from features.batch import FeatureMatrix
from features.fitted import FittedParameters
from models.risk_model import RiskModel
from training.config import TrainConfig
from training.data.splits import TEST
from training.data.training_set import DataSet
from training.evaluation.metrics import Evaluation
from training.evaluation.name_invariance import Row, find_worst_move
from training.evaluation.off_policy import OffPolicyEstimates
from training.evaluation.traffic import ScoredPeriod
from training.evaluation.verdict import EvaluationVerdict
from training.fitting.deployed import DeployedResult
from training.fitting.diagnostics import DiagnosticsResult
from training.fitting.fit import EvaluationFit, FinalFit

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EvaluatedModel:
    """A model and its baselines on the same traffic.

    Attributes
    ----------
    traffic : ScoredPeriod
        Under the model's score.
    model : Evaluation
    baselines : mapping
        Name to evaluation.
    scores : mapping
        Name of a baseline to its scores.
    """

    traffic: ScoredPeriod
    model: Evaluation
    baselines: Mapping[str, Evaluation]
    scores: Mapping[str, Floats]


@dataclass(frozen=True)
class TrainingResult:
    """A trained model and what is known of it.

    Attributes
    ----------
    target : str
    as_of : datetime
    config : TrainConfig
    data : DataSet
    data_sha256 : str
    evaluated : EvaluationFit
        The evaluation fit, which later time judged, with the feature rows of all that was fitted, calibrated and tested on.
    deployed : DeployedResult or None
        The same recipe at earlier dates, as it is deployed; None where none was asked for or the data do not allow it.
    final : FinalFit
        The same recipe on every label known at `as_of`: what is served.
    test : EvaluatedModel
        By what was found, corrected for how the opened ones were chosen.
    truth : EvaluatedModel or None
        By the truth of a simulated world.
    estimates : OffPolicyEstimates
        What the model would find at capacity, estimated in three ways (`training.evaluation.off_policy`).
    name_swaps : list of dict
        How far names of another language move the score, as `training.evaluation.name_invariance` measures it.
    leaks : list of dict
        Whether anything from later leaked in, as `training.evaluation.leakage` looks for it.
    verdict : EvaluationVerdict
    studied : DiagnosticsResult
        Ablation and search, where asked for.
    """

    target: Target
    as_of: datetime
    config: TrainConfig
    data: DataSet
    data_sha256: str
    evaluated: EvaluationFit
    deployed: DeployedResult | None
    final: FinalFit
    test: EvaluatedModel
    truth: EvaluatedModel | None
    estimates: OffPolicyEstimates
    name_swaps: list[Row]
    leaks: list[Row]
    verdict: EvaluationVerdict
    studied: DiagnosticsResult = field(default_factory=DiagnosticsResult)

    @property
    def model(self) -> RiskModel:
        """The evaluation fit's model."""
        return self.evaluated.model

    @property
    def fitted(self) -> FittedParameters:
        """The learnt part of the features, of the evaluation fit."""
        return self.evaluated.grown.fitted

    @property
    def matrix(self) -> FeatureMatrix:
        """Feature rows under the evaluation fit; `matrix.rows` are positions in the table."""
        return self.evaluated.matrix

    @property
    def test_rows(self) -> NDArray[np.int64]:
        """Positions of the test period's consignments in the table, int64 (t,)."""
        rows: NDArray[np.int64] = self.matrix.rows[self.data.part[self.matrix.rows] == TEST]
        return rows

    @property
    def test_scores(self) -> Floats:
        """The evaluation fit's scores of the test period, float64 (t,)."""
        return self.test.traffic.score

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics by their logged names."""
        named = self.test.model.flatten_metrics("test") | {
            "test/name_swap_95pct": find_worst_move(self.name_swaps)
        }
        for name, baseline in self.test.baselines.items():
            named |= {
                metric: value
                for metric, value in baseline.flatten_metrics(f"baseline/{name}").items()
                if not metric.endswith(("_low", "_high")) and "calibration" not in metric
            }
        if self.deployed is not None:
            named |= self.deployed.flatten_metrics()
        if self.truth is not None:
            named |= {k: v for k, v in self.truth.model.flatten_metrics("truth").items() if k.count("/") == 1}
        return named

    @property
    def test_matrix_rows(self) -> NDArray[np.int64]:
        """Rows of the feature matrix that belong to the test period, in the order of the test scores."""
        return np.searchsorted(self.matrix.rows, self.test_rows)

    @property
    def fits_sentence(self) -> str:
        """Which fit is which, how many positives each has learnt from, and to what date."""
        judged, final = self.evaluated.grown, self.final.grown
        return (
            f"The final fit, which is served, has learnt from {final.positives} positives among {final.labelled:,} results "
            f"known on {self.as_of:%Y-%m-%d}. The evaluation fit, which the test period judged, has learnt from "
            f"{judged.positives} positives of arrivals until {judged.learnt_until:%Y-%m-%d}."
        )

    @property
    def sentences(self) -> list[str]:
        """What the run says of itself, the figure to believe first."""
        deployed = [] if self.deployed is None else [self.deployed.sentence]
        return [*deployed, *self.verdict.sentences, self.fits_sentence, self.level_sentence]

    @property
    def level_sentence(self) -> str:
        """How well the level of the served scores is known."""
        return self.final.level.to_sentence()

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
            "feature_spec_sha256": self.model.spec.compute_digest(),
        }
