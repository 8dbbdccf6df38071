"""Checks of exchanged documents beyond their types. Messages come from outside and are not trusted."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from consignments.errors import MessageFault
from consignments.exchange.documents import AnyMessage, Feedback, Report, Seizure, Warning, get_kind

MAX_VALIDITY = timedelta(days=400)
CLOCK_TOLERANCE = timedelta(minutes=5)
"""Tolerance for clocks of partners that are ahead."""


def check_message(message: AnyMessage, now: datetime) -> None:
    """Check a document at the time of its receipt."""
    found = next(_find_faults(message, now), None)
    if found is not None:
        field, reason = found
        raise MessageFault(
            reason,
            where=f"{get_kind(message)} {message.message_id} of {message.author}, {field}",
            todo="ask its author to correct and sign it again",
        )


def _find_faults(message: AnyMessage, now: datetime) -> Iterator[tuple[str, str]]:
    for field, value in msgspec.structs.asdict(message).items():
        if isinstance(value, str) and not value.replace("\n", "").isprintable():
            yield field, "contains characters that cannot be printed"
    if message.issued_at > now + CLOCK_TOLERANCE:
        yield "issued_at", "is in the future"
    if isinstance(message, Warning | Seizure):
        yield from _find_validity_faults(message, now)
    if isinstance(message, Report) and message.ends_at <= message.begins_at:
        yield "ends_at", "is not after begins_at"
    if isinstance(message, Feedback) and not (
        message.matched >= message.inspected >= message.known >= message.found
    ):
        yield "found", "the counts do not fit: matched, inspected, known and found must not grow"


def _find_validity_faults(message: Warning | Seizure, now: datetime) -> Iterator[tuple[str, str]]:
    if message.expires_at <= message.issued_at:
        yield "expires_at", "is not after issued_at"
    if message.expires_at > message.issued_at + MAX_VALIDITY:
        yield "expires_at", f"is more than {MAX_VALIDITY.days} days after issued_at"
    if message.expires_at <= now:
        yield "expires_at", "the message has expired"
    if isinstance(message, Seizure) and message.occurred_at > message.issued_at:
        yield "occurred_at", "is after issued_at"
    if isinstance(message, Warning) and not (
        message.indicators or message.cover or message.hs_code or message.departure_country or message.route
    ):
        yield "indicators", "the warning has no criterion, so it matches no consignment"
