"""The tables derive from one struct: a log gets the columns that it lacks, and logs of earlier tables are refused by name."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.databases import database_in, execute, reader_of

from consignments.errors import BadSetting
from serving.encryption.vault import Vault
from serving.event_log.databases.database import open_engine
from serving.event_log.databases.tables import ENTRIES
from serving.event_log.events import NAMES, Event
from serving.event_log.log import EventLog
from serving.event_log.verification import verify_chain

Entry = Callable[..., Event]


def test_the_table_has_the_columns_of_the_struct_and_the_hash() -> None:
    assert tuple(ENTRIES.columns.keys()) == (*NAMES, "hash")
    assert {name for name in NAMES if not ENTRIES.c[name].nullable} == {
        "sequence", "kind", "at_us", "content", "plain", "asked_by",
    }  # fmt: skip


def test_a_log_from_before_a_column_gets_it_and_keeps_its_hashes(
    tmp_path: Path, vault: Vault, entry: Entry
) -> None:
    with EventLog.open(database_in(tmp_path), vault) as log:
        log.append([entry(1), entry(2)])
        head = log.head
    execute(tmp_path, "ALTER TABLE entries DROP COLUMN warnings")
    with pytest.raises(BadSetting, match=r"without warnings; .*start the service once"):
        reader_of(tmp_path)
    with EventLog.open(database_in(tmp_path), vault) as log:
        assert log.head == head
        log.append([entry(3, warnings=b"\x91\x01")])
        assert log.read_event(3).warnings == b"\x91\x01"  # type: ignore[union-attr]
        found = verify_chain(log)
        assert (found.entries, found.broken_at) == (3, None)


@pytest.mark.parametrize("table", ["events", "blocks"])
def test_a_log_of_earlier_tables_is_refused_and_the_version_that_exports_it_is_named(
    tmp_path: Path, vault: Vault, table: str
) -> None:
    engine = open_engine(sa.make_url(database_in(tmp_path)))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE log (log_id VARCHAR(16), key_fingerprint VARCHAR(16))"))
        connection.execute(sa.text(f"CREATE TABLE {table} (first INTEGER)"))
    engine.dispose()
    for use in (lambda: reader_of(tmp_path), lambda: EventLog.open(database_in(tmp_path), vault)):
        with pytest.raises(BadSetting, match=r"earlier version.*export it with npsrisk of commit 049ba582"):
            use()
