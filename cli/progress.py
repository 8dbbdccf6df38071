"""Progress of long work: bars on a terminal, lines elsewhere, both with an estimate of the time left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

Progress = Callable[[str, int, int], None]
"""It receives the name of a phase, how much of it is done, and its total."""
PROGRESS_DELAY_SECONDS = 2.0  # work that takes longer shows its progress
REFRESH_SECONDS = 1.0
LINE_SECONDS = 60.0  # time between two lines of one phase
BAR_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"
"""Without a speed: rows, trees and trials have different units."""


@contextmanager
def show_progress_bar() -> Iterator[Progress]:
    """Show the progress of long work on standard error: a bar for each phase on a terminal, else lines."""
    from threading import Event, Thread

    display = ProgressBars() if sys.stderr.isatty() else PhaseLines()
    ended = Event()

    def refresh() -> None:
        while not ended.wait(REFRESH_SECONDS):
            display.refresh()

    ticker = Thread(target=refresh, daemon=True)
    ticker.start()
    try:
        yield display.advance
    finally:
        ended.set()
        ticker.join()
        display.close()


class ProgressBars:
    """Bars of a terminal. They show the elapsed time also between two counts."""

    def __init__(self) -> None:
        self._bars: dict[str, tqdm[Any]] = {}

    def advance(self, what: str, done: int, total: int) -> None:
        """Show that a phase has done so much of its total."""
        from tqdm import tqdm

        if what not in self._bars:
            shown: dict[str, Any] = {"bar_format": BAR_FORMAT, "unit_scale": True}
            self._bars[what] = tqdm(total=total, desc=what, delay=PROGRESS_DELAY_SECONDS, **shown)
        self._bars[what].update(done - self._bars[what].n)

    def refresh(self) -> None:
        """Refresh the bars of unfinished phases."""
        for bar in list(self._bars.values()):
            if bar.n < (bar.total or 0) and time.time() > bar.start_t + PROGRESS_DELAY_SECONDS:
                bar.refresh()

    def close(self) -> None:
        """Close all bars."""
        for bar in self._bars.values():
            bar.close()


class PhaseLines:
    """Lines with their UTC time, for the log of a scheduler or of `nohup`: one when a phase begins, then one each minute.

    The lines of each minute say how much is done and estimate the time left from the pace since the phase began.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._starts: dict[str, tuple[float, int]] = {}
        self._printed: dict[str, float] = {}
        self._waiting: list[str] = []

    def advance(self, what: str, done: int, total: int) -> None:
        """Add a line for a phase that begins, and for one that has worked for another minute."""
        now = time.monotonic()
        if what not in self._starts:
            self._starts[what], self._printed[what] = (now, done), now
            self._add_line(what)
        elif now - self._printed[what] >= LINE_SECONDS and done < total:
            began, first = self._starts[what]
            self._printed[what] = now
            left = (total - done) * (now - began) / max(done - first, 1)
            about = f", about {timedelta(seconds=round(left))} left" if done > first else ""
            self._add_line(f"{what} {done / total:.0%}, {done:,} of {total:,}{about}")
        self.refresh()

    def refresh(self) -> None:
        """Print the lines that wait, if the work is long."""
        if time.monotonic() - self._began > PROGRESS_DELAY_SECONDS:
            while self._waiting:
                print(self._waiting.pop(0), file=sys.stderr, flush=True)

    close = refresh

    def _add_line(self, text: str) -> None:
        self._waiting.append(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}")
