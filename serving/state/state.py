"""State of the service: history, alerts and the state of each consignment, derived from the log alone.

The same entries in the same order give the same state, live and at a restart (`serving.state.rebuild`).
"""

from collections.abc import Sequence

from features.alerts.alerts import Alerts
from features.history.live import LiveHistory, VisibleOutcome
from features.history.table import History
from serving.event_log.event_codec import Keys, Row, Rows
from serving.event_log.events import ArrivalEvent, Event, RecordEvent, SharedEvent
from serving.state.consignment_states import (
    ConsignmentState,
    ConsignmentStates,
    FirstRecorded,
    apply_event,
    rank_outcome,
)
from serving.state.links import Links


class State:
    """The state of the service up to one log entry; alerts and messages are known by name and digest."""

    def __init__(self, history: History, dossiers: ConsignmentStates, links: Links | None = None) -> None:
        self.links = links if links is not None else Links()
        self.alerts = Alerts()
        self.alert_versions: dict[str, tuple[bytes, FirstRecorded]] = {}
        self.last_alert = 0
        self.messages: dict[str, tuple[bytes, FirstRecorded]] = {}
        self.withdrawn_messages: set[str] = set()
        self.last_message = 0
        self.history, self.dossiers = history, dossiers
        self._ledger = LiveHistory(history, dossiers, dossiers.days.last)
        self._entries = dossiers.keys.entries

    @property
    def sequence(self) -> int:
        """Return the sequence number of the last entry applied."""
        return self.dossiers.sequence

    @property
    def today(self) -> int:
        """Return the latest day of any event so far."""
        return self._ledger.today

    def get_consignment(self, consignment_id: str) -> ConsignmentState:
        """Return the state of a consignment; an empty state if it is unknown."""
        return self.dossiers.get(consignment_id, self._ledger.today)

    def record_arrivals(
        self,
        known: Sequence[ConsignmentState],
        day: int,
        keys: Keys,
        counterparts: Keys,
        X: Rows | None = None,
        issued_us: Sequence[int] = (),
    ) -> None:
        """Record different consignments of one day, with the history of each in its row of `X`; `record_versions` must follow."""
        self._ledger.begin_event(day)
        today, sequence = self._ledger.today, self.dossiers.sequence + 1
        for each in known:
            each.forget(today)
            each.sequence = sequence
        self._ledger.record_arrivals(known, day, keys, counterparts, X, issued_us)

    def read_arrival(self, day: int, keys: Keys, counterparts: Keys, row: Row) -> None:
        """Write the history features of a consignment that arrives on a day to the end of `row`, and change nothing."""
        self._ledger.read_arrival(day, keys, counterparts, row)

    def read_instead(
        self, known: ConsignmentState, day: int, keys: Keys, counterparts: Keys, row: Row
    ) -> None:
        """Write the history features of a known consignment as if it arrived on a day instead of when it did; for states of their own."""
        self._ledger.begin_event(day)
        self._ledger.read_instead(known, day, keys, counterparts, row)

    def record_versions(self, events: Sequence[ArrivalEvent], known: Sequence[ConsignmentState]) -> None:
        """Record arrivals, already counted, whose entries follow each other, as the latest versions of different consignments."""
        for event, each in zip(events, known, strict=True):
            each.set_version(event)
        self.dossiers.record_applied(known, events[0].sequence, self._ledger.today)

    def apply(self, event: Event) -> None:
        """Apply an entry that is not an arrival; if `ServiceFault` is raised, nothing is changed."""
        if isinstance(event, RecordEvent):
            if event.kind == "outcome":
                (known_us, recorded_us, _), result = rank_outcome(self._entries.outcomes.decode(event), event)
                outcome = VisibleOutcome(event.at_us, known_us, recorded_us, event.sequence, result)
                self._ledger.record_outcome(event.consignment_id, outcome)
            elif event.kind == "cancellation":
                self._ledger.cancel(event.consignment_id)
            known = self.get_consignment(event.consignment_id)
            apply_event(known, event)
            self.dossiers.record_applied([known], event.sequence, self.today)
            return
        if isinstance(event, SharedEvent):
            self.record_shared(event)
        self.dossiers.advance(event.sequence, self.today)

    def record_shared(self, event: SharedEvent) -> None:
        """Apply an alert, a message (the alerts that it changed are entries of their own) or a link."""
        recorded = event.content, FirstRecorded(event.recorded_us)
        if event.kind == "alert":
            alert = self._entries.alerts.decode(event)
            self.alerts.add(alert, event.sequence)
            self.alert_versions[alert.alert_id] = recorded
            self.last_alert = event.sequence
        elif event.kind == "message":
            message = self._entries.messages.decode(event)
            self.messages[message.name] = recorded
            if message.withdrawn_name is not None:
                self.withdrawn_messages.add(message.withdrawn_name)
            self.last_message = event.sequence
        else:
            self.links.apply(event, self._entries.decode_link(event))

    def advance_to(self, sequence: int) -> None:
        """Set the last entry applied, after history, index and days were updated together."""
        self.dossiers.sequence = sequence
        self._ledger.today = max(self._ledger.today, self.dossiers.days.last)
