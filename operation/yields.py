"""Yield of alerts: the consignments that each one matched while it was valid, and what their inspections brought, in tables and in logs."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from consignments.errors import PromotionRefused, ServiceFault
from consignments.exchange.documents import AnyMessage
from consignments.records import Alert, Consignment, Target
from consignments.timestamps import to_us
from consignments.visibility import FINAL_RESULTS, list_positive_results
from features.alerts.alerts import Alerts
from features.indicators.operation_keys import OperationKeys
from features.normalization.normal_forms import normalize_consignment
from models.signatures.envelope import Envelope
from models.signatures.signed_message import decode_statement
from serving.event_log.event_codec import EventCodec
from serving.event_log.events import ArrivalEvent, Event, Kind, RecordEvent
from serving.event_log.reader import LogReader
from serving.state.consignment_states import rank_outcome


class InspectionResult(NamedTuple):
    """Result of an inspection so far: whether it is known, and whether the target and any offence was found."""

    final: bool
    positive: bool
    offence: bool

    @classmethod
    def from_result(cls, result: str | None, target: Target) -> "InspectionResult":
        """Build it from the result of an outcome with the status `inspected`."""
        return cls(
            result in FINAL_RESULTS,
            result in list_positive_results(target),
            result in list_positive_results("any_offence"),
        )


class YieldCounts(NamedTuple):
    """Counts of one alert: consignments that it matched, those of them with one of its indicators, and results of the matched."""

    matched: int
    seen: int
    last_seen_on: str | None
    inspected: int
    known: int
    positives: int
    offences: int


class MatchCounter:
    """A counter of the consignments that alerts match; `alerts` has the latest version of each."""

    def __init__(self, keys: OperationKeys | None = None) -> None:
        self._every = Alerts(keys=keys)
        self.alerts: dict[str, Alert] = {}
        self._matched: dict[str, set[str]] = {}
        self._seen: dict[str, dict[str, str]] = {}

    def add_alert(self, alert: Alert, sequence: int | None = None) -> None:
        """Add an alert or a new version; with its sequence number, earlier consignments keep their match with the earlier one."""
        self.alerts[alert.alert_id] = alert
        self._every.add(alert, sequence)

    def may_match(self, at_us: int) -> bool:
        """Check if an alert is in force at a time, in microseconds; if none is, the consignment need not be read."""
        return any(is_active(alert, at_us) for alert in self.alerts.values())

    def record(self, c: Consignment, sequence: int | None = None) -> None:
        """Record a consignment that was received, with its sequence number in the log."""
        for match in self._every.list_matches(c, normalize_consignment(c), sequence):
            alert_id = match.alert.alert_id
            self._matched.setdefault(alert_id, set()).add(c.consignment_id)
            if match.shared and c.received_at is not None:
                self._seen.setdefault(alert_id, {})[c.consignment_id] = f"{c.received_at:%Y-%m-%d}"

    def count(self, alert_id: str, results: Mapping[str, InspectionResult]) -> YieldCounts:
        """Count the matches of an alert, and the results of those that were presented to inspection, by identifier."""
        matched, seen = self._matched.get(alert_id, set()), self._seen.get(alert_id, {})
        mine = [results[name] for name in list(matched) if name in results]
        return YieldCounts(
            len(matched),
            len(seen),
            max(seen.values(), default=None),
            len(mine),
            sum(each.final for each in mine),
            sum(each.positive for each in mine),
            sum(each.offence for each in mine),
        )


def is_active(alert: Alert, at_us: int) -> bool:
    """Check if an alert is in force at a time, in microseconds since the epoch."""
    return to_us(alert.issued_at) <= at_us and (alert.expires_at is None or at_us < to_us(alert.expires_at))


EXCLUDED_FROM_YIELDS = ("features", "keys", "reasons")
READ_KINDS: tuple[Kind, ...] = ("decision", "arrival", "alert", "outcome", "message")


class RecordedMessage(NamedTuple):
    """A message of the log, with the time at which it was recorded, and the API key, or the officer who approved an own message."""

    message: AnyMessage
    recorded_us: int | None
    by: str


class LoggedYields:
    """A reader of the yields of alerts of a log since `begins_at`, and of its messages; `open_entries` returns a codec with a vault."""

    def __init__(
        self,
        url: str,
        open_entries: Callable[[], EventCodec],
        keys: OperationKeys,
        target: Target = "any_offence",
        begins_at: datetime | None = None,
    ) -> None:
        self._url, self._open_entries, self._sequence = url, open_entries, 0
        self._target, self._begins_us = target, None if begins_at is None else to_us(begins_at)
        self._counter = MatchCounter(keys)
        self.alerts: Mapping[str, Alert] = self._counter.alerts
        self._standing: dict[str, tuple[int, int, int]] = {}
        self._results: dict[str, InspectionResult] = {}
        self.messages: list[RecordedMessage] = []
        self.first_us: int | None = None
        self.last_us: int | None = None

    def read(self) -> "LoggedYields":
        """Read the entries that are new in the log, and return itself; `ServiceFault` if it cannot be read."""
        entries = self._open_entries()
        with LogReader.open_to_read(self._url) as log:
            for event in log.read_events(self._sequence, log.last_sequence, EXCLUDED_FROM_YIELDS, READ_KINDS):
                self._apply(event, entries)
                self._sequence = event.sequence
        return self

    def count(self, alert_id: str) -> YieldCounts:
        """Count the matches of an alert and their results."""
        return self._counter.count(alert_id, self._results)

    def _apply(self, event: Event, entries: EventCodec) -> None:
        if isinstance(event, ArrivalEvent):
            self._match(event, entries)
        elif event.kind == "alert":
            self._counter.add_alert(entries.alerts.decode(event), event.sequence)
        elif event.kind == "outcome":
            self._record_outcome(event, entries)
        elif event.kind == "message":
            self._record_message(event, entries)

    def _match(self, event: ArrivalEvent, entries: EventCodec) -> None:
        """Compare a consignment with the alerts that were in force when it was received."""
        if self._begins_us is not None and event.at_us < self._begins_us:
            return
        self.first_us = event.at_us if self.first_us is None else min(self.first_us, event.at_us)
        self.last_us = max(self.last_us or event.at_us, event.at_us)
        if event.redacted or not self._counter.may_match(event.at_us):
            return
        c = entries.find_consignment(event)
        if c is not None:
            self._counter.record(c, event.sequence)

    def _record_outcome(self, event: RecordEvent, entries: EventCodec) -> None:
        """Record the result, unless a later one is known."""
        outcome, name = entries.outcomes.decode(event), event.consignment_id
        rank, _ = rank_outcome(outcome, event)
        if name in self._standing and rank < self._standing[name]:
            return
        self._standing[name] = rank
        if outcome.status == "inspected":
            self._results[name] = InspectionResult.from_result(outcome.result, self._target)
        else:
            self._results.pop(name, None)

    def _record_message(self, event: Event, entries: EventCodec) -> None:
        try:
            envelope = Envelope.read(entries.messages.decode(event).envelope)
            message = decode_statement(envelope.payload)
        except (ServiceFault, PromotionRefused, msgspec.DecodeError):  # it is of a later version
            return
        self.messages.append(RecordedMessage(message, event.recorded_us, event.asked_by))
