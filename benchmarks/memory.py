"""CPU time and memory of a process and its children, measured from outside; Linux only."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

EVERY_SECONDS = 0.5
TICKS = os.sysconf("SC_CLK_TCK")


class MemoryMonitor(threading.Thread):
    """Monitor of the peak memory of a process and its children, in bytes, also by stage; each shared page is counted once."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak, self.running = process, 0, True
        self.stages: dict[str, int] = {}
        self.stage = "start"
        self.start()

    def run(self) -> None:
        while self.running:
            held = sum(_read_kb(each, "smaps_rollup", "Pss:") for each in list_family(self.process)) * 1024
            self.peak = max(self.peak, held)
            self.stages[self.stage] = max(self.stages.get(self.stage, 0), held)
            time.sleep(EVERY_SECONDS)


def list_family(process: int) -> list[int]:
    """Return a process and all its descendants."""
    below: list[str] = []
    for thread in Path(f"/proc/{process}/task").glob("*"):
        with suppress(OSError):
            below += (thread / "children").read_text().split()
    return [process, *(each for child in below for each in list_family(int(child)))]


def read_cpu_seconds(process: int) -> float:
    """Read the CPU time of a process and its children, those included that have ended."""
    ticks = 0
    for each in list_family(process):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def read_resident_mb(process: int) -> float:
    """Read the resident memory of a process and its children."""
    return sum(_read_kb(each, "status", "VmRSS:") for each in list_family(process)) / 1024


def _read_kb(process: int, file: str, name: str) -> int:
    try:
        lines = Path(f"/proc/{process}/{file}").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))
    except (OSError, StopIteration):
        return 0
