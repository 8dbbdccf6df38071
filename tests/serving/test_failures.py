"""What fails is provoked: an honest error while it lasts, nothing lost, nothing twice, and on again by itself afterwards.

Here: database, disk, state directory, MLflow. Others stand with what they are about: a damaged snapshot (`test_snapshots`), a
clock that jumps back (`test_clock`), a process that is killed, a corrupt model, two services at once (`test_kills`,
`test_chaos`, `test_lock`), a client that hangs (`test_connections`), a model that gives no number (`test_scores`).
"""

import resource
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from support.databases import database_in, execute, only_sqlite, state_environment
from support.serving_examples import (
    DATA_KEYS,
    Client,
    publish,
    refused,
    running,
    scored,
    serving,
    settings_in,
)

from consignments.errors import ServiceFault
from npsrisk import main
from serving.encryption.vault import Vault
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.event_log.verification import verify_chain
from serving.http.server import serve
from serving.process.state_directory import StateLock

MANY_BYTES = resource.RLIM_INFINITY


def logged(client: Client) -> list[str | None]:
    return [event.consignment_id for event in client.service.log.read_events()]


@contextmanager
def locked(database: Path) -> Iterator[sqlite3.Connection]:
    """Hold the database as another process would."""
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


@only_sqlite
def test_a_database_that_stays_locked_is_told_and_then_it_goes_on(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.event_log.databases.backend.BUSY_SECONDS", 0.1)
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        assert scored(client, "RB1") == 200
        with locked(tmp_path / "events.db"):
            told = "the event log cannot be written; try again"
            assert refused(client, "RB2").startswith(told)
            client.look()
            assert refused(client, "RB3").startswith(told)
            assert "database is locked" in client.get("/health/ready").json()["reasons"][0]
        client.look()
        assert [scored(client, name) for name in ("RB2", "RB3", "RB2")] == [200] * 3
        assert logged(client) == ["RB1", "RB2", "RB3"]


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
def test_a_database_that_can_only_be_read_is_told_and_then_it_goes_on(client: Client) -> None:
    assert scored(client, "RB1") == 200
    engine = client.service.log._engine

    def read_only(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    sa.event.listen(engine, "connect", read_only)
    client.portal.call(client.service.log._writer.release)
    engine.dispose()
    assert refused(client, "RB2").startswith("the event log cannot be written; try again")
    client.look()
    assert "cannot be written" in refused(client, "RB2")
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert "readonly" in ready.json()["reasons"][0]
    assert client.get("/v1/consignments/RB1").status_code == 200
    sa.event.remove(engine, "connect", read_only)
    engine.dispose()
    client.look()
    assert scored(client, "RB2") == 200
    assert logged(client) == ["RB1", "RB2"]


@only_sqlite
def test_on_a_full_disk_nothing_is_answered_that_is_not_written(tmp_path: Path, bundle: Path) -> None:
    """The system refuses every write beyond a size, as a full disk does, until there is room again."""
    publish(tmp_path, bundle, "1")
    told: dict[str, dict[str, Any]] = {}
    with running(tmp_path) as (process, url), httpx.Client(base_url=url) as client:

        def ask(name: str) -> int:
            response = client.post("/v1/scores", json={"consignment_id": name, "channel": "postal"})
            if response.status_code == 200:
                told[name] = response.json()
            return response.status_code

        assert ask("before") == 200
        room = (tmp_path / "events.db-wal").stat().st_size + 100_000
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (room, MANY_BYTES))
        answers = [ask(f"RB{number}") for number in range(60)]
        assert set(answers) == {200, 503}
        assert answers[-10:] == [503] * 10
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 503
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (MANY_BYTES, MANY_BYTES))
        until_ready(client)
        assert [ask(f"RB{number}") for number in range(60)] == [200] * 60
        assert "npsrisk_log_usable 0.0" in client.get("/metrics").text, (
            "a small write may fit on a disk that is nearly full"
        )
        assert "the event log could not be written" in str(client.get("/health/ready").json()["warnings"])
    log = EventLog.open(database_in(tmp_path), Vault(DATA_KEYS))
    written = {event.consignment_id: log.format_decision_id(event.sequence) for event in log.read_events()}
    assert verify_chain(log).broken_at is None
    assert log.last_sequence == len(written) == 61
    assert written == {name: answer["decision_id"] for name, answer in told.items()}
    log.close()


def until_ready(client: httpx.Client) -> None:
    end = time.monotonic() + 30
    while client.get("/health/ready").status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_without_mlflow_the_service_starts_and_scores_and_publishing_says_what_is_wrong(
    tmp_path: Path, bundle: Path
) -> None:
    publish(tmp_path, bundle, "1")
    away = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "NPSRISK_STATE_DIR": str(tmp_path)}
    with serving(settings_in(tmp_path, MLFLOW_TRACKING_URI=away["MLFLOW_TRACKING_URI"])) as client:
        assert scored(client, "RB1") == 200
        done = CliRunner().invoke(main, ["publish"], env=away)
        assert (done.exit_code, done.output.count("\n")) == (2, 1)
        assert done.output.startswith("npsrisk publish: http://127.0.0.1:9: MLflow does not answer")
        client.look()
        assert scored(client, "RB2") == 200
        assert client.get("/health/ready").json()["warnings"] == []


def test_an_mlflow_that_hangs_is_told_as_one_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the call and never answers."""
    monkeypatch.setattr("models.registry.TIMEOUT_SECONDS", 1)
    settings_in(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        hangs = {"MLFLOW_TRACKING_URI": address, "NPSRISK_STATE_DIR": str(tmp_path)}
        hangs["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        done = CliRunner().invoke(main, ["publish"], env={**hangs, "MLFLOW_HTTP_REQUEST_TIMEOUT": None})
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert done.output.startswith(f"npsrisk publish: {address}: MLflow does not answer")


def start(folder: Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["serve", "--port", "0"], env=state_environment(folder))
    return done.exit_code, done.output.strip()


def test_a_state_directory_that_cannot_be_written_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, told = start(tmp_path / "file" / "state")
    assert (code, told.count("\n")) == (2, 0)
    assert "the state directory cannot be written" in told


def test_a_second_service_on_one_directory_ends_with_one_line(tmp_path: Path) -> None:
    with StateLock(tmp_path):
        code, told = start(tmp_path)
    assert (code, told.count("\n")) == (2, 0)
    assert "another process uses this state directory" in told


@only_sqlite
def test_a_database_that_is_none_stops_the_start_and_stays_as_it_is(tmp_path: Path) -> None:
    settings_in(tmp_path)
    (tmp_path / "events.db").write_bytes(b"not a database" * 1000)
    code, told = start(tmp_path)
    assert (code, told.count("\n")) == (2, 0)
    assert "the event log cannot be opened; got file is not a database" in told
    assert (tmp_path / "events.db").read_bytes() == b"not a database" * 1000


@only_sqlite
def test_a_database_damaged_in_the_middle_is_told_and_never_answered_from(
    tmp_path: Path, bundle: Path
) -> None:
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        assert [scored(client, f"RB{number}") for number in range(50)] == [200] * 50
    content = bytearray((tmp_path / "events.db").read_bytes())
    for place in range(8192, len(content) - 4096, 4096):
        content[place : place + 100] = b"\xff" * 100
    (tmp_path / "events.db").write_bytes(content)
    for path in (tmp_path / "snapshots").iterdir():
        path.unlink()
    code, told = start(tmp_path)
    assert (code, told.count("\n")) == (2, 0)
    assert "malformed" in told


@pytest.mark.parametrize("with_snapshot", [True, False])
def test_a_damaged_log_stops_the_start_and_nothing_is_written(
    tmp_path: Path, bundle: Path, with_snapshot: bool
) -> None:
    publish(tmp_path, bundle, "1")
    settings = settings_in(tmp_path)
    with serving(settings) as client:
        assert [scored(client, f"RB{number}") for number in range(3)] == [200] * 3
        if with_snapshot:
            client.portal.call(client.service.write_snapshot)
        scored(client, "RB4")
    for path in (tmp_path / "snapshots").glob(f"{4:016d}-*" if with_snapshot else "*"):
        path.unlink()
    execute(tmp_path, "UPDATE events SET asked_by = 'somebody' WHERE sequence = 4")
    before = sorted(tmp_path.glob("snapshots/*"))
    with pytest.raises(ServiceFault, match=r"log entry 4: the event log is damaged.*restore"):
        serve("127.0.0.1", 0, settings)
    assert execute(tmp_path, "SELECT max(sequence) FROM events") == [(4,)]
    assert sorted(tmp_path.glob("snapshots/*")) == before
