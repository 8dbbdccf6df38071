"""The event log: append-only, in order, chained; it belongs to one data key."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from sqlalchemy.exc import DBAPIError
from support.databases import database_in, execute, only_sqlite, reader_of, state_environment

from consignments.errors import BadSetting, ServiceFault
from npsrisk import main
from serving.encryption.vault import Vault
from serving.event_log.database import LATEST_REVISION
from serving.event_log.events import METADATA, Event
from serving.event_log.hash_chain import VerificationResult
from serving.event_log.log import EventLog
from serving.event_log.reader import LogReader

Open = Callable[[], EventLog]
Entry = Callable[..., Event]


def test_what_was_appended_is_read_back_in_order(open_log: Open, entry: Entry) -> None:
    written = [entry(1), entry(2, kind="outcome", score=None, recorded_us=None), entry(3, sealed=b"\x01")]
    log = open_log()
    log.append(written[:2])
    log.append(written[2:])
    assert list(log.read_events()) == written
    assert list(log.read_events(after=1, until=2)) == written[1:2]
    assert log.read_event(3) == written[2]
    assert log.read_consignment_events("RB2") == written[1:2]


def test_a_reopened_log_goes_on_where_it_ended(open_log: Open, entry: Entry) -> None:
    log = open_log()
    log.append([entry(1), entry(2)])
    log.close()
    again = open_log()
    assert (again.log_id, again.last_sequence) == (log.log_id, 2)
    again.append([entry(3)])
    assert again.verify().entries == 3


def test_an_entry_out_of_place_is_refused_and_nothing_is_written(open_log: Open, entry: Entry) -> None:
    log = open_log()
    log.append([entry(1)])
    with pytest.raises(ServiceFault, match=r"got sequence 3; expected sequence 2"):
        log.append([entry(3)])
    assert log.last_sequence == 1


@pytest.mark.parametrize("size", [2, 31, 33, 63, 71])
def test_a_group_of_any_size_is_written_in_its_order(open_log: Open, entry: Entry, size: int) -> None:
    log, written = open_log(), [entry(place) for place in range(1, size + 1)]
    log.append(written)
    assert list(log.read_events()) == written
    assert log.verify().entries == size


@pytest.mark.parametrize("good", [1, 32, 40])
def test_a_group_is_written_whole_or_not_at_all(open_log: Open, entry: Entry, good: int) -> None:
    log = open_log()
    with pytest.raises(ServiceFault, match="cannot be written"):
        log.append([*(entry(place) for place in range(1, good + 1)), entry(1)])
    log.reread()
    assert log.last_sequence == 0
    log.append([entry(1)])
    assert log.verify().broken_at is None


def test_an_untouched_chain_verifies_and_its_head_names_the_last_entry(open_log: Open, entry: Entry) -> None:
    log = open_log()
    log.append([entry(1)])
    first = log.verify()
    log.append([entry(2)])
    second = log.verify()
    assert (first.entries, first.broken_at, second.entries, second.broken_at) == (1, None, 2, None)
    assert first.head != second.head


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET score = 0.2500001 WHERE sequence = 2",
        "UPDATE events SET plain = content WHERE sequence = 2",
        "UPDATE events SET asked_by = 'somebody' WHERE sequence = 2",
        "UPDATE events SET at_us = at_us + 1 WHERE sequence = 2",
        "UPDATE events SET hash = previous_hash WHERE sequence = 2",
    ],
)
def test_a_changed_value_breaks_the_chain_where_it_was_changed(
    open_log: Open, entry: Entry, tmp_path: Path, statement: str
) -> None:
    log = open_log()
    log.append([entry(1), entry(2), entry(3)])
    execute(tmp_path, statement)
    verdict = log.verify()
    assert (verdict.entries, verdict.broken_at) == (1, 2)


def test_an_entry_taken_out_breaks_the_chain(open_log: Open, entry: Entry, tmp_path: Path) -> None:
    log = open_log()
    log.append([entry(1), entry(2), entry(3)])
    execute(tmp_path, "DELETE FROM events WHERE sequence = 2")
    assert log.verify().broken_at == 3


def test_a_log_of_another_identity_does_not_pass_as_this_one(
    open_log: Open, entry: Entry, tmp_path: Path
) -> None:
    open_log().append([entry(1)])
    execute(tmp_path, "UPDATE log SET log_id = 'another'")
    reader = reader_of(tmp_path)
    assert reader.verify()[:2] == VerificationResult(0, 1, "")[:2]
    reader.close()


def test_a_log_refuses_another_data_key(open_log: Open, tmp_path: Path) -> None:
    open_log().close()
    with pytest.raises(BadSetting, match="NPSRISK_DATA_KEY_FILE: this data key is not the one"):
        EventLog.open(database_in(tmp_path), Vault(b"another key"))
    open_log()


@pytest.mark.parametrize(
    "url",
    [
        "postgres//user:secret@host",
        "postgresql://user:secret@host:port/log",
        "postgresql://user:a:se@cret@host/log",
        "mysql://user:secret@host/log",
        "postgresql+psycopg2://user:secret@host/log",
    ],
)
def test_an_address_that_means_nothing_is_named_and_not_repeated(vault: Vault, url: str) -> None:
    with pytest.raises(BadSetting, match=r"^NPSRISK_DATABASE_URL") as caught:
        EventLog.open(url, vault)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    "place", ["postgresql://user:secret@{}/log", "postgresql://user@{}/log?password=secret"]
)
def test_a_server_that_is_away_is_a_fault_that_tells_no_password(vault: Vault, place: str) -> None:
    with pytest.raises(
        ServiceFault, match=r"psycopg://user@127.0.0.1:9/log: .*cannot be opened; .*refused"
    ) as caught:
        EventLog.open(place.format("127.0.0.1:9"), vault)
    assert "secret" not in str(caught.value)


def test_a_database_that_cannot_be_opened_is_a_fault_of_the_service(vault: Vault, tmp_path: Path) -> None:
    with pytest.raises(ServiceFault, match="cannot be opened"):
        EventLog.open(f"sqlite:///{tmp_path / 'nowhere' / 'events.db'}", vault)


@only_sqlite
def test_the_log_is_flushed_to_disk_at_every_commit(open_log: Open) -> None:
    with open_log()._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_the_migrations_make_the_tables_that_the_code_uses(open_log: Open) -> None:
    with open_log()._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_the_latest_migration_is_the_one_that_a_log_is_brought_to() -> None:
    config = Config()
    config.set_main_option("script_location", "serving.event_log:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == LATEST_REVISION


def test_a_log_is_read_while_it_is_written(open_log: Open, entry: Entry, tmp_path: Path) -> None:
    log = open_log()
    log.append([entry(1)])
    reader = reader_of(tmp_path)
    log.append([entry(2)])
    assert (reader.log_id, reader.last_sequence, reader.verify().entries) == (log.log_id, 1, 1)
    assert [event.sequence for event in reader.read_events()] == [1, 2]
    with pytest.raises(DBAPIError, match=r"read-?only"), reader._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM events")
    reader.close()


def test_no_log_is_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(ServiceFault, match="cannot be opened"):
        LogReader.open_to_read(f"sqlite:///{tmp_path / 'events.db'}")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE log (a)")
    other.close()
    with pytest.raises(BadSetting, match="there is no event log"):
        LogReader.open_to_read(f"sqlite:///{tmp_path / 'other.db'}")
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]


def test_entries_of_some_kinds_alone_are_read(open_log: Open, entry: Entry) -> None:
    log = open_log()
    log.append([entry(1), entry(2, kind="alert"), entry(3, kind="outcome"), entry(4)])
    assert [event.sequence for event in log.read_events(kinds=("alert", "outcome"))] == [2, 3]


def verified(folder: Path, *words: str) -> tuple[int, str]:
    environment = state_environment(folder)
    done = CliRunner().invoke(main, ["verify-log", *words], env=environment)
    return done.exit_code, done.output


def test_the_command_tells_the_head_and_finds_what_was_cut_off(
    open_log: Open, entry: Entry, tmp_path: Path
) -> None:
    log = open_log()
    log.append([entry(1), entry(2), entry(3)])
    code, told = verified(tmp_path)
    assert (code, told.splitlines()[0]) == (0, "3 entries hold together")
    head = told.splitlines()[1].removeprefix("head ")
    log.append([entry(4)])
    code, told = verified(tmp_path, "--head", head)
    assert code == 0
    assert "the head that was kept is entry 3" in told
    execute(tmp_path, "DELETE FROM events WHERE sequence >= 3")
    assert verified(tmp_path)[0] == 0
    code, told = verified(tmp_path, "--head", head)
    assert code == 1
    assert "cut off" in told


def test_the_command_finds_two_entries_that_changed_places(
    open_log: Open, entry: Entry, tmp_path: Path
) -> None:
    open_log().append([entry(1), entry(2), entry(3)])
    for statement in ("= -2 WHERE sequence = 2", "= 2 WHERE sequence = 3", "= 3 WHERE sequence = -2"):
        execute(tmp_path, f"UPDATE events SET sequence {statement}")
    code, told = verified(tmp_path, "--json")
    assert code == 1
    assert json.loads(told.splitlines()[-1])["broken_at"] == 2


def test_the_command_refuses_a_head_that_cannot_be_one(open_log: Open, tmp_path: Path) -> None:
    open_log()
    code, told = verified(tmp_path, "--head", "5c1d")
    assert code == 2
    assert "64 hexadecimal digits" in told
