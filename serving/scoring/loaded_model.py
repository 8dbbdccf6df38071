"""What scores: a published model, loaded and tested, or the rules where there is none."""

from datetime import UTC, datetime

import numpy as np

from consignments.errors import BundleRefused
from consignments.timestamps import to_day
from features.goods.naming import GoodsWords
from features.history.live import LiveHistory
from features.history.pseudonyms import Pseudonyms
from features.spec import Spec
from models.bundle import ModelCard, load_bundle
from serving.deployment.releases import Release
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec
from serving.scoring.scoring_method import ScoringMethod, build_rules_method, get_rules_name
from serving.state.identifier_index import IdentifierIndex


class LoadedModel:
    """A method of scoring, ready to score.

    Parameters
    ----------
    name : str
        `NAME/VERSION`.
    method : Method
    pseudonyms : Pseudonyms
    vault : Vault
    release : Release or None
        None for the rules.
    card : Card or None
        None for the rules.

    Attributes
    ----------
    risk : Judge
    pipeline : Pipeline
    record : type
        Its type of consignment.
    entries : Entries
        Of its record type and keys.
    sha256, spec_sha256 : str
        Of the bundle, or of the rules; and of the features.
    as_of : datetime or None
        The moment whose knowledge it was trained on; None for the rules.

    Raises
    ------
    BundleRefused
        Where it wants other features than this version of npsrisk computes, or its card says no moment.
    """

    def __init__(
        self,
        name: str,
        method: ScoringMethod,
        pseudonyms: Pseudonyms,
        vault: Vault,
        release: Release | None = None,
        card: ModelCard | None = None,
    ) -> None:
        self.name, self.release, self.card = name, release, card
        self.loaded_at, self.as_of = datetime.now(UTC), _parse_as_of(card)
        self.sha256, self.spec_sha256 = method.sha256, method.spec_sha256
        self.record = method.config.build_record_type()
        self.pipeline = method.build_pipeline(pseudonyms)
        self.risk = method.build_scorer(self.pipeline.spec)
        self.entries = EventCodec(vault, self.record, self.pipeline.kinds)

    @property
    def spec(self) -> Spec:
        """The features, in the order of the row."""
        return self.pipeline.spec


def load_model(release: Release, pseudonyms: Pseudonyms, vault: Vault) -> LoadedModel:
    """Load a release: verify its sums and its approval, test it on its own examples.

    Raises
    ------
    BundleRefused
        Where anything is wrong with it.
    """
    bundle = load_bundle(release.bundle_dir)
    if bundle.sha256 != release.bundle_sha256:
        raise BundleRefused(
            "the bundle is not the one that was approved",
            where=str(release.bundle_dir),
            got=bundle.sha256[:12],
            expected=release.bundle_sha256[:12],
            todo="publish again",
        )
    bundle.run_self_test()
    model = LoadedModel(
        release.model, ScoringMethod.from_bundle(bundle), pseudonyms, vault, release, bundle.card
    )
    _warm_up(model, vault)
    return model


def load_rules_model(pseudonyms: Pseudonyms, vault: Vault) -> LoadedModel:
    """Give the rules as a model."""
    model = LoadedModel(get_rules_name(), build_rules_method(), pseudonyms, vault)
    _warm_up(model, vault)
    return model


def _parse_as_of(card: ModelCard | None) -> datetime | None:
    if card is None:
        return None
    try:
        moment = datetime.fromisoformat(card.as_of)
    except ValueError as error:
        raise BundleRefused(
            "a bad moment", where="as_of", got=repr(card.as_of), expected="ISO 8601"
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _warm_up(model: LoadedModel, vault: Vault) -> None:
    """Compile what a first request would have to wait for, on a history of its own."""
    pipeline = model.pipeline
    ledger = LiveHistory(pipeline.create_history(capacity=16))
    index = IdentifierIndex(vault.names)
    row = np.zeros(len(model.spec), dtype=np.float32)
    keys = np.zeros(len(pipeline.kinds), dtype=np.uint64)
    counterparts = np.zeros_like(keys)
    c = model.record(
        consignment_id="warm-up", channel="postal", received_at=model.loaded_at, description="socks"
    )
    for _ in range(2):
        pipeline.fill_row(c, row, keys, counterparts, 0)
        ledger.record_arrival(c.consignment_id, to_day(model.loaded_at), keys, counterparts, row)
        index.add(index.compute_tag(c.consignment_id), ledger.today)
    index.may_contain(0, ledger.today)
    model.risk.explain(row, 1)
    # The words that a reason quotes are found by kernels of their own.
    GoodsWords("socks", model.risk.reasons.context.text_weights).list_words("goods.name_tier")
