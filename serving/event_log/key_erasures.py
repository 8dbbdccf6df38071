"""What a log tells about the keys of months: which were erased, which are used, and whether one that is used is missing."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from serving.encryption.key_file import PREFIX_BYTES, KeyErasure
from serving.encryption.vault import Vault
from serving.event_log.events import ARRIVAL_KINDS, KeyErasureEvent
from serving.event_log.reader import LogReader
from serving.event_log.tables import EVENTS

KEY_SEARCH_ENTRIES = 100_000
"""Entries among which a key that is missing is looked for when a log is opened; if there is no key at all, all are."""
_decode = msgspec.msgpack.Decoder(KeyErasure).decode


def read_key_erasures(log: LogReader) -> list[KeyErasure]:
    """Read the records of keys of months that were erased, in the order in which that was done."""
    return [_decode(event.plain) for event in log.read_entries_of(KeyErasureEvent)]


def check_vault(log: LogReader, vault: Vault) -> None:
    """Check that a vault is a log's, and tell it which keys were erased on record.

    Raises
    ------
    BadSetting
        If its data key is not the log's.
    ServiceFault
        If the key of a month that the log needs is missing without record.
    """
    vault.check_fingerprint(log.key_fingerprint)
    if vault.periods is None:
        return
    vault.periods.bind_log(log.log_id, read_key_erasures(log))
    last = _find_last_sealed(log, KEY_SEARCH_ENTRIES if len(vault.periods) else log.last_sequence)
    if last is not None:
        vault.check_key(last.sealed, f"log entry {last.sequence}")


def find_used_prefixes(log: LogReader, prefixes: Sequence[bytes], after: int = 0) -> set[bytes]:
    """Find which of these beginnings sealed fields have, of any entry behind the sequence `after`."""
    if not prefixes:
        return set()
    begins = sa.func.substr(EVENTS.c.sealed, 1, PREFIX_BYTES, type_=sa.LargeBinary)
    here = EVENTS.c.sequence > after, EVENTS.c.sealed.is_not(None), begins.in_(prefixes)
    return {row[0] for row in log.queries.fetch_all(sa.select(begins).where(*here).distinct())}


def _find_last_sealed(log: LogReader, entries: int) -> Any:
    """Find place and sealed fields of the last consignment that has any, among so many entries; None if none has."""
    query = (
        sa.select(EVENTS.c.sequence, EVENTS.c.sealed)
        .where(
            EVENTS.c.sequence > log.last_sequence - entries,
            EVENTS.c.kind.in_(ARRIVAL_KINDS),
            EVENTS.c.sealed.is_not(None),
        )
        .order_by(EVENTS.c.sequence.desc())
        .limit(1)
    )
    return next(iter(log.queries.fetch_all(query)), None)
