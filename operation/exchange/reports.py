"""Reports to partners about their messages: feedback from yields, and sightings of indicators."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from consignments.exchange.alerts import split_alert_id
from consignments.exchange.documents import Feedback, Sighting
from operation.table_yields import AlertYield

REPORT_ID_DIGITS = 16


def draft_reports(
    yields: Sequence[AlertYield], author: str, begins_at: datetime, ends_at: datetime
) -> Iterator[Feedback | Sighting]:
    """Draft the feedback on each message of a partner that a period has, and the sightings of its indicators."""
    for each in yields:
        named = split_alert_id(each.alert_id)
        if named is None or named[0] == author:
            continue
        common: dict[str, Any] = {
            "author": author, "issued_at": ends_at, "operation": each.operation, "about_author": named[0], "about": named[1],
            "begins_at": begins_at, "ends_at": ends_at,
        }  # fmt: skip
        about = f"{author}>{named[0]}/{named[1]} {begins_at.isoformat()} {ends_at.isoformat()}"
        stem = sha256(about.encode()).hexdigest()[:REPORT_ID_DIGITS]
        counts = each.counts
        yield Feedback(
            message_id=f"F-{stem}", matched=counts.matched, inspected=counts.inspected, known=counts.known,
            found=counts.positives, **common,
        )  # fmt: skip
        if counts.seen:
            yield Sighting(
                message_id=f"I-{stem}", seen=counts.seen, last_seen_on=counts.last_seen_on, **common
            )
