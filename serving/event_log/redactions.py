"""Queries about the removal of content: what was removed, and what can be removed."""

import msgspec
import sqlalchemy as sa

from serving.event_log.events import ARRIVAL_KINDS, EMPTY, RedactionEvent
from serving.event_log.hash_chain import RedactedRanges, Redaction
from serving.event_log.queries import filter_unredacted
from serving.event_log.reader import LogReader
from serving.event_log.tables import EVENTS

_decode = msgspec.msgpack.Decoder(Redaction).decode


def read_redactions(log: LogReader) -> list[Redaction]:
    """Read the recorded removals of content, in order."""
    events = log.read_entries_of(RedactionEvent)
    return [_decode(event.plain) for event in events if event.plain != EMPTY]


def find_redaction_end(log: LogReader) -> int:
    """Find the sequence number up to which the content of all consignments was removed; 0 if it never was."""
    return RedactedRanges(read_redactions(log)).end


def list_content(log: LogReader, consignment_id: str) -> list[int]:
    """List the sequence numbers of the entries of a consignment that have content."""
    here = filter_unredacted(0, log.last_sequence)
    query = sa.select(EVENTS.c.sequence).where(EVENTS.c.consignment_id == consignment_id, *here)
    return [row[0] for row in log.queries.fetch_all(query.order_by(EVENTS.c.sequence))]


def find_first_recorded(log: LogReader, moment_us: int, after: int = 0) -> int | None:
    """Find the first entry after the sequence number `after` recorded at or after a time; return None if there is none."""
    recorded = sa.func.coalesce(EVENTS.c.recorded_us, EVENTS.c.at_us)
    here = EVENTS.c.sequence > after, recorded >= moment_us
    query = sa.select(EVENTS.c.sequence).where(*here).order_by(EVENTS.c.sequence).limit(1)
    found: int | None = log.queries.fetch_value(query)
    return found


def find_latest_arrival_us(log: LogReader) -> int | None:
    """Find the latest time at which a consignment was received; return None if there is none."""
    query = sa.select(sa.func.max(EVENTS.c.at_us)).where(EVENTS.c.kind.in_(ARRIVAL_KINDS))
    found: int | None = log.queries.fetch_value(query)
    return found


def count_unredacted(log: LogReader, after: int, until: int) -> int:
    """Count the consignments with content after the sequence number `after` up to `until`."""
    return int(log.queries.fetch_value(sa.select(sa.func.count()).where(*filter_unredacted(after, until))))
