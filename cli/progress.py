"""Progress bars of long work."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threading import Event

    from tqdm import tqdm

    from features.batch import Progress

PROGRESS_DELAY_SECONDS = 2.0
"""Work that takes longer shows a progress bar on a terminal."""
REFRESH_SECONDS = 1.0


@contextmanager
def show_progress_bar() -> Iterator["Progress"]:
    """Show a progress bar for each stage of long work, on a terminal only. The bar shows the elapsed time also between two counts."""
    from threading import Event, Thread

    from tqdm import tqdm

    bars: dict[str, tqdm[Any]] = {}
    shown, ended = sys.stderr.isatty(), Event()

    def advance(what: str, done: int, total: int) -> None:
        if what not in bars:
            bars[what] = tqdm(
                total=total,
                desc=what,
                delay=PROGRESS_DELAY_SECONDS,
                disable=not shown,
                unit="",
                unit_scale=True,
            )
        bars[what].update(done - bars[what].n)

    ticker = Thread(target=_refresh_bars, args=(bars, ended), daemon=True)
    if shown:
        ticker.start()
    try:
        yield advance
    finally:
        ended.set()
        if shown:
            ticker.join()
        for bar in bars.values():
            bar.close()


def _refresh_bars(bars: "dict[str, tqdm[Any]]", ended: "Event") -> None:
    """Refresh the bars of unfinished stages each second, until the work has ended."""
    while not ended.wait(REFRESH_SECONDS):
        for bar in list(bars.values()):
            if bar.n < (bar.total or 0) and time.time() > bar.start_t + PROGRESS_DELAY_SECONDS:
                bar.refresh()
