"""Alerts and messages of partners with their yield, as a page shows them."""

from typing import Any

from consignments.exchange.alerts import build_alert_id
from consignments.exchange.documents import AnyMessage, Feedback, Report, Seizure, Warning, get_kind
from consignments.records import Alert
from consignments.timestamps import to_us
from operation.desk.messages import PageRequest, Viewer
from operation.desk.views.sources import PageSources
from operation.yields import LoggedYields, RecordedMessage, is_active

PATTERNS = (
    "description_pattern", "hs_code", "departure_country", "route", "sender_name", "sender_address", "consignee_name",
    "consignee_address",
)  # fmt: skip
PERSONAL_PATTERNS = frozenset(("sender_name", "sender_address", "consignee_name", "consignee_address"))
MAX_MESSAGES = 200  # maximum number of messages that a page shows, the latest ones


def view_alerts(sources: PageSources, request: PageRequest, viewer: Viewer) -> dict[str, Any] | None:
    """Return the values of the page of alerts; None while they are read."""
    yields = sources.yields.get()
    if yields is None:
        return None
    personal = bool(request.facts.get("personal")) and viewer.may("personal")
    # A thread may add alerts meanwhile.
    alerts = [(is_active(alert, request.now_us), alert) for alert in list(yields.alerts.values())]
    alerts.sort(key=lambda each: (not each[0], -to_us(each[1].issued_at), each[1].alert_id))
    feedback = [each.message for each in yields.messages if isinstance(each.message, Feedback)]
    return {
        "rows": [
            {
                "alert": alert,
                "patterns": _list_patterns(alert, personal=personal),
                "indicators": len(alert.indicators or ()),
                "active": active,
                "counts": yields.count(alert.alert_id),
            }
            for active, alert in alerts
        ],
        "messages": [
            _describe_message(each, yields, feedback) for each in reversed(yields.messages[-MAX_MESSAGES:])
        ],
        "key_fault": sources.key_fault,
        "personal": personal,
    }


def _list_patterns(alert: Alert, *, personal: bool) -> list[tuple[str, str | None]]:
    """List the patterns of an alert; None in place of one that names a party, unless it may be shown."""
    given = [(name, getattr(alert, name)) for name in PATTERNS]
    return [
        (name, value if personal or name not in PERSONAL_PATTERNS else None) for name, value in given if value
    ]


def _describe_message(
    recorded: RecordedMessage, yields: LoggedYields, feedback: list[Feedback]
) -> dict[str, Any]:
    """Return a message of a partner, or an own one, with what it brought."""
    message, counts = recorded.message, None
    if isinstance(message, Warning | Seizure):
        alert_id = build_alert_id(message.author, message.message_id, message.revision)
        counts = yields.count(alert_id) if alert_id in yields.alerts else None
    about = (message.author, message.message_id)
    return {
        **recorded._asdict(),
        "kind": get_kind(message),
        "text": _describe(message),
        "counts": counts,
        "reported": [each for each in feedback if (each.about_author, each.about) == about],
    }


def _describe(message: AnyMessage) -> str | None:
    """Return what a message says in words, or the message that it is about."""
    if isinstance(message, Warning):
        return message.text
    if isinstance(message, Seizure):
        return message.substance or message.substance_family
    author = message.about_author if isinstance(message, Report) else message.author
    return f"{author}/{message.about}"
