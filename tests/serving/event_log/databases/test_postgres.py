"""A log in PostgreSQL: one writer, no entry lost or twice when a connection is, and faults as honest as SQLite's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.databases import SERVER, database_in, execute, only_postgres, reader_of
from support.serving_examples import Client, publish, refused, scored, serving, settings_in
from support.tcp_proxy import TcpProxy, Trap

from consignments.errors import BadSetting, ServiceFault
from serving.encryption.vault import Vault
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.event_log.verification import verify_chain

pytestmark = only_postgres
Entry = Callable[..., Event]
END_OF_COPY = b"c\0\0\0\4"
"""What a client says when it has sent all rows (PostgreSQL's protocol, CopyDone)."""
FULL = """CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END$$"""


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    address = sa.make_url(SERVER)
    made = TcpProxy(address.host or "127.0.0.1", address.port or 5432)
    yield made
    made.cut()


@pytest.fixture
def far(proxy: TcpProxy, tmp_path: Path, bundle: Path) -> Iterator[Client]:
    """A service whose database can be cut off."""
    publish(tmp_path, bundle, "1")
    through = sa.make_url(database_in(tmp_path)).set(host="127.0.0.1", port=proxy.port)
    url = through.render_as_string(hide_password=False)
    with serving(settings_in(tmp_path, NPSRISK_DATABASE_URL=url)) as client:
        yield client


def logged(folder: Path) -> list[str | None]:
    reader = reader_of(folder)
    found = [event.consignment_id for event in reader.read_events()]
    assert verify_chain(reader).broken_at is None
    reader.close()
    return found


def end_sessions(client: Client) -> None:
    """End the sessions of a service as a server does that is restarted."""
    mine = client.service.log._engine
    with mine.connect() as connection:
        name = connection.exec_driver_sql("SELECT current_setting('application_name')").scalar()
    other = sa.create_engine(SERVER)
    with other.connect() as connection:
        ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s AND pid <> pg_backend_pid()"
        assert connection.exec_driver_sql(ended, (name,)).scalar_one() >= 2
    other.dispose()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the table as somebody else would who works on it."""
    engine = sa.create_engine(database_in(folder))
    with engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE entries IN EXCLUSIVE MODE")
        yield
    engine.dispose()


def cause_of_refusal(client: Client, name: str) -> str:
    """Ask for a score that cannot be given now; return the cause, which the service tells its operator and not the client."""
    assert refused(client, name).startswith("the event log cannot be written; try again")
    return str(client.service.committer.fault)


def test_a_second_writer_is_refused_and_told_who_writes(
    entry: Entry, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.event_log.databases.backend.BUSY_SECONDS", 0.2)
    log = EventLog.open(database_in(tmp_path), vault)
    with pytest.raises(ServiceFault, match=r"another process writes this event log; got npsrisk \d+ on "):
        EventLog.open(database_in(tmp_path), vault)
    log.append([entry(1)])
    log.close()
    again = EventLog.open(database_in(tmp_path), vault)
    again.append([entry(2)])
    again.close()


def test_two_logs_in_one_database_have_a_writer_each(vault: Vault, tmp_path: Path) -> None:
    logs = [EventLog.open(database_in(tmp_path / name), vault) for name in ("one", "two")]
    assert logs[0].log_id != logs[1].log_id
    for log in logs:
        log.close()


def test_sessions_that_the_server_ended_are_made_anew_and_nobody_notices(
    client: Client, tmp_path: Path
) -> None:
    assert scored(client, "RB1") == 200
    end_sessions(client)
    assert [scored(client, name) for name in ("RB2", "RB3", "RB1")] == [200] * 3
    assert client.service.committer.fault is None
    assert logged(tmp_path) == ["RB1", "RB2", "RB3"]


@pytest.mark.parametrize("heard", [False, True])
def test_when_the_connection_is_lost_in_a_write_the_log_tells_whether_it_was_written(
    far: Client, proxy: TcpProxy, tmp_path: Path, heard: bool
) -> None:
    assert scored(far, "RB1") == 200
    proxy.trap = Trap(END_OF_COPY, heard)
    assert scored(far, "RB2") == 200
    assert proxy.trap is None, "the connection was lost"
    assert far.service.committer.fault is None
    assert scored(far, "RB3") == 200
    assert logged(tmp_path) == ["RB1", "RB2", "RB3"]


def test_a_server_that_is_away_is_told_and_then_it_goes_on(
    far: Client, proxy: TcpProxy, tmp_path: Path
) -> None:
    assert scored(far, "RB1") == 200
    proxy.cut()
    for _ in range(2):
        assert "refused" in cause_of_refusal(far, "RB2")
        far.look()
    assert far.get("/health/ready").status_code == 503
    assert far.get("/health/live").status_code == 200
    proxy.mend()
    far.look()
    assert [scored(far, name) for name in ("RB2", "RB3", "RB1")] == [200] * 3
    assert logged(tmp_path) == ["RB1", "RB2", "RB3"]


def test_a_log_that_lost_entries_while_the_connection_was_lost_is_not_written_on(
    client: Client, tmp_path: Path
) -> None:
    """Another server has taken over that had not heard of the last entries."""
    assert [scored(client, name) for name in ("RB1", "RB2")] == [200, 200]
    execute(tmp_path, "DELETE FROM events WHERE sequence = 2")
    end_sessions(client)
    assert "was changed by another process" in refused(client, "RB3")
    client.look()
    assert [scored(client, name) for name in ("RB2", "RB3")] == [200, 200]
    assert logged(tmp_path) == ["RB1", "RB2", "RB3"]


def test_a_table_that_stays_locked_is_told_and_then_it_goes_on(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.event_log.databases.backend.BUSY_SECONDS", 0.2)
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        assert scored(client, "RB1") == 200
        with held(tmp_path):
            assert "lock timeout" in cause_of_refusal(client, "RB2")
        client.look()
        assert [scored(client, name) for name in ("RB2", "RB3")] == [200] * 2
    assert logged(tmp_path) == ["RB1", "RB2", "RB3"]


def test_a_database_that_can_only_be_read_is_told_and_then_it_goes_on(client: Client, tmp_path: Path) -> None:
    assert scored(client, "RB1") == 200
    engine = client.service.log._engine

    @sa.event.listens_for(engine, "connect")
    def read_only(connection: object, _record: object) -> None:
        connection.execute("SET default_transaction_read_only = on")  # type: ignore[attr-defined]
        connection.commit()  # type: ignore[attr-defined]

    end_sessions(client)
    assert "read-only" in cause_of_refusal(client, "RB2")
    client.look()
    assert "read-only" in cause_of_refusal(client, "RB2")
    assert client.get("/v1/consignments/RB1").status_code == 200
    sa.event.remove(engine, "connect", read_only)
    engine.dispose()
    client.look()
    assert scored(client, "RB2") == 200
    assert logged(tmp_path) == ["RB1", "RB2"]


def test_on_a_full_disk_nothing_is_answered_that_is_not_written(client: Client, tmp_path: Path) -> None:
    assert scored(client, "RB1") == 200
    execute(tmp_path, FULL)
    execute(tmp_path, "CREATE TRIGGER full_disk BEFORE INSERT ON entries EXECUTE FUNCTION full_disk()")
    assert "No space left" in cause_of_refusal(client, "RB2")
    assert client.get("/health/ready").status_code == 503
    execute(tmp_path, "DROP TRIGGER full_disk ON entries")
    client.look()
    assert scored(client, "RB2") == 200
    assert logged(tmp_path) == ["RB1", "RB2"]


def test_what_is_written_is_durable_and_the_session_outlives_a_quiet_night(
    client: Client, tmp_path: Path
) -> None:
    execute(tmp_path, "ALTER ROLE CURRENT_USER SET synchronous_commit = off")
    execute(tmp_path, "ALTER ROLE CURRENT_USER SET idle_session_timeout = '1h'")
    try:
        end_sessions(client)
        assert scored(client, "RB1") == 200
        writer = client.service.log._writer._connection  # type: ignore[attr-defined]
        told = [
            writer.exec_driver_sql(f"SHOW {name}").scalar()
            for name in ("synchronous_commit", "idle_session_timeout")
        ]
        assert told == ["on", "0"]
    finally:
        execute(tmp_path, "ALTER ROLE CURRENT_USER RESET ALL")


def test_a_database_that_cannot_hold_every_script_is_refused(vault: Vault) -> None:
    engine = sa.create_engine(SERVER, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS npsrisk_latin")
        connection.exec_driver_sql(
            "CREATE DATABASE npsrisk_latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
        )
        try:
            url = sa.make_url(SERVER).set(database="npsrisk_latin").render_as_string(hide_password=False)
            with pytest.raises(BadSetting, match="does not support all scripts; got encoding LATIN1"):
                EventLog.open(url, vault)
        finally:
            connection.exec_driver_sql("DROP DATABASE npsrisk_latin")
    engine.dispose()
