"""Queries about monthly keys in the log: which were erased, which are in use, and whether one in use is missing."""

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
"""Number of last entries searched for a missing key when a log is opened; without any key, all entries are searched."""
_decode = msgspec.msgpack.Decoder(KeyErasure).decode


def read_key_erasures(log: LogReader) -> list[KeyErasure]:
    """Read the recorded erasures of monthly keys, in order."""
    return [_decode(event.plain) for event in log.read_entries_of(KeyErasureEvent)]


def check_vault(log: LogReader, vault: Vault) -> None:
    """Check that a vault belongs to a log, and pass it the key erasures that the log records.

    Raises
    ------
    BadSetting
        The log was written with another data key.
    ServiceFault
        A monthly key that the log needs is missing without a recorded erasure.
    """
    vault.check_fingerprint(log.key_fingerprint)
    if vault.periods is None:
        return
    vault.periods.bind_log(log.log_id, read_key_erasures(log))
    last = _find_last_sealed(log, KEY_SEARCH_ENTRIES if len(vault.periods) else log.last_sequence)
    if last is not None:
        vault.check_key(last.sealed, f"log entry {last.sequence}")


def find_used_prefixes(log: LogReader, prefixes: Sequence[bytes], after: int = 0) -> set[bytes]:
    """Find which of these key prefixes are used by encrypted fields of entries after the sequence number `after`."""
    if not prefixes:
        return set()
    begins = sa.func.substr(EVENTS.c.sealed, 1, PREFIX_BYTES, type_=sa.LargeBinary)
    here = EVENTS.c.sequence > after, EVENTS.c.sealed.is_not(None), begins.in_(prefixes)
    return {row[0] for row in log.queries.fetch_all(sa.select(begins).where(*here).distinct())}


def _find_last_sealed(log: LogReader, entries: int) -> Any:
    """Find the last consignment with encrypted fields among a number of last entries; return None if there is none."""
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
