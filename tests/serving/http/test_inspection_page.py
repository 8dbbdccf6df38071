"""The page for inspection systems is true: its client and its commands run, and its tables tell what the service answers."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import msgspec
import pytest
from support.listening import listening
from support.pages import FENCE, REPOSITORY

from consignments.records import Consignment
from serving.http.openapi import build_document
from serving.http.scores import Score
from serving.process.clock import read_clock_us
from serving.scoring.intake import FaultKind

PAGE = (REPOSITORY / "docs" / "inspection-system.md").read_text(encoding="utf-8")
CLIENT = (REPOSITORY / "docs" / "client.py").read_text(encoding="utf-8")
SHOWN = "http://127.0.0.1:8080"


def shown(language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(PAGE) if kind == language]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[str]:
    with listening(tmp_path_factory.mktemp("state"), bundle, read_clock_us) as running:
        yield f"http://127.0.0.1:{running.port}"


def client_of(url: str) -> Any:
    """Run the client of the page, and the calls below it."""
    names: dict[str, Any] = {}
    (calls,) = shown("python")
    exec(CLIENT, names)
    exec(calls.replace("from client import NpsRisk\n", "").replace(SHOWN, url), names)
    return names


def test_the_client_of_the_page_runs(url: str) -> None:
    npsrisk = client_of(url)["npsrisk"]
    told = httpx.get(f"{url}/v1/consignments/RB000000017GB").json()
    assert [outcome["result"] for outcome in told["outcomes"]] == ["clear"]
    rows = [{"consignment_id": "A", "channel": "postal"}, {"consignment_id": "B", "channel": "sea"}]
    scores, refused = npsrisk.score_all(rows)
    assert [score["consignment_id"] for score in scores] == ["A"]
    ((consignment, error),) = refused
    assert (consignment["consignment_id"], error["kind"]) == ("B", "bad_value")
    with pytest.raises(ValueError, match="Invalid enum value"):
        npsrisk.score({"consignment_id": "C", "channel": "sea"})
    npsrisk.http.close()


def test_the_client_sends_the_same_again_until_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    names, waits, bodies = dict[str, Any](), list[float](), list[bytes]()
    answers: list[Any] = [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
        httpx.Response(503, json={"request_id": "a", "detail": "busy"}, headers={"retry-after": "3"}),
        httpx.Response(502, text="<html>Bad Gateway</html>"),
        httpx.Response(429, json={"request_id": "b", "detail": "slow"}),
        httpx.Response(200, json={"band": "high"}),
        *[httpx.ConnectError("refused")] * 8,
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        if isinstance(answers[0], Exception):
            raise answers.pop(0)
        return answers.pop(0)

    exec(CLIENT, names)
    monkeypatch.setattr("time.sleep", waits.append)
    npsrisk = names["NpsRisk"](SHOWN)
    npsrisk.http.close()
    npsrisk.http = httpx.Client(base_url=SHOWN, transport=httpx.MockTransport(answer))
    assert npsrisk.score({"consignment_id": "A", "channel": "postal"}) == {"band": "high"}
    assert (len(bodies), len(set(bodies)), waits[2] >= 3) == (6, 1, True)
    with pytest.raises(TimeoutError, match="8 attempts"):
        npsrisk.score({})
    npsrisk.http.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_the_commands_with_curl_run(url: str) -> None:
    (script,) = shown("bash")
    command, paths = ["bash", "-euc", script.replace(SHOWN, url)], {"KEY": "none", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=paths)
    score, receipt, told = map(msgspec.json.decode, re.split(r"(?<=\})(?=\{)", done.stdout))
    assert score["decision_id"] == told["decisions"][0]["decision_id"]
    assert (receipt["id"], told["outcomes"][0]["result"]) == ("RB123456785GB", "nps")


def test_the_score_of_the_page_is_one_and_every_status_and_kind_that_can_be_answered_is_on_it() -> None:
    (example,) = shown("json")
    assert set(msgspec.json.decode(example)) == set(Score.__struct_fields__) - {"features", "quality"}
    assert msgspec.json.decode(example, type=Score).band == "high"
    paths = build_document(Consignment, "0")["paths"].values()
    told = {status for methods in paths for each in methods.values() for status in each["responses"]}
    rows = re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE)
    named = {status for row in rows for status in re.findall(r"\d{3}", row)}
    assert told - {"200"} | {"405", "431", "500"} <= named
    kinds = set(re.findall(r"`(\w+)`", PAGE.partition("| `kind` |")[2].partition("\n\n")[0]))
    assert set(get_args(FaultKind)) <= kinds
