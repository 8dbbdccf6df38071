"""Measure the cost of a full training: `npsrisk train` as started on a terminal, on a large simulated world.

    python -m benchmarks.training [--rows 1000000 --world DIR]

The world (`operation`: two of a hundred consignments inspected, 300 days) is created once in DIR. Then one run reads the tables,
computes features of all arrivals, fits trees and calibration, evaluates with baselines, writes page and plots, logs the run to
MLflow and registers the version. Reported are wall and CPU time and the peak memory of all its processes; for each stage of the
progress bar when it was first and last seen; and the longest time without output on the terminal.
"""

import argparse
import os
import pty
import re
import resource
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.memory import MemoryMonitor

DAYS = 300
NPSRISK = Path(sys.executable).with_name("npsrisk")
BAR = re.compile(rb"([a-z][a-z ]+):\s+(\d+)%")
TABLES = ("consignments", "outcomes", "alerts")


@dataclass
class Terminal:
    """Output of a terminal.

    Attributes
    ----------
    stages : dict
        Name of a progress bar to the seconds when it was first and last seen.
    silence : float
        Longest time without output, in seconds.
    text : bytes
    done : set
        Stages that have ended: their bars are drawn again at the end.
    """

    stages: dict[str, tuple[float, float]] = field(default_factory=dict)
    silence: float = 0.0
    text: bytes = b""
    done: set[bytes] = field(default_factory=set)

    def watch(self, screen: int, begin: float) -> None:
        """Read the terminal output of a process until it ends."""
        last = 0.0
        while True:
            try:
                shown = os.read(screen, 65536)
            except OSError:  # on Linux: the other side is closed
                return
            if not shown:
                return
            now = time.perf_counter() - begin
            self.silence, last = max(self.silence, now - last), now
            self.text += shown
            for name, percent in BAR.findall(shown):
                first, _ = self.stages.get(name.decode(), (now, now))
                if name not in self.done:
                    self.stages[name.decode()] = (first, now)
                if percent == b"100":
                    self.done.add(name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--world", type=Path, help="folder of the world; created if it does not exist")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        world = options.world or Path(name) / "world"
        make_world(world, options.rows)
        measure(world, Path(name))


def make_world(world: Path, rows: int) -> None:
    """Simulate the world, unless it exists."""
    if world.exists():
        return
    per_day = str(-(-rows // DAYS))
    size = ("--prevalence", "operation", "--days", str(DAYS), "--per-day", per_day, "--seed", "1")
    subprocess.run([NPSRISK, "simulate", "--out", str(world), *size], check=True)


def measure(world: Path, folder: Path) -> None:
    """Train once, and print the table."""
    tables = [word for name in TABLES for word in (f"--{name}", str(world / f"{name}.parquet"))]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    screen, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    begin = time.perf_counter()
    with subprocess.Popen(
        [NPSRISK, "train", *tables, "--register"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=theirs, text=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        memory, terminal = MemoryMonitor(process.pid), Terminal()
        memory.start()
        terminal.watch(screen, begin)
        said, _ = process.communicate()
    memory.running = False
    wall = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(terminal.text.decode(errors="replace"))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{said}\n| `npsrisk train`, {os.cpu_count()} cores | |\n|---|---|")
    print(f"| wall, s | {wall:.0f} |\n| CPU, s | {used.ru_utime + used.ru_stime:.0f} |")
    print(f"| peak memory, all processes, GB | {memory.peak / 1e9:.2f} |")
    print(f"| longest time without output, s | {terminal.silence:.0f} |")
    for name, (first, last) in terminal.stages.items():
        print(f"| {name}, seen from second to second | {first:.0f} to {last:.0f} |")


if __name__ == "__main__":
    main()
