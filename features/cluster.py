"""Features on a Dask cluster: workers of this machine, or those of a scheduler, describe rows and finish them; this process counts history.

The only file that imports Dask. The keys that join networks cannot be divided, so one process has to hold most of history anyway.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from operator import call
from typing import Any, TypeVar

from consignments.errors import BadInput, BadSetting, NpsriskError, ServiceFault
from features.streams import FeatureChunk

T = TypeVar("T")
LOCAL = "local:"
RETRIES = 2
"""Times that a task is repeated after an error of the system, besides the repeats after a lost worker."""
TASKS_AHEAD = 3
"""Tasks for each worker that are in progress or wait."""
FINISHED_ROWS = 2_000
"""Rows that are sent to a worker at a time to be finished, some 5 MB."""
CONNECT_SECONDS = 30
WAIT_SECONDS = 120
"""Time that lost workers have to come back."""
RESTART_SECONDS = 600
"""Time that a process of this machine has to start again. By default Dask gives it up after 15 s, which is little on a busy machine."""


class DaskRunner:
    """A runner of tasks on the workers of a Dask client, with the address that messages name."""

    def __init__(self, client: Any, address: str) -> None:
        self.client, self.address = client, address

    def share(self, value: Any, *, large: bool = False) -> Any:
        """Send a value to every worker once."""
        with self._explain_failure("job"):
            if large:
                return self.client.scatter(value, broadcast=True, hash=False)
            name = f"{type(value).__name__}-{time.time_ns()}"
            return self.client.submit(partial(_give, value), key=name, pure=False)

    def map_chunks(self, work: Callable[[Any], T], chunks: Iterable[Any]) -> Iterator[T]:
        """Yield the result of each chunk, in order, as `map` does."""
        shared = self.share(work)
        yield from self.map("rows", call, ((shared, chunk) for chunk in chunks))

    def map(self, name: str, work: Callable[..., T], arguments: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """Yield the result of each task, in order; `ServiceFault` if workers ended again and again, or the scheduler cannot be reached."""
        run = time.time_ns()
        waiting: deque[Any] = deque()
        places = enumerate(arguments)
        while True:
            while len(waiting) < self._count_ahead(name) and (each := next(places, None)) is not None:
                place, given = each
                options = {"key": f"{name}-{place}-{run}", "priority": -place, "retries": RETRIES}
                with self._explain_failure(name):
                    waiting.append(self.client.submit(work, *given, pure=False, **options))
            if not waiting:
                return
            with self._explain_failure(name):
                first = waiting.popleft()
                result: T = _get_result(first)
                first.release()
            yield result

    def require_worker(self) -> None:
        """Wait until a worker does a task; raise `ServiceFault` if none does. A cluster may start its workers only then."""
        with self._explain_failure("start"):
            try:
                self.client.submit(os.getpid, pure=False).result(timeout=WAIT_SECONDS)
            except TimeoutError as error:
                raise ServiceFault(
                    "there is no Dask worker",
                    where=self.address,
                    got=f"{len(self.client.ncores())} workers after {WAIT_SECONDS} s",
                    expected="at least one",
                    todo="start more workers, and run the same command again",
                ) from error

    def _count_ahead(self, name: str) -> int:
        with self._explain_failure(name):  # the scheduler is asked: `scheduler_info` may be some seconds old
            return TASKS_AHEAD * max(len(self.client.ncores()), 1)

    @contextmanager
    def _explain_failure(self, name: str) -> Iterator[None]:
        """Turn errors of Dask into a `ServiceFault` that names the task or the scheduler."""
        from distributed import CancelledError, KilledWorker

        try:
            yield
        except NpsriskError:
            raise
        except KilledWorker as error:
            raise ServiceFault(
                "workers ended again and again during a task",
                where=f"task {error.task}",
                got=f"{error.allowed_failures + 1} workers lost",
                todo="check if memory ran out: give each worker more, or use fewer workers",
            ) from error
        except CancelledError as error:
            by_scheduler = str(getattr(error, "reason", "")).startswith("scheduler-")  # lost or restarted
            if self.client.status == "running" and not by_scheduler:
                what = "a value that tasks share was lost with all workers that had it"
                todo = "check the memory of the workers, and run the same command again"
                raise ServiceFault(what, where=f"tasks {name}", todo=todo) from error
            raise self._make_connection_fault(name, error) from error
        except OSError as error:  # a lost connection, and one that cannot be made again
            raise self._make_connection_fault(name, error) from error

    def _make_connection_fault(self, name: str, error: Exception) -> ServiceFault:
        what, where = "the connection to the Dask scheduler was lost", f"{self.address}, tasks {name}"
        todo = "start the scheduler, and run the same command again"
        return ServiceFault(what, where=where, got=_summarize(error), todo=todo)


def _give(value: T) -> T:
    return value


def _get_result(future: Any) -> Any:
    """Return the result of a task. Its errors of the system are those of a worker, and not of the connection to the scheduler."""
    try:
        return future.result()
    except (OSError, MemoryError) as error:
        if future.status != "error":
            raise
        what = "a task cannot read or write a file"
        todo = "check the disk, and that every worker sees the tables and the folder of the result under the same names"
        if isinstance(error, MemoryError):
            what, todo = "a task ran out of memory", "give each worker more memory, or use fewer workers"
        raise ServiceFault(what, where=f"task {future.key}", got=_summarize(error), todo=todo) from error


def _summarize(error: BaseException) -> str:
    """Return the first line of an error."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def open_runner(address: str | None) -> AbstractContextManager[DaskRunner | None]:
    """Connect to a cluster as `connect` does; without an address there is no runner."""
    return nullcontext() if address is None else connect(address)


@contextmanager
def connect(address: str) -> Iterator[DaskRunner]:
    """Connect to a cluster by the address of its scheduler, or start `local:N` for N processes of this machine."""
    try:
        from dask import config
        from distributed import Client
    except ImportError as error:
        raise BadSetting(
            "Dask is not installed",
            where="--dask",
            todo="install it next to npsrisk: pip install --require-hashes --only-binary :all: -r requirements-scale.txt",
        ) from error
    workers = _count_local_workers(address)
    with config.set({"distributed.deploy.lost-worker-timeout": f"{RESTART_SECONDS}s"}):
        try:
            cluster = None if workers is None else _start_local_cluster(workers)
            client = Client(cluster or address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            what, got = "the Dask scheduler cannot be reached", _summarize(error)
            todo = "check the address, and that the scheduler is running"
            raise ServiceFault(what, where=address, got=got, todo=todo) from error
        try:
            runner = DaskRunner(client, address)
            runner.require_worker()
            yield runner
        finally:
            client.close()
            if cluster is not None:
                cluster.close()


def _count_local_workers(address: str) -> int | None:
    """Return the number of workers of this machine; None for the address of a scheduler."""
    if not address.startswith(LOCAL):
        return None
    count = address.removeprefix(LOCAL)
    if not count.isdigit() or int(count) < 1:
        expected = "local:N with N at least 1, or the address of a scheduler"
        raise BadInput("bad number of workers", where="--dask", got=address, expected=expected)
    return int(count)


def _start_local_cluster(workers: int) -> Any:
    from distributed import LocalCluster

    # Any free port: the default one may be used by another run. A worker that ends during a heartbeat would log a traceback, and
    # what matters is in the errors of this module.
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    )


def finish_chunks(
    runner: DaskRunner | None, finish: Callable[[FeatureChunk], T], chunks: Iterable[FeatureChunk]
) -> Iterator[T]:
    """Yield what `finish` makes of chunks in order, on the workers of a runner if there is one."""
    if runner is None:
        return map(finish, chunks)
    return runner.map_chunks(finish, (part for chunk in chunks for part in chunk.split(FINISHED_ROWS)))
