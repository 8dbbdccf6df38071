"""Background threads of lower priority, for work such as snapshots and checkpoints that no request waits for."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
ADDED_NICENESS = 5
"""Niceness added, which leaves about a quarter of a busy core. With less, a log at full load would outrun its checkpoints."""


def create_executor(name: str, threads: int = 1) -> ThreadPoolExecutor:
    """Create a thread pool of lower priority."""
    return ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=reduce_priority)


def reduce_priority() -> None:
    """Lower the priority of the calling thread; only on Linux does each thread have its own (setpriority(2))."""
    if sys.platform == "linux":
        with suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + ADDED_NICENESS)


class BackgroundThreads:
    """A pool of lower-priority threads for work of the event loop."""

    def __init__(self, threads: int) -> None:
        self._executor = create_executor("background", threads)

    async def run(self, work: Callable[[*Ts], T], *given: *Ts) -> T:
        """Run `work` in one of the threads and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *given)

    def close(self) -> None:
        """Shut the threads down without waiting; cancel work that has not begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)
