"""How scores come about: features and what judges them, from a bundle or, where no model is loaded, from the rules.

What the rules give is an order of consignments, not a calibrated probability: every answer and every entry of the log
names them in place of a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from features.alerts import Alerts
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from features.spec import Spec
from models.bands import Band, Bands
from models.bundle import Bundle
from models.reasons.ranking import Reason, ReasonRanker
from models.rules import Rules

VERSION_CHARACTERS = 12


class RowScorer(Protocol):
    """Gives rows of features a score, a band and reasons: `models.risk_model.RiskModel`, or `models.baselines.Rules`."""

    spec: Spec
    bands: Bands
    reasons: ReasonRanker

    def score(self, X: NDArray[np.float32], channels: Sequence[str]) -> NDArray[np.float64]:
        """Score rows."""

    def score_row(self, row: NDArray[np.float32], channel: str) -> float:
        """Score one row, to the same bits."""

    def assign_bands(self, score: NDArray[np.float64]) -> list[Band]:
        """Give the band of each score."""

    def explain(self, row: NDArray[np.float32], top: int = 3, *, goods: str = "") -> list[Reason]:
        """Give the reasons of one row, the weightiest first."""

    def replace_spec(self, installed: Spec) -> "RowScorer":
        """Return the same scorer with the texts of the installed version's spec, or raise `BundleRefused`."""


@dataclass(frozen=True)
class ScoringMethod:
    """What makes scores, and can make them again.

    Attributes
    ----------
    config : FeatureConfig
    fitted : Fitted
    judge : Judge
    sha256 : str
        Of the bundle, or of the rules.
    spec_sha256 : str
        The features it wants, as its card and the log name them.
    """

    config: FeatureConfig
    fitted: FittedParameters
    judge: RowScorer
    sha256: str
    spec_sha256: str

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "ScoringMethod":
        """Take what a bundle holds."""
        fitted = FittedParameters.from_plain(bundle.fitted, bundle.arrays)
        return cls(bundle.config, fitted, bundle.model, bundle.sha256, bundle.card.feature_spec_sha256)

    def build_pipeline(self, pseudonyms: Pseudonyms, alerts: Alerts | None = None) -> Pipeline:
        """Make what computes its features.

        Raises
        ------
        BundleRefused
            Where it was trained on other features than this version of npsrisk computes.
        """
        pipeline = Pipeline(self.config, self.fitted, pseudonyms, alerts)
        pipeline.spec.require(self.judge.spec)
        return pipeline

    def build_scorer(self, installed: Spec) -> RowScorer:
        """Return what scores the rows of a pipeline of `build_pipeline`, in the words of this version of npsrisk."""
        return self.judge.replace_spec(installed)


@cache
def build_rules_method() -> ScoringMethod:
    """Give the rules over the features that need no model."""
    config, fitted = FeatureConfig(), FittedParameters.create_empty()
    spec = Pipeline(config, fitted, Pseudonyms(b"names only")).spec
    rules = Rules(spec)
    return ScoringMethod(config, fitted, rules, rules.digest(), spec.compute_digest())


def get_rules_name() -> str:
    """Name the rules as a model is named, `NAME/VERSION`; other rules have another version."""
    return f"{Rules.name}/{build_rules_method().sha256[:VERSION_CHARACTERS]}"
