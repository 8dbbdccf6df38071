"""Scoring methods: features and the model that scores them, from a bundle or, without a model, from the rules.

The rules rank consignments; their scores are not calibrated probabilities. Therefore every response and every log entry
names `rules` instead of a model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from consignments.errors import BundleRefused, NpsriskError
from features.alerts.alerts import Alerts
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from features.spec import Spec
from models.bundle import Bundle, load_bundle
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


FetchBundle = Callable[[str, str], Bundle]
"""Fetches the bundle of a registered version from MLflow, by name and version."""


class PastModels:
    """A finder of the model that made a past decision, by the digest recorded with it; `fetch` is called if no release has it."""

    def __init__(self, state_dir: Path, fetch: FetchBundle) -> None:
        self._releases, self._fetch = state_dir / "models", fetch
        rules = build_rules_method()
        self._found: dict[str, ScoringMethod | str] = {rules.sha256: rules}

    def find(self, model: str, sha256: str) -> ScoringMethod:
        """Find a scoring method, with a verified bundle; raise `BundleRefused` if there is none."""
        if sha256 not in self._found:
            self._found[sha256] = self._look_for(model, sha256)
        found = self._found[sha256]
        if isinstance(found, str):
            raise BundleRefused(found, where=model, expected=f"bundle {sha256[:12]}")
        return found

    def _look_for(self, model: str, sha256: str) -> ScoringMethod | str:
        """Find a bundle's scoring method, or the reason why there is none."""
        faults = []
        for folder in sorted(self._releases.glob(f"*-{sha256[:12]}")):
            try:
                return _verify(load_bundle(folder / "bundle"), sha256)
            except BundleRefused as error:
                faults.append(str(error))
        try:
            return _verify(self._fetch(*model.rsplit("/", 1)), sha256)
        except NpsriskError as error:
            faults.append(f"not available from MLflow: {error}")
        except Exception as error:  # an unreachable server or its client may raise anything
            faults.append(f"not available from MLflow: {error.__class__.__name__}")
        return f"the bundle is not in {self._releases}" + "".join(f"; {fault}" for fault in faults)


def _verify(bundle: Bundle, sha256: str) -> ScoringMethod:
    if bundle.sha256 != sha256:
        raise BundleRefused("the bundle has another digest", got=bundle.sha256[:12], expected=sha256[:12])
    bundle.run_self_test()
    return ScoringMethod.from_bundle(bundle)
