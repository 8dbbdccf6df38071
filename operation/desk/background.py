"""Values that take long to read: a thread reads them, and pages use the last one that is complete."""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from serving.process.threads import reduce_priority

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
REST_RATIO = 5.0
"""A value is read again if a page needs it and it is older than this number of times that reading took."""
WAIT_SECONDS = 2.0
"""Seconds that a page waits for the first value. Other pages wait meanwhile."""


class BackgroundValue(Generic[T]):
    """A value that a daemon thread reads when a page asks for it; `complete` after the first time."""

    def __init__(self, read: Callable[[], T]) -> None:
        self.read, self.complete = read, False
        self._value: T | None = None
        self._reading: Future[T] | None = None
        self._rests_until = 0.0

    @property
    def reading(self) -> bool:
        """Return whether a thread reads the value now."""
        return self._reading is not None and not self._reading.done()

    def get(self) -> T | None:
        """Return the latest complete value, or None before the first; an error of a reading is raised once."""
        if self._reading is None and time.monotonic() > self._rests_until:
            self._reading = Future()
            threading.Thread(target=self._run, args=(self._reading,), daemon=True).start()
        if self._reading is not None:
            wait([self._reading], WAIT_SECONDS)
            if self._reading.done():
                done, self._reading = self._reading, None
                self._value, self.complete = done.result(), True
        return self._value

    def _run(self, reading: Future[T]) -> None:
        reduce_priority()
        begun = time.monotonic()
        try:
            value = self.read()
            self._rests_until = time.monotonic() + REST_RATIO * (time.monotonic() - begun)
            reading.set_result(value)
        except Exception as fault:
            reading.set_exception(fault)


class BackgroundValues(Generic[K, T]):
    """The values of the keys that pages asked for last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[K, BackgroundValue[T]] = {}

    def start(self, key: K, read: Callable[[], T]) -> BackgroundValue[T] | None:
        """Return the value of a key, which `read` reads from now on; None if there is no room, because all that are kept are being read."""
        found = self._values.pop(key, None) or BackgroundValue(read)
        if len(self._values) >= self._most:
            oldest = next((name for name, value in self._values.items() if not value.reading), None)
            if oldest is None:
                return None
            del self._values[oldest]
        self._values[key] = found
        found.read = read
        return found
