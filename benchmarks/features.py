"""Measure the cost of features: each step for one consignment, and the batch over a table.

    python -m benchmarks.features [--rows 20000]

On a simulated world, one thread; kernels are compiled before anything is measured. Figures are CPU time.
"""

import time
from collections.abc import Callable

import numpy as np

from benchmarks.script import parse_options
from benchmarks.worlds import read_tables
from consignments.records import Consignment
from consignments.tables import to_records
from consignments.timestamps import to_day
from features.batch import Tables, build_arrival_events, build_outcome_events
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.live import LiveHistory
from features.history.pseudonyms import Pseudonyms
from features.history.table_fold import TableFold
from features.normalization.normal_forms import normalize_consignment
from features.pipeline import Pipeline
from features.streams import compute_feature_matrix
from training.simulation.operation import simulate

KEY = Pseudonyms(b"a key of the benchmark, 32 bytes")
PER_DAY = 500
WARM_ROWS = 500


def main() -> None:
    rows = parse_options(__doc__, rows=20_000).rows
    tables = read_tables(simulate(days=-(-rows // PER_DAY), per_day=PER_DAY, seed=1)).tables
    few = Tables(tables.consignments.head(WARM_ROWS), tables.outcomes, tables.alerts)
    compute_feature_matrix(few)

    count = len(tables.consignments)
    records = to_records(tables.consignments, Consignment)
    pipeline = Pipeline(FeatureConfig(), FittedParameters.create_empty(), KEY)
    X = np.empty((count, len(pipeline.spec)), dtype=np.float32)
    keys = np.zeros((count, len(pipeline.kinds)), dtype=np.uint64)
    counterparts = np.zeros_like(keys)
    ledger = LiveHistory(pipeline.create_history())
    arrivals, outcomes = build_arrival_events(tables.consignments), build_outcome_events(tables.outcomes)

    def describe() -> None:
        for place, record in enumerate(records):
            pipeline.fill_rows([record], X[place][None], keys[place][None], counterparts[place][None])

    def arrive() -> None:
        for place, record in enumerate(records):
            assert record.received_at is not None
            key = keys[place], counterparts[place]
            ledger.record_arrival(record.consignment_id, to_day(record.received_at), *key, X[place])

    def count_table() -> None:
        fold = TableFold(arrivals, outcomes)
        mine = keys[fold.rows], counterparts[fold.rows]
        fold.process_arrivals(pipeline.create_history(), *mine, X, fold.rows)

    print(f"{count:,} consignments, {len(pipeline.spec)} features, {len(pipeline.kinds)} keys of history\n")
    print("| piece | µs a consignment |\n|---|---|")
    tell("normal forms", count, lambda: [normalize_consignment(record) for record in records])
    tell("everything but history (normal forms included)", count, describe)
    tell("history, one at a time (read and count)", count, arrive)
    tell("history, the whole table in one fold", count, count_table)
    tell("batch: table to feature matrix, all of it", count, lambda: compute_feature_matrix(tables))


def tell(piece: str, count: int, work: Callable[[], object]) -> None:
    start = time.process_time()
    work()
    print(f"| {piece} | {(time.process_time() - start) / count * 1e6:.1f} |", flush=True)


if __name__ == "__main__":
    main()
