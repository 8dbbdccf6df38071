"""Measure the event log: CPU time and bytes of an entry, for groups of several sizes.

    .ci/with-postgres python -m benchmarks.log [--rounds 5] [--entries 12000]

Real decisions are computed once: a simulated stream with the features and keys of a model, packed and encrypted as the service
does. In each round they are appended to a new SQLite log, group by group; then the chain is verified, and consignments are looked
up. The least CPU time of the rounds counts, because other activity of the machine only adds to it. CPU time is that of the whole
process, with the threads that the log works in. `bytes` is the size of the file after it was closed. Without PostgreSQL its bytes
are not measured.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import sqlalchemy as sa

from benchmarks.deployed import build_decision, make_world
from benchmarks.script import format_table, parse_options
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

GROUPS = (1, 2, 8, 32, 64, 1_000)
"""Entries written together: some 32 at full load with 64 connections, 1,000 for a list."""
SMALL_GROUP, SMALL_SHARE = 8, 4
"""Of smaller groups a quarter of the entries is written."""
READ_GROUPS = (1, 32)
LOOK_UPS = 500
DATA_KEY = bytes(range(32))
KEYS = DataKeys(DATA_KEY.hex(), [SealingKey("0badc0de", "2024-03-01", bytes(range(32, 64)).hex())])
FITTING_ROWS = 2_000
DELAY_US = 1_500


def main() -> None:
    options = parse_options(__doc__, rounds=5, entries=12_000)
    events = make_decisions(options.entries)
    for _ in measure(events[:FITTING_ROWS], max(READ_GROUPS)):
        pass  # compiled code is loaded
    found = defaultdict[tuple[str, int], list[float]](list)
    for _ in range(options.rounds):
        for group in GROUPS:
            part = events[: max(len(events) // SMALL_SHARE, 1)] if group < SMALL_GROUP else events
            for what, value in measure(part, group):
                found[what, group].append(value)
    if "NPSRISK_TEST_POSTGRES" in os.environ:
        for group in READ_GROUPS:
            found["bytes in PostgreSQL, an entry", group].append(measure_postgres(events, group))
    rows = [[what, group, f"{min(values):,.1f}"] for (what, group), values in found.items()]
    print(format_table(["", "entries together", "least"], rows))


def make_decisions(count: int) -> list[DecisionEvent]:
    """Compute decisions on simulated consignments, with the features, keys and encrypted fields that the service would log."""
    world, config = make_world(count), FeatureConfig()
    records = world.records[:count]
    labels = (np.random.default_rng(1).random(FITTING_ROWS) < 0.05).astype(np.int8)
    fitted = fit_features(
        records[:FITTING_ROWS], config, labels[: len(records)], np.ones(len(labels))[: len(records)]
    )
    tables = Tables(world.tables.consignments.head(count), world.tables.outcomes, world.tables.alerts)
    X = compute_feature_matrix(tables, FeatureParameters(config, fitted)).X
    pipeline = Pipeline(config, fitted, Pseudonyms(DATA_KEY))
    codec = EventCodec(Vault(KEYS), config.build_record_type(), pipeline.kinds)
    events = []
    for sequence, (c, features) in enumerate(zip(records, pack_rows(X), strict=True), start=1):
        assert c.received_at is not None
        keys, counterparts = np.zeros((2, len(pipeline.kinds)), dtype=np.uint64)
        pipeline.fill_keys(c, keys, counterparts)
        packed = codec.consignments.pack_all([c], [c.consignment_id])
        both = keys[None], counterparts[None]
        (arrival,) = codec.encode_arrivals(
            sequence, to_us(c.received_at) + DELAY_US, [c], packed, *both, ["benchmark"]
        )
        events.append(
            build_decision(arrival, features, ("nps-risk/1", "0" * 64, "1" * 64), sequence / (count + 1))
        )
    return events


def append(log: EventLog, events: list[DecisionEvent], group: int) -> None:
    """Append entries in groups, and close the log."""
    with log:
        for start in range(0, len(events), group):
            log.append(events[start : start + group])


def measure(events: list[DecisionEvent], group: int) -> Iterator[tuple[str, float]]:
    """Yield what is measured of a new log in SQLite, with its value."""
    with TemporaryDirectory(prefix="npsrisk-log-") as folder:
        file = Path(folder) / "events.db"
        log = EventLog.open(f"sqlite:///{file}", Vault(KEYS))
        begun = time.process_time()
        append(log, events, group)
        yield "writing, CPU µs an entry", 1e6 * (time.process_time() - begun) / len(events)
        yield "bytes, an entry", file.stat().st_size / len(events)
        if group not in READ_GROUPS:
            return
        with LogReader.open_to_read(f"sqlite:///{file}") as reader:
            begun = time.process_time()
            assert verify_chain(reader).entries == len(events)
            yield "verification, CPU µs an entry", 1e6 * (time.process_time() - begun) / len(events)
            chosen = events[:: max(len(events) // LOOK_UPS, 1)]
            look_up(reader, chosen[0])
            begun = time.process_time()
            for event in chosen:
                look_up(reader, event)
            yield "look-up, CPU µs", 1e6 * (time.process_time() - begun) / len(chosen)


def measure_postgres(events: list[DecisionEvent], group: int) -> float:
    """Return the bytes of an entry in PostgreSQL, with indexes."""
    from benchmarks.databases import make_schema

    url = make_schema(f"log_{group}_{os.getpid()}")
    append(EventLog.open(url, Vault(KEYS)), events, group)
    with LogReader.open_to_read(url) as reader:
        (size,) = reader.queries.fetch_all(sa.select(sa.func.pg_total_relation_size("entries")))
    return float(size[0]) / len(events)


def look_up(log: LogReader, event: DecisionEvent) -> None:
    """Read the entries of a consignment as the service does for the state of one that is not in memory."""
    assert log.read_consignment_events(event.consignment_id, log.last_sequence, ("features",))


if __name__ == "__main__":
    main()
