"""What fails is provoked: an honest error while it lasts, nothing lost, nothing twice, and on again by itself afterwards.

Here: database, disk, state directory, MLflow. Others stand with what they are about: a damaged snapshot (`test_snapshots`), a
clock that jumps back (`test_clock`), a process that is killed, a corrupt model, two services at once
(`test_chaos`), a client that hangs (`test_connections`), a model that gives no number (`test_scores`).
"""

import resource
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from support.databases import database_in, execute, only_postgres, only_sqlite
from support.examples import make_consignment, make_outcome
from support.serving_examples import Client, refused, running, scored, settings_in, vault_in
from support.site import Site

from consignments.errors import ServiceFault
from serving.event_log.databases import sqlite
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.http.server import serve


def count_writers() -> int:
    return sum(thread.name == "commit" for thread in threading.enumerate())


def logged(client: Client) -> list[str | None]:
    return [event.consignment_id for event in client.service.log.read_events()]


FULL = """CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END$$"""


def refuse_writes(engine: sa.Engine, statement: str) -> Callable[[], None]:
    """Let each new connection of a service run a statement first; gives what ends that."""

    def prepare(connection: Any, _record: object) -> None:
        connection.execute(statement)
        connection.commit()

    sa.event.listen(engine, "connect", prepare)
    return lambda: sa.event.remove(engine, "connect", prepare)


@contextmanager
def read_only(client: Client, statement: str) -> Iterator[None]:
    log = client.service.log
    restore = refuse_writes(log._engine, statement)
    client.portal.call(log._writer.release)
    log._engine.dispose()
    yield
    restore()
    client.portal.call(log._writer.release)
    log._engine.dispose()


@contextmanager
def lock_table(client: Client) -> Iterator[None]:
    engine = sa.create_engine(client.service.settings.database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE entries IN EXCLUSIVE MODE")
        yield
    engine.dispose()


@contextmanager
def fill_disk(client: Client) -> Iterator[None]:
    folder = client.service.settings.state_dir
    execute(folder, FULL)
    execute(folder, "CREATE TRIGGER full_disk BEFORE INSERT ON entries EXECUTE FUNCTION full_disk()")
    yield
    execute(folder, "DROP TRIGGER full_disk ON entries")


TROUBLES: dict[str, tuple[pytest.MarkDecorator, Callable[[Client], AbstractContextManager[Any]], str]] = {
    "SQLite locked": (only_sqlite, lambda client: locked(client.service.settings.state_dir / "events.db"), "is locked"),
    "SQLite read-only": (only_sqlite, lambda client: read_only(client, "PRAGMA query_only=ON"), "readonly"),
    "PostgreSQL locked": (only_postgres, lock_table, "lock timeout"),
    "PostgreSQL read-only": (only_postgres, lambda client: read_only(client, "SET default_transaction_read_only = on"), "read-only"),
    "PostgreSQL full": (only_postgres, fill_disk, "No space left"),
}  # fmt: skip


@pytest.mark.parametrize("trouble", [pytest.param(name, marks=TROUBLES[name][0]) for name in TROUBLES])
def test_a_failing_database_is_told_and_it_goes_on(
    site: Site, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    _, begin, cause = TROUBLES[trouble]
    monkeypatch.setattr("serving.event_log.databases.backend.BUSY_SECONDS", 0.1)
    monkeypatch.setitem(sqlite.OPTIONS["connect_args"], "timeout", 0.1)
    with site.serve() as client:
        assert scored(client, "RB1") == 200
        with begin(client):
            for name in ("RB2", "RB3"):
                assert refused(client, name).startswith("the event log cannot be written; try again")
                assert cause in str(client.service.committer.fault)
                assert scored(client, "RB1") == 503, "also a repeat"
                assert client.post("/v1/outcomes", make_outcome("RB1")).status_code == 503
                ready = client.get("/health/ready")
                assert (ready.status_code, cause in ready.json()["reasons"][0]) == (503, True)
                client.look()
            assert client.get("/health/live").status_code == 200
            assert client.get("/v1/consignments/RB1").status_code == 200
        client.look()
        assert [scored(client, name) for name in ("RB2", "RB3", "RB1")] == [200] * 3
        assert logged(client) == ["RB1", "RB2", "RB3"]
        assert client.compute_features("RB4")["history.sender.arrivals_7d"] == 3
    assert site.entries()


@contextmanager
def locked(database: Path) -> Iterator[sqlite3.Connection]:
    other = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        if other.in_transaction:
            other.execute("ROLLBACK")
        other.close()


@only_sqlite
def test_while_the_database_is_locked_for_a_moment_the_answer_waits(client: Client, tmp_path: Path) -> None:
    with locked(tmp_path / "events.db") as other:
        release = threading.Timer(0.3, other.execute, ["ROLLBACK"])
        release.start()
        assert scored(client, "RB1") == 200
        release.join()
    assert logged(client) == ["RB1"]


def test_a_disk_that_hangs_is_told_and_what_was_written_meanwhile_is_answered_later(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, write = threading.Event(), client.service.log.append

    def hang(events: Sequence[Event]) -> None:
        assert go.wait(60)
        write(events)

    monkeypatch.setattr(client.service.log, "append", hang)
    monkeypatch.setattr("serving.event_log.group_commit.STALL_SECONDS", 1.0)
    assert "takes too long" in refused(client, "RB1")
    assert "takes too long" in refused(client, "RB2")
    assert client.get("/health/live").status_code == 200
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["reasons"][0][:11]) == (503, "writing the")
    assert "npsrisk_log_usable 0.0" in client.get("/metrics").text
    go.set()
    while client.service.committer.waiting:
        time.sleep(0.01)
    assert client.get("/health/ready").status_code == 200
    assert [scored(client, name) for name in ("RB1", "RB2")] == [200, 200]
    assert logged(client) == ["RB1", "RB2"]


@only_sqlite
def test_on_a_full_disk_nothing_is_answered_that_is_not_written(site: Site) -> None:
    """The system refuses every write beyond a size, as a full disk does, until there is room again."""
    told: dict[str, dict[str, Any]] = {}
    with running(site.folder) as (process, url), httpx.Client(base_url=url) as client:

        def ask(name: str) -> int:
            response = client.post("/v1/scores", json={"consignment_id": name, "channel": "postal"})
            if response.status_code == 200:
                told[name] = response.json()
            return response.status_code

        def limit(size: int) -> None:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        assert ask("before") == 200
        limit((site.folder / "events.db-wal").stat().st_size + 60_000)
        answers = [ask(f"RB{number}") for number in range(25)]
        assert set(answers) == {200, 503}
        assert answers[-10:] == [503] * 10
        assert [client.get(f"/health/{each}").status_code for each in ("live", "ready")] == [200, 503]
        limit(resource.RLIM_INFINITY)
        end = time.monotonic() + 30
        while client.get("/health/ready").status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert [ask(f"RB{number}") for number in range(25)] == [200] * 25
        usable = "npsrisk_log_usable 0.0"
        assert usable in client.get("/metrics").text, "a small write may fit on a disk that is nearly full"
        assert "the event log could not be written" in str(client.get("/health/ready").json()["warnings"])
    written = site.entries()
    ends = {event.consignment_id: event.sequence for event in written}
    assert len(ends) == len(written) == 26
    assert ends == {name: int(answer["decision_id"].rpartition("-")[2]) for name, answer in told.items()}


def test_without_mlflow_the_service_starts_and_scores_and_publishing_says_what_is_wrong(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.registry.TIMEOUT_SECONDS", 1)
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    served = site.serve(MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as silent, served as client:
        assert scored(client, "RB1") == 200
        for port in (9, silent.getsockname()[1]):
            away = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
            code, output = site.run("publish", **away)
            assert (code, output.count("\n")) == (2, 1)
            assert output.startswith(f"npsrisk publish: http://127.0.0.1:{port}: MLflow does not answer")
        client.look()
        assert scored(client, "RB2") == 200
        assert client.read("/health/ready")["warnings"] == []


@only_sqlite
def test_damaged_pages_of_a_database_stop_the_start_with_one_line(site: Site) -> None:
    with site.serve() as client:
        client.send("/v1/scores", {"consignments": [make_consignment(f"RB{number}") for number in range(50)]})
    content = bytearray((site.folder / "events.db").read_bytes())
    for place in range(8192, len(content) - 4096, 4096):
        content[place : place + 100] = b"\xff" * 100
    (site.folder / "events.db").write_bytes(content)
    shutil.rmtree(site.folder / "snapshots")
    code, output = site.run("serve", "--port", "0")
    assert (code, output.strip().count("\n"), "malformed" in output) == (2, 0, True), output


@pytest.mark.parametrize("inline", [True, False], ids=["in the process", "in another one"])
@pytest.mark.parametrize(("with_snapshot", "damaged"), [(True, 4), (False, 4), (False, 1), (True, 1)])
def test_a_log_damaged_after_its_snapshot_stops_the_start_and_nothing_is_written(
    site: Site, monkeypatch: pytest.MonkeyPatch, with_snapshot: bool, damaged: int, inline: bool
) -> None:
    with site.serve() as client:
        assert [scored(client, f"RB{number}") for number in range(3)] == [200] * 3
        if with_snapshot:
            client.portal.call(client.service.write_snapshot)
        scored(client, "RB4")
    for path in (site.folder / "snapshots").glob(f"{4:016d}-*" if with_snapshot else "*"):
        path.unlink()
    execute(site.folder, f"UPDATE events SET asked_by = 'somebody' WHERE sequence = {damaged}")
    before, writers = sorted(site.folder.glob("snapshots/*")), count_writers()
    if not inline:
        monkeypatch.setattr("serving.event_log.verification.MAX_INLINE_ENTRIES", 0)
    if with_snapshot and damaged == 1:  # which is not read again
        with site.serve() as client:
            assert scored(client, "RB5") == 200
        return
    monkeypatch.setattr("serving.http.server.build_server", None)  # a start fails, and does not run on
    words = rf"log entry {damaged}: the event log is damaged.*verify-log.*restore"
    with pytest.raises(ServiceFault, match=words):
        serve("127.0.0.1", 0, settings_in(site.folder))
    assert count_writers() == writers
    EventLog.open(database_in(site.folder), vault_in(site.folder)).close()  # its lock is free again
    assert execute(site.folder, "SELECT max(sequence) FROM events") == [(4,)]
    assert sorted(site.folder.glob("snapshots/*")) == before
