"""Measure the cost of a full training: `npsrisk train` on a large simulated world.

    python -m benchmarks.training [--rows 1000000 --world DIR]

The world (`operation`: two of a hundred consignments inspected, 300 days) is created once in DIR. Then one run reads the tables,
computes features of all arrivals, fits trees and calibration, evaluates with baselines, writes page and plots, logs the run to
MLflow and registers the version. Reported are wall and CPU time, and the peak memory of all its processes by stage.
"""

import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from threading import Thread

from benchmarks.memory import MemoryMonitor
from benchmarks.scale import follow_stages
from benchmarks.script import NPSRISK, format_table, parse_options, run_verb

DAYS = 300
TABLES = ("consignments", "outcomes", "alerts")


def main() -> None:
    options = parse_options(__doc__, rows=1_000_000, world=Path)
    with tempfile.TemporaryDirectory() as name:
        world = options.world or Path(name) / "world"
        if not world.exists():
            size = "--days", str(DAYS), "--per-day", str(-(-options.rows // DAYS)), "--seed", "1"
            run_verb({}, "simulate", "--out", str(world), "--prevalence", "operation", *size)
        measure(world.absolute(), Path(name))


def measure(world: Path, folder: Path) -> None:
    """Train once, and print the table."""
    tables = [word for name in TABLES for word in (f"--{name}", str(world / f"{name}.parquet"))]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        [NPSRISK, "train", *tables, "--register"], cwd=folder, env=environment, stderr=subprocess.PIPE
    ) as process:
        memory = MemoryMonitor(process.pid)
        follower = Thread(target=follow_stages, args=(process, memory))
        follower.start()
        follower.join()
    memory.running = False
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    rows = [["wall, s", f"{time.perf_counter() - begun:.0f}"], ["CPU, s", f"{cpu:.0f}"]]
    rows.append(["peak memory, all processes, GB", f"{memory.peak / 1e9:.2f}"])
    rows += [[f"in the stage {stage}", f"{peak / 1e9:.2f}"] for stage, peak in memory.stages.items()]
    print(format_table([f"`npsrisk train`, {os.cpu_count()} cores", ""], rows))


if __name__ == "__main__":
    main()
