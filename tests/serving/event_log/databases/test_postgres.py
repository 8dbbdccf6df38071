"""A log in PostgreSQL: one writer, no entry lost or twice when a connection is, and faults as honest as SQLite's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.databases import SERVER, Entry, Open, database_in, execute, only_postgres
from support.serving_examples import Client, refused, scored
from support.site import Site, list_names
from support.tcp_proxy import TcpProxy, Trap

from consignments.errors import BadSetting, ServiceFault
from serving.encryption.vault import Vault
from serving.event_log.log import EventLog

pytestmark = only_postgres
END_OF_COPY = b"c\0\0\0\4"
"""What a client says when it has sent all rows (PostgreSQL's protocol, CopyDone)."""


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    address = sa.make_url(SERVER)
    made = TcpProxy(address.host or "127.0.0.1", address.port or 5432)
    yield made
    made.cut()


@pytest.fixture
def far(proxy: TcpProxy, site: Site) -> Iterator[Client]:
    through = sa.make_url(database_in(site.folder)).set(host="127.0.0.1", port=proxy.port)
    with site.serve(NPSRISK_DATABASE_URL=through.render_as_string(hide_password=False)) as client:
        yield client


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


def test_a_second_writer_is_refused_and_told_who_writes(
    open_log: Open, entry: Entry, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.event_log.databases.backend.BUSY_SECONDS", 0.2)
    log = open_log()
    with pytest.raises(ServiceFault, match=r"another process writes this event log; got npsrisk \d+ on "):
        open_log()
    log.append([entry(1)])
    log.close()
    open_log().append([entry(2)])
    with EventLog.open(database_in(tmp_path / "other"), vault) as other:
        assert other.log_id != log.log_id, "two logs in one database have a writer each"


def test_a_row_is_stored_in_one_piece_and_not_compressed(open_log: Open, tmp_path: Path) -> None:
    open_log()
    stored = "SELECT attstorage::text FROM pg_attribute WHERE attrelid = 'entries'::regclass"
    assert execute(tmp_path, f"{stored} AND attname = 'plain'") == [("e",)]


def test_ended_sessions_are_replaced_and_lost_entries_reread(client: Client, tmp_path: Path) -> None:
    assert scored(client, "RB1") == 200
    end_sessions(client)
    assert [scored(client, name) for name in ("RB2", "RB3", "RB1")] == [200] * 3
    assert client.service.committer.fault is None
    assert list_names(tmp_path) == ["RB1", "RB2", "RB3"]
    execute(tmp_path, "DELETE FROM events WHERE sequence = 3")  # a server took over that had not heard of it
    end_sessions(client)
    assert "was changed by another process" in refused(client, "RB4")
    client.look()
    assert [scored(client, name) for name in ("RB3", "RB4")] == [200, 200]
    assert list_names(tmp_path) == ["RB1", "RB2", "RB3", "RB4"]


@pytest.mark.parametrize("heard", [False, True])
def test_a_connection_is_lost_in_a_write(far: Client, proxy: TcpProxy, tmp_path: Path, heard: bool) -> None:
    assert scored(far, "RB1") == 200
    proxy.trap = Trap(END_OF_COPY, heard)
    assert scored(far, "RB2") == 200
    assert proxy.trap is None, "the connection was lost"
    assert far.service.committer.fault is None
    assert scored(far, "RB3") == 200
    assert list_names(tmp_path) == ["RB1", "RB2", "RB3"]


def test_a_server_that_is_away_is_told_and_it_goes_on(far: Client, proxy: TcpProxy, tmp_path: Path) -> None:
    assert scored(far, "RB1") == 200
    proxy.cut()
    for _ in range(2):
        assert refused(far, "RB2").startswith("the event log cannot be written; try again")
        assert "refused" in str(far.service.committer.fault), "which the operator is told, and not the client"
        far.look()
    assert [far.get(f"/health/{each}").status_code for each in ("ready", "live")] == [503, 200]
    proxy.mend()
    far.look()
    assert [scored(far, name) for name in ("RB2", "RB3", "RB1")] == [200] * 3
    assert list_names(tmp_path) == ["RB1", "RB2", "RB3"]


def test_what_is_written_is_durable_and_sessions_outlive_a_night(client: Client, tmp_path: Path) -> None:
    needed = {"synchronous_commit": ("off", "on"), "idle_session_timeout": ("'1h'", "0")}
    for name, (given, _) in needed.items():
        execute(tmp_path, f"ALTER ROLE CURRENT_USER SET {name} = {given}")
    try:
        end_sessions(client)
        assert scored(client, "RB1") == 200
        writer = client.service.log._writer._connection  # type: ignore[attr-defined]
        for name, (_, shown) in needed.items():
            assert writer.exec_driver_sql(f"SHOW {name}").scalar() == shown
    finally:
        execute(tmp_path, "ALTER ROLE CURRENT_USER RESET ALL")


def test_a_database_that_cannot_hold_every_script_is_refused(vault: Vault) -> None:
    engine = sa.create_engine(SERVER, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS npsrisk_latin")
        latin = "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
        connection.exec_driver_sql(f"CREATE DATABASE npsrisk_latin {latin}")
        try:
            url = sa.make_url(SERVER).set(database="npsrisk_latin").render_as_string(hide_password=False)
            with pytest.raises(BadSetting, match="does not support all scripts; got encoding LATIN1"):
                EventLog.open(url, vault)
        finally:
            connection.exec_driver_sql("DROP DATABASE npsrisk_latin")
    engine.dispose()
