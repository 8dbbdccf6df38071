"""Scoring methods and models: the published model, verified and tested, or the rules if there is none; and the models of past decisions.

The rules rank consignments; their scores are not calibrated probabilities. Therefore every response and every log entry
names `rules` instead of a model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np

from consignments.errors import BundleRefused, NpsriskError
from consignments.records import Consignment
from consignments.timestamps import to_day
from features.alerts.alerts import Alerts
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.goods.naming import GoodsWords
from features.history.live import LiveHistory
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from features.spec import Spec
from models.bundle import Bundle, ModelCard, load_bundle
from models.risk_model import RiskModel
from models.rules import Rules
from models.signatures.key_holders import Approvers
from serving.deployment.releases import Release, read_release
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec, Keys, Row
from serving.process.settings import Settings
from serving.state.history_keys import KeyReader
from serving.state.identifier_index import IdentifierIndex

VERSION_CHARACTERS = 12
RowScorer = RiskModel | Rules


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


class PastModels:
    """A finder of the model that made a past decision, by its digest; `fetch` is called if no release has it."""

    def __init__(self, state_dir: Path, fetch: FetchBundle | None = None) -> None:
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
                return verify_bundle(load_bundle(folder / "bundle"), sha256)
            except BundleRefused as error:
                faults.append(str(error))
        try:
            if self._fetch is not None:
                return verify_bundle(self._fetch(*model.rsplit("/", 1)), sha256)
        except NpsriskError as error:
            faults.append(f"not available from MLflow: {error}")
        except Exception as error:  # an unreachable server or its client may raise anything
            faults.append(f"not available from MLflow: {error.__class__.__name__}")
        return f"the bundle is not in {self._releases}" + "".join(f"; {fault}" for fault in faults)


def verify_bundle(bundle: Bundle, sha256: str, where: str = "") -> ScoringMethod:
    """Return the scoring method of a bundle; raise `BundleRefused` if it has another digest, or the self-test fails."""
    if bundle.sha256 != sha256:
        raise BundleRefused(
            "the bundle is not the one that was approved",
            where=where,
            got=bundle.sha256[:12],
            expected=sha256[:12],
            todo="run npsrisk publish again",
        )
    bundle.run_self_test()
    return ScoringMethod.from_bundle(bundle)


class LoadedModel:
    """A scoring method that is ready to score; `newer` is the version of a later release that decided before it."""

    def __init__(
        self,
        name: str,
        method: ScoringMethod,
        vault: Vault,
        release: Release | None = None,
        card: ModelCard | None = None,
    ) -> None:
        self.name, self.release, self.card = name, release, card
        self.loaded_at, self.as_of = datetime.now(UTC), _parse_as_of(card)
        self.sha256, self.spec_sha256 = method.sha256, method.spec_sha256
        self.record = method.config.build_record_type()
        self.pipeline = method.build_pipeline(Pseudonyms(vault.data_key))
        self.risk = method.judge.replace_spec(self.pipeline.spec)  # with the reason texts of this version
        self.entries = EventCodec(vault, self.record, self.pipeline.kinds)
        self.keys = KeyReader(self.pipeline, self.entries)
        self.daily_arrivals = 0.0
        self.newer: str | None = None

    @property
    def spec(self) -> Spec:
        """Return the features, in the order of the row."""
        return self.pipeline.spec

    def describe(self, c: Consignment, sequence: int | None = None) -> tuple[Row, Keys, Keys]:
        """Describe a consignment as a log entry: its row without history, its history keys and their counterparts."""
        X = np.zeros((1, len(self.spec)), dtype=np.float32)
        keys, counterparts = np.zeros((2, 1, len(self.pipeline.kinds)), dtype=np.uint64)
        self.pipeline.fill_rows([c], X, keys, counterparts, [sequence])
        return X[0], keys[0], counterparts[0]

    def score_row(self, row: Row, channel: str) -> float:
        """Score one row of features."""
        return float(self.risk.score(row[None], [channel])[0])


def load_model(release: Release, vault: Vault) -> LoadedModel:
    """Load a release; raise `BundleRefused` if a checksum, the approval or the self-test fails."""
    bundle = load_bundle(release.bundle_dir)
    method = verify_bundle(bundle, release.bundle_sha256, str(release.bundle_dir))
    model = LoadedModel(release.model, method, vault, release, bundle.card)
    if bundle.reference is not None:
        model.daily_arrivals = sum(bundle.reference.channels.values()) / bundle.reference.days
    _warm_up(model, vault)
    return model


def load_rules_model(vault: Vault) -> LoadedModel:
    """Build the rules as a loaded model."""
    model = LoadedModel(get_rules_name(), build_rules_method(), vault)
    _warm_up(model, vault)
    return model


def load_published(folder: Path | None, settings: Settings, vault: Vault) -> LoadedModel:
    """Load the release of a folder, or the rules if there is none."""
    if folder is None:
        return load_rules_model(vault)
    return load_model(read_release(folder, Approvers.read(settings.approvers_file)), vault)


def _parse_as_of(card: ModelCard | None) -> datetime | None:
    if card is None:
        return None
    try:
        moment = datetime.fromisoformat(card.as_of)
    except ValueError as error:
        raise BundleRefused(
            "the model card has an invalid time", where="as_of", got=repr(card.as_of), expected="ISO 8601"
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _warm_up(model: LoadedModel, vault: Vault) -> None:
    """Compile the kernels that the first request would otherwise wait for, on a separate history."""
    pipeline = model.pipeline
    ledger = LiveHistory(pipeline.create_history(capacity=16))
    index = IdentifierIndex(vault.names)
    c = model.record(
        consignment_id="warm-up", channel="postal", received_at=model.loaded_at, description="socks"
    )
    for _ in range(2):
        row, keys, counterparts = model.describe(c, 0)
        ledger.record_arrival(c.consignment_id, to_day(model.loaded_at), keys, counterparts, row)
    tags = index.compute_tags([c.consignment_id])
    index.add_all(tags, np.full(len(tags), ledger.today))
    index.may_contain_each(tags, ledger.today)
    model.score_row(row, c.channel)
    model.risk.explain(row, 1)
    # Separate kernels find the words that a reason quotes.
    GoodsWords("socks").list_words("goods.name_tier")
