"""Clock of the service: it never goes back, also not behind the last entry of the log, and it follows no jump of the system clock.

the system clock goes back by a second          the service's clock stands still until it has caught up
it jumps by more than five minutes              compared with the time that the machine has been running: nothing is recorded
                                                until it is back, or the service is started again with --accept-clock
a start 8 days after the last entry             needs --accept-clock, as does one more than an hour before it
"""

import time
from collections.abc import Callable

from consignments.errors import ServiceFault
from consignments.timestamps import US_PER_DAY

Clock = Callable[[], int]  # returns the time in microseconds since the epoch
MAX_JUMP_US = 300_000_000
"""Maximum jump that the service follows. Clients' clocks may be ahead by as much."""
MAX_START_GAP_US, MAX_START_BEHIND_US = 7 * US_PER_DAY, 3_600_000_000
"""Maximum time from the last entry of the log to a start, and from a start to the last entry, without acceptance."""
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
    """A monotonic clock on a `source` that may jump; without `elapsed`, which never jumps, nothing is detected."""

    def __init__(self, source: Clock = read_clock_us, elapsed: Clock | None = None) -> None:
        self.source, self._elapsed = source, elapsed
        self._latest_us = self.jump_us = 0
        # Time of the source at some time of `elapsed`: without a jump both advance together from there.
        self._anchor_us = 0 if elapsed is None else source() - elapsed()

    def __call__(self) -> int:
        """Return the time in microseconds since the epoch, never less than a value returned before."""
        now_us = self.source()
        if self._elapsed is not None:
            now_us = self._remove_jump(now_us, self._elapsed())
        self._latest_us = max(self._latest_us, now_us)
        return self._latest_us

    def start(self, any_us: int, own_us: int, *, accepted: bool = False) -> None:
        """Begin behind the last entry of a log, given when the last one was recorded and the last one that was not imported; 0 for none."""
        now_us = self.source()
        if self._elapsed is not None:
            fault = describe_start(now_us, any_us, own_us)
            if fault and not accepted:
                raise ServiceFault(
                    fault,
                    where="system clock",
                    todo="correct the system clock; if it is right, start once with npsrisk serve --accept-clock",
                )
            self._anchor_us = now_us - self._elapsed()
        self._latest_us = max(self._latest_us, any_us)
        self()

    def get_fault(self) -> ServiceFault | None:
        """Return a fault if the source has jumped now, else None."""
        self()
        if not self.jump_us:
            return None
        direction = "ahead of" if self.jump_us > 0 else "behind"
        return ServiceFault(
            f"the system clock is {abs(self.jump_us) / 1e6:,.0f} s {direction} the time that follows from how long the machine has been running",
            where="system clock",
            todo="correct the system clock; if it is right, start the service again with npsrisk serve --accept-clock",
        )

    @property
    def behind_seconds(self) -> float:
        """Return how far the source is behind, in seconds; 0 if it is not."""
        return max(0, self._latest_us - self.source()) / 1e6

    def _remove_jump(self, now_us: int, elapsed_us: int) -> int:
        """Return the time without a jump; follow the source as long as it does not jump."""
        expected_us = self._anchor_us + elapsed_us
        if abs(now_us - expected_us) > MAX_JUMP_US:
            self.jump_us = now_us - expected_us
            return expected_us
        self.jump_us = 0
        # Not while it stands still: setting it right is no jump forward.
        if now_us >= self._latest_us:
            self._anchor_us = now_us - elapsed_us
        return now_us


def describe_start(now_us: int, any_us: int, own_us: int) -> str:
    """Describe why a start at a time needs acceptance; return an empty text if it needs none."""
    if own_us and now_us - own_us > MAX_START_GAP_US:
        return f"the last entry of the log is {(now_us - own_us) / US_PER_DAY:,.1f} days old"
    if any_us - now_us > MAX_START_BEHIND_US:
        return f"the last entry of the log is {(any_us - now_us) / 1e6:,.0f} s in the future"
    return ""
