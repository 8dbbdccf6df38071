"""Queries about monthly keys in the log: which were erased, which are in use, and whether one in use is missing."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from consignments.errors import BadSetting
from features.history.pseudonyms import load_data_key
from serving.encryption.key_file import FILE_NAME as PERIOD_KEYS_FILE
from serving.encryption.key_file import PREFIX_BYTES, KeyErasure
from serving.encryption.vault import Vault
from serving.event_log.copies import get_sqlite_path, is_sqlite_url
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


def load_or_create_data_key(path: Path, state_dir: Path, url: str) -> bytes:
    """Load the data key of a log; create it only in the state directory, and only if nothing was encrypted with another.

    Parameters
    ----------
    path : Path
        File of the data key.
    state_dir : Path
    url : str
        URL of the log's database, which need not exist.

    Raises
    ------
    BadSetting
        There is no key and none may be created, or the file is not a key.
    ServiceFault
        The database cannot be read.
    """
    if path.exists() or path.parent.resolve() == state_dir.resolve():
        if not path.exists():
            _require_unused(path, state_dir, url)
        return load_data_key(path, create=True)
    raise BadSetting(
        "there is no data key in the given file",
        where="NPSRISK_DATA_KEY_FILE",
        got=str(path),
        expected="an existing file; a new key is created only in the state directory",
        todo="mount or restore the file, or start once without this setting and move data.key there",
    )


def _require_unused(path: Path, state_dir: Path, url: str) -> None:
    """Refuse to create a data key if there are monthly keys or log entries, which need the earlier one."""
    found = "monthly keys" if (state_dir / PERIOD_KEYS_FILE).exists() else ""
    if not is_sqlite_url(url) or get_sqlite_path(url).exists():
        with suppress(BadSetting), LogReader.open_to_read(url) as log:
            found = f"{log.last_sequence:,} log entries" if log.last_sequence else found
    if found:
        raise BadSetting(
            "the data key is missing",
            where=str(path),
            got=f"no file, but {found}",
            todo="restore data.key from its backup; no new key was created",
        )


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
