"""Measure how the pages for officers affect the answers to inspection systems: latencies with and without, in turn.

    python -m benchmarks.pages [--rounds 6] [--seconds 8] [--officers 50] [--every 10] [--rate 200]

Consignments arrive at a fixed rate. In every other window officers have pages open and reload them: the list of a day with 5,000
consignments, a page of it, or one of its consignments. The order of the two windows changes from pair to pair, so that other
activity of the machine affects both. Printed are quantiles of the latencies, and the ratio of the p99 (median and quartiles
over the pairs). The server and its page process share the first core. The last one has the client, and the officers' browsers, which
are a process of their own.
"""

import argparse
import asyncio
import os
import random
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import quote

import httpx
import msgspec
import numpy as np
import uvloop
from tqdm import trange

from benchmarks.client import LoadResult, open_loop, request
from benchmarks.deployed import deploy, grow, make_world
from benchmarks.serving import CLIENT_CORE, SCORES, Server, environment, say, serving, warm
from consignments.records import Consignment

LISTED = 5_000
OFFICE = "Incheon"
CONNECTIONS = 100
QUANTILES = (0.5, 0.95, 0.99)
WARM_CONSIGNMENTS = 10_000
RECORDS_PER_CALL = 1_000
TOKEN = re.compile(r'name="token" value="([^"]+)"')


class Options(NamedTuple):
    """The options of a run."""

    rounds: int
    seconds: float
    officers: int
    every: float
    rate: float


class PageLoad(NamedTuple):
    """The pages that officers opened: seconds of each, and answers with another status than 200."""

    seconds: list[float]
    faults: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=6, help="pairs of windows")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a window")
    parser.add_argument("--officers", type=int, default=50, help="officers with open pages")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between reloads of one officer")
    parser.add_argument("--rate", type=float, default=200.0, help="consignments a second")
    options = Options(**vars(parser.parse_args()))
    os.sched_setaffinity(0, {CLIENT_CORE})
    with TemporaryDirectory(prefix="npsrisk-bench-") as folder:
        measure(Path(folder), options)


def measure(folder: Path, options: Options) -> None:
    """Measure and print both kinds of windows."""
    scored = int(2 * options.rounds * options.seconds * options.rate * 1.2) + WARM_CONSIGNMENTS
    say(f"simulating {LISTED + scored:,} consignments and growing the trees")
    world = make_world(LISTED + scored)
    settings = deploy(grow(world), folder)
    records = iter(world.records)
    command = [sys.executable, "-m", "npsrisk", "serve", "--port", "{port}"]
    with serving(command, environment(settings.state_dir), "/health/ready") as server:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=120) as http:
            names = fill_list(http, list(islice(records, LISTED)))
            cookie = sign_in(http)
            for path in (list_pages(names)[0], f"/consignment?id={quote(names[0], safe='')}"):
                http.get(path).raise_for_status()
        singles = (request(SCORES, encode(c), server.port) for c in records)
        asyncio.run(warm(server.port, singles))
        report(*run_pairs(server, singles, cookie, list_pages(names), options))


def fill_list(http: httpx.Client, records: Sequence[Consignment]) -> list[str]:
    """Score the consignments of the list, which come today to one office; return their identifiers."""
    for start in range(0, len(records), RECORDS_PER_CALL):
        today = [
            msgspec.structs.replace(c, received_at=None, issued_at=None, cancelled_at=None, office=OFFICE)
            for c in records[start : start + RECORDS_PER_CALL]
        ]
        body = msgspec.json.encode({"consignments": today})
        http.post(SCORES, content=body, headers={"content-type": "application/json"}).raise_for_status()
    return [c.consignment_id for c in records]


def encode(c: Consignment) -> bytes:
    """Encode a consignment that comes now."""
    return msgspec.json.encode(
        msgspec.structs.replace(c, received_at=None, issued_at=None, cancelled_at=None)
    )


def sign_in(http: httpx.Client) -> str:
    """Sign in and return the cookie."""
    token = TOKEN.search(http.get("/login").text)
    assert token is not None
    form = {"token": token[1], "person": "officer", "next": "/model"}
    assert http.post("/login", data=form).status_code == 303
    return f"npsrisk_session={http.cookies['npsrisk_session']}"


def list_pages(names: Sequence[str]) -> list[str]:
    """List the paths that officers open: half of them lists, half consignments."""
    pages = [f"/?office={OFFICE}&page={page}" for page in range(1, LISTED // 100 + 1)]
    chosen = random.Random(1).sample(list(names), len(pages))
    return pages + [f"/consignment?id={quote(name, safe='')}" for name in chosen]


def run_pairs(
    server: Server, singles: Iterator[bytes], cookie: str, paths: Sequence[str], options: Options
) -> tuple[list[LoadResult], list[LoadResult], PageLoad]:
    """Run all windows; return those without pages, those with pages, and the pages."""
    without, with_pages, pages = list[LoadResult](), list[LoadResult](), PageLoad([], 0)
    load = partial(open_loop, server.port, singles, CONNECTIONS, options.seconds, options.rate)
    look = partial(browse, server.port, cookie, paths, options)
    with ProcessPoolExecutor(1, get_context("spawn")) as browsers:
        browsers.submit(os.getpid).result()  # the first window finds it started
        for number in trange(options.rounds, desc="pairs", unit="pair"):
            for opened in (False, True) if number % 2 == 0 else (True, False):
                if not opened:
                    without.append(asyncio.run(load()))
                    continue
                result, found = asyncio.run(run_with_pages(load, look, browsers))
                with_pages.append(result)
                pages = PageLoad(pages.seconds + found.seconds, pages.faults + found.faults)
    return without, with_pages, pages


async def run_with_pages(
    load: Callable[[], Awaitable[LoadResult]], browse: Callable[[], PageLoad], browsers: Executor
) -> tuple[LoadResult, PageLoad]:
    """Run a window while officers reload their pages."""
    pages = asyncio.get_running_loop().run_in_executor(browsers, browse)
    return await load(), await pages


def browse(port: int, cookie: str, paths: Sequence[str], options: Options) -> PageLoad:
    """Open pages as all officers do for the length of a window."""
    return asyncio.run(_browse(port, cookie, paths, options))


async def _browse(port: int, cookie: str, paths: Sequence[str], options: Options) -> PageLoad:
    until = time.perf_counter() + options.seconds
    found = await asyncio.gather(
        *(
            reload(port, cookie, paths, until, options.every, random.Random(number))
            for number in range(options.officers)
        )
    )
    return PageLoad([each for one in found for each in one.seconds], sum(one.faults for one in found))


async def reload(
    port: int, cookie: str, paths: Sequence[str], until: float, every: float, draw: random.Random
) -> PageLoad:
    """Open pages as one officer does: one, then another after a while."""
    seconds, faults = list[float](), 0
    await asyncio.sleep(min(draw.random() * every, max(0.0, until - time.perf_counter())))
    while time.perf_counter() < until:
        begun = time.perf_counter()
        faults += await get(port, draw.choice(paths), cookie) != 200
        seconds.append(time.perf_counter() - begun)
        await asyncio.sleep(min(every * (0.5 + draw.random()), max(0.0, until - time.perf_counter())))
    return PageLoad(seconds, faults)


async def get(port: int, path: str, cookie: str) -> int:
    """Get a page over a new connection; return its status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n"
    writer.write(head.encode())
    content = await reader.read(-1)
    writer.close()
    return int(content[9:12])


def report(without: Sequence[LoadResult], with_pages: Sequence[LoadResult], pages: PageLoad) -> None:
    """Print the latencies of both kinds of windows, and the ratio of the p99."""
    print("| windows | answers | faults | p50, p95, p99, ms |")
    print("|---" * 4 + "|")
    for name, runs in (("without pages", without), ("with pages", with_pages)):
        seconds = np.concatenate([run.seconds for run in runs])
        shown = ", ".join(f"{1e3 * each:.2f}" for each in np.quantile(seconds, QUANTILES))
        print(f"| {name} | {len(seconds):,} | {sum(run.faults for run in runs)} | {shown} |")
    pairs = zip(without, with_pages, strict=True)
    ratios = [after.quantile_ms(0.99) / before.quantile_ms(0.99) for before, after in pairs]
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    shown = ", ".join(f"{1e3 * each:.0f}" for each in np.quantile(pages.seconds, QUANTILES))
    print(f"\np99 with pages / without: {middle:.2f} (quartiles {low:.2f} to {high:.2f})")
    print(f"pages: {len(pages.seconds):,}, faults {pages.faults}, p50, p95, p99 {shown} ms")


if __name__ == "__main__":
    uvloop.install()
    main()
