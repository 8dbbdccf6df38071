"""Measure a takeover: seconds from the kill of the active service, or its orderly stop, until the one that waits answers.

    POSTGRES_FSYNC=on .ci/with-postgres python -m benchmarks.standby [--entries 300000] [--rounds 3]

The log gets a tenth of the entries, a snapshot, and then the rest, as `benchmarks.restart` writes them. Both services use the same log
and snapshots, and write no further snapshot. In each round the active one is killed with SIGKILL, and started again to wait. In the
last round it is stopped as for an update: it writes a snapshot first.
"""

import argparse
import os
import shutil
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.databases import make_schema
from benchmarks.restart import EntryWriter, ServiceProcess, open_log, place_model


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with TemporaryDirectory(prefix="npsrisk-standby-") as name:
        folder = Path(name)
        place_model(folder)
        services = prepare(folder, args.entries)
        print(f"{args.entries:,} entries since the snapshot\n\n| the active service is | s |\n|---|---|")
        for number in range(args.rounds + 1):
            active, waiting = services if number % 2 == 0 else services[::-1]
            how, what = (
                (signal.SIGKILL, "killed") if number < args.rounds else (signal.SIGTERM, "stopped in order")
            )
            print(f"| {what} | {take_over(active, waiting, how):.2f} |", flush=True)
        for service in services:
            service.stop(signal.SIGKILL)
    print(f"load {os.getloadavg()[0]:.1f}")


def prepare(folder: Path, entries: int) -> list[ServiceProcess]:
    """Write the log and its snapshot, and start both services; the first is active."""
    url = make_schema("takeover")
    shared = {
        "NPSRISK_DATABASE_URL": url,
        "NPSRISK_STANDBY": "true",
        "NPSRISK_SNAPSHOTS_DIR": str(folder / "snapshots"),
        "NPSRISK_DATA_KEY_FILE": str(folder / "state" / "data.key"),
    }
    seldom = {"NPSRISK_SNAPSHOT_ENTRIES": "1000000000", "NPSRISK_SNAPSHOT_SECONDS": "86400"}
    log, model = open_log(folder, url)
    writer = EntryWriter(log, model)
    writer.write(entries // 10)
    log.close()
    ServiceProcess(folder, shared).run().stop()
    writer.log, _ = open_log(folder, url)
    writer.write(entries)
    writer.log.close()
    shutil.copytree(folder / "state", folder / "other")
    other = shared | seldom | {"NPSRISK_STATE_DIR": str(folder / "other")}
    return [
        ServiceProcess(folder, shared | seldom).run(),
        ServiceProcess(folder, other).run("/health/live"),
    ]


def take_over(active: ServiceProcess, waiting: ServiceProcess, how: int) -> float:
    """End the active service by a signal; return the seconds until the other one is ready. Then start the first one, which waits."""
    begun = time.monotonic()
    active.process.send_signal(how)
    waiting.wait("/health/ready")
    lasted = time.monotonic() - begun
    active.process.wait(60)
    active.run("/health/live")
    return lasted


if __name__ == "__main__":
    main()
