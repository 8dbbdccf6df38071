"""Logs of the first version, with one row for each entry, become logs of blocks: same entries, same hashes, same meaning."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from support.databases import database_in, execute, reader_of

from consignments.errors import BadSetting
from serving.encryption.vault import Vault
from serving.event_log.databases.database import open_engine
from serving.event_log.event_rows import EventRow, encode_row
from serving.event_log.events import Event, RedactionEvent
from serving.event_log.hash_chain import RedactedDigest, Redaction, hash_row
from serving.event_log.log import EventLog
from serving.event_log.reader import LogReader
from serving.event_log.verification.chain import verify_chain

Entry = Callable[..., Event]
COUNT = 200
LOG_ID = "0a1b2c3d"
OLD_COLUMNS = (*EventRow._fields[:-1], "previous_hash", "hash")


def make_old_log(folder: Path, events: list[Event], key_fingerprint: str) -> list[bytes]:
    """Write a log as the first version did, with the content of entry 3 removed; gives the hashes."""
    engine = open_engine(sa.make_url(database_in(folder)))
    config = Config()
    config.set_main_option("script_location", "serving.event_log:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(sa.text("INSERT INTO log VALUES (:a, :b)"), {"a": LOG_ID, "b": key_fingerprint})
        rows = chain_rows([encode_row(event) for event in events])
        rows[2] = remove_content(rows[2])
        remains = RedactedDigest()
        remains.add(EventRow._make(rows[2][:-2]), rows[2][-1])
        removal = Redaction(2, 3, 1, remains.digest(), 99, "Kim", "a request", "RB3")
        record = RedactionEvent(len(rows) + 1, 99, 100, msgspec.msgpack.encode(removal))
        rows += chain_rows([encode_row(record)], rows[-1][-1])
        names = ", ".join(f":{name}" for name in OLD_COLUMNS)
        values = [dict(zip(OLD_COLUMNS, (*row[:-3], *row[-2:]), strict=True)) for row in rows]
        connection.execute(sa.text(f"INSERT INTO events VALUES ({names})"), values)
    engine.dispose()
    return [row[-1] for row in rows]


def chain_rows(rows: list[Any], previous: bytes | None = None) -> list[Any]:
    found = []
    if previous is None:
        previous = LogReader.origin.fget(type("Log", (), {"log_id": LOG_ID})())  # type: ignore[attr-defined]
    for row in rows:
        here = hash_row(previous, row)
        found.append((*row, previous, here))
        previous = here
    return found


def remove_content(row: Any) -> Any:
    bare = EventRow._make(row[:-2])._replace(plain=b"", sealed=None, features=None, reasons=None)
    return (*bare, *row[-2:])


@pytest.fixture
def events(entry: Entry) -> list[Event]:
    """Entries of which every tenth is an outcome of an earlier consignment."""
    return [
        entry(place, kind="outcome", consignment_id=f"RB{place // 2}", score=None, features=None)
        if place % 10 == 0
        else entry(place, sealed=b"s" * place)
        for place in range(1, COUNT + 1)
    ]


def test_a_log_of_the_first_version_becomes_one_of_blocks(
    tmp_path: Path, vault: Vault, events: list[Event]
) -> None:
    hashes = make_old_log(tmp_path, events, vault.fingerprint)
    with pytest.raises(BadSetting, match=r"tables of an earlier version.*start the service once"):
        reader_of(tmp_path)
    with EventLog.open(database_in(tmp_path), vault) as log:
        assert (log.log_id, log.last_sequence, log.head) == (LOG_ID, COUNT + 1, hashes[-1].hex())
        found = list(log.read_events())
        assert found[:2] + found[3:COUNT] == events[:2] + events[3:]
        assert found[2].redacted  # type: ignore[union-attr]
        assert [log.read_hash(place) for place in (1, 64, 65, COUNT + 1)] == [
            hashes[place - 1] for place in (1, 64, 65, COUNT + 1)
        ]
        assert [event.sequence for event in log.read_consignment_events("RB45")] == [45, 90]
        result = verify_chain(log)
        assert (result.entries, result.broken_at, result.emptied) == (COUNT + 1, None, 1)
        log.append([msgspec.structs.replace(events[0], sequence=COUNT + 2)])
    assert execute(tmp_path, "SELECT count(*) FROM blocks") == [(5,)]
    reader = reader_of(tmp_path)
    assert verify_chain(reader).entries == COUNT + 2
    reader.close()


def test_an_empty_log_of_the_first_version_goes_on(tmp_path: Path, vault: Vault, entry: Entry) -> None:
    engine = open_engine(sa.make_url(database_in(tmp_path)))
    config = Config()
    config.set_main_option("script_location", "serving.event_log:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with EventLog.open(database_in(tmp_path), vault) as log:
        log.append([entry(1)])
        assert verify_chain(log).entries == 1


def test_a_conversion_that_is_interrupted_changes_nothing_and_can_be_repeated(
    tmp_path: Path, vault: Vault, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise KeyboardInterrupt

    hashes = make_old_log(tmp_path, events, vault.fingerprint)
    with monkeypatch.context() as patched:
        patched.setattr("serving.event_log.blocks.codec.encode_blocks", fail)
        with pytest.raises(KeyboardInterrupt):
            EventLog.open(database_in(tmp_path), vault)
    engine = open_engine(sa.make_url(database_in(tmp_path)))
    assert not sa.inspect(engine).has_table("blocks")
    engine.dispose()
    with EventLog.open(database_in(tmp_path), vault) as log:
        assert (log.log_id, log.head) == (LOG_ID, hashes[-1].hex())


def test_what_was_changed_before_the_conversion_is_found_after_it(
    tmp_path: Path, vault: Vault, events: list[Event]
) -> None:
    make_old_log(tmp_path, events, vault.fingerprint)
    engine = open_engine(sa.make_url(database_in(tmp_path)))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE events SET score = 0.5 WHERE sequence = 77"))
        connection.execute(sa.text("DELETE FROM events WHERE sequence = 150"))
    engine.dispose()
    with EventLog.open(database_in(tmp_path), vault) as log:
        assert verify_chain(log).broken_at == 77
        assert verify_chain(log, after=77).broken_at == 151
