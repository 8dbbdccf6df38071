"""What inspection systems send, and every answer they got: consignments one by one and in lists, again, amended and
cancelled, and outcomes late, corrected and again. A call that got no answer is sent again.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import httpx
import numpy as np

from consignments.timestamps import to_us

UNKNOWN = 404
PATIENCE_SECONDS = 300.0


class Called(Protocol):
    """The service that is called; it may be down, or dead by itself; `now_us` is its clock."""

    url: str
    up: threading.Event
    ended: bool
    is_dead: bool
    now_us: int

    def look(self) -> None: ...

    def stop(self) -> None: ...


class Told(NamedTuple):
    decision_id: str
    consignment_id: str
    score: float
    version: str


class Received(NamedTuple):
    kind: str
    consignment_id: str
    recorded_us: int


class Caller(threading.Thread):
    """One inspection system, with a connection of its own."""

    def __init__(self, service: Called, number: int, seed: int, pause_seconds: float = 0.0) -> None:
        super().__init__()
        self.service, self.number, self.pause_seconds = service, number, pause_seconds
        self.random = np.random.default_rng((seed, number))
        self.told: list[Told] = []
        self.received: list[Received] = []
        self.sent: list[dict[str, Any]] = []
        # Identifiers that the service did not know any more, and when.
        self.unknown: list[tuple[str, int]] = []
        self.done: Counter[str] = Counter()
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            with httpx.Client(base_url=self.service.url, timeout=30) as client:
                while not self.service.ended:
                    self.act(client)
                    time.sleep(self.pause_seconds)
        except BaseException as fault:
            self.fault = fault

    def act(self, client: httpx.Client) -> None:
        draw = self.random.random()
        if draw < 0.55 or not self.sent:
            self.score(client, [self.consignment()])
        elif draw < 0.65:
            self.score(client, [self.consignment() for _ in range(int(self.random.integers(2, 30)))])
        elif draw < 0.90:
            outcomes = [self.outcome() for _ in range(int(self.random.integers(1, 5)))]
            for receipt in self.send(client, "/v1/outcomes", {"outcomes": outcomes})["outcomes"]:
                self.done["outcome repeated" if receipt["repeated"] else "outcome"] += 1
                self.receive("outcome", receipt)
        else:
            name = self.any_sent()["consignment_id"]
            found = self.send(client, "/v1/cancellations", {"consignment_id": name})
            self.done["cancellation"] += 1
            if found.get("status") == UNKNOWN:
                self.unknown.append((name, self.service.now_us))
            else:
                self.receive("cancellation", found)

    def receive(self, kind: str, receipt: dict[str, Any]) -> None:
        recorded = datetime.fromisoformat(receipt["recorded_at"])
        self.received.append(Received(kind, receipt["id"], to_us(recorded)))

    def score(self, client: httpx.Client, rows: list[dict[str, Any]]) -> None:
        if len(rows) == 1:
            answers = [self.send(client, "/v1/scores", rows[0])]
        else:
            found = self.send(client, "/v1/scores", {"consignments": rows})
            assert found["errors"] == []
            answers = found["scores"]
        self.told += [
            Told(each["decision_id"], each["consignment_id"], each["score"], each["model"]["version"])
            for each in answers
        ]
        self.sent += rows

    def consignment(self) -> dict[str, Any]:
        """A new one mostly; else one that was sent, as it was or amended."""
        draw = self.random.random()
        if draw < 0.10 and self.sent:
            self.done["repeat"] += 1
            return self.any_sent()
        goods = ("socks", "cotton t-shirts", "research chemical powder")[self.random.integers(3)]
        sender, consignee = self.random.integers(40), self.random.integers(200)
        name = f"RB{self.number}-{len(self.sent)}-{self.done['new']}"
        if draw < 0.20 and self.sent:
            self.done["amendment"] += 1
            name = self.any_sent()["consignment_id"]
        else:
            self.done["new"] += 1
        parties = {"sender_name": f"Sender {sender}", "sender_address": f"{sender} Harbour Road"}
        weight = float(self.random.integers(1, 50)) / 10
        plain = {"channel": "postal", "office": "Incheon", "hs_code": "610910", "gross_weight_kg": weight}
        named = {"consignment_id": name, "description": goods, "consignee_name": f"Consignee {consignee}"}
        return named | parties | plain

    def outcome(self) -> dict[str, Any]:
        """Of a consignment sent lately or long ago, corrected or sent again now and then; a few of unknown ones."""
        if self.random.random() < 0.05:
            name = f"RB{self.number}-unknown-{self.done['outcome']}"
        else:
            name = self.any_sent()["consignment_id"]
        known_at = f"2024-03-0{self.random.integers(2, 5)}T00:00:00Z"
        result = ("nps", "clear", "clear", "pending")[self.random.integers(4)]
        inspected = {"selected_by": "model", "status": "inspected", "inspected_at": "2024-03-01T00:00:00Z"}
        return {"consignment_id": name, "known_at": known_at, "result": result} | inspected

    def any_sent(self) -> dict[str, Any]:
        return self.sent[int(self.random.integers(len(self.sent)))]

    def send(self, client: httpx.Client, path: str, body: Any) -> dict[str, Any]:
        """Send until there is an answer."""
        while True:
            self.service.up.wait()
            try:
                response = client.post(path, json=body)
            except httpx.HTTPError:
                self.done["no answer"] += 1
                time.sleep(0.01)
                continue
            assert response.status_code in (200, UNKNOWN), response.text
            return response.json()


@contextmanager
def calling(service: Called, callers: Sequence[Caller], start: Callable[[], None]) -> Iterator[None]:
    """Start a service and call it until the end of the block, where it is stopped in order."""
    try:
        start()
        for caller in callers:
            caller.start()
        yield
    finally:
        service.ended = True
        service.up.set()
        for caller in callers:
            if caller.ident is not None:
                caller.join(60)
        service.stop()


def wait_for_answers(service: Called, callers: Sequence[Caller], more: int) -> None:
    """Wait for so many further answers, or for the death of the service."""
    wanted = sum(len(caller.told) for caller in callers) + more
    end = time.monotonic() + PATIENCE_SECONDS
    while sum(len(caller.told) for caller in callers) < wanted and not service.is_dead:
        for caller in callers:
            if caller.fault is not None:
                raise caller.fault
        assert time.monotonic() < end, "too few answers"
        service.look()
        time.sleep(0.02)
