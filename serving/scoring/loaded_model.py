"""Loaded model: a published model, verified and tested, or the rules if there is none."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from consignments.errors import BundleRefused
from consignments.records import Consignment
from consignments.timestamps import to_day
from features.goods.naming import GoodsWords
from features.history.live import LiveHistory
from features.history.pseudonyms import Pseudonyms
from features.spec import Spec
from models.bundle import ModelCard, load_bundle
from models.promotion_record import PromotionRecord
from models.signatures.key_holders import Approvers
from serving.deployment.releases import Release, find_newer_record, read_release
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec, Keys, Row
from serving.process.settings import Settings
from serving.scoring.scoring_method import ScoringMethod, build_rules_method, get_rules_name
from serving.state.identifier_index import IdentifierIndex


class LoadedModel:
    """A scoring method that is ready to score, with its pipeline, record type and event codec; the rules have no release and no card.

    `newer` is the record of a release of the same model that was approved later, if this one was put back in its place.
    """

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
        self.risk = method.build_scorer(self.pipeline.spec)
        self.entries = EventCodec(vault, self.record, self.pipeline.kinds)
        self.daily_arrivals = 0.0
        self.newer: PromotionRecord | None = None

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
    if bundle.sha256 != release.bundle_sha256:
        raise BundleRefused(
            "the bundle is not the one that was approved",
            where=str(release.bundle_dir),
            got=bundle.sha256[:12],
            expected=release.bundle_sha256[:12],
            todo="run npsrisk publish again",
        )
    bundle.run_self_test()
    model = LoadedModel(release.model, ScoringMethod.from_bundle(bundle), vault, release, bundle.card)
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
    approvers = Approvers.read(settings.approvers_file)
    release = read_release(folder, approvers)
    model = load_model(release, vault)
    model.newer = find_newer_record(folder, release, approvers)
    return model


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
    GoodsWords("socks", model.risk.reasons.context.text_weights).list_words("goods.name_tier")
