"""The process of the pages: it is started again if it ends, ends with the service, and never holds up a score."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support.examples import make_consignment
from support.officer import Officer, serving_desk
from support.serving_examples import Client, publish, settings_in

from consignments.errors import ServiceFault
from operation.desk import page_process
from operation.desk.messages import PageRequest, Viewer
from operation.desk.page_process import PageProcess
from operation.desk.views.renderer import VIEWS, PageRenderer
from operation.desk.views.sources import PageSources


def find_process(client: Client) -> PageProcess:
    """Find the process of the pages of a service."""
    (found,) = [stop.__self__ for stop in client.service._stopped_at_end]  # type: ignore[attr-defined]
    assert isinstance(found, PageProcess)
    return found


def get_pid(process: PageProcess) -> int:
    assert process._process is not None
    return process._process.pid


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_that_was_killed_is_started_again_and_ends_with_the_service(
    tmp_path: Path, bundle: Path
) -> None:
    publish(tmp_path, bundle, "1")
    with serving_desk(settings_in(tmp_path)) as client:
        client.post("/v1/scores", make_consignment("RB1"))
        person, pages = Officer(client), find_process(client)
        assert person.get("/login").status_code == 200
        assert person.get("/").status_code == 303
        assert pages._process is None, "nobody has signed in"
        assert person.sign_in(person="K. Lee").status_code == 200
        first = get_pid(pages)
        os.kill(first, signal.SIGKILL)
        answers = [person.get("/alerts").status_code for _ in range(2)]
        assert answers[1] == 200
        second = get_pid(pages)
        assert second != first
        assert os.getsid(second) == os.getsid(0)
        assert os.getpgid(second) == second
        assert client.post("/v1/scores", make_consignment("RB2")).status_code == 200
    end = time.monotonic() + 10
    while is_running(second) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_running(second)


def test_too_many_pages_at_once_are_refused(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, bundle, "1")
    monkeypatch.setattr(page_process, "MAX_WAITING", 0)
    with serving_desk(settings_in(tmp_path)) as client:
        person = Officer(client)
        assert person.sign_in(person="K. Lee").status_code == 503
        assert client.post("/v1/scores", make_consignment("RB1")).status_code == 200


def test_the_service_gets_the_whole_fault_of_a_page_for_its_log(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_sources: PageSources, request: PageRequest, _viewer: Viewer) -> dict[str, Any]:
        raise ServiceFault("the log cannot be read", where=request.view)

    publish(tmp_path, bundle, "1")
    with serving_desk(settings_in(tmp_path)) as client:
        renderer = PageRenderer(client.service.settings)
        monkeypatch.setitem(VIEWS, "/etc/secret", fail)
        answer = renderer.render(PageRequest("/etc/secret", {}, Viewer("key", "K. Lee", ("read",)), "", 0))
        renderer.close()
    assert answer.status == 503
    assert "/etc/secret" in answer.error
    assert b"/etc/secret" not in answer.html
