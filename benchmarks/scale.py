"""Large tables: one file, parts, a continued run, a day from a state, and Dask workers with one of them killed.

    python -m benchmarks.scale --days 30 --per-day 4000 one parts resume state dask

Each line has seconds, rows a second of wall time, CPU seconds of all processes, the peak of memory, and the first digits of the
SHA-256 of the features, which all forms must share. Compare lines of one run only.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as parquet

from benchmarks.memory import MemoryMonitor, tree

RESUME_AT = 0.5
"""Share of the parts after which the run is killed."""
KILL_AT_SECONDS = 20.0


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument(
        "forms", nargs="*", choices=["one", "parts", "resume", "state", "dask", "kill", []]
    )
    arguments.add_argument("--days", type=int, default=30)
    arguments.add_argument("--per-day", type=int, default=4000)
    arguments.add_argument("--folder", type=Path, default=Path("scale-benchmark"))
    arguments.add_argument("--jobs", type=int, default=2)
    given = arguments.parse_args()
    bench = ScaleBenchmark(given.folder, given.jobs)
    bench.simulate(given.days, given.per_day)
    for form in given.forms or ("one", "parts", "resume", "state", "dask", "kill"):
        getattr(bench, f"measure_{form}")()


class ScaleBenchmark:
    """A world in a folder, and the forms in which its features are computed."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder, self.jobs = folder, jobs
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

    def _clear(self, name: str) -> Path:
        out = self.folder / name
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(out.with_name(f".{name}.partial"), ignore_errors=True)
        return out

    def _list_words(self, out: Path, table: Path | None = None) -> list[str]:
        tables = {
            "consignments": table or self.world / "consignments.parquet",
            "outcomes": self.world / "outcomes.parquet",
        }
        return [
            "features",
            *(word for name, path in tables.items() for word in (f"--{name}", str(path))),
            "--out",
            str(out),
        ]

    def _measure(
        self,
        title: str,
        name: str,
        *options: str,
        table: Path | None = None,
        rows: int | None = None,
        fresh: bool = True,
        meanwhile: Callable[[int], None] = lambda _: None,
    ) -> None:
        out = self._clear(name) if fresh else self.folder / name
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        process = start(*self._list_words(out, table), *options)
        monitor = MemoryMonitor(process.pid)
        monitor.start()
        meanwhile(process.pid)
        if process.wait():
            raise SystemExit(f"{title}: exit code {process.returncode}")
        monitor.running = False
        seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"{title:45} {seconds:7.1f} s {(rows or self.rows) / seconds:9,.0f} rows/s {cpu:7.1f} CPU s "
            f"{monitor.peak / 1e6:7,.0f} MB, largest process {monitor.parent_peak / 1e6:6,.0f} MB  {hash_features(out)}",
            flush=True,
        )


def start(*words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "npsrisk", *words], stdout=subprocess.DEVNULL)


def run(*words: str) -> None:
    if start(*words).wait():
        raise SystemExit(f"npsrisk {words[0]} failed")


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


if __name__ == "__main__":
    main()
