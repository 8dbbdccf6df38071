"""Tasks on a Dask cluster: workers of this machine, or those of a scheduler. The only file that imports Dask."""

import logging
import os
import socket
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from consignments.errors import BadInput, BadSetting, NpsriskError, ServiceFault

T = TypeVar("T")
LOCAL = "local:"
RETRIES = 2
"""Times that a task is repeated after an error of the system, besides the repeats after a lost worker."""
TASKS_AHEAD = 3
"""Tasks for each worker that are in progress or wait."""
CONNECT_SECONDS = 30
WAIT_SECONDS = 120
"""Time that lost workers have to come back."""
RESTART_SECONDS = 600
"""Time that a process of this machine has to start again. By default Dask gives it up after 15 s, which is little on a busy machine."""
POLL_SECONDS = 0.2


class WorkersLost(Exception):
    """A group of tasks that run at the same time did not finish: a worker ended, a task failed, or none made progress."""


class DaskRunner:
    """A runner of tasks on the workers of a Dask client.

    Parameters
    ----------
    client : distributed.Client
    address : str
        Address in messages.
    """

    def __init__(self, client: Any, address: str) -> None:
        self.client, self.address = client, address

    def share(self, value: Any, *, large: bool = False) -> Any:
        """Send a value to every worker once.

        A small value is kept by the scheduler, so that it survives the loss of all workers. A large one is lost if all workers
        that have it end at the same time; its tasks then fail with a `ServiceFault`.
        """
        with self._explain_failure("job"):
            if large:
                return self.client.scatter(value, broadcast=True, hash=False)
            name = f"{type(value).__name__}-{time.time_ns()}"
            return self.client.submit(partial(_give, value), key=name, pure=False)

    def map(self, name: str, work: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> Iterator[T]:
        """Yield the result of each task, in order.

        Raises
        ------
        NpsriskError
            A task failed with it.
        ServiceFault
            Workers ended again and again during a task, or the scheduler cannot be reached.
        """
        run = time.time_ns()
        waiting: deque[Any] = deque()
        places = iter(enumerate(arguments))
        left = len(arguments)
        while left:
            with self._explain_failure(name):
                while len(waiting) < self._count_ahead() and (each := next(places, None)) is not None:
                    place, given = each
                    key = f"{name}-{place}-{run}"
                    waiting.append(
                        self.client.submit(
                            work, *given, key=key, pure=False, retries=RETRIES, priority=-place
                        )
                    )
                first = waiting.popleft()
                result: T = _get_result(first)
                first.release()
            left -= 1
            yield result

    def run_together(
        self,
        name: str,
        work: Callable[..., T],
        arguments: Sequence[tuple[Any, ...]],
        check: Callable[[], None] | None = None,
    ) -> list[T]:
        """Run a group of tasks at the same time, each on a worker of its own, which exchange data with each other.

        Parameters
        ----------
        name : str
        work : callable
            Called with the place of the task, the addresses `host:port` of all tasks, and its arguments. Nothing listens on the
            ports yet.
        arguments : sequence of tuples
            Of each task.
        check : callable, optional
            Called again and again; raises `WorkersLost` if the tasks make no progress.

        Returns
        -------
        list
            The results, in order.

        Raises
        ------
        NpsriskError
            A task failed with it.
        WorkersLost
            The group did not finish. Its other workers were restarted, so that none waits for a lost one.
        ServiceFault
            There are too few workers, they cannot be restarted, or the scheduler cannot be reached.
        """
        with self._explain_failure(name):
            workers, futures = self._choose_workers(len(arguments)), list[Any]()
            try:
                addresses = self._find_addresses(workers)
                futures = [
                    self._submit_to(worker, work, place, addresses, *given)
                    for place, (worker, given) in enumerate(zip(workers, arguments, strict=True))
                ]
                self._wait_together(futures, workers, check)
                results: list[T] = [future.result() for future in futures]
            except WorkersLost:
                self._restart(futures, workers)
                raise
            return results

    def require_worker(self) -> None:
        """Wait until a worker does a task; raise `ServiceFault` if none does. A cluster may start its workers only then."""
        with self._explain_failure("start"):
            try:
                self.client.submit(os.getpid, pure=False).result(timeout=WAIT_SECONDS)
            except TimeoutError as error:
                raise self._make_shortage(1) from error

    def _choose_workers(self, count: int) -> list[str]:
        """Choose workers of as many machines as possible; wait for lost ones to come back."""
        try:
            self.client.wait_for_workers(count, timeout=WAIT_SECONDS)
        except TimeoutError as error:
            raise self._make_shortage(count) from error
        by_host = defaultdict(list)
        for worker in sorted(self._list_workers()):
            by_host[urlsplit(worker).hostname].append(worker)
        turns = sorted((turn, worker) for each in by_host.values() for turn, worker in enumerate(each))
        if len(turns) < count:
            raise WorkersLost(f"{count - len(turns)} of {count} workers ended")
        return [worker for _, worker in turns[:count]]

    def _make_shortage(self, count: int) -> ServiceFault:
        return ServiceFault(
            "there are too few Dask workers",
            where=self.address,
            got=f"{len(self._list_workers())} workers after {WAIT_SECONDS} s",
            expected=f"{count} workers" if count > 1 else "at least one",
            todo="start more workers, and run the same command again",
        )

    def _find_addresses(self, workers: Sequence[str]) -> list[str]:
        """Find a free port on each worker."""
        futures = [self._submit_to(worker, find_free_port) for worker in workers]
        self._wait_together(futures, workers, None)
        return [
            f"{urlsplit(worker).hostname}:{future.result()}"
            for worker, future in zip(workers, futures, strict=True)
        ]

    def _submit_to(self, worker: str, work: Callable[..., T], *given: Any) -> Any:
        return self.client.submit(work, *given, workers=[worker], allow_other_workers=False, pure=False)

    def _wait_together(
        self, futures: Sequence[Any], workers: Sequence[str], check: Callable[[], None] | None
    ) -> None:
        """Wait until all tasks are finished; raise `WorkersLost` if one cannot finish."""
        while True:
            for future in futures:
                if future.status == "error":
                    error = future.exception()
                    if isinstance(error, NpsriskError):
                        raise error
                    raise WorkersLost(f"a task failed: {_summarize(error)}") from error
            if all(future.status == "finished" for future in futures):
                return
            lost = set(workers) - set(self._list_workers())
            if lost:
                raise WorkersLost(f"{len(lost)} of {len(workers)} workers ended")
            if check is not None:
                check()
            time.sleep(POLL_SECONDS)

    def _restart(self, futures: Sequence[Any], workers: Sequence[str]) -> None:
        """Stop a group, and restart its workers: one that waits for data of a lost one cannot be interrupted otherwise."""
        self.client.cancel(futures, force=True)
        left = [worker for worker in workers if worker in self._list_workers()]
        try:
            self.client.restart_workers(left, timeout=WAIT_SECONDS, raise_for_error=False)
        except ValueError as error:
            raise ServiceFault(
                "a worker was lost, and the others cannot be restarted",
                where=self.address,
                got=_summarize(error),
                todo="start the workers with a nanny, as `dask worker` does by default",
            ) from error

    def _list_workers(self) -> list[str]:
        """Ask the scheduler for the addresses of its workers; `scheduler_info` may be some seconds old."""
        return list(self.client.ncores())

    def _count_ahead(self) -> int:
        return TASKS_AHEAD * max(len(self._list_workers()), 1)

    @contextmanager
    def _explain_failure(self, name: str) -> Iterator[None]:
        """Turn errors of Dask into a `ServiceFault` that names the task or the scheduler."""
        from distributed import CancelledError, KilledWorker

        try:
            yield
        except (NpsriskError, WorkersLost):
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
                raise ServiceFault(
                    "a value that tasks share was lost with all workers that had it",
                    where=f"tasks {name}",
                    todo="check the memory of the workers, and run the same command again",
                ) from error
            raise self._make_connection_fault(name, error) from error
        except OSError as error:  # a lost connection, and one that cannot be made again
            raise self._make_connection_fault(name, error) from error

    def _make_connection_fault(self, name: str, error: Exception) -> ServiceFault:
        return ServiceFault(
            "the connection to the Dask scheduler was lost",
            where=f"{self.address}, tasks {name}",
            got=_summarize(error),
            todo="start the scheduler, and run the same command again",
        )


def _give(value: T) -> T:
    return value


def _get_result(future: Any) -> Any:
    """Return the result of a task. Its errors of the system are those of a worker, and not of the connection to the scheduler."""
    try:
        return future.result()
    except (OSError, MemoryError) as error:
        if future.status != "error":
            raise
        is_memory = isinstance(error, MemoryError)
        raise ServiceFault(
            "a task ran out of memory" if is_memory else "a task cannot read or write a file",
            where=f"task {future.key}",
            got=_summarize(error),
            todo="give each worker more memory, or use fewer workers"
            if is_memory
            else "check the disk, and that every worker sees the tables and the folder of the result under the same names",
        ) from error


def _summarize(error: BaseException) -> str:
    """Return the first line of an error."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def find_free_port() -> int:
    """Find a port of this machine on which nothing listens."""
    with socket.socket() as free:
        free.bind(("", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def connect(address: str) -> Iterator[DaskRunner]:
    """Connect to a cluster.

    Parameters
    ----------
    address : str
        Address of a scheduler, for example `tcp://10.0.0.1:8786`, or `local:N` for N processes of this machine. Every worker
        needs this version of npsrisk, and must see input tables and the folder of the result under the same names.

    Raises
    ------
    BadSetting
        Dask is not installed.
    BadInput
        The address has another form.
    ServiceFault
        The scheduler cannot be reached, or has no workers.
    """
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
            raise ServiceFault(
                "the Dask scheduler cannot be reached",
                where=address,
                got=_summarize(error),
                todo="check the address, and that the scheduler is running",
            ) from error
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
        raise BadInput(
            "bad number of workers",
            where="--dask",
            got=address,
            expected="local:N with N at least 1, or the address of a scheduler",
        )
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
