"""Threads for work that nobody waits for, as snapshots and checkpoints: where cores are few, they give way to those that answer."""

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
"""Niceness added: a quarter of a core that others want too. With less, a log at full load would outrun its checkpoints."""


def create_executor(name: str, threads: int = 1) -> ThreadPoolExecutor:
    """Make threads of lower priority."""
    return ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=reduce_priority)


def reduce_priority() -> None:
    """Lower the priority of the calling thread; on Linux alone each thread has one of its own (setpriority(2))."""
    if sys.platform == "linux":
        with suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + ADDED_NICENESS)


class BackgroundThreads:
    """Threads of lower priority that the event loop hands work to."""

    def __init__(self, threads: int) -> None:
        self._executor = create_executor("background", threads)

    async def run(self, work: Callable[[*Ts], T], *given: *Ts) -> T:
        """Run `work` in one of them, and wait for what it returns."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *given)

    def close(self) -> None:
        """End them; work that has not begun is given up, and nobody waits for the other."""
        self._executor.shutdown(wait=False, cancel_futures=True)
