"""The service as a process of its own: real sockets, one process a directory, nothing lost when it is killed."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
from support.serving_examples import SERVE, publish, running

HEAVY = {"pandas", "lightgbm", "sklearn", "mlflow", "matplotlib"}
SERVE_AND_LIST = f"""import atexit, sys
atexit.register(lambda: print("loaded", {HEAVY} & sys.modules.keys(), file=sys.stderr))
{SERVE}"""


def test_it_answers_over_a_socket_stops_when_told_loads_nothing_heavy(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    with running(tmp_path, SERVE_AND_LIST) as (process, url), httpx.Client(base_url=url) as client:
        body = {"channel": "postal", "sender_name": "Orchid Trading", "description": "socks"}
        for place in range(5):
            told = client.post("/v1/scores", json=body | {"consignment_id": f"RB{place}"}).json()
            assert 0 < told["score"] < 1
        assert "server" not in client.get("/").headers
        process.send_signal(signal.SIGHUP)
        assert client.get("/health/ready").json()["log_sequence"] == 5
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        lines = (tmp_path / "service.log").read_text()
    assert '"event": "stopped"' in lines
    assert "Orchid" not in lines
    assert lines.endswith("loaded set()\n")


def test_the_pages_for_officers_load_nothing_heavy_into_it() -> None:
    code = f"import sys, operation.desk.routes; print({HEAVY} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
