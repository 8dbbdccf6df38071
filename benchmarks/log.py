"""Measure the event log: CPU time and bytes of an entry, for groups of several sizes, of two versions of npsrisk in turn.

    git worktree add ../before REVISION
    .ci/with-postgres python -m benchmarks.log ../before [--rounds 5] [--entries 12000]

Real decisions are computed once: a simulated stream with the features and keys of a model, packed and encrypted as the service
does. Each version appends them to a new SQLite log in a process of its own, group by group, then verifies the chain and looks
up consignments. The two take turns, and the least CPU time of the rounds counts, because other activity of the machine only adds
to it. CPU time is that of the whole process, with the threads that the log works in. `bytes` is the size of the file after
it was closed. Without PostgreSQL its bytes are not measured.
"""

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import sqlalchemy as sa
from msgspec.structs import astuple

from benchmarks.deployed import make_world
from consignments.timestamps import to_us
from features.batch import FeatureParameters, Tables
from features.config import FeatureConfig
from features.fitted import fit_features
from features.history.data_keys import DataKeys, SealingKey
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from features.streams import compute_feature_matrix
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec
from serving.event_log.events import DecisionEvent
from serving.event_log.log import EventLog
from serving.event_log.packed_features import pack_rows
from serving.event_log.reader import LogReader
from serving.event_log.verification import verify_chain

Results = dict[str, dict[str, float]]
"""Figures by what is measured and by the number of entries written together."""
GROUPS = (1, 2, 8, 32, 64, 1_000)
"""Entries written together: some 32 at full load with 64 connections, 1,000 for a list."""
SMALL_GROUP, SMALL_SHARE = 8, 4
"""Of smaller groups a quarter of the entries is written."""
WARMING_GROUP = 33
"""Size of the groups that are written first and not reported, because compiled code is loaded then."""
READ_GROUPS = (1, 32)
LOOK_UPS = 500
DATA_KEY = bytes(range(32))
KEYS = DataKeys(DATA_KEY.hex(), [SealingKey("0badc0de", "2024-03-01", bytes(range(32, 64)).hex())])
FITTING_ROWS = 2_000
LABEL_SHARE = 0.05
DELAY_US = 1_500
NO_REASONS = b"\x90"
DECIMALS_BELOW = 100
UNITS = {
    "writing": "CPU µs an entry",
    "bytes": "an entry",
    "bytes in PostgreSQL": "an entry",
    "verification": "CPU µs an entry",
    "look-up": "CPU µs",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, nargs="?", help="source tree of another version of npsrisk")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--entries", type=int, default=12_000)
    parser.add_argument("--append", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.append is not None:
        print(msgspec.json.encode(measure(args.append, args.entries)).decode())
        return
    here = Path(__file__).resolve().parent.parent
    trees = {"now": here} if args.other is None else {"before": args.other.absolute(), "now": here}
    with TemporaryDirectory(prefix="npsrisk-log-") as folder:
        events = Path(folder) / "events"
        made = make_decisions(args.entries)
        events.write_bytes(msgspec.msgpack.encode(list(map(msgspec.structs.astuple, made))))
        results: dict[str, list[Results]] = defaultdict(list)
        for number in range(args.rounds):
            for name in list(trees) if number % 2 == 0 else reversed(trees):
                results[name].append(run(trees[name], events, args.entries))
    tell(results)


def make_decisions(count: int) -> list[DecisionEvent]:
    """Compute decisions on simulated consignments, with the features, keys and encrypted fields that the service would log."""
    world, config = make_world(count), FeatureConfig()
    records = world.records[:count]
    labels = (np.random.default_rng(1).random(FITTING_ROWS) < LABEL_SHARE).astype(np.int8)
    fitted = fit_features(records[:FITTING_ROWS], config, labels, np.ones(FITTING_ROWS))
    tables = Tables(world.tables.consignments.head(count), world.tables.outcomes, world.tables.alerts)
    X = compute_feature_matrix(tables, FeatureParameters(config, fitted)).X
    pipeline = Pipeline(config, fitted, Pseudonyms(DATA_KEY))
    codec = EventCodec(Vault(KEYS), config.build_record_type(), pipeline.kinds)
    events = []
    for sequence, (c, features) in enumerate(zip(records, pack_rows(X), strict=True), start=1):
        assert c.received_at is not None
        keys, counterparts = np.zeros((2, len(pipeline.kinds)), dtype=np.uint64)
        pipeline.fill_keys(c, keys, counterparts)
        now_us = to_us(c.received_at) + DELAY_US
        packed = codec.consignments.pack_all([c], [c.consignment_id])
        both = keys[None], counterparts[None]
        (arrival,) = codec.encode_arrivals(sequence, now_us, [c], packed, *both, ["benchmark"])
        made_by = "nps-risk/1", "0" * 64, "1" * 64
        score = sequence / (count + 1)
        events.append(DecisionEvent(*astuple(arrival), features, score, "routine", NO_REASONS, *made_by))
    return events


def run(tree: Path, events: Path, entries: int) -> Results:
    """Measure a version in a process of its own."""
    command = [sys.executable, __file__, "--append", str(events), "--entries", str(entries)]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, env=environment, cwd=tree, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Results)


def measure(path: Path, entries: int) -> Results:
    """Measure the version that this process has imported."""
    fields = len(DecisionEvent.__struct_fields__)
    stored = msgspec.msgpack.decode(path.read_bytes())
    events = [DecisionEvent(*each[:fields]) for each in stored[:entries]]
    results: Results = {"writing": {}, "bytes": {}, "verification": {}, "look-up": {}}
    for group in (WARMING_GROUP, *GROUPS):
        with TemporaryDirectory(prefix="npsrisk-log-") as folder:
            part = events[: max(entries // SMALL_SHARE, 1)] if group < SMALL_GROUP else events
            file = Path(folder) / "events.db"
            log = EventLog.open(f"sqlite:///{file}", Vault(KEYS))
            begun = time.process_time()
            for start in range(0, len(part), group):
                log.append(part[start : start + group])
            log.close()
            results["writing"][str(group)] = 1e6 * (time.process_time() - begun) / len(part)
            results["bytes"][str(group)] = file.stat().st_size / len(part)
            if group in READ_GROUPS:
                measure_reading(file, part, group, results)
    if "NPSRISK_TEST_POSTGRES" in os.environ:
        results["bytes in PostgreSQL"] = {
            str(group): measure_postgres(events, group) for group in READ_GROUPS
        }
    return results


def measure_postgres(events: list[DecisionEvent], group: int) -> float:
    """Return the bytes of an entry in PostgreSQL, with indexes."""
    from benchmarks.databases import make_schema

    url = make_schema(f"log_{group}_{os.getpid()}")
    with EventLog.open(url, Vault(KEYS)) as log:
        for start in range(0, len(events), group):
            log.append(events[start : start + group])
        (size,) = log.queries.fetch_all(sa.select(sa.func.pg_total_relation_size("entries")))
    return float(size[0]) / len(events)


def measure_reading(file: Path, events: list[DecisionEvent], group: int, results: Results) -> None:
    with LogReader.open_to_read(f"sqlite:///{file}") as log:
        begun = time.process_time()
        assert verify_chain(log).entries == len(events)
        results["verification"][str(group)] = 1e6 * (time.process_time() - begun) / len(events)
        chosen = events[:: max(len(events) // LOOK_UPS, 1)]
        look_up(log, chosen[0])
        begun = time.process_time()
        for event in chosen:
            look_up(log, event)
        results["look-up"][str(group)] = 1e6 * (time.process_time() - begun) / len(chosen)


def look_up(log: LogReader, event: DecisionEvent) -> None:
    """Read the entries of a consignment as the service does for the state of one that is not in memory."""
    assert log.read_consignment_events(event.consignment_id, log.last_sequence, ("features",))


def tell(results: dict[str, list[Results]]) -> None:
    """Print the least figure of the rounds."""
    names = list(results)
    print(f"| | entries together | {' | '.join(names)} | ratio |\n{'|---' * (3 + len(names))}|")
    for what, unit in UNITS.items():
        for group in results["now"][0].get(what, {}):
            if group == str(WARMING_GROUP):
                continue
            least = [min(each[what][group] for each in results[name]) for name in names]
            cells = " | ".join(
                f"{value:,.0f}" if value >= DECIMALS_BELOW else f"{value:.1f}" for value in least
            )
            print(f"| {what}, {unit} | {group} | {cells} | {least[-1] / least[0]:.2f} |")


if __name__ == "__main__":
    main()
