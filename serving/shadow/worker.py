"""A challenger in shadow: a process of its own follows the event log and scores what was decided, for nobody but its log.

    sequence 7   RB1 is scored by nps-risk/3     nps-risk/4 scores it too, from the readings of history logged with it
    sequence 8   an outcome                      passed over
    sequence 9   RB2 is scored, other keys       counted as unfit: what its history would be was never read

It takes nothing from the service but what that has written, so it cannot slow or fail an answer; where it is more than
MOST_BEHIND entries behind, it passes over the oldest.
"""

import os
import select
import sys
import time
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.errors import BundleRefused, NpsriskError, ServiceFault, UnknownName
from features.history.pseudonyms import Pseudonyms, load_data_key
from features.spec import Spec
from models.bundle import Bundle
from serving.deployment.releases import current_folder, read_release
from serving.encryption.vault import Vault
from serving.event_log.event_codec import Row, stored_features
from serving.event_log.events import Event
from serving.event_log.reader import LogReader
from serving.process.clock import clock_us
from serving.process.logging import log_as_json, log_line
from serving.process.settings import Settings
from serving.scoring.loaded_model import Model, load_model
from serving.scoring.past_models import Bundles
from serving.shadow.store import Opinion, Report, ShadowLog, Tally

MOST_BEHIND = 20_000
"""Entries of the log it may be behind; what is older is passed over."""
AT_A_TIME = 250
POLL_SECONDS = 0.25
TELL_SECONDS = 1.0
FORGET_SECONDS = 3600.0
NICENESS = 19
REFUSED = 3
"""Exit code where the challenger cannot be used; starting it again would not help."""
NOT_NEEDED = ("content", "reasons")
FROM_THE_SERVICE = ("history", "alerts")
"""Groups of features that only the service knew, at that moment; the others follow from the consignment."""
Places = NDArray[np.int64]


class Taken(NamedTuple):
    """Columns of the challenger's row that are taken over, and where they stand in the champion's."""

    mine: Places
    theirs: Places


class Follower:
    """Scores the decisions of a log with a challenger.

    Parameters
    ----------
    model : Model
        The challenger.
    target : str
        What it finds.
    log : LogReader
    bundles : Bundles
        Tell the features of what decided.
    shadow_log : ShadowLog

    Attributes
    ----------
    sequence : int
        The last entry looked at; of a new challenger the last there was.
    tally : Tally
        Since it was made.
    """

    def __init__(
        self, model: Model, target: str, log: LogReader, bundles: Bundles, shadow_log: ShadowLog
    ) -> None:
        self.model, self.tally = model, Tally()
        self._log, self._bundles, self._shadow_log = log, bundles, shadow_log
        self._me = shadow_log.begin(model.name, model.sha256, target, log.newest())
        self.sequence = self._me.position
        self._taken: dict[tuple[str | None, str | None], Taken] = {}
        kinds = len(model.pipeline.kinds)
        self._keys, self._counterparts = np.zeros((2, kinds), dtype=np.uint64)
        self._group = {group: feature_places(model.spec, group) for group in FROM_THE_SERVICE}

    def take(self) -> int:
        """Look at the next entries; gives how many there are behind them.

        Raises
        ------
        ServiceFault
            Where a log cannot be used; nothing was taken.
        """
        newest, tally, first = self._log.newest(), Tally(), self.sequence
        if newest - first > MOST_BEHIND:
            tally.dropped, first = newest - MOST_BEHIND - first, newest - MOST_BEHIND
        last = min(newest, first + AT_A_TIME)
        opinions = []
        for event in self._log.events(first, last, NOT_NEEDED, ("decision",)):
            opinion = self._try(event, tally)
            if opinion is not None:
                opinions.append(opinion)
        if last > self.sequence:
            self._shadow_log.add(self._me.number, opinions, last, tally)
        self.sequence = last
        self.tally.add(tally)
        return newest - last

    def forget(self, now_us: int) -> None:
        """Drop opinions that are too old."""
        self._shadow_log.forget(now_us)

    def _try(self, event: Event, tally: Tally) -> Opinion | None:
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
            log_line.warning("the challenger failed", sequence=event.sequence, error=error.__class__.__name__)
            return None
        band = self.model.risk.bands.of(score)
        tally.scored += 1
        tally.disagreed += band != event.band
        return Opinion(
            event.sequence,
            event.consignment_id or "",
            event.recorded_us or 0,
            event.model or "",
            event.score or 0.0,
            event.band or "",
            score,
            band,
        )

    def score(self, event: Event) -> float:
        """Give what the challenger would have answered in the champion's place.

        Raises
        ------
        ServiceFault
            Where it gives no probability, or the consignment cannot be decrypted.
        BundleRefused, UnknownName
            Where the features of what decided are not known, or are others.
        """
        c = self.model.entries.consignment_of(event)
        row: Row = np.zeros(len(self.model.spec), dtype=np.float32)
        self.model.pipeline.describe(c, row, self._keys, self._counterparts)
        taken = self._taken_from(event)
        row[taken.mine] = stored_features(event)[taken.theirs]
        score = self.model.risk.score_row(row, c.channel)
        if not 0.0 <= score <= 1.0:
            raise ServiceFault("the challenger gave no probability", where=self.model.name, got=repr(score))
        return score

    def _taken_from(self, event: Event) -> Taken:
        decided_by = event.model, event.model_sha256
        if decided_by not in self._taken:
            theirs = self._bundles.find(event.model or "", event.model_sha256 or "").judge.spec
            mine = np.concatenate(list(self._group.values()))
            places = [theirs.place(self.model.spec.names[place]) for place in mine.tolist()]
            self._taken[decided_by] = Taken(mine, np.array(places, dtype=np.int64))
        return self._taken[decided_by]


def feature_places(spec: Spec, group: str) -> Places:
    """Give the columns of a group of features."""
    return np.array([place for place, each in enumerate(spec) if each.group == group], dtype=np.int64)


def follow(settings: Settings) -> Follower:
    """Load the challenger that is published, and open what it reads and writes.

    Raises
    ------
    NpsriskError
        Where it cannot be used.
    """
    folder = current_folder(settings.state_dir, "shadow")
    if folder is None:
        raise BundleRefused("no challenger is published")
    data_key = load_data_key(settings.data_key_file)
    vault = Vault.of(settings.state_dir, data_key)
    model = load_model(read_release(folder, "shadow"), Pseudonyms(data_key), vault)
    assert model.card is not None
    log = LogReader.open_to_read(settings.database_url)
    log.require(vault)
    shadow_log = ShadowLog(settings.state_dir, log.log_id)
    return Follower(model, model.card.target, log, Bundles(settings.state_dir, _no_mlflow), shadow_log)


def _no_mlflow(name: str, version: str) -> Bundle:
    raise BundleRefused("not looked for", got=f"{name}/{version}")


def main() -> None:
    """Follow the log until standard input ends, as it does when the service ends, however that ends."""
    os.nice(NICENESS)
    log_as_json()
    settings = Settings.model_validate_json(sys.stdin.readline())
    try:
        follower = follow(settings)
    except NpsriskError as error:
        tell(Report(Tally(), fault=str(error)))
        sys.exit(REFUSED)
    log_line.info("in shadow", model=follower.model.name, sequence=follower.sequence)
    told = forgot = 0.0
    while True:
        try:
            behind = follower.take()
        except ServiceFault as fault:
            log_line.error("the shadow waits", error=str(fault))
            behind = 0
        now = time.monotonic()
        if now - forgot > FORGET_SECONDS:
            follower.forget(clock_us())
            forgot = now
        if now - told > TELL_SECONDS:
            tell(Report(follower.tally, behind))
            told = now
        if ended(sys.stdin, 0.0 if behind else POLL_SECONDS):
            return


def tell(report: Report) -> None:
    """Write a report for the service."""
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    sys.stdout.flush()


def ended(stream: Any, seconds: float) -> bool:
    """Wait for so long, or until the stream has ended."""
    ready, _, _ = select.select([stream], [], [], seconds)
    return bool(ready)


if __name__ == "__main__":
    main()
