"""What deleting a dropped snapshot does to the flushes of the log, beside writing the next over it; on the disk of TMPDIR.

    python -m benchmarks.dropped [--rounds 3] [--seconds 60]

A log is written and flushed at a steady 20 MB a second, as much as the service writes at some 500 consignments a second, while
snapshots of 130 MB are written one after the other: in one half of each round as the service does, in the other half with what
was dropped deleted after each. What the disk makes of a deletion depends on how it is mounted (`discard`) and on what is below.
"""

import argparse
import os
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from benchmarks.serving import say
from serving.state.snapshots import FORMAT, NEXT_NAME, SnapshotHeader, Snapshots

ENTRY_BYTES, BYTES_PER_SECOND = 1 << 15, 20_000_000
SNAPSHOT_BYTES, PAUSE_SECONDS = 130_000_000, 8.0
STALL_SECONDS = 0.02
WAYS = (OVER, DELETED) = "written over", "deleted"


class SnapshotWriter(threading.Thread):
    """Writes snapshots one after the other until it is told to stop."""

    def __init__(self, folder: Path, way: str) -> None:
        super().__init__()
        self._snapshots, self._deletes = Snapshots(folder / "snapshots"), way == DELETED
        self.told = threading.Event()

    def run(self) -> None:
        content = {"content": np.random.default_rng(1).integers(0, 255, SNAPSHOT_BYTES, dtype=np.uint8)}
        for sequence in range(1, 1_000):
            self._snapshots.write(SnapshotHeader(FORMAT, "log", sequence, "", ""), content)
            if self._deletes:
                (self._snapshots.folder / NEXT_NAME).unlink(missing_ok=True)
            if self.told.wait(PAUSE_SECONDS):
                return

    def stop(self) -> None:
        """End after the snapshot that is being written."""
        self.told.set()
        self._snapshots.skip_pauses()
        self.join()


def flushes(folder: Path, seconds: float) -> list[float]:
    """Append to a log and flush it at a steady rate; gives how long each took, in seconds."""
    taken: list[float] = []
    content, every = os.urandom(ENTRY_BYTES), ENTRY_BYTES / BYTES_PER_SECOND
    with (folder / "log").open("wb", buffering=0) as log:
        begun = time.perf_counter()
        while (due := begun + len(taken) * every) < begun + seconds:
            time.sleep(max(0.0, due - time.perf_counter()))
            start = time.perf_counter()
            log.write(content)
            os.fdatasync(log.fileno())
            taken.append(time.perf_counter() - start)
    return taken


def watched(folder: Path, way: str, seconds: float) -> list[float]:
    """Give the flushes of a log while snapshots are written in one of the ways."""
    writer = SnapshotWriter(folder, way)
    writer.start()
    try:
        return flushes(folder, seconds)
    finally:
        writer.stop()


def row(way: str, number: int, taken: list[float]) -> str:
    """Give one line of the table."""
    p50, p99, most = (1e3 * np.quantile(taken, share) for share in (0.5, 0.99, 1.0))
    stalls = [seconds for seconds in taken if seconds > STALL_SECONDS]
    return (
        f"| {number} | {way} | {p50:.2f} | {p99:.2f} | {most:.0f} | {len(stalls)} | {1e3 * sum(stalls):.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each half of a round")
    given = parser.parse_args()
    print(
        "| round | what is dropped is | p50, ms | p99, ms | most, ms | flushes over 20 ms | their sum, ms |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    kept: list[str] = []
    try:
        for number in range(1, given.rounds + 1):
            for way in WAYS:
                say(f"round {number}, {way}")
                kept.append(folder := tempfile.mkdtemp(prefix="npsrisk-dropped-"))
                print(row(way, number, watched(Path(folder), way, given.seconds)), flush=True)
    finally:
        for folder in kept:  # not before, for that is a deletion too
            with suppress(OSError):
                shutil.rmtree(folder)


if __name__ == "__main__":
    main()
