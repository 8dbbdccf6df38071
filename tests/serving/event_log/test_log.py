"""The event log: append-only, in order, chained; it belongs to one data key."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from support.databases import Entry, Open, database_in, only_sqlite

from consignments.errors import BadSetting, ServiceFault
from features.history.data_keys import DataKeys
from serving.encryption.vault import Vault
from serving.event_log.events import hash_rows
from serving.event_log.log import EventLog, load_or_create_vault
from serving.event_log.verification import verify_chain


def test_an_entry_out_of_place_is_refused_and_nothing_is_written(open_log: Open, entry: Entry) -> None:
    log = open_log()
    log.append([entry(1)])
    for events in ([entry(3)], [entry(2), entry(2)]):
        with pytest.raises(ServiceFault, match=r"got sequence \d; expected sequence \d"):
            log.append(events)
    assert log.last_sequence == 1


@pytest.mark.parametrize(("size", "new_term"), [(1, False), (64, True), (2_560, False)])
def test_a_group_is_written_whole_or_not_at_all(
    open_log: Open, entry: Entry, size: int, new_term: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of its rows has no hash, which the database refuses."""
    log = open_log()
    log.append([entry(1)])
    events = [entry(place) for place in range(2, size + 1)]
    events.append(entry(size + 1, model="nps-risk/2" if new_term else "nps-risk/1"))
    with monkeypatch.context() as patched:
        patched.setattr("serving.event_log.log.hash_rows", lambda *given: [*hash_rows(*given)[:-1], None])
        with pytest.raises(ServiceFault, match="cannot be written"):
            log.append(events)
    log.reread()
    assert log.last_sequence == 1
    log.append(events)
    assert list(log.read_events(after=1)) == events
    assert verify_chain(log).broken_at is None


def test_closing_waits_for_the_queries_of_other_threads_and_refuses_later_ones(open_log: Open) -> None:
    log, begun, goes_on = open_log(), Event(), Event()

    def read() -> None:
        with log.queries.use():
            begun.set()
            goes_on.wait(60)

    with ThreadPoolExecutor(2) as threads:
        reading = threads.submit(read)
        begun.wait(60)
        closing = threads.submit(log.close)
        with pytest.raises(TimeoutError):
            closing.result(0.2)
        goes_on.set()
        closing.result(60)
        assert reading.done()
    for use in (log.read_last_sequence, log.reread):
        with pytest.raises(ServiceFault, match="the event log is closed"):
            use()


def test_a_log_refuses_another_data_key(open_log: Open, tmp_path: Path) -> None:
    open_log().close()
    told = "NPSRISK_DATA_KEY_FILE: the event log was written with another data key"
    with pytest.raises(BadSetting, match=told):
        EventLog.open(database_in(tmp_path), Vault(DataKeys.create()))
    open_log()


def test_no_data_key_is_created_for_a_log_with_entries(open_log: Open, entry: Entry, tmp_path: Path) -> None:
    log = open_log()
    log.append([entry(1)])
    log.close()
    with pytest.raises(BadSetting, match=r"the data key is missing; got no file, but 1 log entries"):
        load_or_create_vault(tmp_path / "data.key", tmp_path, database_in(tmp_path))
    assert not (tmp_path / "data.key").exists()


def test_a_log_to_which_another_process_gave_a_name_has_that_name(open_log: Open) -> None:
    log = open_log()
    log.stop_writing()
    other = open_log()
    other.rename(1)
    other.close()
    log.reread()
    assert log.name == other.name != log.log_id


@only_sqlite
def test_the_log_is_flushed_to_disk_at_every_commit(open_log: Open) -> None:
    with open_log()._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
