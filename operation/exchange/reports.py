"""Reports to partners about their messages: feedback from yields, and sightings of indicators."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import pandas as pd

from consignments.exchange.alerts import split_alert_id
from consignments.exchange.documents import Feedback, Sighting
from consignments.records import Consignment, Outcome, Target
from consignments.tables import to_records
from consignments.timestamps import to_us
from consignments.versions import select_counting_rows
from features.batch import Tables
from operation.exchange.drafts import ConfirmedSeizure
from operation.inspections import AlertYield
from training.data.training_set import is_positive, select_current_outcomes

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


def list_confirmed(tables: Tables, as_of: datetime, target: Target) -> list[ConfirmedSeizure]:
    """List the detections whose last visible result stands at a time, in the order in which they became known."""
    assert tables.outcomes is not None
    current = select_current_outcomes(tables.outcomes, to_us(as_of))
    result = current["result"] if "result" in current else pd.Series(None, index=current.index, dtype=object)
    positive = (current["status"] == "inspected").to_numpy() & is_positive(result, target)
    found = {outcome.consignment_id: outcome for outcome in to_records(current[positive], Outcome)}
    frame = tables.consignments[select_counting_rows(tables.consignments)]
    mine = frame[frame["consignment_id"].isin(list(found))]
    pairs = [ConfirmedSeizure(c, found[c.consignment_id]) for c in to_records(mine, Consignment)]
    return sorted(pairs, key=lambda each: (each.outcome.known_at or as_of, each.consignment.consignment_id))
