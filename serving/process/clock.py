"""Clock of the service: it never goes back, and it does not follow a jump of the system clock into the future.

If the system clock jumps back, the service's clock stands still until the system clock has caught up. So a correction
is never recorded before what it corrects, and an event that was just received is never in the future.

If the system clock jumps forward, compared with the time that the machine has been running, the service's clock goes on
without the jump, and the service records nothing until the system clock is back or a person accepts the new time.
"""

import time
from collections.abc import Callable

from consignments.errors import ServiceFault

Clock = Callable[[], int]
"""Returns the time in microseconds since the epoch."""
MAX_JUMP_US = 300_000_000
"""Maximum jump forward that the service follows. Clients' clocks may be ahead by as much."""
MAX_START_GAP_US = 7 * 86_400_000_000
"""Maximum time from the last entry of the log to a start that needs no acceptance."""
_RUNNING_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def read_clock_us() -> int:
    """Return the time of the system clock in microseconds since the epoch."""
    return time.time_ns() // 1000


def read_elapsed_us() -> int:
    """Return the time since the machine was started, in microseconds; on Linux this includes time in suspension."""
    return time.clock_gettime_ns(_RUNNING_CLOCK) // 1000


def read_elapsed_seconds() -> float:
    """Return the time since the machine was started, in seconds; on Linux this includes time in suspension."""
    return time.clock_gettime(_RUNNING_CLOCK)


class SteadyClock:
    """A monotonic clock on top of another clock.

    Parameters
    ----------
    source : callable
        A clock that may jump.
    elapsed : callable, optional
        A clock that never jumps and begins at any time; without it, jumps forward are not detected.

    Attributes
    ----------
    source : callable
    ahead_us : int
        How far the source is ahead because of a jump that nobody has accepted, in microseconds; 0 if it is not.
    """

    def __init__(self, source: Clock = read_clock_us, elapsed: Clock | None = None) -> None:
        self.source, self._elapsed = source, elapsed
        self._latest_us = self.ahead_us = 0
        # Time of the source at some time of `elapsed`: without a jump both advance together from there.
        self._anchor_us = 0 if elapsed is None else source() - elapsed()

    def __call__(self) -> int:
        """Return the time in microseconds since the epoch, never less than a value returned before."""
        now_us = self.source()
        if self._elapsed is not None:
            now_us = self._remove_jump(now_us, self._elapsed())
        if now_us > self._latest_us:
            self._latest_us = now_us
        return self._latest_us

    def advance_to(self, moment_us: int) -> None:
        """Set the minimum of all times returned from now on."""
        self._latest_us = max(self._latest_us, moment_us)

    def check_start(self, last_us: int) -> None:
        """Detect a jump of the source before the start: it is then far after a time at which it was right.

        Parameters
        ----------
        last_us : int
            When the service last recorded an entry; 0 if it never did.
        """
        if self._elapsed is not None and last_us and self.source() - last_us > MAX_START_GAP_US:
            self._anchor_us = last_us - self._elapsed()
        self()

    def accept(self) -> None:
        """Accept the time of the source, also after a jump."""
        if self._elapsed is not None:
            self._anchor_us = self.source() - self._elapsed()
        self()

    def get_fault(self) -> ServiceFault | None:
        """Return a fault if the source has jumped forward, else None."""
        if not self.ahead_us:
            return None
        return ServiceFault(
            f"the system clock is {self.ahead_us / 1e6:,.0f} s ahead of the expected time",
            where="system clock",
            got=f"{self.ahead_us / 86_400e6:,.1f} days after the time running since the last recorded entry",
            todo="correct the system clock; if it is right, run npsrisk clock accept",
        )

    def check(self) -> None:
        """Raise `ServiceFault` if the source has jumped forward."""
        self()
        fault = self.get_fault()
        if fault is not None:
            raise fault

    @property
    def behind_seconds(self) -> float:
        """Return how far the source is behind, in seconds; 0 if it is not."""
        return max(0, self._latest_us - self.source()) / 1e6

    def _remove_jump(self, now_us: int, elapsed_us: int) -> int:
        """Return the time without a jump forward; follow the source as long as it does not jump."""
        expected_us = self._anchor_us + elapsed_us
        if now_us - expected_us > MAX_JUMP_US:
            self.ahead_us = now_us - expected_us
            return expected_us
        self.ahead_us = 0
        if now_us >= self._latest_us:  # not while it has jumped back: setting it right is no jump forward
            self._anchor_us = now_us - elapsed_us
        return now_us
