"""Two services on one log, of which the active one is killed or paused again and again, while others call whichever answers."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
from support.databases import database_in
from support.serving_callers import Caller
from support.serving_killed import CALLERS, KILLED, NEVER, Blow, Service

TAKEOVER_SECONDS = 3.0
PAUSE_SECONDS = 2 * TAKEOVER_SECONDS
PATIENCE_SECONDS = 120.0
UNDISTURBED = Blow(KILLED, NEVER, damage=False)


class Takeover(NamedTuple):
    """How the active service ended, after how many answers, and for how long nobody could score."""

    is_pause: bool
    answers: int
    seconds: float = 0.0


def draw_takeovers(count: int, answers: int, seed: int) -> list[Takeover]:
    """Draw how the active service ends, time after time: the first and every fourth time it is paused, else killed."""
    random = np.random.default_rng(seed)
    return [Takeover(number % 4 == 0, int(random.integers(1, 2 * answers))) for number in range(count)]


class PairService(Service):
    """One of the two, with a state directory of its own, on the log of the first."""

    def __init__(self, folder: Path, first: "PairService | None") -> None:
        super().__init__(folder)
        self.epoch = first.epoch if first else self.epoch
        self.log_folder = first.folder if first else folder

    @property
    def more_settings(self) -> dict[str, str]:
        return {
            "NPSRISK_DATABASE_URL": database_in(self.log_folder),
            "NPSRISK_STANDBY": "true",
            "NPSRISK_TAKEOVER_SECONDS": str(TAKEOVER_SECONDS),
            "NPSRISK_SNAPSHOTS_DIR": str(self.log_folder / "snapshots"),
        }

    def wait_for_role(self) -> None:
        """Wait until it scores or could take over."""
        end = time.monotonic() + PATIENCE_SECONDS
        assert self.process is not None
        while self.ask_role() is None:
            assert self.process.poll() is None, "it has ended"
            assert time.monotonic() < end, "it does not start"
            time.sleep(0.02)

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

    def __init__(self, folder: Path) -> None:
        first = PairService(folder / "one", None)
        self.services = [first, PairService(folder / "two", first)]
        self.folder, self.url = first.folder, first.url
        self.up, self.ended = threading.Event(), False
        self.up.set()
        self.takeovers: list[Takeover] = []

    @property
    def now_us(self) -> int:
        """The clock of both."""
        return self.services[0].now_us

    def find_active(self) -> PairService:
        """Wait until one of them scores."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            for service in self.services:
                if service.ask_role() == "active":
                    return service
            time.sleep(0.02)
        raise AssertionError("nobody scores")

    def strike(self, takeover: Takeover) -> None:
        """Kill or pause the active one, and wait until the other one scores."""
        active = self.find_active()
        other = next(each for each in self.services if each is not active)
        assert active.process is not None
        begun = time.monotonic()
        active.process.send_signal(signal.SIGSTOP if takeover.is_pause else signal.SIGKILL)
        end = begun + PATIENCE_SECONDS
        while other.ask_role() != "active":
            assert time.monotonic() < end, "the standby does not take over"
            time.sleep(0.01)
        self.takeovers.append(takeover._replace(seconds=time.monotonic() - begun))
        if takeover.is_pause:
            time.sleep(max(0.0, begun + PAUSE_SECONDS - time.monotonic()))
            active.process.send_signal(signal.SIGCONT)
        else:
            active.process.wait(30)

    def restore_standby(self) -> None:
        """Start the one that was killed, and wait until there is a standby again."""
        for service in self.services:
            assert service.process is not None
            if service.process.poll() is not None:
                service.launch(UNDISTURBED)
            service.wait_for_role()

    def log_lines(self) -> list[dict[str, object]]:
        """What both logged."""
        return [line for service in self.services for line in service.log_lines()]


class PairCaller(Caller):
    """An inspection system that sends a request to the other address if one does not answer, or refuses as a standby."""

    def send(self, client: httpx.Client, path: str, body: object) -> dict[str, object]:
        pair = self.service
        assert isinstance(pair, Pair)
        while True:
            url = pair.url
            try:
                response = client.post(f"{url}{path}", json=body, timeout=TAKEOVER_SECONDS)
                if response.status_code in (200, 404):
                    return response.json()
                assert response.status_code == 503, response.text
            except httpx.HTTPError:
                self.done["no answer"] += 1
            pair.url = next(each.url for each in pair.services if each.url != url)
            time.sleep(0.02)


def live_as_pair(
    folder: Path, plan: Sequence[Takeover], seed: int, pause_seconds: float = 0.0
) -> tuple[Pair, list[Caller]]:
    """Call both, and end the active one by a plan; at the end both are stopped in order."""
    with called_pair(folder, seed, pause_seconds) as (pair, callers):
        for takeover in plan:
            pair.restore_standby()
            wait_for_more(pair, callers, takeover.answers)
            pair.strike(takeover)
        wait_for_more(pair, callers, 50)
    return pair, callers


def wait_for_more(pair: Pair, callers: list[Caller], more: int) -> None:
    """Wait for so many further answers."""
    before, end = sum(len(caller.told) for caller in callers), time.monotonic() + 300
    while sum(len(caller.told) for caller in callers) < before + more:
        for caller in callers:
            if caller.fault is not None:
                raise caller.fault
        assert time.monotonic() < end, "too few answers"
        for service in pair.services:
            service.look()
        time.sleep(0.05)


@contextmanager
def called_pair(folder: Path, seed: int, pause_seconds: float) -> Iterator[tuple[Pair, list[Caller]]]:
    """Start both, and call them until the end of the block, where they are stopped in order."""
    pair = Pair(folder)
    callers: list[Caller] = [PairCaller(pair, number, seed, pause_seconds) for number in range(CALLERS)]
    try:
        pair.services[0].start(UNDISTURBED)
        pair.services[1].launch(UNDISTURBED)
        pair.services[1].wait_for_role()
        for caller in callers:
            caller.start()
        yield pair, callers
    finally:
        pair.ended = True
        for caller in callers:
            if caller.ident is not None:
                caller.join(60)
        for service in pair.services:
            if service.process is not None and service.process.poll() is None:
                service.stop()
