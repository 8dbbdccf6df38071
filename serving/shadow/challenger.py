"""A challenger in shadow: what it would have answered in place of the champion, recomputed from the log as `npsrisk parity` does.

    sequence 7   RB1 is scored by nps-risk/3     nps-risk/4 scores it from its fields, with the history of 1 to 6
    sequence 8   an outcome                      joins history
    sequence 9   RB2 without its content         counted as unfit

Nothing is kept, and the service does nothing for it, so a challenger cannot delay or fail a request.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

import msgspec

from consignments.errors import BundleRefused
from consignments.records import Target
from consignments.timestamps import to_datetime
from features.history.pseudonyms import Pseudonyms
from models.bundle import load_bundle
from models.signatures.key_holders import Approvers
from serving.deployment.releases import find_release_folder, read_release
from serving.encryption.vault import Vault
from serving.event_log.log import check_vault
from serving.event_log.reader import LogReader, Progress
from serving.maintenance.recomputation import BundleGroup, DecisionFilter, LoggedHistory, Recomputation
from serving.process.settings import Settings
from serving.scoring.loaded_model import ScoringMethod, verify_bundle


class ShadowScore(msgspec.Struct, frozen=True):
    """The scores of champion and challenger for one decision."""

    decision_id: str
    consignment_id: str
    scored_at: datetime
    champion: str
    champion_score: float
    champion_band: str
    score: float
    band: str


class ShadowCounters(msgspec.Struct):
    """The numbers of decisions that a challenger scored, gave no probability for, and could not score without content."""

    scored: int = 0
    failed: int = 0
    unfit: int = 0


class Challenger:
    """A challenger that scores the decisions of a log."""

    def __init__(
        self, name: str, method: ScoringMethod, target: Target, log: LogReader, vault: Vault
    ) -> None:
        self.name, self.method, self.target, self.tally = name, method, target, ShadowCounters()
        self._log, self._vault = log, vault
        check_vault(log, vault)

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
        release = read_release(folder, Approvers.read(settings.approvers_file), "shadow")
        bundle = load_bundle(release.bundle_dir)
        method = verify_bundle(bundle, release.bundle_sha256, str(release.bundle_dir))
        return cls(release.model, method, bundle.card.target, log, Vault.load(settings.data_key_file))

    def score_decisions(
        self, period: DecisionFilter, progress: Progress | None = None
    ) -> Iterator[ShadowScore]:
        """Score the decisions of a period, in the order of the log."""
        log, last = self._log, self._log.last_sequence
        history = LoggedHistory.read(log, self._vault, last)
        member = self.method, self.method.build_pipeline(Pseudonyms(self._vault.data_key), history.alerts)
        group: BundleGroup = defaultdict(lambda: member)  # it scores what any model decided
        group[self.method.sha256] = member
        for chunk in Recomputation(log, history, last, group, self._vault).run(period.matches):
            self.tally.unfit += sum(chunk.wanted) - len(chunk.decisions)
            for event, *_, score, band in sorted(chunk.decisions, key=lambda each: each.logged.sequence):
                if not 0.0 <= score <= 1.0:
                    self.tally.failed += 1
                    continue
                self.tally.scored += 1
                decision_id = log.format_decision_id(event.sequence)
                scored_at, decided = to_datetime(event.recorded_us), (event.model, event.score, event.band)
                yield ShadowScore(decision_id, event.consignment_id, scored_at, *decided, score, band)
            if progress is not None:
                progress("shadow", chunk.events[-1].sequence, last)
