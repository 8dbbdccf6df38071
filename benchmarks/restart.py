"""Measure the cost of a restart after kill -9 (time and CPU until the process is ready), and of a snapshot.

    python -m benchmarks.restart [--entries 300000] [--keys 1000000] [--starts 3]

A small model is trained and published by the commands. The log gets a tenth of the entries, a snapshot, and then the rest.
Of 100 entries 88 are new consignments, 4 amend one, 6 are outcomes and 2 cancellations; two thirds of these belong to
consignments from before the snapshot. The service is started as by a user, polled until it is ready, and killed. `peak` is of
the process.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import astuple

from consignments.records import Consignment, Outcome
from consignments.timestamps import to_datetime
from features.history.data_keys import read_data_keys
from features.history.kernels import STEP
from features.history.keys import KeyKind
from models.signatures.key_holders import Approvers
from serving.deployment.releases import find_release_folder, read_release
from serving.encryption.vault import Vault
from serving.event_log.event_codec import Cancellation
from serving.event_log.events import DecisionEvent, Event
from serving.event_log.log import EventLog
from serving.event_log.packed_features import pack_rows
from serving.scoring.loaded_model import LoadedModel, load_model
from serving.state.consignment_states import ConsignmentStates
from serving.state.history_keys import KeyReader
from serving.state.snapshots import SnapshotHeader, Snapshots, copy_arrays
from serving.state.state import State

NPSRISK = Path(sys.executable).with_name("npsrisk")
CHUNK = 5_000
START_US = 1_000_000 * int(time.time()) - 6 * 86_400_000_000
"""The last entries are recent, because a start long after the last entry needs acceptance of the clock."""
TODAY = 19_783
US_PER_ENTRY = 86_400_000_000 // 100_000
WAIT_SECONDS = 600.0
READY = "/health/ready"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=300_000, help="entries since the snapshot")
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys of history in the timed snapshot")
    parser.add_argument("--starts", type=int, default=3)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="npsrisk-restart-"))
    try:
        place_model(folder)
        log, model = open_log(folder)
        writer = EntryWriter(log, model)
        writer.write(given.entries // 10)
        log.close()
        ServiceProcess(folder).run().stop()
        log, model = open_log(folder)
        writer.log = log
        writer.write(given.entries)
        log.close()
        tell_restarts(folder, given.entries, given.starts)
        tell_snapshot(folder, given.keys)
    finally:
        shutil.rmtree(folder)


def place_model(folder: Path) -> None:
    """Train, promote and publish a model as a user does."""
    tables = ("--consignments", "world/consignments.parquet", "--outcomes", "world/outcomes.parquet")
    for words in (
        ("simulate", "--out", "world", "--days", "120", "--per-day", "150", "--prevalence", "operation"),
        ("train", *tables, "--register"),
        ("keys", "create", "--name", "a benchmark"),
        ("promote", "1", "--approved-by", "a benchmark", "--why", "to measure", "--force"),
        ("publish",),
    ):
        subprocess.run(
            [NPSRISK, *words], cwd=folder, env=environment(folder), check=True, capture_output=True
        )


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NPSRISK_", "MLFLOW_"))}
    return kept | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "NPSRISK_STATE_DIR": str(folder / "state"),
    }


def open_log(folder: Path, url: str = "") -> tuple[EventLog, LoadedModel]:
    read_data_keys(folder / "state" / "data.key", create=True)
    vault = Vault.load(folder / "state" / "data.key")
    release = find_release_folder(folder / "state")
    assert release is not None
    model = load_model(
        read_release(release, Approvers.read(folder / "state" / "approvers.toml")),
        vault,
    )
    return EventLog.open(url or f"sqlite:///{folder / 'state' / 'events.db'}", vault), model


class EntryWriter:
    """Writer of entries as the service writes them, without computing features: keys are drawn, two thirds of them new."""

    def __init__(self, log: EventLog, model: LoadedModel) -> None:
        self.log, self.model, self.entries = log, model, model.entries
        self.random = np.random.default_rng(1)
        self.names: list[str] = []
        (features,) = pack_rows(self.random.random((1, len(model.spec))).astype(np.float32))
        self.judgement = features, 0.01, "routine", b"\x90", model.name, model.sha256, model.spec_sha256

    def write(self, count: int) -> None:
        for start in range(0, count, CHUNK):
            first = self.log.last_sequence + 1
            self.log.append([self.entry(first + number) for number in range(min(CHUNK, count - start))])

    def entry(self, sequence: int) -> Event:
        draw, at_us = self.random.random(), START_US + sequence * US_PER_ENTRY
        if draw < 0.88 or not self.names:
            self.names.append(f"RB{sequence:09d}DE")
            return self.decision(sequence, self.names[-1], at_us)
        name = self.names[int(self.random.integers(0, len(self.names)))]
        if self.random.random() < 0.66:
            name = self.names[int(self.random.integers(0, max(len(self.names) // 10, 1)))]
        if draw < 0.92:
            return self.decision(sequence, name, at_us)
        moment = to_datetime(at_us)
        if draw < 0.98:
            outcome = Outcome(
                consignment_id=name, selected_by="model", status="inspected", inspected_at=moment,
                known_at=moment, result="clear", recorded_at=moment,
            )  # fmt: skip
            return self.entries.outcomes.encode(sequence, outcome, at_us, "local")
        return self.entries.cancellations.encode(sequence, Cancellation(name, moment), at_us, "local")

    def decision(self, sequence: int, name: str, at_us: int) -> Event:
        c = Consignment(
            consignment_id=name, channel="postal", received_at=to_datetime(at_us), sender_name="Orchid Trading",
            sender_address="12 Harbour Road", consignee_name="Kim Min-su", consignee_address="45 Teheran-ro",
            description=f"cotton t-shirts {sequence}", hs_code="610910", office="Incheon", gross_weight_kg=0.4,
        )  # fmt: skip
        keys = self.random.integers(1, 1 << 63, len(self.model.pipeline.kinds)).astype(np.uint64)
        old = self.random.random(len(keys)) < 0.33
        keys[old] = self.random.integers(1, 20_000, int(old.sum())).astype(np.uint64)
        packed = self.entries.consignments.pack_all([c], [name])
        both = keys[None], keys[None, ::-1]
        (arrival,) = self.entries.encode_arrivals(sequence, at_us, [c], packed, *both, ["local"])
        return DecisionEvent(*astuple(arrival), *self.judgement)


class ServiceProcess:
    """`npsrisk serve` as a process."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder, self.environment = folder, environment(folder) | dict(settings or {})
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    def run(self, path: str = READY) -> "ServiceProcess":
        """Start it, and wait until it answers at a path."""
        start = time.monotonic()
        command = [NPSRISK, "serve", "--port", str(self.port)]
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stderr=log, stdout=log)
        self.wait(path)
        self.ready_seconds, self.cpu_seconds = time.monotonic() - start, self.used()
        return self

    def wait(self, path: str) -> None:
        start = time.monotonic()
        while not self.answers(path):
            if self.process.poll() is not None or time.monotonic() - start > WAIT_SECONDS:
                raise RuntimeError((self.folder / "serve.log").read_text()[-2000:])
            time.sleep(0.02)

    def answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def used(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_bytes(self) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(60)


def tell_restarts(folder: Path, entries: int, starts: int) -> None:
    size = sum(path.stat().st_size for path in (folder / "state").glob("events.db*"))
    print(f"{entries:,} entries since the snapshot; the log has {size / 1e6:,.0f} MB\n")
    print("| start after kill -9 | ready, s | CPU, s | peak, MB |\n|---|---|---|---|")
    for number in range(starts):
        service = ServiceProcess(folder).run()
        print(
            f"| {number + 1} | {service.ready_seconds:.2f} | {service.cpu_seconds:.2f} "
            f"| {service.peak_bytes() / 1e6:.0f} |",
            flush=True,
        )
        service.stop(signal.SIGKILL)
    last = [
        json.loads(line)
        for line in (folder / "serve.log").read_text().splitlines()
        if "snapshot loaded" in line
    ]
    assert last[-1]["entries_since"] == entries


def tell_snapshot(folder: Path, keys: int) -> None:
    """Measure a snapshot: fill history with keys and the index with as many identifiers, then copy and write them."""
    log, model = open_log(folder)
    state = State(
        model.pipeline.create_history(), ConsignmentStates(log, KeyReader(model.pipeline, model.entries))
    )
    log.close()
    random = np.random.default_rng(2)
    for steps, numbers in steps_of(model.pipeline.kinds, keys, random):
        state.history.run(steps, numbers, numbers)
    for _ in range(0, keys, CHUNK):
        tags = random.integers(0, 1 << 40, CHUNK).astype(np.uint64)
        state.dossiers.index.add_all(tags, np.full(CHUNK, TODAY))
    copies = []
    for _ in range(3):
        start = time.perf_counter()
        arrays = copy_arrays(state)
        copies.append(time.perf_counter() - start)
    snapshots = Snapshots(folder / "timed")
    snapshots.skip_pauses()
    start = time.perf_counter()
    about = SnapshotHeader(1, log.log_id, state.sequence, "00", model.entries.kinds)
    path = snapshots.write(about, arrays)
    written = time.perf_counter() - start
    count, identifiers = len(state.history), len(state.dossiers.index)
    print(f"\n| snapshot of {count:,} keys, {identifiers:,} identifiers | |\n|---|---|")
    print(f"| pause (the arrays are copied), ms | {1000 * min(copies):.0f} to {1000 * max(copies):.0f} |")
    print(f"| write, flush and hash without rests, in a thread, s | {written:.2f} |")
    print(f"| size, MB | {path.stat().st_size / 1e6:.0f} |")
    print(f"| memory of history, bytes a key (room to grow included) | {state.history.nbytes / count:.0f} |")
    print(f"| in the snapshot, bytes a key | {used_bytes(arrays, 'history.') / count:.0f} |")
    print(f"| index, bytes an identifier | {state.dossiers.index.words.nbytes / identifiers:.1f} |")


def used_bytes(arrays: dict[str, Any], prefix: str) -> int:
    return sum(array.nbytes for name, array in arrays.items() if name.startswith(prefix))


def steps_of(kinds: tuple[KeyKind, ...], keys: int, random: np.random.Generator) -> Iterator[tuple[Any, Any]]:
    """Yield arrivals in which two thirds of the keys are new, until there are `keys` of them."""
    while keys > 0:
        count = min(CHUNK, keys // len(kinds) + 1)
        numbers = random.integers(1, 1 << 63, (count, len(kinds))).astype(np.uint64)
        old = random.random(numbers.shape) < 0.33
        numbers[old] = random.integers(1, 20_000, int(old.sum())).astype(np.uint64)
        steps = np.zeros(count, dtype=STEP)
        steps["change"], steps["row"], steps["out_row"], steps["day"] = 1, np.arange(count), -1, TODAY
        steps["today"] = TODAY
        keys -= int((~old).sum())
        yield steps, numbers


if __name__ == "__main__":
    main()
