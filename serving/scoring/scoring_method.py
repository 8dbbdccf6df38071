"""Scoring methods: features and the model that scores them, from a bundle or, without a model, from the rules.

The rules rank consignments; their scores are not calibrated probabilities. Therefore every response and every log entry
names `rules` instead of a model.
"""

from dataclasses import dataclass
from functools import cache

from features.alerts.alerts import Alerts
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from features.spec import Spec
from models.bundle import Bundle
from models.risk_model import RiskModel
from models.rules import Rules

VERSION_CHARACTERS = 12


RowScorer = RiskModel | Rules
"""A scorer of feature rows, with bands and reasons."""


@dataclass(frozen=True)
class ScoringMethod:
    """A reproducible scoring method, from a bundle or the rules, with the digests of either and of the features it needs."""

    config: FeatureConfig
    fitted: FittedParameters
    judge: RowScorer
    sha256: str
    spec_sha256: str

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "ScoringMethod":
        """Build the method from a bundle."""
        fitted = FittedParameters.from_plain(bundle.fitted, bundle.arrays)
        return cls(bundle.config, fitted, bundle.model, bundle.sha256, bundle.card.feature_spec_sha256)

    def build_pipeline(self, pseudonyms: Pseudonyms, alerts: Alerts | None = None) -> Pipeline:
        """Build the pipeline of its features; raise `BundleRefused` if this version of npsrisk computes others."""
        pipeline = Pipeline(self.config, self.fitted, pseudonyms, alerts)
        pipeline.spec.require(self.judge.spec)
        return pipeline

    def build_scorer(self, installed: Spec) -> RowScorer:
        """Build the scorer for rows of `build_pipeline`'s pipeline, with the reason texts of this version of npsrisk."""
        return self.judge.replace_spec(installed)


@cache
def build_rules_method() -> ScoringMethod:
    """Build the rules on the features that need no model."""
    config, fitted = FeatureConfig(), FittedParameters.create_empty()
    spec = Pipeline(config, fitted, Pseudonyms(b"names only")).spec
    rules = Rules(spec)
    return ScoringMethod(config, fitted, rules, rules.digest(), spec.compute_digest())


def get_rules_name() -> str:
    """Return the name of the rules in the form `NAME/VERSION`; changed rules have another version."""
    return f"{Rules.name}/{build_rules_method().sha256[:VERSION_CHARACTERS]}"
