"""Who asks for a consignment that is not in memory waits for the log, and nobody with him."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from support.examples import make_consignment, make_outcome
from support.serving_examples import Client, refused
from support.site import Site

from consignments.errors import ServiceFault
from serving.state.consignment_states import ConsignmentStates


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Client]:
    """A service that keeps one consignment in memory."""
    assert ConsignmentStates.__init__.__kwdefaults__["recent"] > 1
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(ConsignmentStates.__init__.__kwdefaults__, "recent", 1)
        with Site(tmp_path_factory.mktemp("forgetful"), bundle).serve() as client:
            yield client


SPAN = {"from": "2024-03-01T00:00:00Z", "until": "2024-03-20T00:00:00Z", "capacity": 5, "explore": 0.2}
ASKED: dict[str, Callable[[str, str], tuple[str, Any]]] = {
    "an amendment": lambda name, office: ("scores", make_consignment(name, office=office, pieces=7.5)),
    "a list": lambda name, office: (
        "scores",
        {"consignments": [make_consignment(name, office=office, pieces=7.5)]},
    ),
    "an outcome": lambda name, office: ("outcomes", make_outcome(name)),
    "a list of outcomes": lambda name, office: ("outcomes", {"outcomes": [make_outcome(name)]}),
    "a cancellation": lambda name, office: ("cancellations", {"consignment_id": name}),
    "a selection": lambda name, office: ("selections", SPAN | {"office": office}),
}
"""Calls about a consignment of an office that was scored before."""


@pytest.mark.parametrize("kind", ASKED)
def test_a_slow_read_delays_no_other(forgetful: Client, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log, reading, go = forgetful.service.log, threading.Event(), threading.Event()
    read, name = log.read_consignment_events, f"RB-{kind.replace(' ', '-')}"
    forgetful.score(name, office=kind)
    forgetful.score("another")

    def slowly(*given: Any) -> Any:
        reading.set()
        assert go.wait(30)
        return read(*given)

    monkeypatch.setattr(log, "read_consignment_events", slowly)

    async def post(path: str, body: Any) -> httpx.Response:
        headers = {"content-type": "application/json"}
        return await forgetful.http.post(f"/v1/{path}", content=msgspec.json.encode(body), headers=headers)

    async def run() -> None:
        waiting = asyncio.create_task(post(*ASKED[kind](name, kind)))
        await asyncio.to_thread(reading.wait, 30)
        assert (await post("scores", make_consignment(f"{name}-2", office=None))).status_code == 200
        assert not waiting.done()
        go.set()
        assert (await waiting).status_code == 200

    forgetful.portal.call(run)
    told = forgetful.read(f"/v1/consignments/{name}")
    told_of = ("decisions", "outcomes", "cancellations", "selections")
    assert sum(len(told[each]) for each in told_of) == 2


@pytest.mark.parametrize("slow", [False, True])
def test_where_the_log_cannot_be_read_in_time_the_call_is_refused_and_the_next_one_taken(
    forgetful: Client, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    asked, go, name = list[Any](), threading.Event(), f"RB-{slow}"
    forgetful.score(name)
    forgetful.score("another")

    def fail(*given: Any) -> Any:
        asked.append(given)
        if slow:
            go.wait(30)
        raise ServiceFault("the event log cannot be read")

    with monkeypatch.context() as broken:
        broken.setattr(forgetful.service.log, "read_consignment_events", fail)
        broken.setattr("serving.scoring.active_model.MAX_WAIT_SECONDS", 0.1 if slow else 30)
        refused = forgetful.post("/v1/outcomes", make_outcome(name))
        go.set()
    assert (refused.status_code, refused.headers["retry-after"], len(asked)) == (503, "1", 1)
    assert ("takes too long" in refused.json()["detail"]) == slow
    assert forgetful.post("/v1/outcomes", make_outcome(name)).status_code == 200


@pytest.mark.parametrize("dropped", [False, True])
def test_what_was_read_before_an_entry_came_does_not_hide_it(forgetful: Client, dropped: bool) -> None:
    """The entry may be out of memory again, and read by another look-up."""
    state, name = forgetful.service.active.state, f"RBLATE{dropped:d}"
    for each in (name, "another"):
        forgetful.score(each)
    absent, until = state.dossiers.find_absent([name], state.today), state.sequence
    found = state.dossiers.read_events(absent, until)
    assert [len(events) for events in found.values()] == [1]
    forgetful.send("/v1/outcomes", make_outcome(name))
    if dropped:
        forgetful.score(f"{name}2")
    state.dossiers.keep(absent, found, until)
    assert len(state.get_consignment(name).outcomes) == 1


def test_what_is_refused_takes_no_memory(forgetful: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    dossiers = forgetful.service.active.state.dossiers
    monkeypatch.setattr(dossiers, "durable", lambda: 0)  # so that nothing is dropped
    monkeypatch.setattr(forgetful.service.committer, "fault", ServiceFault("the disk is full"))
    before = len(dossiers)
    for place in range(5):
        assert refused(forgetful, f"RBNEW{place}")
        assert forgetful.post("/v1/outcomes", make_outcome(f"RBNEW{place}")).status_code == 503
    assert len(dossiers) == before
