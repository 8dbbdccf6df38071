"""Removal of content: what was removed, what can be removed, and the removal in the table of entries."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from serving.event_log.databases.tables import ENTRIES, TERMS
from serving.event_log.events import ARRIVAL_KINDS, CONTENT_KINDS, EMPTY, Columns, encode_columns
from serving.event_log.reader import PAGE_ENTRIES, LogReader, list_columns, select_entries
from serving.event_log.terms import NewTerms

HAS_CONTENT = ENTRIES.c.plain != sa.literal(EMPTY, sa.LargeBinary)
RECORDED_US = sa.func.coalesce(ENTRIES.c.recorded_us, ENTRIES.c.at_us)
"""When an entry was recorded; its own time if no other is kept."""


class Redaction(msgspec.Struct, frozen=True):
    """The record of a removal of content from the entries after `after` up to `up_to`; `digest` is the `RedactedDigest` of the `emptied` ones.

    They were recorded before `before_us`, or, whenever that was, are those of `consignment_id`.
    """

    after: int
    up_to: int
    emptied: int
    digest: bytes
    before_us: int
    approved_by: str
    why: str
    consignment_id: str = ""


_decode = msgspec.msgpack.Decoder(Redaction).decode


class RedactedRanges:
    """The entries whose content was removed, by all removals in order; up to `end` that of all consignments was.

    `by_name` are the removals of each consignment, and under an empty name those of all. The range of one begins after those of earlier
    removals of the same entries, whose remains are not part of it.
    """

    def __init__(self, removals: Iterable[Redaction]) -> None:
        self.end = 0
        self.by_name: dict[str | None, list[Redaction]] = {}
        for removal in removals:
            mine = self.by_name.setdefault(removal.consignment_id, [])
            if removal.consignment_id:
                after = max([removal.after, self.end, *(each.up_to for each in mine)])
                mine.append(msgspec.structs.replace(removal, after=after))
            else:
                mine.append(removal)
                self.end = max(self.end, removal.up_to)

    def covers(self, sequence: int, consignment_id: str | None) -> bool:
        """Check whether the content of an arrival was removed."""
        singles = self.by_name.get(consignment_id, ())
        return sequence <= self.end or any(each.after < sequence <= each.up_to for each in singles)


class RedactedDigest:
    """The digest of what remains of entries without content: SHA-256 of their columns and hashes, in order."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.entries = 0

    def add(self, row: Columns, here: bytes) -> None:
        """Add the remaining columns of an entry, and its hash."""
        self._sha256.update(encode_columns(row) + here)
        self.entries += 1

    def digest(self) -> bytes:
        """Return the digest of all added entries."""
        return self._sha256.digest()

    def matches(self, removal: Redaction) -> bool:
        """Check whether the added entries are what a removal left."""
        return (self.entries, self.digest()) == (removal.emptied, removal.digest)


class RebuiltKeys(NamedTuple):
    """The history keys that replace those of an entry, with columns as in `EventRow`."""

    sequence: int
    kinds: str
    keys: bytes


def read_redactions(log: LogReader) -> list[Redaction]:
    """Read the recorded removals of content, in order; raise `msgspec.MsgspecError` if one was changed."""
    return [_decode(event.plain) for event in log.read_events(kinds=("removal",))]


def find_redaction_end(log: LogReader) -> int:
    """Find the sequence number up to which the content of all consignments was removed; 0 if it never was."""
    return RedactedRanges(read_redactions(log)).end


def list_content(log: LogReader, consignment_id: str) -> list[int]:
    """List the sequence numbers of the arrivals of a consignment that have content."""
    digest = log.compute_digest(consignment_id)
    assert digest is not None
    return sorted(row[0] for row in find_content(log, [digest]) if row[1] == consignment_id)


def find_content(log: LogReader, digests: Sequence[int]) -> list[Any]:
    """Find the arrivals with content under some digests: sequence number, identifier, digest, and when each was recorded."""
    columns = (ENTRIES.c.sequence, ENTRIES.c.consignment_id, ENTRIES.c.digest, RECORDED_US)
    query = sa.select(*columns).where(ENTRIES.c.kind.in_(ARRIVAL_KINDS), HAS_CONTENT)
    return log.queries.fetch_among(query, ENTRIES.c.digest, digests)


def find_end(log: LogReader, before_us: int) -> int:
    """Find the last entry up to which all entries were recorded before a time; the search begins after the removed ones."""
    query = select_entries([ENTRIES.c.sequence], find_redaction_end(log)).where(before_us <= RECORDED_US)
    first: int | None = log.queries.fetch_value(query.limit(1))
    return log.last_sequence if first is None else first - 1


def count_unredacted(log: LogReader, after: int, until: int) -> int:
    """Count the consignments with content after the sequence number `after` up to `until`."""
    query = sa.select(sa.func.count()).where(
        ENTRIES.c.sequence.between(after + 1, until), ENTRIES.c.kind.in_(ARRIVAL_KINDS), HAS_CONTENT
    )
    return int(log.queries.fetch_value(query))


def remove_content(
    log: LogReader, connection: Connection, removal: Redaction, keys: Sequence[RebuiltKeys]
) -> Redaction:
    """Remove the content of a range of entries, all or those of a consignment; return the record with number and digest of the remains."""
    terms = NewTerms()
    for each in keys:
        values = {"kinds": log.terms.add(each.kinds, terms), "keys": each.keys}
        connection.execute(sa.update(ENTRIES).where(ENTRIES.c.sequence == each.sequence).values(values))
    _insert_terms(connection, terms)
    where: Any = ENTRIES.c.sequence.between(removal.after + 1, removal.up_to)
    if removal.consignment_id:
        digest = log.compute_digest(removal.consignment_id)
        where &= (ENTRIES.c.digest == digest) & (ENTRIES.c.consignment_id == removal.consignment_id)
    emptied = sa.update(ENTRIES).where(where, ENTRIES.c.kind.in_(CONTENT_KINDS))
    connection.execute(emptied.values(plain=EMPTY, sealed=None, features=None, reasons=None))
    remains = _digest_remains(log, connection, where)
    return msgspec.structs.replace(removal, emptied=remains.entries, digest=remains.digest())


def insert_row(log: LogReader, connection: Connection, row: Columns, head: bytes) -> None:
    """Insert an entry in a transaction."""
    (values,), terms = log.terms.number_rows([row])
    _insert_terms(connection, terms)
    named = dict(zip(ENTRIES.columns.keys(), [*values, head], strict=True))
    connection.execute(ENTRIES.insert().values(named))


def _insert_terms(connection: Connection, terms: NewTerms) -> None:
    for number, text in terms:
        connection.execute(TERMS.insert().values(number=number, text=text))


def _digest_remains(log: LogReader, connection: Connection, where: Any) -> RedactedDigest:
    """Compute the digest of the entries without content that meet a condition."""
    after, remains = 0, RedactedDigest()
    columns = [*list_columns(), ENTRIES.c.hash]
    query = sa.select(*columns).where(where, ~HAS_CONTENT).order_by(ENTRIES.c.sequence).limit(PAGE_ENTRIES)
    while found := connection.execute(query.where(ENTRIES.c.sequence > after)).all():
        for row, stored in zip(log.terms.name_rows([row[:-1] for row in found]), found, strict=True):
            remains.add(row, bytes(stored[-1]))
        after = found[-1][0]
    return remains
