"""Measure the CPU time of the batch from Parquet to Parquet: its stages, and two versions of npsrisk in turn.

    python -m benchmarks.batch [--rows 40000]
    git worktree add ../before REVISION
    python -m benchmarks.batch --other ../before [--rounds 5]

On a simulated world with outcomes and without alerts, one process. A stage is measured alone, over all rows, as the batch calls it. The two
versions run in a process each and measure by turns; the least of all rounds is printed, and the values of the results are compared.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
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
    args = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, args.rows)
        if args.other is None:
            StageTable(folder).measure()
        else:
            compare({"before": args.other.absolute(), "now": HERE.parent.parent}, folder, args.rounds)


def prepare(folder: Path, rows: int) -> None:
    """Write a world as tables, and a model as a bundle."""
    from benchmarks.deployed import grow, make_world, write_benchmark_bundle
    from consignments.tables import write_table

    world = make_world(rows)
    write_table(world.tables.consignments, folder / "consignments.parquet")
    write_table(world.tables.outcomes, folder / "outcomes.parquet")
    write_benchmark_bundle(grow(world), folder / "bundle", 1)


def compare(trees: dict[str, Path], folder: Path, rounds: int) -> None:
    """Measure the versions by turns."""
    with ExitStack() as stack:
        servers = {name: stack.enter_context(_start(tree, folder)) for name, tree in trees.items()}
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
        for number in range(rounds):
            for name in list(servers) if number % 2 else reversed(servers):
                found[name].append(_ask(servers[name]))
    equal = [row["bits"] for row in found["before"]] == [row["bits"] for row in found["now"]]
    print("| Parquet to Parquet, one process | before, µs a row | now | times | now, rows a second |")
    print("|---" * 5 + "|")
    for what in found["now"][0]:
        if what != "bits":
            before, now = (min(row[what] for row in found[name]) for name in ("before", "now"))
            print(f"| {what} | {before:.1f} | {now:.1f} | {before / now:.2f} | {1e6 / now:,.0f} |")
    print("values", "equal" if equal else "DIFFER")


def _start(tree: Path, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-P", str(HERE), MEASURE, str(folder)],
        env=os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
        cwd=tree,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _ask(server: "subprocess.Popen[str]") -> dict[str, Any]:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write("\n")
    server.stdin.flush()
    answer: dict[str, Any] = json.loads(server.stdout.readline())
    return answer


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
        from consignments.records import Outcome
        from consignments.tables import read_table
        from features.batch import FeatureParameters
        from models.bundle import load_bundle

        self.folder = folder
        self.table = folder / "consignments.parquet"
        self.outcomes = read_table(folder / "outcomes.parquet", Outcome).frame
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

        return FeatureInputs(self.check(), None, self.outcomes)

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
        """Hash the values of the last results, not the bytes of their files."""
        from benchmarks.scale import hash_features

        return " ".join(map(hash_features, self.out.values()))


class StageTable:
    """The stages of the batch, each over all rows."""

    def __init__(self, folder: Path) -> None:
        self.forms = BatchForms(folder)
        self.folder = folder

    def measure(self) -> None:
        """Measure all stages after a run that compiles everything, and print them."""
        import numpy as np

        from consignments.columns import normalize_names
        from consignments.files.parquet_files import ParquetTable
        from consignments.files.table_writers import write_chunks
        from consignments.parquet_stream import CHUNK_ROWS
        from consignments.records import Consignment
        from consignments.tables import to_consignments
        from consignments.validation import check_rows
        from features.batch import PartialRows, build_arrival_events, build_outcome_events, fill_table_rows
        from features.feature_columns import build_feature_columns
        from features.history.ordering import HistoryFold
        from features.streams import stream_features

        forms = self.forms
        forms.run_features()
        forms.run_scores()
        stream, table = forms.check(), ParquetTable.open(forms.table)
        pipeline = forms.parameters.build_pipeline()
        order = stream.take_order()
        print(f"{forms.rows:,} consignments, {len(pipeline.spec)} features\n")
        print("| stage | CPU µs a row |\n|---|---|")
        parts = self._tell("read Parquet (twice in a run)", lambda: list(table.read_chunks(CHUNK_ROWS)))
        checked = self._tell(
            "check columns (twice in a run)",
            lambda: [check_rows(part, table.columns, Consignment).table for part in parts],
        )
        self._tell(
            "order: identifiers in normal form, events",
            lambda: (
                normalize_names(checked[0].column("consignment_id").combine_chunks()),
                build_arrival_events(order),
            ),
        )
        records = self._tell(
            "records for groups in Python", lambda: [to_consignments(each, Consignment) for each in checked]
        )
        keys = np.zeros((forms.rows, len(pipeline.kinds)), np.uint64)
        counterparts = np.zeros_like(keys)
        X = np.empty((forms.rows, len(pipeline.spec)), np.float32)
        del records

        def describe() -> None:
            begin = 0
            for rows in checked:
                part = slice(begin, begin + len(rows))
                described = PartialRows(X[part], keys[part], counterparts[part])
                fill_table_rows(pipeline, rows, np.ones(len(rows), bool), described)
                begin += len(rows)

        self._tell("rows: features except history, keys (with the records)", describe)
        arrivals, outcomes = build_arrival_events(order), build_outcome_events(forms.outcomes)
        self._tell(
            "history",
            lambda: HistoryFold(
                pipeline.create_sized_history(forms.rows), arrivals, outcomes, None
            ).process_table(keys, counterparts, X, np.arange(forms.rows)),
        )
        chunks = list(stream_features(forms.open_inputs(), forms.parameters))
        shown = [place for place, each in enumerate(pipeline.spec) if not each.fitted]
        self._tell(
            "columns of the features", lambda: [build_feature_columns(chunk.X, shown) for chunk in chunks]
        )
        tables = [chunk.to_table(pipeline.spec, shown) for chunk in chunks]
        self._tell(f"write {len(shown)} features", lambda: write_chunks(tables, self.folder / "out.parquet"))
        model, channels = forms.bundle.model, checked[0].column("channel").to_pylist()
        self._tell(
            "trees, calibration, bands",
            lambda: model.assign_bands(
                model.score(X, (channels * (1 + forms.rows // len(channels)))[: forms.rows])
            ),
        )
        print("|---|---|")
        self._tell("features, all of it", forms.run_features)
        self._tell("scores, all of it", forms.run_scores)

    def _tell(self, stage: str, work: Callable[[], Any]) -> Any:
        results: list[Any] = []
        spent = self.forms.time(lambda: results.append(work()))
        print(f"| {stage} | {spent:.1f} |", flush=True)
        return results[0]


if __name__ == "__main__":
    if MEASURE in sys.argv:
        measure_forms(Path(sys.argv[2]))
    else:
        main()
