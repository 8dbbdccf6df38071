"""What the service knows: history, alerts, and a dossier of each consignment; derived from the log alone.

Live and at a restart the same entries in the same order give the same state (`serving.state.rebuild`), so a restart changes nothing.
"""

from collections.abc import Sequence

from features.alerts import Alerts
from features.history.live import Ledger
from features.history.table import History
from serving.event_log.event_codec import Keys, Row, Rows
from serving.event_log.events import Event
from serving.state.consignment_states import Dossier, Dossiers, Told, hear, standing_of


class State:
    """History, alerts and dossiers, up to one entry of the log.

    Parameters
    ----------
    history : History
    dossiers : Dossiers
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

    def __init__(self, history: History, dossiers: Dossiers) -> None:
        self.alerts = Alerts()
        self.alert_versions: dict[str, tuple[bytes, Told]] = {}
        self.last_alert = 0
        self.history, self.dossiers = history, dossiers
        self._ledger = Ledger(history, dossiers, dossiers.days.last)
        self._entries = dossiers.keys.entries

    @property
    def sequence(self) -> int:
        """The last entry taken."""
        return self.dossiers.sequence

    @property
    def today(self) -> int:
        """The latest day of any event so far."""
        return self._ledger.today

    def of(self, consignment_id: str) -> Dossier:
        """Give what is known of a consignment; an empty dossier where it is unknown.

        Raises
        ------
        ServiceFault
            Where the log would have to be read and cannot be.
        """
        return self.dossiers.file(consignment_id, self.today)

    def arrive(
        self,
        consignment_id: str,
        day: int,
        keys: Keys,
        counterparts: Keys,
        row: Row | None = None,
        at: int = 0,
    ) -> None:
        """Read history as it stands into `row` from column `at` on, then count the consignment; `settle` must follow.

        A consignment that is known already is an amendment: its earlier version is taken out first.

        Raises
        ------
        ServiceFault
            History is full, or the log would have to be read and cannot be; nothing was changed.
        """
        self._ledger.arrive(consignment_id, day, keys, counterparts, row, at)
        self.of(consignment_id).sequence = self.sequence + 1

    def arrive_all(
        self, consignment_ids: Sequence[str], day: int, keys: Keys, counterparts: Keys, X: Rows, at: int
    ) -> None:
        """Do what `arrive` does for consignments that come one after the other, see `features.history.live.Ledger.arrive_all`.

        Raises
        ------
        ServiceFault
            The log would have to be read and cannot be; nothing was changed.
        """
        today = max(day, self.today)
        for consignment_id in consignment_ids:
            # All are looked up before the first is counted; from here on they stay in memory.
            self.dossiers.file(consignment_id, today).sequence = self.sequence + 1
        self._ledger.arrive_all(consignment_ids, day, keys, counterparts, X, at)

    def settle(self, event: Event) -> None:
        """Take an arrival or a decision, already counted, as the latest version of its consignment."""
        self._note(event)

    def apply(self, event: Event) -> None:
        """Take an outcome, an alert, a cancellation or a selection.

        Raises
        ------
        ServiceFault
            As for `arrive`; nothing was changed.
        """
        if event.kind in ("alert", "removal", "erasure"):
            if event.kind == "alert":
                self.warn(event)
            self.dossiers.move_on(event.sequence, self.today)
            return
        assert event.consignment_id is not None
        if event.kind == "outcome":
            (known_us, recorded_us, _), result = standing_of(self._entries.outcome_of(event), event)
            self._ledger.conclude(
                event.consignment_id, event.at_us, known_us, recorded_us, event.sequence, result
            )
        elif event.kind == "cancellation":
            self._ledger.cancel(event.consignment_id)
        self._note(event)

    def warn(self, event: Event) -> None:
        """Take an alert."""
        alert = self._entries.alert_of(event)
        self.alerts.add(alert, event.sequence)
        self.alert_versions[alert.alert_id] = (event.content, Told(event.recorded_us))
        self.last_alert = event.sequence

    def follow(self, sequence: int) -> None:
        """Go on from an entry to which history, index and days were brought in one go."""
        self.dossiers.sequence = sequence
        self._ledger.today = max(self._ledger.today, self.dossiers.days.last)

    def _note(self, event: Event) -> None:
        assert event.consignment_id is not None
        dossier = self.of(event.consignment_id)
        hear(dossier, event)
        self.dossiers.note(dossier, event.sequence, self.today)
