"""Alerts and messages of partners with their yield, as a page shows them."""

from typing import NamedTuple

from consignments.exchange.alerts import build_alert_id
from consignments.exchange.documents import AnyMessage, Feedback, Report, Seizure, Warning, get_kind
from consignments.records import Alert
from consignments.timestamps import to_us
from operation.logged_yields import LoggedYields, RecordedMessage
from operation.yields import YieldCounts, is_active

PATTERNS = (
    "description_pattern", "hs_code", "departure_country", "route", "sender_name", "sender_address", "consignee_name",
    "consignee_address",
)  # fmt: skip
PERSONAL_PATTERNS = frozenset(("sender_name", "sender_address", "consignee_name", "consignee_address"))
MAX_MESSAGES = 200
"""Maximum number of messages that a page shows, the latest ones."""


class AlertRow(NamedTuple):
    """An alert with its patterns and its yield."""

    alert: Alert
    patterns: list[tuple[str, str | None]]
    indicators: int
    active: bool
    counts: YieldCounts


class MessageRow(NamedTuple):
    """A message of a partner, or an own one, with what it brought."""

    message: AnyMessage
    kind: str
    recorded_us: int | None
    by: str
    text: str | None
    alert_id: str | None
    counts: YieldCounts | None
    reported: list[Feedback]


def list_alert_rows(yields: LoggedYields, now_us: int, *, personal: bool) -> list[AlertRow]:
    """List the alerts with their yields, those in force first, then the latest first."""
    rows = [_build_row(alert, yields, now_us, personal=personal) for alert in yields.list_alerts()]
    return sorted(rows, key=lambda row: (not row.active, -to_us(row.alert.issued_at), row.alert.alert_id))


def list_message_rows(yields: LoggedYields) -> list[MessageRow]:
    """List the messages of the log with their yields, the latest first."""
    messages = list(yields.messages)
    alerts = {alert.alert_id for alert in yields.list_alerts()}
    reported: dict[tuple[str, str], list[Feedback]] = {}
    for each in messages:
        if isinstance(each.message, Feedback):
            reported.setdefault((each.message.about_author, each.message.about), []).append(each.message)
    return [_build_message_row(each, yields, alerts, reported) for each in reversed(messages[-MAX_MESSAGES:])]


def _build_row(alert: Alert, yields: LoggedYields, now_us: int, *, personal: bool) -> AlertRow:
    patterns = [
        (name, value if personal or name not in PERSONAL_PATTERNS else None)
        for name in PATTERNS
        if (value := getattr(alert, name))
    ]
    counts = yields.count(alert.alert_id)
    return AlertRow(alert, patterns, len(alert.indicators or ()), is_active(alert, now_us), counts)


def _build_message_row(
    recorded: RecordedMessage,
    yields: LoggedYields,
    alerts: set[str],
    reported: dict[tuple[str, str], list[Feedback]],
) -> MessageRow:
    message = recorded.message
    alert_id = None
    if isinstance(message, Warning | Seizure):
        named = build_alert_id(message.author, message.message_id, message.revision)
        alert_id = named if named in alerts else None
    return MessageRow(
        message,
        get_kind(message),
        recorded.recorded_us,
        recorded.by,
        _describe(message),
        alert_id,
        None if alert_id is None else yields.count(alert_id),
        reported.get((message.author, message.message_id), []),
    )


def _describe(message: AnyMessage) -> str | None:
    """Return what a message says in words, or the message that it is about."""
    if isinstance(message, Warning):
        return message.text
    if isinstance(message, Seizure):
        return message.substance or message.substance_family
    if isinstance(message, Report):
        return f"{message.about_author}/{message.about}"
    return f"{message.author}/{message.about}"
