"""The service's clock: it never goes back.

Where the system's clock jumps back, the service's stands still until the other has caught up; so a correction is never
recorded before what it corrects, and nothing that came in a moment ago lies in the future.
"""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives the moment in microseconds since the epoch."""


def read_clock_us() -> int:
    """Give the moment in microseconds since the epoch, from the system's clock."""
    return time.time_ns() // 1000


class SteadyClock:
    """A clock that never goes back.

    Parameters
    ----------
    source : callable
        A clock that may.
    """

    def __init__(self, source: Clock = read_clock_us) -> None:
        self._source, self._latest_us = source, 0

    def __call__(self) -> int:
        """Give the moment in microseconds since the epoch, at least the latest that was given before."""
        now_us = self._source()
        if now_us > self._latest_us:
            self._latest_us = now_us
        return self._latest_us

    def advance_to(self, moment_us: int) -> None:
        """Give no earlier moment than this from now on."""
        self._latest_us = max(self._latest_us, moment_us)

    @property
    def behind_seconds(self) -> float:
        """How far the source is behind; 0 where it is not."""
        return max(0, self._latest_us - self._source()) / 1e6
