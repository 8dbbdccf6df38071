"""Second scores: consignments that were scored earlier, as the model in use would score them now.

Each is scored as if it arrived now instead of when it did, with the alerts, results and arrivals that the log has now. This needs a
state of its own, from the newest snapshot and the log after it: the state of the service does not change, and is not read.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from consignments.records import Consignment
from consignments.timestamps import convert_us_to_day, to_us
from serving.deployment.releases import find_release_folder
from serving.encryption.vault import Vault
from serving.event_log.reader import LogReader
from serving.process.settings import Settings
from serving.scoring.loaded_model import LoadedModel, load_published
from serving.state.history_keys import KeyReader
from serving.state.snapshots import Snapshots, rebuild_state
from serving.state.state import State


class SecondScorer:
    """A scorer of earlier consignments with what is known now."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder: Path | None = None
        self._model: LoadedModel | None = None

    def score(
        self, log: LogReader, vault: Vault, consignments: Sequence[Consignment], now: datetime
    ) -> list[float]:
        """Score consignments of a log; for 100,000 arrivals since the last snapshot this takes some seconds."""
        folder = find_release_folder(self._settings.state_dir)
        if self._model is None or folder != self._folder:
            self._model, self._folder = load_published(folder, self._settings, vault), folder
        model = self._model
        snapshots, limit = Snapshots(self._settings.snapshots_dir), self._settings.max_history_keys
        state = rebuild_state(log, KeyReader(model.pipeline, model.entries), snapshots, max_keys=limit)
        model.pipeline.alerts = state.alerts
        return [score_again(model, state, c, now) for c in consignments]


def score_again(model: LoadedModel, state: State, c: Consignment, now: datetime) -> float:
    """Score a consignment as if it arrived now instead of when it did; nothing else may use the state."""
    c = msgspec.convert(msgspec.structs.asdict(c) | {"received_at": now}, model.record, from_attributes=True)
    row, keys, counterparts = model.describe(c, state.sequence + 1)
    known = state.get_consignment(c.consignment_id)
    state.read_instead(known, convert_us_to_day(to_us(now)), keys, counterparts, row)
    return model.score_row(row, c.channel)
