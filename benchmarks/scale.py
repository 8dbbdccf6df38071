"""Large tables: how time and memory grow with the rows, a day from a state, and small workers with one of them killed.

    python -m benchmarks.scale --days 300 --per-day 3334 --forms slope day workers
    python -m benchmarks.scale --days 30 --per-day 400 --forms state --copies 1 1      # a few minutes

Each line has seconds, rows a second of wall time, CPU seconds of all processes, the peak of memory, also of each stage, and the first
digits of the SHA-256 of the result, which all forms of one world must share. Compare lines of one run only.

`state` scores the last day of the world from the state of the days before, and with these as history. The others use copies of the
world (`benchmarks.copies`), because such tables take too long to simulate: `slope` 1, 2, 5 and 10 of them, `workers` 20, on workers of
2 GB, one of which is killed in the middle, and `day` 9 as the past of 90 days and 12 as one day that is scored, or as many as
`--copies PAST DAY` says. With the world of a million above, they take most of an hour on two cores, and 40 GB of disk.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet

from benchmarks.copies import Copies
from benchmarks.memory import MemoryMonitor, read_cpu_seconds
from benchmarks.script import NPSRISK, parse_options, run_verb

SLOPE_COPIES = (1, 2, 5, 10)
WORKER_COPIES, WORKER_MEMORY = 20, "2GB"
PAST_DAYS = 90
MODEL_ROWS = 20_000
STAGE = re.compile(rb"[\dT:-]+Z ([a-z ]*[a-z])")
"""Pattern of a line of progress: time and stage."""
Cost = tuple[float, float]
"""Seconds of a run, and those of all its processors."""


def main() -> None:
    options = parse_options(
        __doc__,
        days=30,
        per_day=4000,
        folder=Path("scale-benchmark"),
        jobs=2,
        copies=[9, 12],
        forms=["slope"],
    )
    bench = ScaleBenchmark(options.folder.absolute(), options.jobs, options.copies)
    if not bench.world.exists():
        words = "--days", str(options.days), "--per-day", str(options.per_day), "--out", str(bench.world)
        run_verb({}, "simulate", *words)
    for form in options.forms:
        getattr(bench, f"measure_{form}")()


class ScaleBenchmark:
    """A world in a folder, and the forms in which its features are computed."""

    def __init__(self, folder: Path, jobs: int, copies: tuple[int, int]) -> None:
        self.folder, self.jobs, self.copies = folder, jobs, copies
        self.world = folder / "world"

    def measure_state(self) -> None:
        """Compare the last day from the state of the days before it with the last day and all of them as history."""
        frame = pd.read_parquet(self.world / "consignments.parquet")
        is_last = frame["received_at"] >= frame["received_at"].dt.floor("D").max()
        for name, rows in (("today", is_last), ("past", ~is_last)):
            (self.folder / name).mkdir(exist_ok=True)
            shutil.copy(self.world / "outcomes.parquet", self.folder / name)
            frame[rows].to_parquet(self.folder / name / "consignments.parquet", index=False)
        today, past = self.folder / "today", self.folder / "past"
        state = ("--state", str(self._clear("state")))
        self._measure("days before, to a state", "before", past, *state)
        self._measure("last day from the state", "last", today, *state)
        self._measure(
            "last day with a history", "again", today, "--history", str(past / "consignments.parquet")
        )

    def measure_slope(self) -> None:
        """Measure how time grows with the rows, on one machine and with Dask on as many processes."""
        forms = {"one machine": ("--jobs", str(self.jobs)), "dask": ("--dask", f"local:{self.jobs}")}
        found: dict[str, list[Cost]] = {title: [] for title in forms}
        sizes = []
        for count in SLOPE_COPIES:
            tables = self._copy(Copies("c", count))
            sizes.append(count_rows(tables))
            for title, options in forms.items():
                found[title].append(self._measure(title, "slope", tables, *options))
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
            wall, _ = self._measure(title, "whole", tables, *options, watched=os.getpid())

            def kill() -> None:
                time.sleep(wall / 2)
                os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)

            self._measure(
                f"{title}, one killed", "killed", tables, *options, meanwhile=kill, watched=os.getpid()
            )

    def measure_day(self) -> None:
        """Score a day of a union of countries from the state of the days before it."""
        past = self._copy(Copies("past", self.copies[0], days=PAST_DAYS))
        day = self._copy(Copies("day", self.copies[1], first_day=PAST_DAYS, days=1))
        deploy_model(self.folder / "model")
        state = ("--state", str(self._clear("day-state")))
        self._measure(f"{PAST_DAYS} days before, to a state", "day-before", past, *state, verb="score")
        self._measure("a day from the state", "day-scores", day, *state, verb="score")

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

    def _measure(
        self, title: str, name: str, tables: Path, *options: str, verb: str = "features",
        meanwhile: Callable[[], None] | None = None, watched: int | None = None,
    ) -> Cost:  # fmt: skip
        """Run a verb over the tables of a folder and print its cost; `watched` is the process whose descendants work, if not its own."""
        out = self._clear(name)
        words = [verb, "--out", str(out), *options]
        for table in ("consignments", "outcomes"):
            words += [f"--{table}", str(tables / f"{table}.parquet")]
        process = subprocess.Popen([NPSRISK, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        monitor = MemoryMonitor(watched or process.pid)
        Thread(target=follow_stages, args=(process, monitor), daemon=True).start()
        before, begun = read_cpu_seconds(os.getpid()), time.monotonic()
        if meanwhile:
            meanwhile()
        if process.wait():
            raise SystemExit(f"{title}: exit code {process.returncode}")
        monitor.running = False
        wall, cpu, rows = time.monotonic() - begun, read_cpu_seconds(os.getpid()) - before, count_rows(tables)
        stages = ", ".join(f"{stage} {peak / 1e6:,.0f}" for stage, peak in monitor.stages.items())
        print(
            f"{title}, {rows:,} rows: {wall:.1f} s, {rows / wall:,.0f} rows/s, {cpu:.1f} CPU s, "
            f"{monitor.peak / 1e6:,.0f} MB ({stages}), {hash_parts(out)}",
            flush=True,
        )
        return wall, cpu


def follow_stages(process: "subprocess.Popen[bytes]", monitor: MemoryMonitor) -> None:
    """Pass the lines of progress on, and begin the stages that they name."""
    for line in process.stderr or ():
        sys.stderr.buffer.write(line)
        sys.stderr.flush()
        if found := STAGE.match(line):
            monitor.stage = found[1].decode()


def count_rows(tables: Path) -> int:
    """Count the consignments of the tables of a folder."""
    rows: int = parquet.ParquetFile(tables / "consignments.parquet").metadata.num_rows
    return rows


def deploy_model(folder: Path) -> None:
    """Grow a model, register it in a store of its own, and name the store to the verbs that follow."""
    from benchmarks.deployed import deploy, grow, make_world
    from benchmarks.service import build_settings

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.environ |= build_settings(deploy(grow(make_world(MODEL_ROWS)), folder).state_dir)


def hash_parts(out: Path) -> str:
    """Hash the hashes of the parts of a folder."""
    parts: list[dict[str, Any]] = json.loads((out / "_manifest.json").read_bytes())["parts"]
    return hashlib.sha256("".join(part["sha256"] for part in parts).encode()).hexdigest()[:12]


if __name__ == "__main__":
    main()
