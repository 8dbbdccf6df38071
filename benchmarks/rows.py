"""Measure the CPU time of describing consignments, of two versions of npsrisk in turn, and compare the bits.

    git worktree add ../before REVISION
    python -m benchmarks.rows ../before [--rounds 7] [--rows 3000] [--alerts 40 --seizures 10] [--tables DIR]

Consignments are of a simulated stream, or those of `consignments.parquet` in a folder (`benchmarks.korea` has public ones). With `--alerts` or `--seizures`, so many are in force (`benchmarks.alerts`). Each version runs in its own process, with compiled kernels, and they measure by
turns. The least of all rounds is printed. The last rounds have new consignments each, so that no cache helps.
"""

import argparse
import hashlib
import json
import pickle
import sys
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

MEASURE = "--measure"
HERE = Path(__file__).resolve()
PER_DAY = 500
LIST_ROWS = 32


def main() -> None:
    from benchmarks.two_versions import measure_by_turns

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="folder of the other version, a git worktree")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=3000, help="consignments of a round")
    parser.add_argument("--alerts", type=int, default=0, help="alerts in force")
    parser.add_argument("--seizures", type=int, default=0, help="alerts with indicators in force")
    parser.add_argument(
        "--tables", type=Path, help="folder with consignments.parquet, in place of a simulation"
    )
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        made = Path(folder) / "consignments"
        write_inputs(made, args.rows * args.rounds, (args.alerts, args.seizures), args.tables)
        found = measure_by_turns([HERE, MEASURE, made, args.rows], args.other, args.rounds)
    equal = [row["bits"] for row in found["before"]] == [row["bits"] for row in found["now"]]
    for what in found["now"][0]:
        if what != "bits":
            before, now = (min(row[what] for row in found[name]) for name in ("before", "now"))
            print(f"{what:36} {before:8.2f} {now:8.2f} µs a row {before / now:6.2f} times")
    print("bits", "equal" if equal else "DIFFER")


def write_inputs(path: Path, rows: int, alerts: tuple[int, int], tables: Path | None) -> None:
    """Write the columns of consignments, and alerts, which both versions read."""
    import pandas as pd

    from benchmarks.alerts import list_alerts
    from consignments.records import Consignment
    from training.simulation.operation import simulate

    if tables is None:
        frame = simulate(days=-(-rows // PER_DAY), per_day=PER_DAY, seed=1).consignments
    else:
        frame = pd.read_parquet(tables / "consignments.parquet").head(rows)
        frame = frame[[name for name in frame if name in Consignment.__struct_fields__]]
    with path.open("wb") as file:
        pickle.dump((frame, list_alerts(frame, *alerts)), file)


def measure(made: Path, rows: int) -> None:
    """Measure the next consignments for each line of the input, and print the figures."""
    import numpy as np

    from consignments.records import Alert, Consignment
    from consignments.tables import check_frame, to_consignments
    from features.alerts.alerts import Alerts
    from features.config import FeatureConfig
    from features.fitted import FittedParameters
    from features.history.pseudonyms import Pseudonyms
    from features.indicators.operation_keys import OperationKey, OperationKeys, install_keys
    from features.pipeline import Pipeline

    # The key of `benchmarks.alerts`, which an older version need not have.
    install_keys(OperationKeys([OperationKey("BENCHMARK", bytes(32))]))
    with made.open("rb") as file:
        frame, alerts = pickle.load(file)
    records = to_consignments(check_frame(frame, Consignment).frame, Consignment)
    pipeline = Pipeline(
        FeatureConfig(),
        FittedParameters.create_empty(),
        Pseudonyms(b"a key of the benchmark"),
        Alerts(Alert(**each) for each in alerts),
    )
    X = np.zeros((rows, len(pipeline.spec)), np.float32)
    keys = np.zeros((2, rows, len(pipeline.kinds)), np.uint64)
    pipeline.fill_rows(records[:LIST_ROWS], X[:LIST_ROWS], keys[0, :LIST_ROWS], keys[1, :LIST_ROWS])
    for number, _ in enumerate(sys.stdin):
        # The three measurements have a third of the consignments each, new to this process.
        mine, third = records[number * rows : (number + 1) * rows], rows // 3
        found = {
            "keys alone, one at a time": _time(pipeline.fill_keys, zip(mine, *keys, strict=True), third),
        }
        alone = [slice(place, place + 1) for place in range(third, 2 * third)]
        parts = ((mine[part], X[part], keys[0, part], keys[1, part]) for part in alone)
        found["features but history, one at a time"] = _time(pipeline.fill_rows, parts, third)
        groups = [slice(begin, begin + LIST_ROWS) for begin in range(2 * third, rows, LIST_ROWS)]
        parts = ((mine[part], X[part], keys[0, part], keys[1, part]) for part in groups)
        spent = _time(pipeline.fill_rows, parts, len(groups))
        found["features but history, lists of 32"] = spent * len(groups) / (rows - 2 * third)
        bits = hashlib.sha256(keys.tobytes() + X[third:, : pipeline.history_at].tobytes()).hexdigest()
        print(json.dumps(found | {"bits": bits}), flush=True)


def _time(work: Callable[..., None], calls: Iterable[tuple[Any, ...]], count: int) -> float:
    begun = time.process_time()
    for arguments in islice(calls, count):
        work(*arguments)
    return (time.process_time() - begun) / count * 1e6


if __name__ == "__main__":
    if MEASURE in sys.argv:
        measure(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
