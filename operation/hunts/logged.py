"""Hunt in the log of a service, as of now."""

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec

from consignments.errors import NpsriskError
from consignments.records import Consignment
from consignments.timestamps import US_PER_DAY, convert_us_to_day, to_datetime, to_us
from operation.day_list import DayList
from operation.hunts.hunt import (
    RELEASED,
    Found,
    Hunt,
    HuntLimits,
    HuntRow,
    HuntTarget,
    build_consignment_target,
    hunt,
)
from serving.deployment.releases import find_release_folder
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec, find_counting_version
from serving.event_log.events import DecisionEvent
from serving.event_log.reader import LogReader
from serving.process.settings import Settings
from serving.scoring.loaded_model import LoadedModel, load_published
from serving.state.links import StateLimits
from serving.state.snapshots import Snapshots, rebuild_state
from serving.state.state import State

EXCLUDED_FROM_HUNTS = ("features", "reasons")
MAX_RESCORED = 2_000
"""Maximum number of consignments in hand that are scored again, the highest scores first."""


class LogHunter:
    """A hunter in the log of a service, one hunt at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._turn = settings, threading.Lock()
        self._folder: Path | None = None
        self._model: LoadedModel | None = None

    def hunt(self, name: str, entries: EventCodec, now_us: int, *, alert: bool) -> Hunt | None:
        """Find what shares something with a consignment, or with an alert; None if there is no such target, or its content was deleted."""
        limits = HuntLimits(to_datetime(now_us))
        with self._turn, LogReader.open_to_read(self._settings.database_url) as log:
            target = find_target(log, entries, name, limits, alert=alert)
            if target is None:
                return None
            arrivals = _read_arrivals(log, entries, target.name, limits)
            return hunt(target, limits, arrivals, partial(self._rescore, log, entries, limits))

    def _rescore(
        self, log: LogReader, entries: EventCodec, limits: HuntLimits, found: list[Found]
    ) -> tuple[list[HuntRow], str]:
        """Score all hits again, and the highest of what is in hand."""
        ordered = sorted(found, key=lambda each: (not each[0].shared, -(each[0].score_then or 0.0)))
        chosen = ordered[: sum(bool(row.shared) for row, _ in ordered) + MAX_RESCORED]
        rows = [row for row, _ in ordered]
        try:
            assert entries.vault is not None
            scores = self.score_again(log, entries.vault, [c for _, c in chosen], limits.as_of)
        except NpsriskError as fault:
            return rows, fault.what
        scored = [row._replace(score_now=score) for row, score in zip(rows, scores, strict=False)]
        return [*scored, *rows[len(scored) :]], ""

    def score_again(
        self, log: LogReader, vault: Vault, consignments: Sequence[Consignment], now: datetime
    ) -> list[float]:
        """Score earlier consignments of a log with what is known now; for 100,000 arrivals since the last snapshot this takes some seconds."""
        folder = find_release_folder(self._settings.state_dir)
        if self._model is None or folder != self._folder:
            self._model, self._folder = load_published(folder, self._settings, vault), folder
        model = self._model
        snapshots, limit = Snapshots(self._settings.snapshots_dir), self._settings.max_history_keys
        state = rebuild_state(log, model.keys, snapshots, StateLimits(limit))
        model.pipeline.alerts = state.alerts
        return [score_again(model, state, c, now) for c in consignments]


def find_target(
    log: LogReader, entries: EventCodec, name: str, limits: HuntLimits, *, alert: bool
) -> HuntTarget | None:
    """Find a consignment, or the latest version of an alert, as a target; None if there is none, or its content was deleted."""
    if not alert:
        latest = find_counting_version(log.read_consignment_events(name))
        c = None if latest is None else entries.find_consignment(latest)
        return None if c is None else build_consignment_target(c, limits.as_of)
    alerts = map(entries.alerts.decode, log.read_events(until=log.last_sequence, kinds=("alert",)))
    found = [each for each in alerts if each.alert_id == name]
    return HuntTarget(name, "", found[-1], None) if found else None


def _read_arrivals(log: LogReader, entries: EventCodec, target: str, limits: HuntLimits) -> Iterator[Found]:
    """Read the scored consignments of the last days that were not cancelled, a day at a time."""
    plain = EventCodec(None, Consignment, ())
    begins_us, now_us = to_us(limits.begins), to_us(limits.as_of)
    for day in range(convert_us_to_day(begins_us), convert_us_to_day(now_us) + 1):
        start = day * US_PER_DAY
        events = log.read_scored(start, start + US_PER_DAY, log.last_sequence, EXCLUDED_FROM_HUNTS)
        rows = DayList(day, plain)
        rows.apply(events)
        versions = {event.sequence: event for event in events if isinstance(event, DecisionEvent)}
        for row in rows.rows.values():
            version = versions[row.sequence]
            if row.cancelled or row.name == target or not begins_us <= version.at_us <= now_us:
                continue
            c = entries.find_consignment(version)
            if c is not None:
                received_at = to_datetime(version.at_us)
                released = RELEASED if row.action == RELEASED else None
                state = limits.find_state(row.result or released, received_at)
                yield HuntRow(row.name, row.spelling, row.office, received_at, state, score_then=row.score), c


def score_again(model: LoadedModel, state: State, c: Consignment, now: datetime) -> float:
    """Score a consignment as if it arrived now instead of when it did; nothing else may use the state."""
    c = msgspec.convert(msgspec.structs.asdict(c) | {"received_at": now}, model.record, from_attributes=True)
    row, keys, counterparts = model.describe(c, state.sequence + 1)
    known = state.get_consignment(c.consignment_id)
    state.read_instead(known, convert_us_to_day(to_us(now)), keys, counterparts, row)
    return model.score_row(row, c.channel)
