"""Alerts and messages of partners with their yield, as a page shows them."""

from typing import Any, NamedTuple

from consignments.exchange.alerts import build_alert_id
from consignments.exchange.documents import AnyMessage, Feedback, Report, Seizure, Warning, get_kind
from consignments.records import Alert
from consignments.timestamps import to_us
from operation.desk.messages import PageRequest, Viewer
from operation.desk.views.sources import PageSources
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
    counts: YieldCounts | None
    reported: list[Feedback]


def view_alerts(sources: PageSources, request: PageRequest, viewer: Viewer) -> dict[str, Any] | None:
    """Return the values of the page of alerts; None while they are read."""
    yields = sources.yields.get()
    if yields is None:
        return None
    personal = bool(request.facts.get("personal")) and viewer.may("personal")
    rows = [_build_row(alert, yields, request.now_us, personal=personal) for alert in yields.alerts.values()]
    rows.sort(key=lambda row: (not row.active, -to_us(row.alert.issued_at), row.alert.alert_id))
    feedback = [each.message for each in yields.messages if isinstance(each.message, Feedback)]
    shown = reversed(yields.messages[-MAX_MESSAGES:])
    return {
        "rows": rows,
        "messages": [_build_message_row(each, yields, feedback) for each in shown],
        "key_fault": sources.key_fault,
        "personal": personal,
    }


def _build_row(alert: Alert, yields: LoggedYields, now_us: int, *, personal: bool) -> AlertRow:
    patterns = [
        (name, value if personal or name not in PERSONAL_PATTERNS else None)
        for name in PATTERNS
        if (value := getattr(alert, name))
    ]
    counts = yields.count(alert.alert_id)
    return AlertRow(alert, patterns, len(alert.indicators or ()), is_active(alert, now_us), counts)


def _build_message_row(
    recorded: RecordedMessage, yields: LoggedYields, feedback: list[Feedback]
) -> MessageRow:
    message, counts = recorded.message, None
    if isinstance(message, Warning | Seizure):
        alert_id = build_alert_id(message.author, message.message_id, message.revision)
        counts = yields.count(alert_id) if alert_id in yields.alerts else None
    about = (message.author, message.message_id)
    reported = [each for each in feedback if (each.about_author, each.about) == about]
    text = _describe(message)
    return MessageRow(message, get_kind(message), recorded.recorded_us, recorded.by, text, counts, reported)


def _describe(message: AnyMessage) -> str | None:
    """Return what a message says in words, or the message that it is about."""
    if isinstance(message, Warning):
        return message.text
    if isinstance(message, Seizure):
        return message.substance or message.substance_family
    author = message.about_author if isinstance(message, Report) else message.author
    return f"{author}/{message.about}"
