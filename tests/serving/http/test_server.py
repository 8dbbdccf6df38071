"""The service as a process of its own: real sockets, one process a directory, nothing lost when it is killed."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.databases import database_in
from support.serving_examples import DATA_KEYS, environment, publish, running, settings_in

from consignments.errors import BadSetting
from serving.encryption.vault import Vault
from serving.event_log.log import EventLog
from serving.event_log.verification import verify_chain
from serving.http.server import serve

OPEN = """
import asyncio, sys
from serving.http.app import App
from serving.service import Service
from serving.process.settings import Settings
from serving.event_log.verification import verify_chain
service = Service(Settings.read())
service.open()
App(service)
assert service.active.scorer is not None
print([name for name in ("pandas", "lightgbm", "sklearn", "mlflow", "matplotlib") if name in sys.modules])
"""


def body(name: str) -> dict[str, Any]:
    return {
        "consignment_id": name,
        "channel": "postal",
        "sender_name": "Orchid Trading",
        "description": "socks",
    }


def test_it_answers_over_a_socket_and_stops_when_told(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    with running(tmp_path) as (process, url), httpx.Client(base_url=url) as client:
        told = [client.post("/v1/scores", json=body(f"RB{place}")).json() for place in range(5)]
        assert all(0 < each["score"] < 1 for each in told)
        assert "server" not in client.get("/").headers
        process.send_signal(signal.SIGHUP)
        assert client.get("/health/ready").json()["log_sequence"] == 5
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        lines = (tmp_path / "service.log").read_text()
    assert '"event": "stopped"' in lines
    assert "Orchid" not in lines


def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    acknowledged: dict[str, dict[str, Any]] = {}
    with running(tmp_path) as (process, url):
        callers = [
            threading.Thread(target=call_until_gone, args=(url, place, acknowledged)) for place in range(6)
        ]
        for caller in callers:
            caller.start()
        while len(acknowledged) < 200:
            time.sleep(0.01)
        process.kill()
        for caller in callers:
            caller.join()
    log = EventLog.open(database_in(tmp_path), Vault(DATA_KEYS))
    logged = {
        event.consignment_id: (log.format_decision_id(event.sequence), event.score)
        for event in log.read_events()
    }
    assert verify_chain(log).broken_at is None
    assert len(logged) == log.last_sequence
    log.close()
    for name, told in acknowledged.items():
        assert logged[name] == (told["decision_id"], told["score"])
    with running(tmp_path) as (_, url), httpx.Client(base_url=url) as client:
        for name in list(acknowledged)[::20]:
            assert client.post("/v1/scores", json=body(name)).json() == acknowledged[name] | {
                "repeated": True
            }


def call_until_gone(url: str, caller: int, acknowledged: dict[str, dict[str, Any]]) -> None:
    with httpx.Client(base_url=url) as client:
        for place in range(100_000):
            name = f"RB{caller}-{place}"
            try:
                response = client.post("/v1/scores", json=body(name))
            except httpx.HTTPError:
                return
            acknowledged[name] = response.json()


def test_the_scoring_process_loads_nothing_heavy(tmp_path: Path, bundle: Path) -> None:
    """What training needs stays out of the process that scores."""
    publish(tmp_path, bundle, "1")
    done = subprocess.run(
        [sys.executable, "-c", OPEN], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_without_keys_it_listens_on_loopback_only(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"^NPSRISK_API_KEYS_FILE: without API keys.*got --host 0.0.0.0"):
        serve("0.0.0.0", 0, settings_in(tmp_path))
