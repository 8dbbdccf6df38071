"""Scores and features on Dask workers have the bytes of one machine, also if a worker is killed; its faults name task or address."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from support.registered_model import make_past_consignments, register_small_model

from consignments.errors import BadInput, NpsriskError, ServiceFault
from consignments.files.table_writers import write_table
from features.buckets.cluster import WAIT_SECONDS, DaskRunner, connect
from npsrisk import main

distributed = pytest.importorskip("distributed", reason="Dask is not installed; run make scale")
dask = pytest.importorskip("dask")


@pytest.fixture(scope="module")
def runner() -> Iterator[DaskRunner]:
    with connect("local:2") as made:
        yield made


def list_pids(runner: DaskRunner) -> list[int]:
    return list(runner.client.run(os.getpid).values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cluster")
    register_small_model(made)
    write_table(make_past_consignments(), made / "past.parquet")
    return made


@pytest.mark.quick
@pytest.mark.parametrize(
    ("verb", "options"),
    [("score", ("--model", "1", "--without-history", "--reasons", "2")), ("features", ())],
)
def test_a_result_of_two_workers_has_the_bytes_of_one_machine(
    runner: DaskRunner,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    options: tuple[str, ...],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    monkeypatch.setattr("features.buckets.coordinator.PARTITION_ROWS", 20)

    def run(name: str, *more: str) -> Result:
        words = [
            verb,
            "--consignments",
            str(folder / "past.parquet"),
            "--out",
            str(tmp_path / name),
            *options,
        ]
        return CliRunner().invoke(main, [*words, *more])

    for name, more in (("one.parquet", ()), ("two.parquet", ("--dask", runner.client.scheduler.address))):
        done = run(name, *more)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert not list(tmp_path.glob(".*")), "the working folder is removed"


@pytest.mark.quick
@pytest.mark.parametrize(
    ("verb", "options", "stage"),
    [("score", ("--model", "1"), "history"), ("features", (), "keys"), ("features", (), "state")],
)
def test_days_from_a_state_leave_the_files_of_one_machine_if_a_worker_is_killed(
    runner: DaskRunner,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    options: tuple[str, ...],
    stage: str,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    monkeypatch.setenv("NPSRISK_STATE_DIR", str(tmp_path / "service"))
    monkeypatch.setattr("features.buckets.coordinator.PARTITION_ROWS", 3)
    monkeypatch.setattr("features.buckets.coordinator.BUCKET_ARRIVALS", 4)
    monkeypatch.setattr("features.history.kept_state.SEGMENT_ROWS", 6)
    past = pd.read_parquet(folder / "past.parquet")
    days = [rows for _, rows in past.groupby(pd.to_datetime(past["received_at"]).dt.floor("D"))]
    killed = kill_one_at(monkeypatch, stage, 1, lambda runner: os.kill(list_pids(runner)[0], signal.SIGKILL))
    for way, dask in (("one", ()), ("two", ("--dask", runner.client.scheduler.address))):
        for number, rows in enumerate(days[:3]):
            path = tmp_path / f"day{number}.parquet"
            rows.to_parquet(path, index=False)
            more = ("--without-history",) if number == 0 and verb == "score" else ()
            words = ["--consignments", str(path), "--out", str(tmp_path / f"{way}{number}.parquet"), *options, *more]  # fmt: skip
            run_verb(verb, *words, "--state", str(tmp_path / way), *dask)
    assert len(killed) >= 2
    for number in range(3):
        one, two = (tmp_path / f"{way}{number}.parquet" for way in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    files = [path.relative_to(tmp_path / "one") for path in sorted((tmp_path / "one").rglob("*.*"))]
    assert len(files) > 20
    assert files == [path.relative_to(tmp_path / "two") for path in sorted((tmp_path / "two").rglob("*.*"))]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def square(number: int) -> int:
    return number * number


def end_worker(number: int) -> None:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)


def fail(number: int) -> None:
    raise BadInput("a fault of the task", where=f"row {number}")


def test_results_come_in_order_and_a_killed_worker_costs_only_its_tasks(runner: DaskRunner) -> None:
    results = runner.map("square", square, [(number,) for number in range(40)])
    read = [next(results) for _ in range(5)]
    os.kill(list_pids(runner)[0], signal.SIGKILL)
    assert [*read, *results] == [number * number for number in range(40)]


def add(shared: int, number: int) -> int:
    return shared + number


def test_a_shared_value_survives_the_loss_of_all_workers(runner: DaskRunner) -> None:
    shared = runner.share(40)
    results = runner.map("add", add, [(shared, number) for number in range(20)])
    read = [next(results) for _ in range(5)]
    for pid in list_pids(runner):
        os.kill(pid, signal.SIGKILL)
    assert [*read, *results] == list(range(40, 60))


def test_an_error_of_a_task_is_that_of_one_machine(runner: DaskRunner) -> None:
    with pytest.raises(BadInput, match="row 0: a fault of the task"):
        list(runner.map("fail", fail, [(0,)]))


@pytest.mark.slow
def test_a_task_that_ends_its_workers_is_named() -> None:
    with (
        connect("local:2") as own,
        pytest.raises(ServiceFault, match=r"task end-2-.*: workers ended again and again"),
    ):
        list(own.map("end", end_worker, [(number,) for number in range(4)]))


@pytest.mark.parametrize(
    ("address", "kind", "told"),
    [("local:none", BadInput, "local:N"), ("tcp://127.0.0.1:9", ServiceFault, "scheduler cannot be reached")],
)
def test_an_address_that_leads_nowhere_is_named(
    monkeypatch: pytest.MonkeyPatch, address: str, kind: type[NpsriskError], told: str
) -> None:
    monkeypatch.setattr("features.buckets.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(kind, match=told), connect(address):
        raise AssertionError


def run_verb(verb: str, *words: str) -> dict[str, Any]:
    done = CliRunner().invoke(main, [verb, *words])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if "--json" in words else {}
    return found


def kill_one_at(
    monkeypatch: pytest.MonkeyPatch, name: str, done: int, kill: Callable[[DaskRunner], None]
) -> list[str]:
    """Let something happen when so many tasks of a name are done."""
    real, killed = DaskRunner.map, []

    def mapped(self: DaskRunner, what: str, work: Any, arguments: Any) -> Iterator[Any]:
        for place, result in enumerate(real(self, what, work, arguments)):
            if what == name and place == done:
                killed.append(what)
                kill(self)
            yield result

    monkeypatch.setattr(DaskRunner, "map", mapped)
    return killed


def test_a_process_of_this_machine_that_is_slow_to_start_again_is_not_given_up(runner: DaskRunner) -> None:
    waits = dask.config.get("distributed.deploy.lost-worker-timeout")
    assert dask.utils.parse_timedelta(waits) > WAIT_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["keys", "history", "rows"])
def test_a_million_rows_have_the_same_hash_if_a_worker_is_killed(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    rows = int(os.environ.get("NPSRISK_TEST_SCALE_ROWS", "1000000"))
    base = tmp_path_factory.getbasetemp() / "million"
    if not base.exists():
        run_verb("simulate", "--days", "50", "--per-day", str(rows // 50), "--out", str(base))
        tables = (
            "--consignments",
            str(base / "consignments.parquet"),
            "--outcomes",
            str(base / "outcomes.parquet"),
        )
        run_verb("features", *tables, "--out", str(base / "features"))
    tables = (
        "--consignments",
        str(base / "consignments.parquet"),
        "--outcomes",
        str(base / "outcomes.parquet"),
    )
    killed = kill_one_at(monkeypatch, stage, 1, lambda runner: os.kill(list_pids(runner)[0], signal.SIGKILL))
    run_verb("features", *tables, "--out", str(tmp_path / "f"), "--dask", "local:2")
    assert killed == [stage]
    one, two = (
        json.loads((path / "_manifest.json").read_text()) for path in (base / "features", tmp_path / "f")
    )
    assert one == two
    assert sum(part["rows"] for part in one["parts"]) > 0
    assert pd.read_parquet(tmp_path / "f", columns=["consignment_id"]).shape[0] == sum(
        p["rows"] for p in one["parts"]
    )


class FailedTask:
    """A task whose result is an error, of the task itself or of the connection to the scheduler."""

    key = "rows-7"

    def __init__(self, error: BaseException, status: str) -> None:
        self.error, self.status = error, status

    def result(self) -> None:
        raise self.error

    def release(self) -> None:
        """Do nothing."""


class FailingClient:
    status = "running"

    def __init__(self, task: FailedTask) -> None:
        self.task = task

    def ncores(self) -> dict[str, int]:
        return {"tcp://127.0.0.1:1": 1}

    def submit(self, *given: Any, **options: Any) -> FailedTask:
        return self.task


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (OSError("Timed out trying to connect"), "pending", "tcp://a, tasks rows: the connection to the Dask scheduler was lost"),
        (distributed.comm.CommClosedError("closed"), "pending", "the connection to the Dask scheduler was lost"),
        (OSError(28, "No space left on device"), "error", "rows-7: a task cannot read or write a file; .*No space left"),
        (FileNotFoundError(2, "No such file", "/t/keys"), "error", "a task cannot read or write a file; .*'/t/keys'"),
        (MemoryError(), "error", "rows-7: a task ran out of memory"),
        (distributed.client.FutureCancelledError("rows-7", "scheduler-connection-lost"), "cancelled", "the connection to the Dask scheduler was lost"),
        (distributed.client.FutureCancelledError("rows-7", None), "cancelled", "a value that tasks share was lost"),
    ],
)  # fmt: skip
def test_errors_of_the_system_name_their_cause(error: Exception, status: str, told: str) -> None:
    runner = DaskRunner(FailingClient(FailedTask(error, status)), "tcp://a")
    with pytest.raises(ServiceFault, match=told):
        list(runner.map("rows", square, [(1,)]))


def fail_on_a_full_disk(number: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_of_a_worker_is_named(runner: DaskRunner) -> None:
    with pytest.raises(ServiceFault, match=r"a task cannot read or write a file.*No space left on device"):
        list(runner.map("full", fail_on_a_full_disk, [(0,)]))


def test_a_scheduler_without_workers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.buckets.cluster.WAIT_SECONDS", 0.1)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as empty,
        pytest.raises(ServiceFault, match=r"there is no Dask worker; got 0 workers.*expected at least one"),
        connect(empty.scheduler_address),
    ):
        raise AssertionError
