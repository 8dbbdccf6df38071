"""Measure a takeover: seconds from the kill of the active service, or its orderly stop, until the one that waits answers.

    POSTGRES_FSYNC=on .ci/with-postgres python -m benchmarks.standby [--entries 300000] [--rounds 3]

The log gets a tenth of the entries, a snapshot, and then the rest, as `benchmarks.restart` writes them. Both services use the same log
and snapshots, and write no further snapshot. In each round the active one is killed with SIGKILL, and started again to wait. In the
last round it is stopped as for an update: it writes a snapshot first.
"""

import os
import shutil
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.databases import make_schema
from benchmarks.deployed import deploy, grow, make_world
from benchmarks.restart import MODEL_ROWS, write_log
from benchmarks.script import format_table, parse_options
from benchmarks.service import Server, build_settings

LIVE = "/health/live"
SELDOM = {"NPSRISK_SNAPSHOT_ENTRIES": "1000000000", "NPSRISK_SNAPSHOT_SECONDS": "86400"}


def main() -> None:
    options = parse_options(__doc__, entries=300_000, rounds=3)
    with TemporaryDirectory(prefix="npsrisk-standby-") as name:
        folder = Path(name)
        state_dir = deploy(grow(make_world(MODEL_ROWS)), folder).state_dir
        url = make_schema("takeover")
        shared = build_settings(state_dir) | {
            "NPSRISK_DATABASE_URL": url,
            "NPSRISK_STANDBY": "true",
            "NPSRISK_SNAPSHOTS_DIR": str(folder / "snapshots"),
            "NPSRISK_DATA_KEY_FILE": str(state_dir / "data.key"),
        }
        write_log(state_dir, options.entries, Server(shared), url)
        shutil.copytree(state_dir, folder / "other")
        active = Server(shared | SELDOM).start()
        waiting = Server(shared | SELDOM | {"NPSRISK_STATE_DIR": str(folder / "other")}).start(LIVE)
        rows = []
        for number in range(options.rounds + 1):
            is_last = number == options.rounds
            begun = time.monotonic()
            active.process.send_signal(signal.SIGTERM if is_last else signal.SIGKILL)
            waiting.wait()
            rows.append(["stopped in order" if is_last else "killed", f"{time.monotonic() - begun:.2f}"])
            active.process.wait(60)
            active.start(LIVE)
            active, waiting = waiting, active
        for server in (active, waiting):
            server.stop(signal.SIGKILL)
    print(f"{options.entries:,} entries since the snapshot, load {os.getloadavg()[0]:.1f}\n")
    print(format_table(["the active service is", "s"], rows))


if __name__ == "__main__":
    main()
