"""Measure how the pages for officers affect the answers to inspection systems: latencies with and without, in turn.

    python -m benchmarks.pages [--rounds 6] [--seconds 8] [--officers 50] [--every 10] [--rate 200]

Consignments arrive at a fixed rate. In every other window officers have pages open and reload them: the list of a day with 5,000
consignments, a page of it, or one of its consignments. The order of the two windows changes from pair to pair, so that other
activity of the machine affects both. Printed are quantiles of the latencies, and the ratio of the p99 (median and quartiles
over the pairs). The server and its page process share the first core. The last one has the client, and the officers' browsers, which
are a process of their own.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import msgspec
import numpy as np
import uvloop

from benchmarks.client import LoadResult, open_loop
from benchmarks.deployed import deploy, grow, make_world
from benchmarks.script import format_table, parse_options, say
from benchmarks.service import LIST_ROWS, SCORES, build_settings, iterate_requests, serve
from consignments.records import Consignment

LISTED, WARM_CONSIGNMENTS = 5_000, 10_000
OFFICE = "Incheon"
CONNECTIONS = 100
QUANTILES = (0.5, 0.95, 0.99)
TOKEN = re.compile(r'name="token" value="([^"]+)"')


class PageLoad(NamedTuple):
    """Pages that officers open, over new connections, and how: the paths, the cookie, seconds of a window and between reloads."""

    port: int
    cookie: str
    paths: Sequence[str]
    officers: int
    seconds: float
    every: float

    def run(self) -> tuple[list[float], int]:
        """Open pages as all officers do for the length of a window; return the seconds of each, and the faults."""
        found = asyncio.run(self._run_all())
        return [each for one, _ in found for each in one], sum(faults for _, faults in found)

    async def _run_all(self) -> list[tuple[list[float], int]]:
        until = time.perf_counter() + self.seconds
        return await asyncio.gather(*(self._reload(until, random.Random(n)) for n in range(self.officers)))

    async def _reload(self, until: float, draw: random.Random) -> tuple[list[float], int]:
        """Open pages as one officer does: one, then another after a while."""
        seconds, faults = list[float](), 0
        await asyncio.sleep(min(draw.random() * self.every, max(0.0, until - time.perf_counter())))
        while time.perf_counter() < until:
            begun = time.perf_counter()
            faults += await self._get(draw.choice(self.paths)) != 200
            seconds.append(time.perf_counter() - begun)
            wait = self.every * (0.5 + draw.random())
            await asyncio.sleep(min(wait, max(0.0, until - time.perf_counter())))
        return seconds, faults

    async def _get(self, path: str) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\ncookie: {self.cookie}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode())
        content = await reader.read(-1)
        writer.close()
        return int(content[9:12])


def main() -> None:
    options = parse_options(__doc__, rounds=6, seconds=8.0, officers=50, every=10.0, rate=200.0)
    scored = int(2 * options.rounds * options.seconds * options.rate * 1.2) + WARM_CONSIGNMENTS
    say(f"simulating {LISTED + scored:,} consignments and growing the trees")
    world = make_world(LISTED + scored)
    records = [
        msgspec.structs.replace(c, received_at=None, issued_at=None, cancelled_at=None) for c in world.records
    ]
    with TemporaryDirectory(prefix="npsrisk-bench-") as folder:
        settings = deploy(grow(world), Path(folder))
        with serve(build_settings(settings.state_dir)) as server:
            cookie, paths = prepare_pages(server.port, records[:LISTED])
            singles = iterate_requests(records[LISTED:], server.port)
            server.warm(singles)
            load = partial(open_loop, server.port, singles, CONNECTIONS, options.seconds, options.rate)
            pages = PageLoad(server.port, cookie, paths, options.officers, options.seconds, options.every)
            report(*run_pairs(load, pages, options.rounds))


def prepare_pages(port: int, records: Sequence[Consignment]) -> tuple[str, list[str]]:
    """Score the consignments of the list and sign in; return the cookie, and the paths: half of them lists, half consignments."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as http:
        for start in range(0, len(records), LIST_ROWS):
            some = [msgspec.structs.replace(c, office=OFFICE) for c in records[start : start + LIST_ROWS]]
            body = msgspec.json.encode({"consignments": some})
            http.post(SCORES, content=body, headers={"content-type": "application/json"}).raise_for_status()
        token = TOKEN.search(http.get("/login").text)
        assert token is not None
        form = {"token": token[1], "person": "officer", "next": "/model"}
        assert http.post("/login", data=form).status_code == 303
        paths = [f"/?office={OFFICE}&page={page}" for page in range(1, LISTED // 100 + 1)]
        chosen = random.Random(1).sample(records, len(paths))
        paths += [f"/consignment?id={quote(c.consignment_id, safe='')}" for c in chosen]
        for _ in range(100):  # the process of the pages starts with the first session
            if all(http.get(path).status_code == 200 for path in (paths[0], paths[-1])):
                break
            time.sleep(0.5)
        return f"npsrisk_session={http.cookies['npsrisk_session']}", paths


def run_pairs(
    load: Callable[[], Coroutine[Any, Any, LoadResult]], pages: PageLoad, rounds: int
) -> tuple[list[LoadResult], list[LoadResult], list[tuple[list[float], int]]]:
    """Run all windows; return those without pages, those with pages, and the pages."""
    without, with_pages, opened = list[LoadResult](), list[LoadResult](), list[tuple[list[float], int]]()

    async def run_both(browsers: Executor) -> LoadResult:
        found = asyncio.get_running_loop().run_in_executor(browsers, pages.run)
        result = await load()
        opened.append(await found)
        return result

    with ProcessPoolExecutor(1, get_context("spawn")) as browsers:
        browsers.submit(int).result()  # the first window finds it started
        for number in range(rounds):
            for is_opened in (False, True) if number % 2 == 0 else (True, False):
                if is_opened:
                    with_pages.append(asyncio.run(run_both(browsers)))
                else:
                    without.append(asyncio.run(load()))
    return without, with_pages, opened


def report(
    without: Sequence[LoadResult], with_pages: Sequence[LoadResult], opened: Sequence[tuple[list[float], int]]
) -> None:
    """Print the latencies of both kinds of windows and of the pages, and the ratio of the p99."""

    def describe(seconds: Iterable[float]) -> str:
        return ", ".join(f"{1e3 * each:.2f}" for each in np.quantile(list(seconds), QUANTILES))

    rows = [
        [name, sum(len(run.seconds) for run in runs), sum(run.faults for run in runs),
         describe(each for run in runs for each in run.seconds)]
        for name, runs in (("without pages", without), ("with pages", with_pages))
    ]  # fmt: skip
    seconds = [each for some, _ in opened for each in some]
    rows.append(["pages", len(seconds), sum(faults for _, faults in opened), describe(seconds)])
    print(format_table(["windows", "answers", "faults", "p50, p95, p99, ms"], rows))
    pairs = zip(without, with_pages, strict=True)
    ratios = [after.quantile_ms(0.99) / before.quantile_ms(0.99) for before, after in pairs]
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    print(f"\np99 with pages / without: {middle:.2f} (quartiles {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    uvloop.install()
    main()
