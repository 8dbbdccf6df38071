"""Threads for work that nobody waits for, as snapshots and checkpoints: where cores are few, they give way to those that answer."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

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
