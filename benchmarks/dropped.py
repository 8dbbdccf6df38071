"""Measure how deleting an obsolete snapshot affects the flushes of the log, compared with overwriting it; on the disk of TMPDIR.

    python -m benchmarks.dropped [--rounds 3] [--seconds 60]

A log is written and flushed at a steady 20 MB a second, as the service does at about 500 consignments a second. At the same
time snapshots of 130 MB are written one after the other: in one half of each round as the service does, in the other half
with deletion of the obsolete one. The effect of a deletion depends on the mount option `discard` and on the device.
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
    """Writer of snapshots, one after the other, until it is stopped."""

    def __init__(self, folder: Path, way: str) -> None:
        super().__init__()
        self._snapshots, self._deletes = Snapshots(folder / "snapshots"), way == DELETED
        self.stopping = threading.Event()

    def run(self) -> None:
        content = {"content": np.random.default_rng(1).integers(0, 255, SNAPSHOT_BYTES, dtype=np.uint8)}
        for sequence in range(1, 1_000):
            self._snapshots.write(SnapshotHeader(FORMAT, "log", sequence, "", ""), content)
            if self._deletes:
                (self._snapshots.folder / NEXT_NAME).unlink(missing_ok=True)
            if self.stopping.wait(PAUSE_SECONDS):
                return

    def stop(self) -> None:
        """Stop after the snapshot that is being written."""
        self.stopping.set()
        self._snapshots.skip_pauses()
        self.join()


def flushes(folder: Path, seconds: float) -> list[float]:
    """Append to a log and flush it at a steady rate; returns the seconds of each flush."""
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
    """Measure the flushes of a log while snapshots are written in one of the ways."""
    writer = SnapshotWriter(folder, way)
    writer.start()
    try:
        return flushes(folder, seconds)
    finally:
        writer.stop()


def row(way: str, number: int, taken: list[float]) -> str:
    """Return one line of the table."""
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
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of each half of a round")
    given = parser.parse_args()
    print(
        "| round | obsolete snapshot is | p50, ms | p99, ms | max, ms | flushes over 20 ms | their sum, ms |"
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
        for folder in kept:  # not before, because that is a deletion too
            with suppress(OSError):
                shutil.rmtree(folder)


if __name__ == "__main__":
    main()
