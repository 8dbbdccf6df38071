"""The data keys of a log: created only for a new one, and checked against the entries of an existing one."""

from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from consignments.errors import BadSetting
from features.history.data_keys import KEY_SETTING, read_data_keys
from serving.encryption.vault import Vault
from serving.event_log.databases.database import find_sqlite_path
from serving.event_log.databases.tables import ENTRIES
from serving.event_log.events import ARRIVAL_KINDS
from serving.event_log.reader import LogReader

KEY_SEARCH_ENTRIES = 100_000
"""Number of last entries searched for a missing sealing key when a log is opened."""


def check_vault(log: LogReader, vault: Vault) -> None:
    """Check that a vault belongs to a log, and has the sealing key of its last consignment."""
    vault.check_fingerprint(log.key_fingerprint)
    query = sa.select(ENTRIES.c.sequence, ENTRIES.c.sealed).where(
        ENTRIES.c.sequence > log.read_last_sequence() - KEY_SEARCH_ENTRIES,
        ENTRIES.c.kind.in_(ARRIVAL_KINDS),
        ENTRIES.c.sealed.is_not(None),
    )
    for sequence, sealed in log.queries.fetch_all(query.order_by(ENTRIES.c.sequence.desc()).limit(1)):
        vault.check_key(bytes(sealed), f"log entry {sequence}")


def load_or_create_vault(path: Path, state_dir: Path, url: str) -> Vault:
    """Load the vault of a log from its file; create the keys only in the state directory, and only if nothing in the database was encrypted with others."""
    if path.exists() or path.parent.resolve() == state_dir.resolve():
        if not path.exists():
            _require_unused(path, url)
        return Vault(read_data_keys(path, create=True), path)
    raise BadSetting(
        "there is no data key in the given file",
        where=KEY_SETTING,
        got=str(path),
        expected="an existing file; a new key is created only in the state directory",
        todo="mount or restore the file, or start once without this setting and move data.key there",
    )


def _require_unused(path: Path, url: str) -> None:
    """Refuse to create a data key if there are log entries, which need the earlier one."""
    file = find_sqlite_path(url)
    if file is not None and not file.exists():
        return
    with suppress(BadSetting), LogReader.open_to_read(url) as log:
        if log.last_sequence:
            raise BadSetting(
                "the data key is missing",
                where=str(path),
                got=f"no file, but {log.last_sequence:,} log entries",
                todo="restore data.key from its backup; no new key was created",
            )
