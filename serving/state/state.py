"""What the service knows: history, alerts, and a dossier of each consignment; derived from the log alone.

Live and at a restart the same entries in the same order give the same state (`serving.state.rebuild`), so a restart changes nothing.
"""

from collections.abc import Sequence

from features.alerts import Alerts
from features.history.live import LiveHistory, VisibleOutcome
from features.history.table import History
from serving.event_log.event_codec import Keys, Row, Rows
from serving.event_log.events import (
    AlertEvent,
    ArrivalEvent,
    CancellationEvent,
    Event,
    KeyErasureEvent,
    OutcomeEvent,
    RedactionEvent,
    SelectionEvent,
)
from serving.state.consignment_states import (
    ConsignmentState,
    ConsignmentStates,
    FirstRecorded,
    rank_outcome,
)


class State:
    """History, alerts and dossiers, up to one entry of the log.

    Parameters
    ----------
    history : History
    dossiers : ConsignmentStates
        Of the same entries as `history`.

    Attributes
    ----------
    alerts : Alerts
        The pipeline reads them.
    alert_versions : dict
        Digest of the content, and when recorded, by the identifier of the alert.
    last_alert : int
        Sequence of the last alert taken.
    """

    def __init__(self, history: History, dossiers: ConsignmentStates) -> None:
        self.alerts = Alerts()
        self.alert_versions: dict[str, tuple[bytes, FirstRecorded]] = {}
        self.last_alert = 0
        self.history, self.dossiers = history, dossiers
        self._ledger = LiveHistory(history, dossiers, dossiers.days.last)
        self._entries = dossiers.keys.entries

    @property
    def sequence(self) -> int:
        """The last entry taken."""
        return self.dossiers.sequence

    @property
    def today(self) -> int:
        """The latest day of any event so far."""
        return self._ledger.today

    def get_consignment(self, consignment_id: str) -> ConsignmentState:
        """Give what is known of a consignment; an empty dossier where it is unknown.

        Raises
        ------
        ServiceFault
            Where the log would have to be read and cannot be.
        """
        return self.dossiers.get(consignment_id, self._ledger.today)

    def record_arrival(
        self, known: ConsignmentState, day: int, keys: Keys, counterparts: Keys, row: Row | None = None
    ) -> None:
        """Read history as it stands into the end of `row`, then count the consignment; `record_version` must follow.

        A consignment that is known already is an amendment: its earlier version is taken out first.

        Parameters
        ----------
        known : ConsignmentState
            From `get_consignment`.
        day : int
        keys, counterparts : uint64 array, (kinds,)
        row : float32 array, (columns,), optional

        Raises
        ------
        ServiceFault
            History is full; nothing was changed.
        """
        self._begin_event((known,), day)
        self._ledger.count_arrival(known, day, keys, counterparts, row)

    def record_arrivals(
        self, known: Sequence[ConsignmentState], day: int, keys: Keys, counterparts: Keys, X: Rows
    ) -> None:
        """Do what `record_arrival` does for different consignments that come one after the other on a day.

        Raises
        ------
        ServiceFault
            History is full; nothing was changed.
        """
        self._begin_event(known, day)
        self._ledger.count_arrivals(known, day, keys, counterparts, X)

    def _begin_event(self, known: Sequence[ConsignmentState], day: int) -> None:
        self._ledger.begin_event(day)
        today, sequence = self._ledger.today, self.dossiers.sequence + 1
        for each in known:
            each.forget(today)
            each.sequence = sequence

    def record_version(self, event: ArrivalEvent, known: ConsignmentState) -> None:
        """Take an arrival or a decision, already counted, as the latest version of its consignment."""
        self.dossiers.record_event(known, event, self._ledger.today)

    def apply(self, event: Event) -> None:
        """Take an outcome, an alert, a cancellation or a selection.

        Raises
        ------
        ServiceFault
            As for `record_arrival`; nothing was changed.
        """
        match event:
            case OutcomeEvent():
                (known_us, recorded_us, _), result = rank_outcome(self._entries.decode_outcome(event), event)
                outcome = VisibleOutcome(event.at_us, known_us, recorded_us, event.sequence, result)
                self._ledger.record_outcome(event.consignment_id, outcome)
                self._note(event)
            case CancellationEvent():
                self._ledger.cancel(event.consignment_id)
                self._note(event)
            case AlertEvent():
                self.record_alert(event)
                self.dossiers.advance(event.sequence, self.today)
            case RedactionEvent() | KeyErasureEvent():
                self.dossiers.advance(event.sequence, self.today)
            case _:
                self._note(event)

    def record_alert(self, event: AlertEvent) -> None:
        """Take an alert."""
        alert = self._entries.decode_alert(event)
        self.alerts.add(alert, event.sequence)
        self.alert_versions[alert.alert_id] = (event.content, FirstRecorded(event.recorded_us))
        self.last_alert = event.sequence

    def advance_to(self, sequence: int) -> None:
        """Go on from an entry to which history, index and days were brought in one go."""
        self.dossiers.sequence = sequence
        self._ledger.today = max(self._ledger.today, self.dossiers.days.last)

    def _note(self, event: ArrivalEvent | OutcomeEvent | CancellationEvent | SelectionEvent) -> None:
        self.dossiers.record_event(self.get_consignment(event.consignment_id), event, self.today)
