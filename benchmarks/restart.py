"""Measure the cost of a restart after kill -9 (time and CPU until the process is ready), and of a snapshot.

    python -m benchmarks.restart [--entries 100000] [--keys 1000000] [--starts 3]

The log gets a tenth of the entries, a snapshot, and then the rest. Of 100 entries 88 are new consignments, 4 amend one, 6 are
outcomes and 2 cancellations; two thirds of these belong to consignments from before the snapshot. The service is started as by a
user, polled until it is ready, and killed.
"""

import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.deployed import build_decision, deploy, grow, make_world
from benchmarks.script import format_table, parse_options
from benchmarks.service import CLIENT_CORE, SERVER_CORES, Server, build_settings
from consignments.records import Consignment, Outcome
from consignments.timestamps import to_datetime
from features.history.data_keys import read_data_keys
from features.history.kernels import STEP
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

CHUNK = 5_000
START_US = 1_000_000 * int(time.time()) - 6 * 86_400_000_000
"""The last entries are recent, because a start long after the last entry needs acceptance of the clock."""
TODAY = 19_783
US_PER_ENTRY = 86_400_000_000 // 100_000
MODEL_ROWS = 8_000


def main() -> None:
    options = parse_options(__doc__, entries=100_000, keys=1_000_000, starts=3)
    with TemporaryDirectory(prefix="npsrisk-restart-") as name:
        state_dir = deploy(grow(make_world(MODEL_ROWS)), Path(name)).state_dir
        # Byte code is on disk, as where pip has installed npsrisk: to compile the modules takes a third of a start.
        bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{name}/bytecode"}
        settings = build_settings(state_dir) | bytecode
        server = Server(settings, cores=(*SERVER_CORES, CLIENT_CORE))
        write_log(state_dir, options.entries, server)
        print(f"{options.entries:,} entries since the snapshot\n")
        rows = []
        for number in range(1, options.starts + 1):
            server.start()
            rows.append([number, f"{server.ready_seconds:.2f}", f"{server.read_cpu_seconds():.2f}"])
            server.stop(signal.SIGKILL)
        print(format_table(["start after kill -9", "ready, s", "CPU, s"], rows))
        measure_snapshot(state_dir, options.keys)


def open_log(state_dir: Path, url: str = "") -> tuple[EventLog, LoadedModel]:
    """Open the log of a state directory, or another one, and load the published model."""
    read_data_keys(state_dir / "data.key", create=True)
    vault = Vault.load(state_dir / "data.key")
    folder = find_release_folder(state_dir)
    assert folder is not None
    model = load_model(read_release(folder, Approvers.read(state_dir / "approvers.toml")), vault)
    return EventLog.open(url or f"sqlite:///{state_dir / 'events.db'}", vault), model


def write_log(state_dir: Path, entries: int, server: Server, url: str = "") -> None:
    """Write a tenth of the entries, a snapshot by a server, and the rest."""
    writer = EntryWriter()
    for count in (entries // 10, entries):
        log, model = open_log(state_dir, url)
        writer.write(log, model, count)
        log.close()
        if count < entries:
            server.start().stop()


class EntryWriter:
    """Writer of entries as the service writes them, without computing features: keys are drawn, two thirds of them new."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(1)
        self.names: list[str] = []

    def write(self, log: EventLog, model: LoadedModel, count: int) -> None:
        """Write some entries."""
        for start in range(0, count, CHUNK):
            first = log.last_sequence + 1
            log.append([self.build_entry(model, first + n) for n in range(min(CHUNK, count - start))])

    def build_entry(self, model: LoadedModel, sequence: int) -> Event:
        """Build the entry of a place in the log."""
        draw, at_us = self.random.random(), START_US + sequence * US_PER_ENTRY
        if draw < 0.88 or not self.names:
            self.names.append(f"RB{sequence:09d}DE")
            return self.build_decision(model, sequence, self.names[-1], at_us)
        early = self.random.random() < 0.66
        most = max(len(self.names) // 10, 1) if early else len(self.names)
        name = self.names[int(self.random.integers(0, most))]
        if draw < 0.92:
            return self.build_decision(model, sequence, name, at_us)
        now = to_datetime(at_us)
        if draw < 0.98:
            outcome = Outcome(
                name, "model", "inspected", inspected_at=now, known_at=now, result="clear", recorded_at=now
            )
            return model.entries.outcomes.encode(sequence, outcome, at_us, "local")
        return model.entries.cancellations.encode(sequence, Cancellation(name, now), at_us, "local")

    def build_decision(self, model: LoadedModel, sequence: int, name: str, at_us: int) -> DecisionEvent:
        """Build a decision on a consignment."""
        c = Consignment(
            name, "postal", received_at=to_datetime(at_us), sender_name="Orchid Trading",
            sender_address="12 Harbour Road", consignee_name="Kim Min-su", consignee_address="45 Teheran-ro",
            description=f"cotton t-shirts {sequence}", hs_code="610910", office="Incheon", gross_weight_kg=0.4,
        )  # fmt: skip
        keys = draw_keys(self.random, (1, len(model.pipeline.kinds)))
        packed = model.entries.consignments.pack_all([c], [name])
        (arrival,) = model.entries.encode_arrivals(
            sequence, at_us, [c], packed, keys, keys[:, ::-1], ["local"]
        )
        # Like those of a simulated consignment, a fifth of the features are neither 0 nor 1.
        row = np.where(np.arange(len(model.spec)) % 5, 0, sequence % 977 / 977)
        (features,) = pack_rows(row[None].astype(np.float32))
        return build_decision(arrival, features, (model.name, model.sha256, model.spec_sha256))


def draw_keys(random: np.random.Generator, shape: tuple[int, int]) -> Any:
    """Draw keys of history, two thirds of them new."""
    keys = random.integers(1, 1 << 63, shape).astype(np.uint64)
    old = random.random(shape) < 0.33
    keys[old] = random.integers(1, 20_000, int(old.sum())).astype(np.uint64)
    return keys


def measure_snapshot(state_dir: Path, keys: int) -> None:
    """Fill history with keys and the index with as many identifiers, then copy and write them."""
    log, model = open_log(state_dir)
    reader = KeyReader(model.pipeline, model.entries)
    state = State(model.pipeline.create_history(), ConsignmentStates(log, reader))
    log.close()
    random, kinds = np.random.default_rng(2), len(model.pipeline.kinds)
    while len(state.history) < keys:
        numbers = draw_keys(random, (CHUNK, kinds))
        steps = np.zeros(CHUNK, dtype=STEP)
        steps["change"], steps["row"], steps["out_row"], steps["day"] = 1, np.arange(CHUNK), -1, TODAY
        steps["today"] = TODAY
        state.history.run(steps, numbers, numbers)
    tags = random.integers(0, 1 << 40, keys).astype(np.uint64)
    for start in range(0, keys, CHUNK):
        part = tags[start : start + CHUNK]
        state.dossiers.index.add_all(part, np.full(len(part), TODAY))
    begun = time.perf_counter()
    arrays = copy_arrays(state)
    copied = time.perf_counter() - begun
    snapshots = Snapshots(state_dir.parent / "timed")
    snapshots.skip_pauses()
    begun = time.perf_counter()
    path = snapshots.write(SnapshotHeader(1, log.log_id, state.sequence, "00", model.entries.kinds), arrays)
    written = time.perf_counter() - begun
    count, index = len(state.history), state.dossiers.index
    rows = [
        ["pause (the arrays are copied), ms", f"{1000 * copied:.0f}"],
        ["write, flush and hash without rests, s", f"{written:.2f}"],
        ["size, MB", f"{path.stat().st_size / 1e6:.0f}"],
        ["memory of history, bytes a key (room to grow included)", f"{state.history.nbytes / count:.0f}"],
        ["index, bytes an identifier", f"{index.words.nbytes / len(index):.1f}"],
    ]
    print("\n" + format_table([f"snapshot of {count:,} keys", ""], rows))


if __name__ == "__main__":
    main()
