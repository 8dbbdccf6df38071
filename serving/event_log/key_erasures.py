"""Queries about monthly keys in the log: which were erased, which are in use, and whether one in use is missing."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from consignments.errors import BadSetting
from features.history.pseudonyms import load_data_key
from serving.encryption.key_file import FILE_NAME as PERIOD_KEYS_FILE
from serving.encryption.key_file import PREFIX_BYTES, KeyErasure
from serving.encryption.vault import Vault
from serving.event_log.blocks.codec import open_block
from serving.event_log.copies import get_sqlite_path, is_sqlite_url
from serving.event_log.databases.tables import BLOCKS
from serving.event_log.events import ARRIVAL_KINDS, KeyErasureEvent
from serving.event_log.queries import HEADS, PAGE_BLOCKS, select_range
from serving.event_log.reader import LogReader

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
        sequence, prefix = last
        vault.check_key(prefix, f"log entry {sequence}")


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
    wanted, used = set(prefixes), set[bytes]()
    if not wanted:
        return used
    for found in log.queries.fetch_blocks(HEADS, after):
        for stored in found:
            block = open_block(*stored)
            (sealed,) = block.read_columns("sealed")
            for sequence, text in enumerate(sealed, start=block.first):
                if text is not None and sequence > after:
                    used.add(text[:PREFIX_BYTES])
        if wanted <= used:
            break
    return used & wanted


def _find_last_sealed(log: LogReader, entries: int) -> tuple[int, bytes] | None:
    """Find the last consignment with encrypted fields among a number of last entries, with the prefix of its key."""
    query = select_range(HEADS, max(0, log.last_sequence - entries), None, ARRIVAL_KINDS)
    query, start = query.order_by(BLOCKS.c.first.desc()), 0
    while found := log.queries.fetch_all(query.limit(PAGE_BLOCKS).offset(start)):
        for stored in found:
            block = open_block(*stored)
            columns = zip(*block.read_columns("kind", "sealed"), strict=True)
            for sequence, (kind, prefix) in reversed(list(enumerate(columns, start=block.first))):
                if kind in ARRIVAL_KINDS and prefix is not None:
                    return sequence, prefix
        start += len(found)
    return None
