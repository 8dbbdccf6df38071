"""The event log: append-only, in order, chained; it belongs to one data key."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from support.databases import database_in, only_sqlite

from consignments.errors import BadSetting, ServiceFault
from features.history.data_keys import DataKeys
from serving.encryption.vault import Vault
from serving.event_log.events import Event as LogEntry
from serving.event_log.events import hash_rows
from serving.event_log.log import EventLog
from serving.event_log.verification import verify_chain

Open = Callable[[], EventLog]
Entry = Callable[..., LogEntry]


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
    assert verify_chain(again).entries == 3


def test_an_entry_out_of_place_is_refused_and_nothing_is_written(open_log: Open, entry: Entry) -> None:
    log = open_log()
    log.append([entry(1)])
    for events in ([entry(3)], [entry(2), entry(2)]):
        with pytest.raises(ServiceFault, match=r"got sequence \d; expected sequence \d"):
            log.append(events)
    assert log.last_sequence == 1


@pytest.mark.parametrize("size", [2, 31, 33, 63, 71])
def test_a_group_of_any_size_is_written_in_its_order(open_log: Open, entry: Entry, size: int) -> None:
    log, written = open_log(), [entry(place) for place in range(1, size + 1)]
    log.append(written)
    assert list(log.read_events()) == written
    assert verify_chain(log).entries == size


@pytest.mark.parametrize("size", [1, 64, 2_560])
@pytest.mark.parametrize("new_term", [False, True])
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


def test_entries_of_many_names_models_and_keys_come_back_as_they_were(open_log: Open, entry: Entry) -> None:
    log = open_log()
    written = [
        entry(place, model=f"m/{place % 5}", asked_by=f"key {place % 3}", kinds=f"{place % 2}" * 16)
        for place in range(1, 50)
    ]
    for start in range(0, 49, 7):
        log.append(written[start : start + 7])
    assert list(log.read_events()) == written
    log.close()
    assert list(open_log().read_events()) == written


def test_closing_waits_for_the_queries_of_other_threads_and_refuses_later_ones(
    open_log: Open, entry: Entry
) -> None:
    log = open_log()
    log.append([entry(1)])
    begun, goes_on = Event(), Event()

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
    with pytest.raises(
        BadSetting, match="NPSRISK_DATA_KEY_FILE: the event log was written with another data key"
    ):
        EventLog.open(database_in(tmp_path), Vault(DataKeys.create()))
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
