"""Tasks on a Dask cluster: workers of this machine, or those of a scheduler. The only file that imports Dask."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from consignments.errors import BadInput, BadSetting, NpsriskError, ServiceFault

T = TypeVar("T")
LOCAL = "local:"
RETRIES = 2
"""Times that a task is repeated after an error of the system, besides the repeats after a lost worker."""
TASKS_AHEAD = 3
"""Tasks for each worker that are in progress or wait."""
CONNECT_SECONDS = 30


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
        that have it end at the same time.
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
                result: T = first.result()
                first.release()
            left -= 1
            yield result

    def _count_ahead(self) -> int:
        return TASKS_AHEAD * max(len(self.client.scheduler_info(n_workers=-1)["workers"]), 1)

    @contextmanager
    def _explain_failure(self, name: str) -> Iterator[None]:
        """Turn errors of Dask into a `ServiceFault` that names the task or the scheduler."""
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError

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
        except (CommClosedError, CancelledError, TimeoutError, ConnectionError) as error:
            raise ServiceFault(
                "the connection to the Dask scheduler was lost",
                where=f"{self.address}, tasks {name}",
                got=type(error).__name__,
                todo="start the scheduler, and run the same command again",
            ) from error


def _give(value: T) -> T:
    return value


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
        The scheduler cannot be reached.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise BadSetting(
            "Dask is not installed", where="--dask", todo="install the extra: pip install 'npsrisk[scale]'"
        ) from error
    workers = _count_local_workers(address)
    try:
        cluster = None if workers is None else _start_local_cluster(workers)
        client = Client(cluster or address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ServiceFault(
            "the Dask scheduler cannot be reached",
            where=address,
            got=str(error).splitlines()[0] or type(error).__name__,
            todo="check the address, and that the scheduler is running",
        ) from error
    try:
        yield DaskRunner(client, address)
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

    # Any free port: the default one may be used by another run.
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        silence_logs=40,
    )
