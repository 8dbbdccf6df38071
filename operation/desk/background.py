"""Values that take long to read: a thread reads them, and pages use the last one that is complete."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from serving.process.threads import reduce_priority

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
REST_RATIO = 5.0
"""A value is read again if a page needs it and it is older than this number of times that reading took."""
WAIT_SECONDS = 2.0
"""Seconds that a page waits for the first value. Other pages wait meanwhile."""


class BackgroundValue(Generic[T]):
    """A value that a thread reads when a page asks for it."""

    def __init__(self, read: Callable[[], T]) -> None:
        self.read = read
        self._value: T | None = None
        self._fault: Exception | None = None
        self._read_at, self._seconds = float("-inf"), 0.0
        self._thread: threading.Thread | None = None

    @property
    def complete(self) -> bool:
        """Return whether the value was read at least once."""
        return self._read_at > float("-inf")

    @property
    def reading(self) -> bool:
        """Return whether a thread reads the value now."""
        return self._thread is not None and self._thread.is_alive()

    def get(self) -> T | None:
        """Return the latest complete value; None if the first one is not complete yet.

        An error of the last reading is raised once; the next call reads again.
        """
        if self._thread is None and time.monotonic() - self._read_at > REST_RATIO * self._seconds:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        if self._thread is not None:
            self._thread.join(WAIT_SECONDS)
            if not self._thread.is_alive():
                self._thread = None
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        return self._value

    def _run(self) -> None:
        reduce_priority()
        begun = time.monotonic()
        try:
            self._value = self.read()
            self._read_at = time.monotonic()
            self._seconds = self._read_at - begun
        except Exception as fault:
            self._fault = fault


class BackgroundValues(Generic[K, T]):
    """The values of the keys that pages asked for last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[K, BackgroundValue[T]] = {}

    def start(self, key: K, read: Callable[[], T]) -> BackgroundValue[T] | None:
        """Return the value of a key, which `read` reads from now on.

        None if there is no room for a new one, because all values that are kept are being read.
        """
        found = self._values.pop(key, None) or BackgroundValue(read)
        if len(self._values) >= self._most:
            oldest = next((name for name, value in self._values.items() if not value.reading), None)
            if oldest is None:
                return None
            del self._values[oldest]
        self._values[key] = found
        found.read = read
        return found
