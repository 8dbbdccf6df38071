"""Removal of content: what was removed, what can be removed, and the removal in the blocks."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from serving.event_log.blocks.codec import EntryBlock, encode_block, open_block
from serving.event_log.blocks.frames import ZSTD
from serving.event_log.databases.tables import BLOCKS
from serving.event_log.event_rows import EventRow
from serving.event_log.events import ARRIVAL_KINDS, CONTENT_KINDS, EMPTY, RedactionEvent
from serving.event_log.hash_chain import RedactedDigest, RedactedRanges, Redaction
from serving.event_log.queries import PAGE_BLOCKS, WHOLE, select_range
from serving.event_log.reader import HEAD_ONLY, LogReader

NOT_COUNTED = ("content", "plain", "sealed", "keys", "features", "reasons")
_decode = msgspec.msgpack.Decoder(Redaction).decode


class RebuiltKeys(NamedTuple):
    """The history keys that replace those of an entry, with columns as in `EventRow`."""

    sequence: int
    kinds: str
    keys: bytes


def read_redactions(log: LogReader) -> list[Redaction]:
    """Read the recorded removals of content, in order."""
    events = log.read_entries_of(RedactionEvent)
    return [_decode(event.plain) for event in events if event.plain != EMPTY]


def find_redaction_end(log: LogReader) -> int:
    """Find the sequence number up to which the content of all consignments was removed; 0 if it never was."""
    return RedactedRanges(read_redactions(log)).end


def list_content(log: LogReader, consignment_id: str) -> list[int]:
    """List the sequence numbers of the entries of a consignment that have content."""
    found = log.finder.find([consignment_id], log.last_sequence).get(consignment_id, [])
    rows = map(EventRow._make, log.read_places(found, HEAD_ONLY))
    return [row.sequence for row in rows if row.consignment_id == consignment_id and _has_content(row)]


def find_first_recorded(log: LogReader, moment_us: int, after: int = 0) -> int | None:
    """Find the first entry after the sequence number `after` recorded at or after a time; return None if there is none."""
    for rows in log.read_rows(after, None, NOT_COUNTED):
        for row in map(EventRow._make, rows):
            if (row.at_us if row.recorded_us is None else row.recorded_us) >= moment_us:
                return row.sequence
    return None


def count_unredacted(log: LogReader, after: int, until: int) -> int:
    """Count the consignments with content after the sequence number `after` up to `until`."""
    pages = log.read_rows(after, until, NOT_COUNTED, ARRIVAL_KINDS)
    return sum(_has_content(row) for rows in pages for row in map(EventRow._make, rows))


def _has_content(row: EventRow) -> bool:
    return row.kind in ARRIVAL_KINDS and not row.redacted


def remove_content(
    connection: Connection, removal: Redaction, keys: Mapping[int, RebuiltKeys], concerned: set[int] | None
) -> Redaction:
    """Remove the content of consignments from their blocks; return the record with number and digest of the remains.

    Parameters
    ----------
    connection : Connection
        In a transaction, in which the record must be written too.
    removal : Redaction
        Its `emptied` and `digest` are filled in.
    keys : mapping
        New history keys by sequence number.
    concerned : set of int or None
        Entries whose content is removed; None for all entries of the range with content.
    """
    remains = RedactedDigest()
    after = removal.after
    while True:
        query = select_range(WHOLE, after, removal.up_to).order_by(BLOCKS.c.first).limit(PAGE_BLOCKS)
        found = connection.execute(query).all()
        if not found:
            return msgspec.structs.replace(removal, emptied=remains.entries, digest=remains.digest())
        for stored in found:
            if concerned is None or not concerned.isdisjoint(range(stored.first, stored.last + 1)):
                _redact_block(connection, open_block(*stored), _Removal(removal, keys, concerned), remains)
        after = found[-1].last


class _Removal(NamedTuple):
    """A removal: its record, new history keys, and the entries concerned, as `remove_content` takes them."""

    removal: Redaction
    keys: Mapping[int, RebuiltKeys]
    concerned: set[int] | None

    def concerns(self, sequence: int) -> bool:
        if self.concerned is not None:
            return sequence in self.concerned
        return self.removal.after < sequence <= self.removal.up_to


def _redact_block(
    connection: Connection, block: EntryBlock, given: _Removal, remains: RedactedDigest
) -> None:
    rows, hashes = list(map(EventRow._make, block.read_rows())), block.hashes
    changed = False
    for place, row in enumerate(rows):
        if not given.concerns(row.sequence):
            continue
        if row.sequence in given.keys:
            row = row._replace(**given.keys[row.sequence]._asdict())
            changed = True
        if row.kind in CONTENT_KINDS and not row.redacted:
            row = row._replace(plain=EMPTY, sealed=None, features=None, reasons=None)
            changed = True
        rows[place] = row
        if row.redacted:
            remains.add(row, hashes[place])
    if changed:
        stored = encode_block(rows, hashes, ZSTD)
        connection.execute(
            sa.update(BLOCKS).where(BLOCKS.c.first == block.first).values(head=stored.head, body=stored.body)
        )
