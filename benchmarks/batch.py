"""Measure the CPU time of the batch from Parquet to Parquet: its stages, and two versions of npsrisk in turn.

    python -m benchmarks.batch [--rows 40000]
    git worktree add ../before REVISION
    python -m benchmarks.batch --other ../before [--rounds 5] [--alerts 40 --seizures 10]

On a simulated world with outcomes, one process. With `--alerts` or `--seizures`, so many are in force (`benchmarks.alerts`). A stage is measured alone, over all rows, as the batch calls it. The two
versions run in a process each and measure by turns; the least of all rounds is printed, and the bytes of the results are compared.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

MEASURE = "--measure"
HERE = Path(__file__).resolve()
PER_DAY = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--other", type=Path, help="folder of the other version, a git worktree")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=40_000, help="consignments")
    parser.add_argument("--alerts", type=int, default=0, help="alerts in force")
    parser.add_argument("--seizures", type=int, default=0, help="alerts with indicators in force")
    args = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, args.rows, args.alerts, args.seizures)
        if args.other is None:
            StageTable(folder).measure()
        else:
            compare(args.other, folder, args.rounds)


def prepare(folder: Path, rows: int, alerts: int, seizures: int) -> None:
    """Write a world as tables, and a model as a bundle."""
    from benchmarks.alerts import list_alerts
    from benchmarks.deployed import grow, make_world, write_benchmark_bundle
    from consignments.records import Alert
    from consignments.tables import build_frame, write_table

    world = make_world(rows)
    write_table(world.tables.consignments, folder / "consignments.parquet")
    write_table(world.tables.outcomes, folder / "outcomes.parquet")
    made = [Alert(**each) for each in list_alerts(world.tables.consignments, alerts, seizures)]
    write_table(build_frame(made, Alert), folder / "alerts.parquet")
    write_benchmark_bundle(grow(world), folder / "bundle", 1)


def compare(other: Path, folder: Path, rounds: int) -> None:
    """Measure the versions by turns."""
    from benchmarks.two_versions import measure_by_turns

    found = measure_by_turns([HERE, MEASURE, folder], other, rounds)
    equal = [row["bits"] for row in found["before"]] == [row["bits"] for row in found["now"]]
    print("| Parquet to Parquet, one process | before, µs a row | now | times | now, rows a second |")
    print("|---" * 5 + "|")
    for what in found["now"][0]:
        if what != "bits":
            before, now = (min(row[what] for row in found[name]) for name in ("before", "now"))
            print(f"| {what} | {before:.1f} | {now:.1f} | {before / now:.2f} | {1e6 / now:,.0f} |")
    print("bytes of the results", "equal" if equal else "DIFFER")


def measure_forms(folder: Path) -> None:
    """Measure the forms of the batch for each line of the input, and print the figures."""
    forms = BatchForms(folder)
    forms.run_features()
    forms.run_scores()
    for _ in sys.stdin:
        print(
            json.dumps(
                {
                    "check and order of a table": forms.time(forms.check),
                    "features": forms.time(forms.run_features),
                    "scores": forms.time(forms.run_scores),
                    "bits": forms.hash_results(),
                }
            ),
            flush=True,
        )


class BatchForms:
    """The forms of the batch over a folder of `prepare`, by functions that both versions have."""

    def __init__(self, folder: Path) -> None:
        from consignments.records import Alert, Outcome
        from consignments.tables import read_table
        from features.batch import FeatureParameters
        from features.indicators.operation_keys import OperationKey, OperationKeys, install_keys
        from models.bundle import load_bundle

        # The key of `benchmarks.alerts`, which an older version need not have.
        install_keys(OperationKeys([OperationKey("BENCHMARK", bytes(32))]))
        self.folder = folder
        self.table = folder / "consignments.parquet"
        self.outcomes = read_table(folder / "outcomes.parquet", Outcome).frame
        self.alerts = read_table(folder / "alerts.parquet", Alert).frame
        self.parameters = FeatureParameters()
        self.bundle = load_bundle(folder / "bundle")
        self.rows = len(self.check())
        self.out = {what: folder / f"{os.getpid()}-{what}.parquet" for what in ("features", "scores")}

    def check(self) -> Any:
        from consignments.parquet_stream import stream_table
        from consignments.records import Consignment

        return stream_table(self.table, Consignment)

    def open_inputs(self) -> Any:
        from features.streams import FeatureInputs

        return FeatureInputs(self.check(), (), self.outcomes, self.alerts)

    def run_features(self) -> None:
        from consignments.files.table_writers import write_chunks
        from features.streams import stream_features

        spec = self.parameters.build_pipeline().spec
        shown = [place for place, each in enumerate(spec) if not each.fitted]
        chunks = stream_features(self.open_inputs(), self.parameters)
        write_chunks((chunk.to_table(spec, shown) for chunk in chunks), self.out["features"])

    def run_scores(self) -> None:
        from consignments.files.table_writers import write_chunks
        from models.batch_scoring import score_chunks

        scored = score_chunks(self.bundle, self.open_inputs(), self.parameters.pseudonyms)
        write_chunks(scored, self.out["scores"])

    def time(self, work: Callable[[], Any]) -> float:
        """Return the CPU time of a row in microseconds."""
        begun = time.process_time()
        work()
        return (time.process_time() - begun) / self.rows * 1e6

    def hash_results(self) -> str:
        """Hash the files of the last results."""
        from hashlib import sha256

        return " ".join(sha256(path.read_bytes()).hexdigest() for path in self.out.values())


class StageTable:
    """The stages of the batch, each over all rows."""

    def __init__(self, folder: Path) -> None:
        self.forms = BatchForms(folder)
        self.folder = folder

    def measure(self) -> None:
        """Measure all stages after a run that compiles everything, and print them."""
        forms = self.forms
        forms.run_features()
        forms.run_scores()
        print("| stage | CPU µs a row |\n|---|---|")
        tables = self._measure_columns()
        self._measure_rows(tables)
        self._measure_results(tables)
        self._tell("features, all of it", forms.run_features)
        self._tell("scores, all of it", forms.run_scores)

    def _measure_columns(self) -> list[Any]:
        """Measure reading and checking, and return the rows in canonical form."""
        from consignments.files.parquet_files import ParquetTable
        from consignments.parquet_stream import CHUNK_ROWS
        from consignments.records import Consignment
        from consignments.validation import check_part

        table = ParquetTable.open(self.forms.table)
        parts = self._tell("read Parquet (twice in a run)", lambda: list(table.read_parts(CHUNK_ROWS)))
        tables: list[Any] = self._tell(
            "check columns (twice in a run)",
            lambda: [check_part(part, table.columns, Consignment).kept for part in parts],
        )
        self._tell("first pass: read, check, order, report", self.forms.check)
        return tables

    def _measure_rows(self, tables: list[Any]) -> None:
        """Measure what is computed from rows."""
        import numpy as np

        from features.batch import (
            build_arrival_events,
            build_outcome_events,
            select_alerts,
        )
        from features.history.table_fold import TableFold
        from features.streams import describe_rows

        forms, alerts = self.forms, select_alerts(self.forms.alerts, None)
        pipeline = forms.parameters.build_pipeline(alerts)
        keys = np.zeros((2, forms.rows, len(pipeline.kinds)), np.uint64)
        X = np.zeros((forms.rows, len(pipeline.spec)), np.float32)

        def describe() -> None:
            begin = 0
            for rows in tables:
                part = slice(begin, begin + len(rows))
                found = describe_rows(pipeline, rows, np.ones(len(rows), bool))
                X[part, : pipeline.history_at], keys[0, part], keys[1, part] = found[:3]
                begin += len(rows)

        self._tell("records, then features except history, and keys", describe)
        arrivals = build_arrival_events(forms.check().take_order())
        outcomes = build_outcome_events(forms.outcomes)

        def count() -> None:
            fold, history = TableFold(arrivals, outcomes), pipeline.create_sized_history(forms.rows)
            fold.process_arrivals(history, *keys[:, fold.rows], X, fold.rows)

        self._tell("history", count)

    def _measure_results(self, tables: list[Any]) -> None:
        """Measure what is made of whole rows."""
        import numpy as np

        from consignments.files.table_writers import write_chunks
        from features.streams import stream_features

        forms = self.forms
        chunks = list(stream_features(forms.open_inputs(), forms.parameters))
        spec = forms.parameters.build_pipeline().spec
        shown = [place for place, each in enumerate(spec) if not each.fitted]
        built = self._tell(
            "Arrow columns of the features", lambda: [chunk.to_table(spec, shown) for chunk in chunks]
        )
        self._tell(f"write {len(shown)} features", lambda: write_chunks(built, self.folder / "out.parquet"))
        X = np.concatenate([np.asarray(chunk.X) for chunk in chunks])
        channels = [name for rows in tables for name in rows.column("channel").to_pylist()]
        model = forms.bundle.model
        self._tell("trees, calibration, bands", lambda: model.assign_bands(model.score(X, channels)))

    def _tell(self, stage: str, work: Callable[[], Any]) -> Any:
        """Print the time of a stage: the least of three runs, since fresh memory is dear."""
        results: list[Any] = []
        spent = min(self.forms.time(lambda: results.append(work())) for _ in range(3))
        print(f"| {stage} | {spent:.1f} |", flush=True)
        return results[-1]


if __name__ == "__main__":
    if MEASURE in sys.argv:
        measure_forms(Path(sys.argv[2]))
    else:
        main()
