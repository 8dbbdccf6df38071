"""Monotonic clock of the service.

If the system clock jumps back, the service's clock stands still until the system clock has caught up. So a correction
is never recorded before what it corrects, and an event that was just received is never in the future.
"""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns the time in microseconds since the epoch."""


def read_clock_us() -> int:
    """Return the time of the system clock in microseconds since the epoch."""
    return time.time_ns() // 1000


class SteadyClock:
    """A monotonic clock on top of another clock.

    Parameters
    ----------
    source : callable
        A clock that may jump back.
    """

    def __init__(self, source: Clock = read_clock_us) -> None:
        self._source, self._latest_us = source, 0

    def __call__(self) -> int:
        """Return the time in microseconds since the epoch, never less than a value returned before."""
        now_us = self._source()
        if now_us > self._latest_us:
            self._latest_us = now_us
        return self._latest_us

    def advance_to(self, moment_us: int) -> None:
        """Set the minimum of all times returned from now on."""
        self._latest_us = max(self._latest_us, moment_us)

    @property
    def behind_seconds(self) -> float:
        """Return how far the source is behind, in seconds; 0 if it is not."""
        return max(0, self._latest_us - self._source()) / 1e6
