"""Alerts from messages: what a warning, a seizure or a withdrawal changes in the alerts of its receiver.

A warning received on Monday counts from Monday on, also if it was issued on Saturday. A withdrawal received on Friday ends it on
Friday: consignments from Monday to Friday keep their match. So does a higher revision, which is a further alert.
"""

from collections.abc import Callable, Container, Iterator
from datetime import datetime, timedelta

from msgspec import structs

from consignments.exchange.documents import MAX_REVISION, AnyMessage, Seizure, Warning, Withdrawal
from consignments.records import Alert

FindAlert = Callable[[str], Alert | None]
"""Returns the latest version of an alert by its identifier."""
_INSTANT = timedelta(microseconds=1)


def name_message(author: str, message_id: str) -> str:
    """Return the identifier of a message among those of all partners."""
    return f"{author}/{message_id}"


def build_alert_id(author: str, message_id: str, revision: int = 1) -> str:
    """Build the identifier of the alert of a message."""
    return name_message(author, message_id) + (f"#{revision}" if revision > 1 else "")


def split_alert_id(alert_id: str) -> tuple[str, str] | None:
    """Return author and identifier of the message of an alert; None if it did not come as a message."""
    author, slash, rest = alert_id.partition("/")
    return (author, rest.partition("#")[0]) if slash else None


def list_alert_changes(
    message: AnyMessage,
    received_at: datetime,
    find: FindAlert,
    *,
    withdrawn: Container[str],
    administration: str | None,
) -> list[Alert]:
    """List the alerts that a message adds or ends, each as its new version.

    A message that was received before, that is withdrawn or that is the receiver's own changes nothing.
    """
    if message.author == administration:
        return []
    if isinstance(message, Withdrawal):
        return list(_end_revisions(message.author, message.about, MAX_REVISION + 1, received_at, find))
    if not isinstance(message, Warning | Seizure):
        return []
    if name_message(message.author, message.message_id) in withdrawn:
        return []
    same_or_newer = range(message.revision, MAX_REVISION + 1)
    if any(find(build_alert_id(message.author, message.message_id, each)) for each in same_or_newer):
        return []
    alert = build_alert(message, received_at)
    ended = _end_revisions(message.author, message.message_id, message.revision, received_at, find)
    return [*ended, *([] if alert is None else [alert])]


def build_alert(message: Warning | Seizure, received_at: datetime) -> Alert | None:
    """Build the alert of a warning or a seizure. A seizure matches by its indicators alone, and without them not at all."""
    begins = max(message.issued_at, received_at)
    if message.expires_at <= begins or (isinstance(message, Seizure) and not message.indicators):
        return None
    alert = Alert(
        alert_id=build_alert_id(message.author, message.message_id, message.revision),
        issued_at=begins,
        expires_at=message.expires_at,
        operation=message.operation,
        substance_family=message.substance_family,
        author=message.author,
        indicators=message.indicators or None,
    )
    if isinstance(message, Seizure):
        what = message.substance or message.substance_family or "a substance"
        text = f"seizure of {what} by {message.author}"
        return structs.replace(alert, occurred_at=message.occurred_at, text=text)
    return structs.replace(
        alert,
        text=message.text,
        description_pattern=message.cover,
        hs_code=message.hs_code,
        departure_country=message.departure_country,
        route=message.route,
    )


def _end_revisions(
    author: str, message_id: str, below: int, received_at: datetime, find: FindAlert
) -> Iterator[Alert]:
    for revision in range(1, below):
        alert = find(build_alert_id(author, message_id, revision))
        if alert is not None and (alert.expires_at is None or alert.expires_at > received_at):
            yield structs.replace(alert, expires_at=max(received_at, alert.issued_at + _INSTANT))
