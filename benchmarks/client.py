"""Small HTTP/1.1 client with little overhead: requests are prepared as bytes, answers are counted and timed.

Closed loop: each connection sends its next request when it has its answer. Open loop: requests are sent at fixed times,
however late answers are, and latency counts from the scheduled time.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

HEADERS_END = b"\r\n\r\n"
LENGTH = b"content-length: "


class LoadResult(NamedTuple):
    """Result of a load: seconds from each request to its answer, answers with another status than 200, and how long it lasted."""

    seconds: NDArray[np.float64]
    faults: int
    lasted: float

    def quantile_ms(self, share: float) -> float:
        """Return a quantile of the latencies, in milliseconds."""
        return float(np.quantile(self.seconds, share) * 1e3)


def request(path: str, body: bytes, port: int) -> bytes:
    """Build a POST request of JSON."""
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


class _Connection(asyncio.Protocol):
    """A connection with at most one open request."""

    def __init__(self, run: "_Run") -> None:
        self._run, self._got, self._began = run, bytearray(), 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, data: bytes, began: float) -> None:
        assert self.transport is not None
        self._began = began
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(HEADERS_END)
        if end < 0:
            return
        at = self._got.lower().find(LENGTH, 0, end) + len(LENGTH)
        length = int(self._got[at : self._got.index(b"\r", at)])
        if len(self._got) < end + len(HEADERS_END) + length:
            return
        good = self._got[9:12] == b"200"
        self._got.clear()
        self._run.answered(self, time.perf_counter() - self._began, good)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the shape of a protocol
        self._run.lost(self)


class _Run:
    """Open requests over some connections."""

    def __init__(self, requests: Iterator[bytes], until: float) -> None:
        self._requests, self._until = requests, until
        self._seconds: list[float] = []
        self._faults, self._busy = 0, 0
        self._all: list[_Connection] = []
        self._free: deque[_Connection] = deque()
        self._late: deque[tuple[bytes, float]] = deque()
        self._over = asyncio.Event()
        self._open = False

    @asynccontextmanager
    async def connect(self, port: int, connections: int) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, made = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
            self._all.append(made)
        self._free = deque(self._all)
        try:
            yield
        finally:
            self._over.set()
            for connection in self._all:
                assert connection.transport is not None
                connection.transport.close()

    async def closed(self) -> LoadResult:
        """Keep every connection busy."""
        began = time.perf_counter()
        self._free.clear()
        for connection in self._all:
            self._next(connection)
        await self._over.wait()
        return LoadResult(np.array(self._seconds), self._faults, time.perf_counter() - began)

    async def opened(self, per_second: float) -> LoadResult:
        """Send a request at each scheduled time."""
        self._open = True
        began = time.perf_counter()
        for number, data in enumerate(self._requests):
            due = began + number / per_second
            if due > self._until:
                break
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            if self._free:
                self._busy += 1
                self._free.popleft().send(
                    data, due
                )  # in turn, since servers close connections that are idle for long
            else:
                self._late.append((data, due))
        while self._busy:
            await asyncio.sleep(0.01)
        return LoadResult(np.array(self._seconds), self._faults, time.perf_counter() - began)

    def answered(self, connection: _Connection, seconds: float, good: bool) -> None:
        self._seconds.append(seconds)
        self._faults += not good
        self._busy -= 1
        self._next(connection)

    def lost(self, connection: _Connection) -> None:
        """Count a connection that the server closed during a request as a fault; an idle one is dropped."""
        if connection in self._free:
            self._free.remove(connection)
        elif not self._over.is_set():
            self._faults += 1
            self._busy -= 1
            self._over.set()

    def _next(self, connection: _Connection) -> None:
        if self._open:
            if self._late:
                self._busy += 1
                connection.send(*self._late.popleft())
            else:
                self._free.append(connection)
            return
        now = time.perf_counter()
        data = next(self._requests, None) if now < self._until else None
        if data is not None:
            self._busy += 1
            connection.send(data, now)
        elif not self._busy:
            self._over.set()


async def closed_loop(port: int, requests: Iterator[bytes], connections: int, seconds: float) -> LoadResult:
    """Keep some connections busy for a time, or until there are no more requests."""
    run = _Run(requests, time.perf_counter() + seconds)
    async with run.connect(port, connections):
        return await run.closed()


async def open_loop(
    port: int, requests: Iterator[bytes], connections: int, seconds: float, per_second: float
) -> LoadResult:
    """Send at a rate for a time; there must be more connections than are ever busy at once."""
    run = _Run(requests, time.perf_counter() + seconds)
    async with run.connect(port, connections):
        return await run.opened(per_second)
