"""A consignment becomes an answer: features with live history, score, band, reasons, and the entry for the log.

What was answered is looked up by the consignment's content, so that a repeat gets the same answer and `decision_id`.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import numpy as np

from consignments.errors import BundleRefused, ServiceFault
from consignments.records import Consignment
from consignments.visibility import day_of
from features.fitted import Fitted
from features.ledger import Ledger
from features.pipeline import Pipeline
from features.pseudonyms import Pseudonyms
from features.spec import Spec
from models.bundle import Bundle, load_bundle
from models.reasons import Reason
from models.risk_model import RiskModel
from serving.dossiers import Decision, decision_of
from serving.entries import Entries, Judgement, Row
from serving.group_commit import Committer, Group
from serving.index import Index
from serving.releases import Release
from serving.sealing import Packed, Vault
from serving.state import State

REASONS_DUE = {"high": 3, "elevated": 3, "routine": 0}
"""How many reasons go with a band that nobody asked more for."""
MOST_REASONS = 10
_encode = msgspec.msgpack.Encoder().encode
_decode_reasons = msgspec.msgpack.Decoder(list[Reason]).decode
Clock = Callable[[], int]
"""Gives the moment in microseconds since the epoch."""


def clock_us() -> int:
    """Give the moment in microseconds since the epoch, from the system's clock."""
    return time.time_ns() // 1000


class Model:
    """A published model, loaded and tested, ready to score.

    Parameters
    ----------
    release : Release
    bundle : Bundle
        Its `self_test` passed.
    pseudonyms : Pseudonyms
    vault : Vault

    Attributes
    ----------
    name : str
        `NAME/VERSION`.
    pipeline : Pipeline
    entries : Entries
        Of its record type and keys.
    """

    def __init__(self, release: Release, bundle: Bundle, pseudonyms: Pseudonyms, vault: Vault) -> None:
        self.release, self.bundle = release, bundle
        self.name = f"{release.name}/{release.version}"
        self.loaded_at = datetime.now(UTC)
        self.risk: RiskModel = bundle.model
        self.record = bundle.config.record_type()
        fitted = Fitted.from_plain(bundle.fitted, bundle.arrays)
        self.pipeline = Pipeline(bundle.config, fitted, pseudonyms)
        self.pipeline.spec.require(bundle.card.feature_spec_sha256)
        self.entries = Entries(vault, self.record, self.pipeline.kinds)

    @property
    def spec(self) -> Spec:
        """The features, in the order of the row."""
        return self.pipeline.spec


def load_model(release: Release, pseudonyms: Pseudonyms, vault: Vault) -> Model:
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
    bundle.self_test()
    model = Model(release, bundle, pseudonyms, vault)
    _warm_up(model, vault)
    return model


class Answer(NamedTuple):
    """A decision on its way out.

    Attributes
    ----------
    decision : Decision
    group : Group or None
        It must be durable before the answer leaves; None where the decision is on disk already.
    features : float32 array or None
        The row that was scored, where it is at hand.
    reasons : list of Reason
        Those that were computed now, or are logged.
    """

    decision: Decision
    group: Group | None
    features: Row | None
    reasons: list[Reason]


class Scorer:
    """Scores consignments one after the other; whoever holds it runs it in one thread.

    Parameters
    ----------
    model : Model
    state : State
        Up to the end of the log, with the model's keys of history.
    committer : Committer
    clock : callable
    """

    def __init__(self, model: Model, state: State, committer: Committer, clock: Clock = clock_us) -> None:
        self.model, self.state, self.committer, self.clock = model, state, committer, clock
        model.pipeline.alerts = state.alerts
        self._X = np.zeros((1, len(model.spec)), dtype=np.float32)
        self._row = self._X[0]
        self._keys = np.zeros(len(model.pipeline.kinds), dtype=np.uint64)
        self._counterparts = np.zeros_like(self._keys)

    def decide(self, c: Consignment, asked_by: str, reasons: int | None = None) -> Answer:
        """Score a consignment, or find what was answered for it.

        Parameters
        ----------
        c : Consignment
            `received_at` is set.
        asked_by : str
        reasons : int or None
            How many are asked for; None: those that are due.

        Raises
        ------
        ServiceFault
            Where the log cannot take the decision, or the model gave no number.
        """
        self.committer.check()
        packed = self.model.entries.pack(c)
        known = self.state.of(c.consignment_id).version
        if known is not None and known.content == packed.content and known.decision is not None:
            return self._repeat(known.decision)
        return self._decide(c, packed, asked_by, reasons)

    def explain(self, features: Row, count: int) -> list[Reason]:
        """Give the reasons of a row of this model's features."""
        return list(self.model.risk.explain(np.array(features, dtype=np.float32), count))

    def _repeat(self, decision: Decision) -> Answer:
        group = self.committer.group_of(decision.sequence)
        return Answer(decision, group, None, _decode_reasons(decision.reasons))

    def _decide(self, c: Consignment, packed: Packed, asked_by: str, reasons: int | None) -> Answer:
        assert c.received_at is not None
        pipeline, row, sequence = self.model.pipeline, self._row, self.committer.next_sequence
        pipeline.describe(c, row, self._keys, self._counterparts, sequence)
        day = day_of(c.received_at)
        self.state.arrive(c.consignment_id, day, self._keys, self._counterparts, row, pipeline.history_at)
        now_us = self.clock()
        told: list[Reason] = []
        judgement: Judgement | None = None
        try:
            judgement, told = self._judge(c.channel, reasons)
        finally:
            # It is counted in history now, so it must be in the log too, even where the model failed.
            event = self.model.entries.arrival(
                sequence,
                c,
                packed,
                self._keys,
                self._counterparts,
                asked_by=asked_by,
                recorded_us=now_us,
                judgement=judgement,
            )
            group = self.committer.add(event)
            self.state.settle(event)
        return Answer(decision_of(event), group, row.copy(), told)

    def _judge(self, channel: str, reasons: int | None) -> tuple[Judgement, list[Reason]]:
        risk = self.model.risk
        score = float(risk.score(self._X, [channel])[0])
        if not 0.0 <= score <= 1.0:
            raise ServiceFault("the model gave no probability", where=self.model.name, got=repr(score))
        band = str(risk.bands_of(np.array([score]))[0])
        count = max(REASONS_DUE[band], reasons or 0)
        told = list(risk.explain(self._row, count)) if count else []
        release = self.model.release
        judgement = Judgement(
            self._row,
            score,
            band,
            _encode(told),
            self.model.name,
            release.bundle_sha256,
            self.model.bundle.card.feature_spec_sha256,
        )
        return judgement, told


def _warm_up(model: Model, vault: Vault) -> None:
    """Compile what a first request would have to wait for, on a history of its own."""
    pipeline = model.pipeline
    ledger = Ledger(pipeline.new_history(capacity=16))
    index = Index(vault.names)
    row = np.zeros(len(model.spec), dtype=np.float32)
    keys = np.zeros(len(pipeline.kinds), dtype=np.uint64)
    counterparts = np.zeros_like(keys)
    c = model.record(
        consignment_id="warm-up", channel="postal", received_at=model.loaded_at, description="socks"
    )
    for _ in range(2):
        pipeline.describe(c, row, keys, counterparts, 0)
        ledger.arrive(c.consignment_id, day_of(model.loaded_at), keys, counterparts, row, pipeline.history_at)
        index.note(index.tag(c.consignment_id), ledger.today)
    index.knows(0, ledger.today)
    model.risk.explain(row, 1)
