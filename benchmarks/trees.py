"""Measure the CPU time of scores and exact contributions, of two versions of npsrisk in turn and of the booster itself.

    git worktree add ../before REVISION
    python -m benchmarks.trees ../before [--rounds 7] [--model trees.txt]

The model has 300 trees of 31 leaves and a linear part, or the trees of a bundle are given. Rows are of a simulated stream. Each version
runs in its own process, and they measure by turns. The least of all rounds is printed, and whether the bits are equal.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

SCORED_ROWS = (1, 8, 32, 128, 1000)
EXPLAINED_ROWS = (1, 16, 64, 400)
MIN_ROWS = 400
"""Rows of one measurement, in calls of each size."""
MEASURE = "--measure"
HERE = Path(__file__).resolve()


def main() -> None:
    from benchmarks.two_versions import measure_by_turns

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="folder of the other version, a git worktree")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", type=Path, help="trees of a bundle; default: the made-up model")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        model, rows = Path(folder) / "trees.txt", Path(folder) / "rows.npy"
        make_inputs(model, rows, args.model)
        found = measure_by_turns([HERE, MEASURE, model, rows], args.other, args.rounds)
    for what in found["now"][0]:
        each = {name: [row[what] for row in rounds] for name, rounds in found.items()}
        if what == "bits":
            print("bits", "equal" if len({bit for bits in each.values() for bit in bits}) == 1 else "DIFFER")
            continue
        before, now = (min(map(float, each[name])) for name in ("before", "now"))
        print(f"{what:24} {before:8.2f} {now:8.2f} µs a row {before / now:6.2f} times")


def make_inputs(model: Path, rows: Path, given: Path | None) -> None:
    """Write the trees and the rows, which have the number of features that the trees need."""
    from benchmarks.deployed import FITTING_ROWS, grow, make_world

    grown = grow(make_world(FITTING_ROWS))
    model.write_text(grown.risk.trees.text if given is None else given.read_text())
    np.save(rows, grown.X[: max(SCORED_ROWS)])


def measure(model: Path, rows: Path) -> None:
    """Measure once for each line of the input, and print the figures."""
    import lightgbm

    from models.trees import Trees

    text, X = model.read_text(), np.load(rows)
    trees, booster = Trees.from_text(text), lightgbm.Booster(model_str=text)
    scores, contributions = trees.predict_raw(X), trees.compute_contributions(X[: max(EXPLAINED_ROWS)])
    by_booster = booster.predict(X, raw_score=True, num_threads=1)
    trees.predict_raw(X[:1]), trees.compute_contributions(X[:1])
    bits = hashlib.sha256(scores.tobytes() + contributions.tobytes()).hexdigest()
    for _ in sys.stdin:
        found: dict[str, float | str] = {
            f"score, {n} rows": time_rows(trees.predict_raw, X, n) for n in SCORED_ROWS
        }
        found["booster, 1000 rows"] = time_rows(
            lambda some: booster.predict(some, raw_score=True, num_threads=1), X, 1000
        )
        found |= {
            f"contributions, {n} rows": time_rows(trees.compute_contributions, X, n) for n in EXPLAINED_ROWS
        }
        found["bits"] = bits if by_booster.tobytes() == scores.tobytes() else "not those of the booster"
        print(json.dumps(found), flush=True)


def time_rows(work: Callable[[np.ndarray], object], X: np.ndarray, size: int) -> float:
    """Measure the CPU time of a row in microseconds, in calls of `size` rows."""
    parts = [X[begin : begin + size] for begin in range(0, max(MIN_ROWS, size), size)]
    begun = time.process_time()
    for part in parts:
        work(part)
    return 1e6 * (time.process_time() - begun) / sum(map(len, parts))


if __name__ == "__main__":
    if sys.argv[1:2] == [MEASURE]:
        measure(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
