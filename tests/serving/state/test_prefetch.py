"""Who asks for a consignment that is not in memory waits for the log, and nobody with him."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from support.examples import make_consignment, make_outcome
from support.serving_examples import Client, refused
from support.site import Site

from consignments.errors import ServiceFault
from serving.state.consignment_states import ConsignmentStates

AMENDED = make_consignment("RB1", gross_weight_kg=7.5)
SPAN = {"from": "2024-03-01T00:00:00Z", "until": "2024-03-20T00:00:00Z"}
ASKED: dict[str, tuple[str, Any]] = {
    "an amendment": ("/v1/scores", AMENDED),
    "a list of them": ("/v1/scores", {"consignments": [AMENDED]}),
    "an outcome": ("/v1/outcomes", make_outcome("RB1")),
    "a list of outcomes": ("/v1/outcomes", {"outcomes": [make_outcome("RB1")]}),
    "a cancellation": ("/v1/cancellations", {"consignment_id": "RB1"}),
    "a selection": ("/v1/selections", {"office": "Incheon", "capacity": 5, "explore": 0.2, **SPAN}),
}


@pytest.fixture
def forgetful(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A service that has scored RB1, and keeps one dossier in memory, which is another's."""
    assert ConsignmentStates.__init__.__kwdefaults__["recent"] > 1
    monkeypatch.setitem(ConsignmentStates.__init__.__kwdefaults__, "recent", 1)
    with site.serve() as client:
        for name in ("RB1", "RB2"):
            client.score(name)
        yield client


@pytest.mark.parametrize("asked", ASKED)
def test_a_slow_look_up_delays_no_other(
    forgetful: Client, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, reading, go = forgetful.service.log, threading.Event(), threading.Event()
    of = log.read_consignment_events

    def slowly(*given: Any) -> Any:
        reading.set()
        assert go.wait(30)
        return of(*given)

    monkeypatch.setattr(log, "read_consignment_events", slowly)

    async def post(path: str, body: Any) -> httpx.Response:
        headers = {"content-type": "application/json"}
        return await forgetful.http.post(path, content=msgspec.json.encode(body), headers=headers)

    async def run() -> None:
        waiting = asyncio.create_task(post(*ASKED[asked]))
        await asyncio.to_thread(reading.wait, 30)
        assert (await post("/v1/scores", make_consignment("RB3"))).status_code == 200
        assert not waiting.done()
        go.set()
        assert (await waiting).status_code == 200

    forgetful.portal.call(run)
    told = forgetful.get("/v1/consignments/RB1").json()
    told_of = ("decisions", "outcomes", "cancellations", "selections")
    assert sum(len(told[kind]) for kind in told_of) == 2


@pytest.mark.parametrize("slow", [False, True])
def test_where_the_log_cannot_be_read_in_time_the_call_is_refused_and_the_next_one_taken(
    forgetful: Client, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    asked, go = list[Any](), threading.Event()

    def fail(*given: Any) -> Any:
        asked.append(given)
        if slow:
            go.wait(30)
        raise ServiceFault("the event log cannot be read")

    with monkeypatch.context() as broken:
        broken.setattr(forgetful.service.log, "read_consignment_events", fail)
        broken.setattr("serving.scoring.active_model.MAX_WAIT_SECONDS", 0.1 if slow else 30)
        refused = forgetful.post("/v1/outcomes", make_outcome("RB1"))
        go.set()
    assert (refused.status_code, refused.headers["retry-after"], len(asked)) == (503, "1", 1)
    assert ("takes too long" in refused.json()["detail"]) == slow
    assert forgetful.post("/v1/outcomes", make_outcome("RB1")).status_code == 200


def test_what_is_refused_takes_no_memory(forgetful: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    dossiers = forgetful.service.active.state.dossiers
    dossiers.durable = lambda: 0  # so that nothing is dropped
    before = len(dossiers)
    with monkeypatch.context() as broken:
        broken.setattr(forgetful.service.committer, "fault", ServiceFault("the disk is full"))
        for place in range(5):
            assert refused(forgetful, f"RB-new-{place}")
            assert forgetful.post("/v1/outcomes", make_outcome(f"RB-new-{place}")).status_code == 503
    assert len(dossiers) == before
