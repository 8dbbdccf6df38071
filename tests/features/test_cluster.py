"""Scores and features on Dask workers have the bytes of one machine, also if a worker is killed; its faults name task or address."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from support.registered_model import make_past_consignments, register_small_model
from support.verbs import succeed

from consignments.errors import BadInput, NpsriskError, ServiceFault
from consignments.files.table_writers import write_table
from features.cluster import DaskRunner, connect

distributed = pytest.importorskip("distributed", reason="Dask is not installed; run make scale")
dask = pytest.importorskip("dask")


@pytest.fixture(scope="module")
def runner() -> Iterator[DaskRunner]:
    with connect("local:2") as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cluster")
    register_small_model(made)
    write_table(make_past_consignments(), made / "past.parquet")
    return made


@pytest.mark.quick
@pytest.mark.parametrize(
    "verb", ["score --model 1 --without-history --reasons 2", "features", "features --state {out}/state"]
)
def test_a_result_of_two_workers_has_the_bytes_of_one_machine(
    runner: DaskRunner, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr("features.cluster.FINISHED_ROWS", 20)
    written = []
    for name, more in (("one", ""), ("two", f"--dask {runner.client.scheduler.address}")):
        (out := tmp_path / name).mkdir()
        words = f"{verb} --consignments {folder}/past.parquet --out {{out}}/rows.parquet {more}"
        succeed(words.format(out=out), MLFLOW_TRACKING_URI=f"sqlite:///{folder / 'mlflow.db'}")
        files = (path for path in out.rglob("*") if path.is_file())
        written.append({str(path.relative_to(out)): path.read_bytes() for path in files})
    assert written[0] == written[1]
    assert not list(tmp_path.glob("*/.*"))


def fail_on_a_full_disk(number: int) -> None:
    raise OSError(28, "No space left on device")


def end_worker(number: int) -> None:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)


def add(shared: int, number: int) -> int:
    return shared + number


def fail(number: int) -> None:
    raise BadInput("a fault of the task", where=f"row {number}")


@pytest.mark.parametrize("killed", [1, 2], ids=["one", "all"])
def test_results_come_in_order_also_if_workers_are_killed(runner: DaskRunner, killed: int) -> None:
    shared = runner.share(40)
    results = runner.map("add", add, [(shared, number) for number in range(20)])
    read = [next(results) for _ in range(5)]
    for pid in list(runner.client.run(os.getpid).values())[:killed]:
        os.kill(pid, signal.SIGKILL)
    assert [*read, *results] == list(range(40, 60))


@pytest.mark.parametrize(
    ("work", "kind", "told"),
    [
        (fail, BadInput, "row 0: a fault of the task"),
        (fail_on_a_full_disk, ServiceFault, r"a task cannot read or write a file.*No space left on device"),
    ],
)
def test_an_error_of_a_task_is_that_of_one_machine(
    runner: DaskRunner, work: Callable[[int], None], kind: type[NpsriskError], told: str
) -> None:
    with pytest.raises(kind, match=told):
        list(runner.map("fail", work, [(0,)]))


@pytest.mark.slow
def test_a_task_that_ends_its_workers_is_named() -> None:
    # Dask may also name a task that waited on the same worker.
    named = pytest.raises(ServiceFault, match=r"task end-\d-.*: workers ended again and again")
    with connect("local:2") as own, named:
        list(own.map("end", end_worker, [(number,) for number in range(4)]))


@pytest.mark.parametrize(
    ("address", "kind", "told"),
    [("local:none", BadInput, "local:N"), ("tcp://127.0.0.1:9", ServiceFault, "scheduler cannot be reached")],
)
def test_an_address_that_leads_nowhere_is_named(
    monkeypatch: pytest.MonkeyPatch, address: str, kind: type[NpsriskError], told: str
) -> None:
    monkeypatch.setattr("features.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(kind, match=told), connect(address):
        raise AssertionError


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (OSError("Timed out trying to connect"), "pending", "tcp://a, tasks rows: the connection to the Dask scheduler was lost"),
        (distributed.comm.CommClosedError("closed"), "pending", "the connection to the Dask scheduler was lost"),
        (FileNotFoundError(2, "No such file", "/t/keys"), "error", "a task cannot read or write a file; .*'/t/keys'"),
        (MemoryError(), "error", "rows-7: a task ran out of memory"),
        (distributed.client.FutureCancelledError("rows-7", "scheduler-connection-lost"), "cancelled", "the connection to the Dask scheduler was lost"),
        (distributed.client.FutureCancelledError("rows-7", None), "cancelled", "a value that tasks share was lost"),
    ],
)  # fmt: skip
def test_errors_of_the_system_name_their_cause(error: Exception, status: str, told: str) -> None:
    """Of the task itself, or of the connection to the scheduler."""
    task, client = Mock(key="rows-7", status=status), Mock(status="running")
    task.result.side_effect = error
    client.submit.return_value = task
    client.ncores.return_value = {"tcp://127.0.0.1:1": 1}
    with pytest.raises(ServiceFault, match=told):
        list(DaskRunner(client, "tcp://a").map("rows", fail, [(1,)]))


def test_a_scheduler_without_workers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.cluster.WAIT_SECONDS", 0.1)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as empty,
        pytest.raises(ServiceFault, match=r"there is no Dask worker; got 0 workers.*expected at least one"),
        connect(empty.scheduler_address),
    ):
        raise AssertionError
