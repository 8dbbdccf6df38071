"""Other processes that describe consignments: pieces are given out and come back in their order."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from threading import Thread
from typing import TypeVar

from consignments.errors import ServiceFault

MIN_PARALLEL_ROWS = 30_000
"""Fewer rows are described sooner than other processes have started."""
CHUNKS_AHEAD = 2
"""Pieces for each process that are read before their turn."""
PARENT_CHECK_SECONDS = 1.0
A = TypeVar("A")
B = TypeVar("B")


class WorkerPool:
    """Maps pieces in their order, by other processes where that pays; few pieces are under way at once.

    Parameters
    ----------
    jobs : int
        Processes; with one, and for few rows, this one does it.
    rows : int
        How many rows there are.
    """

    def __init__(self, jobs: int, rows: int) -> None:
        self.jobs = jobs if rows >= MIN_PARALLEL_ROWS else 1
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
        """Give what comes of each piece, in their order."""
        if self._pool is None:
            yield from map(work, pieces)
            return
        waiting: deque[Future[B]] = deque()
        for piece in pieces:
            waiting.append(self._pool.submit(work, piece))
            if len(waiting) > CHUNKS_AHEAD * self.jobs:
                yield _get_result(waiting.popleft())
        while waiting:
            yield _get_result(waiting.popleft())


def end_with_parent(parent: int) -> None:
    """End this process when its parent ends, however it ends: a pool's processes would wait for work for ever.

    Parameters
    ----------
    parent : int
        Its process identifier.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _get_result(future: Future[B]) -> B:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise ServiceFault(
            "a process that describes consignments was ended from outside",
            todo="look whether memory ran out; ask for fewer --jobs",
        ) from error
