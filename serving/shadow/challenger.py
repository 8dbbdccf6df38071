"""A challenger in shadow: what it would have answered in place of the champion, computed from the decisions that the log has.

    sequence 7   RB1 is scored by nps-risk/3     nps-risk/4 scores it from its fields and the history features logged with it
    sequence 8   an outcome                      no decision
    sequence 9   RB2 is scored, other keys       counted as unfit: the challenger's history features were never computed

Nothing is kept, and the service does nothing for it, so a challenger cannot delay or fail a request.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.errors import BundleRefused, ServiceFault, UnknownName
from consignments.records import Target
from models.signatures.key_holders import Approvers
from serving.deployment.releases import find_release_folder, read_release
from serving.encryption.vault import Vault
from serving.event_log.event_codec import decode_features
from serving.event_log.events import DecisionEvent
from serving.event_log.log import check_vault
from serving.event_log.reader import LogReader, Progress
from serving.process.logging import logger
from serving.process.settings import Settings
from serving.scoring.loaded_model import LoadedModel, PastModels, load_model

EXCLUDED_FROM_SHADOW_SCORES = ("reasons", "keys")
COPIED_GROUPS = ("history", "alerts")
"""Groups of features that only the service could compute at that time; the others follow from the consignment."""
PROGRESS_ENTRIES = 1_000
Places = NDArray[np.int64]


class ShadowScore(NamedTuple):
    """The scores of champion and challenger for one decision, by its sequence number in the event log and its time."""

    sequence: int
    consignment_id: str
    scored_us: int
    champion: str
    champion_score: float
    champion_band: str
    score: float
    band: str


class ShadowCounters(msgspec.Struct):
    """The numbers of decisions that a challenger scored, put into another band, failed to score, or does not fit."""

    scored: int = 0
    disagreed: int = 0
    failed: int = 0
    unfit: int = 0


class Challenger:
    """A challenger that scores the decisions of a log; `bundles` are the models that made them, for the names of their features."""

    def __init__(self, model: LoadedModel, target: Target, log: LogReader, bundles: PastModels) -> None:
        self.model, self.target, self.tally = model, target, ShadowCounters()
        self._log, self._bundles = log, bundles
        copied = [place for place, each in enumerate(model.spec) if each.group in COPIED_GROUPS]
        self._mine: Places = np.array(copied, dtype=np.int64)
        self._theirs: dict[tuple[str, str], Places] = {}

    @classmethod
    def load(cls, settings: Settings, log: LogReader, model: str | None = None) -> "Challenger":
        """Load the published challenger, or another published model, `NAME/VERSION`."""
        folder = find_release_folder(settings.state_dir, "shadow")
        if model is not None:
            named = f"{model.removeprefix('models:/').replace('/', '-')}-*"
            folder = next(iter(sorted((settings.state_dir / "models").glob(named))), None)
        if folder is None:
            raise BundleRefused(
                "no such challenger is published",
                got=model or "",
                todo="set NPSRISK_SHADOW_MODEL and run npsrisk publish",
            )
        vault = Vault.load(settings.data_key_file)
        check_vault(log, vault)
        loaded = load_model(read_release(folder, Approvers.read(settings.approvers_file), "shadow"), vault)
        assert loaded.card is not None
        return cls(loaded, loaded.card.target, log, PastModels(settings.state_dir))

    def score_decisions(
        self, from_us: int, until_us: int, progress: Progress | None = None
    ) -> Iterator[ShadowScore]:
        """Score the decisions made in a period in order; `until_us` is excluded."""
        last = self._log.last_sequence
        for event in self._log.read_decisions(until=last, without=EXCLUDED_FROM_SHADOW_SCORES):
            if progress is not None and event.sequence % PROGRESS_ENTRIES == 0:
                progress("shadow", event.sequence, last)
            if not from_us <= event.recorded_us < until_us:
                continue
            try:
                score = self._score(event)
            except (BundleRefused, UnknownName):
                self.tally.unfit += 1
                continue
            except Exception as error:
                self.tally.failed += 1
                fault = error.__class__.__name__
                logger.warning("challenger failed to score", sequence=event.sequence, error=fault)
                continue
            band = self.model.risk.bands.assign(score)
            self.tally.scored += 1
            self.tally.disagreed += band != event.band
            decided = event.recorded_us, event.model, event.score, event.band
            yield ShadowScore(event.sequence, event.consignment_id, *decided, score, band)

    def _score(self, event: DecisionEvent) -> float:
        """Compute the score that the challenger would have returned; raise `BundleRefused` or `UnknownName` if it does not fit."""
        if event.kinds != self.model.entries.kinds or event.redacted:
            raise BundleRefused("the challenger has other history keys, or the content was removed")
        c = self.model.entries.decode_consignment(event)
        row, _, _ = self.model.describe(c)
        row[self._mine] = decode_features(event)[self._map_columns(event)]
        score = self.model.score_row(row, c.channel)
        if not 0.0 <= score <= 1.0:
            raise ServiceFault(
                "the challenger's score is not a probability", where=self.model.name, got=repr(score)
            )
        return score

    def _map_columns(self, event: DecisionEvent) -> Places:
        """Return the columns of the copied features in the row of the model that decided."""
        decided_by = event.model, event.model_sha256
        if decided_by not in self._theirs:
            spec = self._bundles.find(*decided_by).judge.spec
            names = [self.model.spec.names[place] for place in self._mine.tolist()]
            self._theirs[decided_by] = np.array([spec.get_column(name) for name in names], dtype=np.int64)
        return self._theirs[decided_by]
