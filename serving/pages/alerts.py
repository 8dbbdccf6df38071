"""Alerts of partners with their yield: how many consignments they matched, how many were inspected, and what was found."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from consignments.errors import ServiceFault
from consignments.records import Alert
from consignments.timestamps import to_us
from features.alerts import Alerts
from features.described_rows import normalize_consignment
from serving.event_log.event_codec import EventCodec
from serving.event_log.events import AlertEvent, ArrivalEvent, Event, Kind, OutcomeEvent
from serving.event_log.reader import LogReader

PATTERNS = (
    "description_pattern", "hs_code", "departure_country", "route", "sender_name", "sender_address", "consignee_name",
    "consignee_address",
)  # fmt: skip
PERSONAL_PATTERNS = frozenset(("sender_name", "sender_address", "consignee_name", "consignee_address"))
DETECTIONS = frozenset(("nps", "controlled_drug", "other_offence"))
EXCLUDED_COLUMNS = ("features", "keys", "reasons")
READ_KINDS: tuple[Kind, ...] = ("decision", "arrival", "alert", "outcome")


class AlertRow(NamedTuple):
    """An alert with its patterns and its yield.

    Attributes
    ----------
    alert : Alert
    patterns : list of (str, str or None)
        Name and value; the value is None if it is personal and not shown.
    active : bool
        Whether it is in force now.
    matched, inspected, found : int
        Consignments that it matched when they were received, and of these the inspected ones and the detections.
    """

    alert: Alert
    patterns: list[tuple[str, str | None]]
    active: bool
    matched: int
    inspected: int
    found: int


class AlertYields:
    """A counter of the matches of alerts; it reads each log entry once.

    Parameters
    ----------
    url : str
        Database URL of the log.
    open_entries : callable
        Returns the event codec, with a vault, because alerts may name parties.
    """

    def __init__(self, url: str, open_entries: Callable[[], EventCodec]) -> None:
        self._url, self._open_entries, self._sequence = url, open_entries, 0
        self._alerts: dict[str, Alert] = {}
        self._single: dict[str, Alerts] = {}
        self._matched: dict[str, set[str]] = {}
        self._results: dict[str, str] = {}

    def read(self) -> "AlertYields":
        """Read the entries that are new in the log, and return itself.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        entries = self._open_entries()
        with LogReader.open_to_read(self._url) as log:
            for event in log.read_events(self._sequence, log.last_sequence, EXCLUDED_COLUMNS, READ_KINDS):
                if isinstance(event, AlertEvent):
                    self._add_alert(entries.decode_alert(event), event.sequence)
                elif isinstance(event, ArrivalEvent):
                    self._match(event, entries)
                else:
                    self._record_result(event, entries)
                self._sequence = event.sequence
        return self

    def list_rows(self, now_us: int, *, personal: bool) -> list[AlertRow]:
        """List the alerts with their yields, those in force first, then the latest first."""
        rows = [self._build_row(alert, now_us, personal=personal) for alert in list(self._alerts.values())]
        return sorted(rows, key=lambda row: (not row.active, -to_us(row.alert.issued_at), row.alert.alert_id))

    def _add_alert(self, alert: Alert, sequence: int) -> None:
        self._alerts[alert.alert_id] = alert
        self._single.setdefault(alert.alert_id, Alerts()).add(alert, sequence)

    def _match(self, event: ArrivalEvent, entries: EventCodec) -> None:
        """Compare a consignment with the alerts that were in force when it was received."""
        if event.redacted or not self._may_match(event):
            return
        try:
            c = entries.decode_consignment(event)
        except ServiceFault:  # its key was erased
            return
        forms = normalize_consignment(c)
        for name, alerts in self._single.items():
            if alerts.compute(c, forms, event.sequence)[0]:
                self._matched.setdefault(name, set()).add(event.consignment_id)

    def _may_match(self, event: ArrivalEvent) -> bool:
        return any(
            to_us(alert.issued_at) <= event.at_us
            and (alert.expires_at is None or event.at_us < to_us(alert.expires_at))
            for alert in self._alerts.values()
        )

    def _record_result(self, event: Event, entries: EventCodec) -> None:
        if isinstance(event, OutcomeEvent):
            outcome = entries.decode_outcome(event)
            if outcome.status == "inspected":
                self._results[event.consignment_id] = outcome.result or "pending"

    def _build_row(self, alert: Alert, now_us: int, *, personal: bool) -> AlertRow:
        matched = self._matched.get(alert.alert_id, set()).copy()  # a thread may add to it
        results = Counter(self._results[name] for name in matched if name in self._results)
        patterns = [
            (name, value if personal or name not in PERSONAL_PATTERNS else None)
            for name in PATTERNS
            if (value := getattr(alert, name))
        ]
        active = to_us(alert.issued_at) <= now_us and (
            alert.expires_at is None or now_us < to_us(alert.expires_at)
        )
        found = sum(results[result] for result in DETECTIONS)
        return AlertRow(alert, patterns, active, len(matched), sum(results.values()), found)
