"""Large tables: one file, parts, a continued run, a day from a state, and Dask workers with one of them killed.

    python -m benchmarks.scale --days 30 --per-day 4000 one parts resume state dask
    python -m benchmarks.scale --days 300 --per-day 3334 slope workers day

Each line has seconds, rows a second of wall time, CPU seconds of all processes, the peak of memory, and the first digits of the
SHA-256 of the result, which all forms of one world must share. A second line has the peak of memory of each stage. Compare lines
of one run only.

Three forms are about tables that take too long to simulate. They use copies of the simulated world (`benchmarks.copies`): `slope` 1, 2, 5
and 10 of them, `workers` 20, on workers of 2 GB, one of which is killed in the middle, and `day` 9 as the past of 90 days and 12 as one
day that is scored, or as many as `--copies PAST DAY` says. With the world of a million above, they take most of an hour on two cores, and 40 GB of disk.
"""

import argparse
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet

from benchmarks.copies import Copies
from benchmarks.memory import MemoryMonitor, tree

RESUME_AT = 0.5
"""Share of the parts after which the run is killed."""
KILL_AT_SECONDS = 20.0
SLOPE_COPIES = (1, 2, 5, 10)
WORKER_COPIES, WORKER_MEMORY = 20, "2GB"
PAST_COPIES, DAY_COPIES, PAST_DAYS = 9, 12, 90
MODEL_ROWS = 20_000
FORMS = ("one", "parts", "resume", "state", "dask", "kill")
LARGE_FORMS = ("slope", "workers", "day")
STAGE = re.compile(rb"[\dT:-]+Z ([a-z ]*[a-z])")
"""Pattern of a line of progress: time and stage."""


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("forms", nargs="*", choices=[*FORMS, *LARGE_FORMS, []])
    arguments.add_argument("--days", type=int, default=30)
    arguments.add_argument("--per-day", type=int, default=4000)
    arguments.add_argument("--folder", type=Path, default=Path("scale-benchmark"))
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--copies", type=int, nargs=2, default=(PAST_COPIES, DAY_COPIES))
    given = arguments.parse_args()
    bench = ScaleBenchmark(given.folder, given.jobs, *given.copies)
    bench.simulate(given.days, given.per_day)
    for form in given.forms or FORMS:
        getattr(bench, f"measure_{form}")()


class ScaleBenchmark:
    """A world in a folder, and the forms in which its features are computed."""

    def __init__(self, folder: Path, jobs: int, past_copies: int, day_copies: int) -> None:
        self.folder, self.jobs = folder, jobs
        self.past_copies, self.day_copies = past_copies, day_copies
        self.world = folder / "world"

    def simulate(self, days: int, per_day: int) -> None:
        self.folder.mkdir(exist_ok=True)
        if not self.world.exists():
            run("simulate", "--days", str(days), "--per-day", str(per_day), "--out", str(self.world))
        self.rows = parquet.ParquetFile(self.world / "consignments.parquet").metadata.num_rows
        print(f"{self.rows:,} rows, {self.jobs} processes", flush=True)

    def measure_one(self) -> None:
        self._measure("one file", "one.parquet", "--jobs", str(self.jobs))

    def measure_parts(self) -> None:
        self._measure("parts", "parts", "--jobs", str(self.jobs))

    def measure_resume(self) -> None:
        out = self._clear("resumed")
        process = start(*self._list_words(out), "--jobs", str(self.jobs))
        parts = -(-self.rows // (1 << 18))
        wanted = max(int(parts * RESUME_AT), 1)
        while len(list(out.with_name(f".{out.name}.partial").glob("*.parquet"))) < wanted:
            if process.poll() is not None:
                raise SystemExit("the run ended before it could be killed: use more rows")
            time.sleep(0.2)
        kill_tree(process.pid)
        process.wait()
        self._measure(
            f"continued after {wanted} of {parts} parts", "resumed", "--jobs", str(self.jobs), fresh=False
        )

    def measure_state(self) -> None:
        """Compare the last day from the state of the days before it with the last day and all of them as history."""
        frame = pd.read_parquet(self.world / "consignments.parquet")
        last = frame["received_at"].dt.floor("D").max()
        for name, rows in (("today", frame["received_at"] >= last), ("past", frame["received_at"] < last)):
            frame[rows].to_parquet(self.folder / f"{name}.parquet", index=False)
        today = int((frame["received_at"] >= last).sum())
        del frame
        past, now = self.folder / "past.parquet", self.folder / "today.parquet"
        state = ("--state", str(self._clear("state")))
        self._measure("days before, to a state", "before.parquet", *state, table=past, rows=self.rows - today)
        self._measure("last day from the state", "last.parquet", *state, table=now, rows=today)
        self._measure(
            "last day with a history", "again.parquet", "--history", str(past), table=now, rows=today
        )
        size = sum(file.stat().st_size for file in sorted((self.folder / "state").iterdir())[-1].iterdir())
        print(f"state: {size / 1e6:,.0f} MB, {size / self.rows:.0f} bytes for each consignment", flush=True)

    def measure_dask(self) -> None:
        for workers in (1, 2):
            self._measure(f"dask local:{workers}", f"dask{workers}.parquet", "--dask", f"local:{workers}")

    def measure_kill(self) -> None:
        self._measure(
            f"dask local:2, a worker killed after {KILL_AT_SECONDS:.0f} s",
            "killed.parquet",
            "--dask",
            "local:2",
            meanwhile=kill_a_worker,
        )

    def measure_slope(self) -> None:
        """Measure how time grows with the rows, on one machine and with Dask on as many processes."""
        forms = {"one machine": ("--jobs", str(self.jobs)), "dask": ("--dask", f"local:{self.jobs}")}
        found: dict[str, list[Cost]] = {title: [] for title in forms}
        sizes = []
        for copies in SLOPE_COPIES:
            tables = self._copy(Copies("c", copies))
            sizes.append(count_rows(tables))
            for title, options in forms.items():
                cost = self._measure(f"{title}, {sizes[-1]:,} rows", "slope", *options, tables=tables)
                found[title].append(cost)
        for title, costs in found.items():
            slopes = np.polyfit(np.log(sizes), np.log(costs), 1)[0]
            print(f"{title}: slope of wall time {slopes[0]:.3f}, of CPU time {slopes[1]:.3f}", flush=True)

    def measure_workers(self) -> None:
        """Measure small workers over a large table, and again with one of them killed in the middle."""
        from distributed import LocalCluster

        tables = self._copy(Copies("c", WORKER_COPIES))
        with LocalCluster(
            n_workers=self.jobs, threads_per_worker=1, memory_limit=WORKER_MEMORY, dashboard_address=None
        ) as cluster:
            options = ("--dask", cluster.scheduler_address)
            title = f"{self.jobs} workers of {WORKER_MEMORY}"
            whole = self._measure(title, "whole", *options, tables=tables, watched=os.getpid())

            def kill(_: int) -> None:
                time.sleep(whole.wall / 2)
                os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)

            killed = self._measure(
                f"{title}, one killed", "killed", *options, tables=tables, meanwhile=kill, watched=os.getpid()
            )
        print(f"killed: {killed.wall / whole.wall:.2f} times the time", flush=True)

    def measure_day(self) -> None:
        """Score a day of a union of countries from the state of the days before it."""
        past = self._copy(Copies("past", self.past_copies, days=PAST_DAYS))
        day = self._copy(Copies("day", self.day_copies, first_day=PAST_DAYS, days=1))
        deploy_model(self.folder / "model")
        state = ("--state", str(self._clear("day-state")), "--model", "1", "--jobs", str(self.jobs))
        first = f"{PAST_DAYS} days before, to a state"
        self._measure(first, "past-scores", *state, "--without-history", tables=past, verb="score")
        self._measure("a day from the state", "day-scores", *state, tables=day, verb="score")

    def _copy(self, copies: Copies) -> Path:
        out = self.folder / f"{copies.name}-{copies.count}"
        if not out.exists():
            part = out.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            copies.write(self.world, part)
            part.rename(out)
        return out

    def _clear(self, name: str) -> Path:
        out = self.folder / name
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(out.with_name(f".{name}.partial"), ignore_errors=True)
        return out

    def _list_words(
        self, out: Path, table: Path | None = None, tables: Path | None = None, verb: str = "features"
    ) -> list[str]:
        folder = tables or self.world
        given = {
            "consignments": table or folder / "consignments.parquet",
            "outcomes": folder / "outcomes.parquet",
        }
        return [
            verb,
            *(word for name, path in given.items() for word in (f"--{name}", str(path))),
            "--out",
            str(out),
        ]

    def _measure(
        self,
        title: str,
        name: str,
        *options: str,
        table: Path | None = None,
        tables: Path | None = None,
        verb: str = "features",
        rows: int | None = None,
        fresh: bool = True,
        meanwhile: Callable[[int], None] = lambda _: None,
        watched: int | None = None,
    ) -> "Cost":
        """Run a verb and print what it cost.

        Parameters
        ----------
        table : Path, optional
            The consignments, if they are not those of `tables`.
        tables : Path, optional
            Folder of the tables; default: the simulated world.
        watched : int, optional
            Process whose descendants do the work; default: the verb's own.
        """
        out = self._clear(name) if fresh else self.folder / name
        if tables is not None:
            rows = count_rows(tables)
        process = start(*self._list_words(out, table, tables, verb), *options, stderr=subprocess.PIPE)
        monitor = MemoryMonitor(watched or process.pid)
        Thread(target=follow_stages, args=(process, monitor), daemon=True).start()
        before, begun = read_cpu(), time.monotonic()
        monitor.start()
        meanwhile(process.pid)
        if process.wait():
            raise SystemExit(f"{title}: exit code {process.returncode}")
        monitor.running = False
        cost = Cost(time.monotonic() - begun, read_cpu() - before)
        print(
            f"{title:45} {cost.wall:7.1f} s {(rows or self.rows) / cost.wall:9,.0f} rows/s {cost.cpu:7.1f} CPU s "
            f"{monitor.peak / 1e6:7,.0f} MB, largest process {monitor.parent_peak / 1e6:6,.0f} MB  "
            f"{hash_features(out) if tables is None else hash_parts(out)}",
            flush=True,
        )
        stages = ", ".join(f"{stage} {peak / 1e6:,.0f} MB" for stage, peak in monitor.stages.items())
        print(f"{'':45} {stages}", flush=True)
        return cost


class Cost(NamedTuple):
    """Seconds of a run, and those of all its processors."""

    wall: float
    cpu: float


def start(*words: str, stderr: int | None = None) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "npsrisk", *words], stdout=subprocess.DEVNULL, stderr=stderr
    )


def follow_stages(process: "subprocess.Popen[bytes]", monitor: MemoryMonitor) -> None:
    """Pass the lines of progress on, and begin the stages that they name."""
    assert process.stderr is not None
    for line in process.stderr:
        sys.stderr.buffer.write(line)
        sys.stderr.flush()
        if found := STAGE.match(line):
            monitor.begin_stage(found[1].decode())


def run(*words: str) -> None:
    if start(*words).wait():
        raise SystemExit(f"npsrisk {words[0]} failed")


def count_rows(tables: Path) -> int:
    rows: int = parquet.ParquetFile(tables / "consignments.parquet").metadata.num_rows
    return rows


def read_cpu() -> float:
    """Return the CPU seconds of all processes that this one started, those included that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = 0
    for process in tree(os.getpid())[1:]:
        with suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ended.ru_utime + ended.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def deploy_model(folder: Path) -> None:
    """Grow a model, register it in a store of its own, and name the store to the verbs that follow."""
    from benchmarks.deployed import deploy, grow, make_world

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    deploy(grow(make_world(MODEL_ROWS)), folder.absolute())
    os.environ["NPSRISK_STATE_DIR"] = str(folder.absolute())
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder.absolute() / 'mlflow.db'}"


def kill_tree(process: int) -> None:
    for each in tree(process):
        os.kill(each, signal.SIGKILL)


def kill_a_worker(process: int) -> None:
    """Kill the child process that has used the most memory, which is a worker and not a nanny."""
    time.sleep(KILL_AT_SECONDS)
    os.kill(max(tree(process)[1:], key=read_memory), signal.SIGKILL)


def read_memory(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except OSError:
        return 0


def hash_features(out: Path) -> str:
    """Hash the values of a result, whatever its files."""
    digest = hashlib.sha256()
    files = sorted(out.glob("*.parquet")) if out.is_dir() else [out]
    for file in files:
        for batch in parquet.ParquetFile(file).iter_batches(1 << 15):
            for column in batch.columns:
                values = column.to_numpy(zero_copy_only=False)
                digest.update(
                    values.tobytes() if values.dtype.kind == "f" else json.dumps(values.tolist()).encode()
                )
    return digest.hexdigest()[:12]


def hash_parts(out: Path) -> str:
    """Hash the hashes of the parts of a folder."""
    parts = json.loads((out / "_manifest.json").read_bytes())["parts"]
    return hashlib.sha256("".join(part["sha256"] for part in parts).encode()).hexdigest()[:12]


if __name__ == "__main__":
    main()
