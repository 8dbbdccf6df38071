"""Worker of shadow mode: a separate process that follows the event log and scores each decision with the challenger.

    sequence 7   RB1 is scored by nps-risk/3     nps-risk/4 scores it too, from the history features logged with it
    sequence 8   an outcome                      skipped
    sequence 9   RB2 is scored, other keys       counted as unfit: the challenger's history features were never computed

It reads only what the service has written, so it cannot delay or fail a request. If it is more than MAX_LAG_ENTRIES
entries behind, it skips the oldest.
"""

import select
import sys
import time
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.errors import BundleRefused, NpsriskError, ServiceFault, UnknownName
from consignments.records import Target
from models.bundle import Bundle
from models.signatures.key_holders import Approvers
from serving.deployment.releases import find_release_folder, read_release
from serving.encryption.vault import Vault
from serving.event_log.event_codec import decode_features
from serving.event_log.events import DecisionEvent
from serving.event_log.log_keys import check_vault
from serving.event_log.reader import LogReader
from serving.process.clock import read_clock_us
from serving.process.logging import configure_logging, logger
from serving.process.settings import Settings
from serving.scoring.loaded_model import LoadedModel, load_model
from serving.scoring.past_models import PastModels
from serving.shadow.store import ShadowCounters, ShadowLog, ShadowScore, ShadowStatus

MAX_LAG_ENTRIES = 20_000
"""Maximum number of log entries it may be behind; older ones are skipped."""
BATCH_ENTRIES = 250
POLL_SECONDS = 0.25
STATUS_SECONDS = 1.0
CLEANUP_SECONDS = 3600.0
EXIT_REFUSED = 3
"""Exit code if the challenger cannot be used, so that a restart would not help."""
EXCLUDED_FROM_SHADOW_SCORES = ("reasons",)
COPIED_GROUPS = ("history", "alerts")
"""Groups of features that only the service could compute at that time; the others follow from the consignment."""
Places = NDArray[np.int64]


class Follower:
    """A follower of the event log that scores its decisions with a challenger; a new one starts at the end of the log.

    `bundles` are the models that made the decisions, for the names of their features.
    """

    def __init__(
        self, model: LoadedModel, target: Target, log: LogReader, bundles: PastModels, shadow_log: ShadowLog
    ) -> None:
        self.model, self.tally = model, ShadowCounters()
        self._log, self._bundles, self._shadow_log = log, bundles, shadow_log
        self._me = shadow_log.register(model.name, model.sha256, target, log.read_last_sequence())
        self.sequence = self._me.position
        copied = [place for place, each in enumerate(model.spec) if each.group in COPIED_GROUPS]
        self._mine: Places = np.array(copied, dtype=np.int64)
        self._theirs: dict[tuple[str, str], Places] = {}

    def process_batch(self) -> int:
        """Process the next entries, and return how many remain; nothing is processed if `ServiceFault` is raised."""
        newest, tally, first = self._log.read_last_sequence(), ShadowCounters(), self.sequence
        if newest - first > MAX_LAG_ENTRIES:
            tally.dropped, first = newest - MAX_LAG_ENTRIES - first, newest - MAX_LAG_ENTRIES
        last = min(newest, first + BATCH_ENTRIES)
        opinions = []
        for event in self._log.read_decisions(first, last, EXCLUDED_FROM_SHADOW_SCORES):
            opinion = self._score_entry(event, tally)
            if opinion is not None:
                opinions.append(opinion)
        if last > self.sequence:
            self._shadow_log.add(self._me.number, opinions, last, tally)
        self.sequence = last
        self.tally.add(tally)
        return newest - last

    def delete_expired(self, now_us: int) -> None:
        """Delete scores that are too old."""
        self._shadow_log.delete_expired(now_us)

    def _score_entry(self, event: DecisionEvent, tally: ShadowCounters) -> ShadowScore | None:
        if event.kinds != self.model.entries.kinds:
            tally.unfit += 1
            return None
        try:
            score = self.score(event)
        except (BundleRefused, UnknownName):
            tally.unfit += 1
            return None
        except Exception as error:
            tally.failed += 1
            logger.warning(
                "challenger failed to score", sequence=event.sequence, error=error.__class__.__name__
            )
            return None
        band = self.model.risk.bands.assign(score)
        tally.scored += 1
        tally.disagreed += band != event.band
        return ShadowScore(
            event.sequence,
            event.consignment_id,
            event.recorded_us,
            event.model,
            event.score,
            event.band,
            score,
            band,
        )

    def score(self, event: DecisionEvent) -> float:
        """Compute the score that the challenger would have returned in place of the champion.

        Raises `BundleRefused` or `UnknownName` if the model that decided is unknown or lacks a feature that must be copied.
        """
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


def load_follower(settings: Settings) -> Follower:
    """Load the published challenger, and open the logs that it reads and writes; `NpsriskError` if one cannot be used."""
    folder = find_release_folder(settings.state_dir, "shadow")
    if folder is None:
        raise BundleRefused("no challenger is published")
    vault = Vault.load(settings.data_key_file)
    release = read_release(folder, Approvers.read(settings.approvers_file), "shadow")
    model = load_model(release, vault)
    assert model.card is not None
    log = LogReader.open_to_read(settings.database_url)
    check_vault(log, vault)
    shadow_log = ShadowLog(settings.state_dir, log.log_id)
    return Follower(model, model.card.target, log, PastModels(settings.state_dir, _refuse_fetch), shadow_log)


def _refuse_fetch(name: str, version: str) -> Bundle:
    raise BundleRefused("models are not fetched from MLflow in shadow mode", got=f"{name}/{version}")


def main() -> None:
    """Follow the log until standard input closes, which happens whenever the service ends."""
    configure_logging()
    settings = Settings.model_validate_json(sys.stdin.readline())
    try:
        follower = load_follower(settings)
    except NpsriskError as error:
        report_status(ShadowStatus(ShadowCounters(), fault=str(error)))
        sys.exit(EXIT_REFUSED)
    logger.info("challenger started in shadow mode", model=follower.model.name, sequence=follower.sequence)
    reported = cleaned = 0.0
    while True:
        try:
            behind = follower.process_batch()
        except ServiceFault as fault:
            logger.error("challenger waits: a log cannot be used", error=str(fault))
            behind = 0
        now = time.monotonic()
        if now - cleaned > CLEANUP_SECONDS:
            follower.delete_expired(read_clock_us())
            cleaned = now
        if now - reported > STATUS_SECONDS:
            report_status(ShadowStatus(follower.tally, behind))
            reported = now
        if wait_for_end(sys.stdin, 0.0 if behind else POLL_SECONDS):
            return


def report_status(report: ShadowStatus) -> None:
    """Write a status report for the service to standard output."""
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    sys.stdout.flush()


def wait_for_end(stream: Any, seconds: float) -> bool:
    """Wait for some seconds or until the stream ends; return whether it has ended."""
    ready, _, _ = select.select([stream], [], [], seconds)
    return bool(ready)
