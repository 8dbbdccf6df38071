"""A pool of processes that computes chunks and returns the results in order, and pauses of the garbage collector."""

import gc
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from threading import Thread
from typing import TypeVar

from consignments.errors import ServiceFault

MIN_PARALLEL_ROWS = 30_000
"""Minimum number of rows for which other processes are started. Fewer rows are faster in one process."""
CHUNKS_AHEAD = 2  # number of chunks per process that are read ahead
PARENT_CHECK_SECONDS = 1.0
A = TypeVar("A")
B = TypeVar("B")
Progress = Callable[[str, int, int], None]
"""It receives the name of a phase, how much of it is done, and its total."""


class WorkerPool:
    """A pool that maps a function over chunks in order, with few chunks in progress at once."""

    def __init__(self, jobs: int, rows: int, least: int | None = None) -> None:
        self.jobs = jobs if rows >= (MIN_PARALLEL_ROWS if least is None else least) else 1
        self._pool = (
            ProcessPoolExecutor(self.jobs, get_context("spawn"), end_with_parent, (os.getpid(),))
            if self.jobs > 1
            else None
        )

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, work: Callable[[A], B], pieces: Iterable[A]) -> Iterator[B]:
        """Yield the result of each chunk, in order."""
        if self._pool is None:
            yield from map(work, pieces)
            return
        waiting: deque[Future[B]] = deque()
        with explain_lost_process():
            for piece in pieces:
                waiting.append(self._pool.submit(work, piece))
                if len(waiting) > CHUNKS_AHEAD * self.jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def end_with_parent(parent: int) -> None:
    """End this process when its parent ends for any reason. Else the processes of a pool would wait forever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


@contextmanager
def explain_lost_process() -> Iterator[None]:
    """Raise `ServiceFault` if a process of a pool was terminated, for example because memory ran out."""
    try:
        yield
    except BrokenProcessPool as error:
        raise ServiceFault(
            "a worker process was terminated from outside", todo="check if memory ran out; use fewer --jobs"
        ) from error


@contextmanager
def pause_garbage_collection() -> Iterator[None]:
    """Pause the garbage collector, which would scan all the new objects repeatedly."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
