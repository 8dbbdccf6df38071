"""Memory use of a process and its children, measured from outside; Linux only."""

import threading
import time
from contextlib import suppress
from pathlib import Path

EVERY_SECONDS = 0.5


class MemoryMonitor(threading.Thread):
    """Monitor of the memory of a process and its children; each shared page is counted once.

    Attributes
    ----------
    peak, parent_peak : int
        Maximum bytes so far: of all, and of the process itself.
    stages : dict
        Maximum bytes of all in each stage that was begun with `begin_stage`, by name.
    """

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak, self.parent_peak, self.running = process, 0, 0, True
        self.stages: dict[str, int] = {}
        self._stage = "start"

    def begin_stage(self, name: str) -> None:
        """Count the memory from now on for another stage."""
        self._stage = name

    def run(self) -> None:
        while self.running:
            held = [_held(process) for process in tree(self.process)]
            self.peak, self.parent_peak = max(self.peak, sum(held)), max(self.parent_peak, held[0])
            self.stages[self._stage] = max(self.stages.get(self._stage, 0), sum(held))
            time.sleep(EVERY_SECONDS)


def tree(process: int) -> list[int]:
    """Return a process and all its descendants."""
    below: list[str] = []
    for thread in Path(f"/proc/{process}/task").glob("*"):
        with suppress(OSError):
            below += (thread / "children").read_text().split()
    return [process, *(each for child in below for each in tree(int(child)))]


def _held(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    except (OSError, StopIteration):
        return 0
