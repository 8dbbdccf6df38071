"""The process of the pages: it is started again if it ends, ends with the service, and never holds up a score."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from support.officer import Officer, read_last, read_text, serving_desk
from support.partner import ExchangePartner, Ticking
from support.serving_examples import Client, settings_in
from support.site import Site

from consignments.errors import ServiceFault
from features.indicators.operation_keys import OperationKeys, install_keys
from operation.desk import page_process
from operation.desk.messages import PageRequest
from operation.desk.page_process import PageProcess


def find_process(client: Client) -> PageProcess:
    (found,) = [stop.__self__ for stop in client.service._stopped_at_end]  # type: ignore[attr-defined]
    assert isinstance(found, PageProcess)
    return found


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Client]:
    """A service without API keys, with what a partner seized."""
    site = Site(tmp_path_factory.mktemp("process"), bundle)
    partner = ExchangePartner(site.folder)
    settings = settings_in(site.folder, NPSRISK_EXCHANGE_DIR=str(partner.exchange))
    with serving_desk(settings, Ticking()) as opened:
        opened.score("RB1", received_at=None)
        opened.send("/v1/messages", partner.seizure())
        yield opened
    install_keys(OperationKeys())


def test_the_process_starts_for_a_person_with_a_name_and_refuses_too_many_pages(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = Officer(client)
    assert person.get("/login").status_code == 200
    assert person.get("/").status_code == 303
    assert person.sign_in(person=" ").status_code == 401
    assert find_process(client)._process is None, "nobody has signed in"
    assert person.sign_in(person="K. Lee").status_code == 200
    last = read_last(person.get("/consignment?id=RB1"))
    sent = {"form": "action", "id": "RB1", "last": last, "action": "request_screening"}
    assert "by K. Lee" in read_text(person.send("/consignment", **sent))
    told = "1 consignment of the last 30 days shares its sender's phone"
    assert told in read_text(person.get("/hunt?alert=XA/S-1")), "it has the keys of the operation"
    monkeypatch.setattr(page_process, "MAX_WAITING", 0)
    assert Officer(client).sign_in(person="K. Lee").status_code == 503
    client.score("RB3")


def test_the_process_does_not_wait_for_its_readings_after_the_service_was_killed() -> None:
    code = """
import time
from operation.desk import background, worker
background.WAIT_SECONDS = 0.1
background.BackgroundValue(lambda: time.sleep(60)).get()
worker.main()
"""
    ours, theirs = socket.socketpair()
    with theirs:
        started = subprocess.Popen([sys.executable, "-c", code], stdin=theirs.fileno())
    ours.close()
    try:
        assert started.wait(30) == 0
    finally:
        started.kill()


def test_a_process_that_starts_while_the_service_stops_is_not_waited_for(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages, starting, stopping = PageProcess(client.service.settings), Event(), Event()
    started = list[subprocess.Popen[bytes]]()

    def start(_command: Any, **options: Any) -> "subprocess.Popen[bytes]":
        starting.set()
        stopping.wait(30)
        started.append(Popen([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        return started[0]

    Popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start)
    shut_down = pages._turns.shutdown
    monkeypatch.setattr(pages._turns, "shutdown", lambda **how: (stopping.set(), shut_down(**how)))
    request = PageRequest("/", {}, None, "", 0)
    page = client.portal.start_task_soon(pages.render, request)
    starting.wait(30)
    begun = time.monotonic()
    client.portal.call(pages.stop)
    assert time.monotonic() - begun < 30
    assert started[0].wait(30) == -signal.SIGKILL
    with pytest.raises(ServiceFault):
        page.result(30)


def test_a_process_that_was_killed_is_started_again_and_ends_with_the_service(client: Client) -> None:
    person, pages = Officer(client), find_process(client)
    assert person.sign_in(person="K. Lee").status_code == 200
    first = pages._process
    os.kill(first.pid, signal.SIGKILL)
    assert [person.get("/alerts").status_code for _ in range(2)][1] == 200
    second = pages._process
    pid = second.pid
    assert (pid != first.pid, os.getsid(pid), os.getpgid(pid)) == (True, os.getsid(0), pid)
    client.score("RB2")
    client.portal.call(pages.stop)
    assert second.wait(10) is not None
