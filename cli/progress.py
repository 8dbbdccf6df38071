"""Progress of long work: bars on a terminal, lines elsewhere, both with an estimate of the time left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threading import Event

    from tqdm import tqdm

    from features.batch import Progress

PROGRESS_DELAY_SECONDS = 2.0
"""Work that takes longer shows its progress."""
REFRESH_SECONDS = 1.0
LINE_SECONDS = 60.0
"""Time between two lines of one phase."""
BAR_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"
"""Without a speed: rows, trees and trials have different units."""


@contextmanager
def show_progress_bar() -> Iterator["Progress"]:
    """Show the progress of long work on standard error: a bar for each phase on a terminal, else lines.

    Work of less than two seconds shows nothing.
    """
    from threading import Event, Thread

    display = ProgressBars() if sys.stderr.isatty() else PhaseLines()
    ended = Event()
    ticker = Thread(target=_refresh, args=(display.refresh, ended), daemon=True)
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
            self._bars[what] = tqdm(
                total=total,
                desc=what,
                delay=PROGRESS_DELAY_SECONDS,
                unit_scale=True,
                bar_format=BAR_FORMAT,
            )
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
        self._phases: dict[str, PhaseCount] = {}
        self._waiting: list[str] = []

    def advance(self, what: str, done: int, total: int) -> None:
        """Add a line for a phase that begins, and for one that has worked for another minute."""
        now = time.monotonic()
        count = self._phases.get(what)
        if count is None:
            self._phases[what] = PhaseCount(now, done, now)
            self._add_line(what)
        elif now - count.printed >= LINE_SECONDS and done < total:
            count.printed = now
            self._add_line(f"{what} {count.describe(now, done, total)}")
        self.refresh()

    def refresh(self) -> None:
        """Print the lines that wait, if the work is long."""
        if time.monotonic() - self._began > PROGRESS_DELAY_SECONDS:
            while self._waiting:
                print(self._waiting.pop(0), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Print the lines that wait, if the work was long."""
        self.refresh()

    def _add_line(self, text: str) -> None:
        self._waiting.append(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}")


@dataclass
class PhaseCount:
    """When a phase began, in seconds, how much was done then, and when its last line was printed."""

    began: float
    first: int
    printed: float

    def describe(self, now: float, done: int, total: int) -> str:
        """Describe how much is done, and the time left at the pace so far."""
        share = f"{done / total:.0%}, {done:,} of {total:,}"
        if done <= self.first:
            return share
        left = (total - done) * (now - self.began) / (done - self.first)
        return f"{share}, about {timedelta(seconds=round(left))} left"


def _refresh(refresh: Callable[[], None], ended: "Event") -> None:
    """Refresh the display each second, until the work has ended."""
    while not ended.wait(REFRESH_SECONDS):
        refresh()
