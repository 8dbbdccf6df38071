"""Two services on one log, of which the active one is killed or paused again and again, while others call whichever answers."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
from support.databases import database_in
from support.serving_callers import Caller, calling, wait_for_answers
from support.serving_killed import CALLERS, UNDISTURBED, Service

TAKEOVER_SECONDS = 3.0
PAUSE_SECONDS = 2 * TAKEOVER_SECONDS
PATIENCE_SECONDS = 120.0


class Takeover(NamedTuple):
    """How the active service ended, after how many answers, and for how long nobody could score."""

    is_pause: bool
    answers: int
    seconds: float = 0.0


def draw_takeovers(count: int, answers: int, seed: int) -> list[Takeover]:
    """Draw how the active service ends, time after time: the first and every fourth time it is paused, else killed."""
    random = np.random.default_rng(seed)
    return [Takeover(number % 4 == 0, int(random.integers(1, 2 * answers))) for number in range(count)]


def wait_for(find: Callable[[], Any], fault: str) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := find()):
        assert time.monotonic() < end, fault
        time.sleep(0.01)
    return found


class PairService(Service):
    """One of the two, with a state directory of its own, on the log of the first."""

    def __init__(self, folder: Path, first: "PairService | None") -> None:
        super().__init__(folder)
        self.epoch = first.epoch if first else self.epoch
        log_folder = first.folder if first else folder
        self.more_settings = {
            "NPSRISK_DATABASE_URL": database_in(log_folder),
            "NPSRISK_STANDBY": "true",
            "NPSRISK_TAKEOVER_SECONDS": str(TAKEOVER_SECONDS),
            "NPSRISK_SNAPSHOTS_DIR": str(log_folder / "snapshots"),
        }

    def start_anew(self) -> None:
        """Start it if it does not run, and wait until it scores or could take over."""
        if self.process is None or self.is_dead:
            self.launch(UNDISTURBED)
        wait_for(lambda: self.is_dead or self.ask_role(), "it does not start")
        assert not self.is_dead, "it has ended"

    def ask_role(self) -> str | None:
        """Ask for its role; None if it does not answer, or could neither score nor take over."""
        try:
            told = httpx.get(f"{self.url}/health/ready", timeout=1).json()
        except httpx.HTTPError:
            return None
        return str(told["role"]) if told["ready"] or len(told["reasons"]) == 1 else None


class Pair:
    """Two services as their callers see them: `url` is the address that answered last."""

    expected_errors = ("refused", "snapshot could not be written", "event log cannot be used")
    """What a service may log that is a standby or loses its role."""
    is_dead = False

    def __init__(self, folder: Path) -> None:
        first = PairService(folder / "one", None)
        self.services = [first, PairService(folder / "two", first)]
        self.folder, self.url = first.folder, first.url
        self.up, self.ended = threading.Event(), False
        self.up.set()
        self.takeovers: list[Takeover] = []

    @property
    def now_us(self) -> int:
        return self.services[0].now_us

    def start(self) -> None:
        """Start those that do not run, the first one before the other."""
        for service in self.services:
            service.start_anew()

    def find_active(self) -> PairService | None:
        return next((each for each in self.services if each.ask_role() == "active"), None)

    def strike(self, takeover: Takeover) -> None:
        """Kill or pause the active one, and wait until the other one scores."""
        active = wait_for(self.find_active, "nobody scores")
        other = next(each for each in self.services if each is not active)
        begun = time.monotonic()
        active.process.send_signal(signal.SIGSTOP if takeover.is_pause else signal.SIGKILL)
        wait_for(lambda: other.ask_role() == "active", "the standby does not take over")
        self.takeovers.append(takeover._replace(seconds=time.monotonic() - begun))
        if takeover.is_pause:
            time.sleep(max(0.0, begun + PAUSE_SECONDS - time.monotonic()))
            active.process.send_signal(signal.SIGCONT)
        else:
            active.process.wait(30)

    def look(self) -> None:
        for service in self.services:
            service.look()

    def stop(self) -> None:
        for service in self.services:
            if service.process is not None and not service.is_dead:
                service.stop()

    def log_lines(self) -> list[dict[str, Any]]:
        return [line for service in self.services for line in service.log_lines()]


class PairCaller(Caller):
    """An inspection system that sends a request to the other address if one does not answer, or refuses as a standby."""

    service: Pair

    def send(self, client: httpx.Client, path: str, body: object) -> dict[str, Any]:
        while True:
            url = self.service.url
            try:
                response = client.post(f"{url}{path}", json=body, timeout=TAKEOVER_SECONDS)
                if response.status_code in (200, 404):
                    return response.json()
                assert response.status_code == 503, response.text
            except httpx.HTTPError:
                self.done["no answer"] += 1
            self.service.url = next(each.url for each in self.service.services if each.url != url)
            time.sleep(0.02)


def live_as_pair(
    folder: Path, plan: Sequence[Takeover], seed: int, pause_seconds: float = 0.0
) -> tuple[Pair, list[Caller]]:
    """Call both, and end the active one by a plan; at the end both are stopped in order."""
    pair = Pair(folder)
    callers: list[Caller] = [PairCaller(pair, number, seed, pause_seconds) for number in range(CALLERS)]
    with calling(pair, callers, pair.start):
        for takeover in plan:
            pair.start()
            wait_for_answers(pair, callers, takeover.answers)
            pair.strike(takeover)
        wait_for_answers(pair, callers, 50)
    return pair, callers
