"""A second service waits for the lock of the log and then starts, and no two services ever write it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from msgspec import structs
from support.databases import SERVER, Entry, database_in, execute, only_postgres
from support.examples import make_consignment, make_outcome
from support.serving_examples import DATA_KEYS, Client, publish, scored, serving, settings_in
from support.site import list_names

from cli.service.installation import DoctorFinding, examine
from consignments.errors import LogInUse, ServiceFault
from features.history.data_keys import DataKeys, encode_data_keys
from serving.encryption.vault import Vault
from serving.event_log.databases.backend import LogWriter
from serving.event_log.log import EventLog
from serving.process.settings import Settings
from serving.service import Service
from serving.standby import SilenceTimer
from serving.state.forgetting import LIST_NAME

PATIENCE_SECONDS = 60.0


def ask_doctor(settings: Settings) -> DoctorFinding:
    return next(each for each in examine(settings) if each.check == "standby")


@pytest.fixture
def active(tmp_path: Path, bundle: Path) -> Iterator[Client]:
    with serving(settings_of(tmp_path / "one", tmp_path / "one", bundle)) as client:
        yield client


@pytest.fixture
def standby(active: Client, tmp_path: Path, bundle: Path) -> Iterator[Client]:
    assert active.service.role.is_active
    with serving(settings_of(tmp_path / "two", tmp_path / "one", bundle)) as client:
        yield client


def settings_of(folder: Path, log: Path, bundle: Path) -> Settings:
    """Settings of a service with a state directory of its own, on the log of another."""
    publish(folder, bundle, "1")
    return settings_in(
        folder, NPSRISK_DATABASE_URL=database_in(log), NPSRISK_STANDBY="true",
        NPSRISK_TAKEOVER_SECONDS="3", NPSRISK_SNAPSHOTS_DIR=str(log / "snapshots"),
    )  # fmt: skip


def wait_until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < end, "not reached"
        time.sleep(0.02)


def end_session(log: EventLog) -> None:
    """End the session of a log's writer, as a standby does and as the server does when a connection is lost."""
    engine = sa.create_engine(SERVER)
    with engine.connect() as connection:
        driver = log._writer._connection.connection.driver_connection  # type: ignore[attr-defined]
        connection.exec_driver_sql("SELECT pg_terminate_backend(%s, 5000)", (driver.info.backend_pid,))
    engine.dispose()


@contextmanager
def two_logs(folder: Path, vault: Vault) -> Iterator[tuple[EventLog, EventLog]]:
    first, second = (EventLog.open(database_in(folder), vault, standby=True) for _ in range(2))
    yield first, second
    first.close()
    second.close()


def test_silence_counts_from_the_last_sign_that_was_seen_and_only_while_somebody_looks() -> None:
    timer, begun = SilenceTimer(2.0), datetime(2024, 3, 1, tzinfo=UTC)
    writer = LogWriter(7, begun, "npsrisk 1 on a", begun)
    assert [timer.measure(writer, now) for now in (10.0, 11.0, 12.5)] == [0.0, 1.0, 2.5]
    assert timer.measure(writer._replace(sign=begun + timedelta(seconds=1)), 13.0) == 0.0
    assert timer.measure(writer, 14.0) == 0.0
    unseen = [timer.measure(writer, now) for now in (15.0, 18.0, 19.0)]
    assert unseen == [1.0, 0.0, 1.0], "did not look for 3 s"
    assert [timer.measure(writer._replace(sign=None), now) for now in (20.0, 21.0)] == [0.0, 0.0]
    assert timer.measure(None, 22.0) == 0.0


def test_a_standby_without_postgresql_is_found_by_the_doctor(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'events.db'}"
    settings = settings_in(tmp_path, NPSRISK_STANDBY="true", NPSRISK_DATABASE_URL=url)
    assert "needs the event log in PostgreSQL" in ask_doctor(settings).found


@only_postgres
def test_a_writer_whose_session_was_ended_writes_on_only_if_nobody_else_did_and_never_what_another_has_written(
    entry: Entry, vault: Vault, tmp_path: Path
) -> None:
    with two_logs(tmp_path, vault) as (first, second):
        assert (first.writes, second.writes, second.try_to_write()) == (True, False, False)
        end_session(first)
        first.renew()
        end_session(first)
        first.append([entry(1)])
        end_session(first)
        wait_until(second.try_to_write)
        assert (second.last_sequence, second.head) == (1, first.head)
        for _ in range(2):
            with pytest.raises(LogInUse):
                first.append([entry(2)])
        with pytest.raises(LogInUse):
            first.renew()
        second.append([entry(2, consignment_id="RB9")])
        second.close()
        with pytest.raises(Exception, match="was changed by another process"):
            first.append([entry(2)])
        first.reread()
        first.append([entry(3)])
    assert list_names(tmp_path) == ["RB1", "RB9", "RB3"]


@only_postgres
def test_a_transaction_of_a_former_writer_never_commits(entry: Entry, vault: Vault, tmp_path: Path) -> None:
    with two_logs(tmp_path, vault) as (first, second):
        writing = first._writer.transaction()
        connection = writing.__enter__()
        connection.exec_driver_sql("DELETE FROM log")
        end_session(first)
        wait_until(second.try_to_write)
        with pytest.raises(sa.exc.DBAPIError):
            writing.__exit__(None, None, None)
        assert execute(tmp_path, "SELECT log_id FROM log") == [(second.log_id,)]
        second.append([entry(1)])


@only_postgres
def test_a_standby_says_what_it_is_and_scores_nothing(active: Client, standby: Client) -> None:
    assert scored(active, "RB1") == 200
    told = standby.get("/health/ready")
    assert (told.status_code, told.json()["role"]) == (503, "standby")
    assert told.json()["reasons"][0].startswith("this service is a standby")
    assert standby.get("/health/live").status_code == 200
    for path, body in (
        ("/v1/scores", make_consignment("RB1")),
        ("/v1/scores", {"consignments": [make_consignment("RB2")]}),
        ("/v1/outcomes", make_outcome("RB1")),
        ("/v1/cancellations", {"consignment_id": "RB1"}),
    ):
        refused = standby.post(path, body)
        assert refused.status_code == 503, path
        assert "send the request to the active service" in refused.text
    assert len(standby.get("/v1/consignments/RB1").json()["decisions"]) == 1
    assert active.get("/health/ready").json()["role"] == "active"
    found = ask_doctor(standby.service.settings)
    assert (found.ok, found.found.endswith("is active")) == (True, True), found
    metrics = standby.get("/metrics").text
    assert "npsrisk_active 0.0" in metrics


@only_postgres
def test_a_standby_takes_over_from_the_last_snapshot(active: Client, standby: Client) -> None:
    for name in ("RB1", "RB2", "RB3"):
        assert scored(active, name) == 200
    active.send("/v1/outcomes", make_outcome("RB1", result="nps"))
    answer, features = active.score("RB2"), active.compute_features("RB4")
    assert len(standby.service.active.state.history) == 0, "it waits without a state"
    active.portal.call(active.service.stop)
    wait_until(lambda: standby.service.role.is_active)
    assert standby.service.snapshots.last == 5, "the stop wrote it before the lock was free"
    assert standby.get("/health/ready").status_code == 200
    assert standby.score("RB2") == answer
    sent = "history.sender.arrivals_30d"
    assert standby.compute_features("RB5")[sent] == features[sent] + 1
    assert "npsrisk_active 1.0" in standby.get("/metrics").text


@only_postgres
@pytest.mark.parametrize("is_silent", [True, False])
def test_an_active_service_that_is_silent_or_lost_its_lock_refuses_becomes_a_standby_and_can_take_over_again(
    active: Client, standby: Client, tmp_path: Path, is_silent: bool
) -> None:
    assert scored(active, "RB1") == 200
    with pausing(active):
        if not is_silent:
            end_session(active.service.log)
        wait_until(lambda: standby.service.role.is_active)
        if is_silent:
            refused = active.post("/v1/scores", make_consignment("RB1"))
            assert (refused.status_code, "not certain" in refused.text) == (503, True)
        assert scored(standby, "RB2") == 200
    assert scored(active, "RB3") == 503
    active.look()
    wait_until(lambda: not active.service.role.is_active and active.service.committer.fault is None)
    end_session(standby.service.log)
    wait_until(lambda: active.service.role.is_active or scored(standby, "RB4") == 200)
    assert list_names(tmp_path / "one")[:2] == ["RB1", "RB2"]


@contextmanager
def pausing(client: Client) -> Iterator[None]:
    """Let a service give no signs of life, as if it were paused."""
    client.service.log.renew = lambda: None  # type: ignore[method-assign]
    yield
    del client.service.log.renew


@only_postgres
def test_a_second_service_says_why_and_starts_when_it_can(
    active: Client, standby: Client, tmp_path: Path, bundle: Path
) -> None:
    assert scored(active, "RB1") == 200
    settings = settings_of(tmp_path / "three", tmp_path / "one", bundle)
    other = structs.replace(DATA_KEYS, sealing_keys=DataKeys.create().sealing_keys)
    settings.data_key_file.write_bytes(encode_data_keys(other))
    with pytest.raises(ServiceFault, match=r"restore the newest copy of data\.key"):
        Service(settings)
    (tmp_path / "two" / LIST_NAME).write_text("not a line\n")
    active.portal.call(active.service.stop)
    wait_until(lambda: standby.service.role.fault is not None)
    assert "list of what was forgotten" in str(standby.get("/health/ready").json()["reasons"])
    assert "npsrisk_standby_usable 0.0" in standby.get("/metrics").text
    (tmp_path / "two" / LIST_NAME).unlink()
    wait_until(lambda: standby.service.role.is_active)
    assert scored(standby, "RB2") == 200
