"""What the final fit finds that the evaluation fit does not, by the truth of the month after training.

    python -m benchmarks.final_fit WORLD... [--test-days 30]

WORLD is a folder that `npsrisk simulate --out` wrote. npsrisk trains as of `--test-days` before the end; both fits of the version rank
the days after, with the history that the service would have, and the truth judges. It also prints how many NPS the scores
promise for one that is there.
"""

import argparse
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.records import Alert, Consignment, Outcome, Truth
from consignments.tables import read_table
from consignments.timestamps import get_time_column_us, to_us
from features.batch import Tables
from features.fitted import FittedParameters
from models.risk_model import RiskModel
from training.data.table_features import TableFeatures
from training.data.training_set import get_true_labels
from training.runs.train import TrainingTask, find_day_after_last_event, train_model

Floats = NDArray[np.float64]


class Judged(NamedTuple):
    """What a fit finds in the days after training."""

    positives: int
    recall_at_1pct: float
    recall_at_5pct: float
    promised_over_true: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each fit of each world."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("worlds", nargs="+", type=Path, metavar="WORLD")
    parser.add_argument("--test-days", type=int, default=30)
    options = parser.parse_args(arguments)
    for world in options.worlds:
        for line in judge_world(world, options.test_days):
            print(line, flush=True)


def judge_world(world: Path, test_days: int) -> list[str]:
    """Train in a world, and judge both fits on its last days."""
    tables = read_world(world)
    truth = read_table(world / "truth.parquet", Truth).frame
    as_of = find_day_after_last_event(Tables(tables.consignments, None, None)) - timedelta(days=test_days)
    begun = time.perf_counter()
    trained = train_model(TrainingTask(tables, as_of, "nps"), jobs=1)
    seconds = time.perf_counter() - begun
    source = TableFeatures(tables, trained.config.features)
    later = get_time_column_us(tables.consignments, "received_at") >= to_us(as_of)
    fits = {
        "evaluation": (trained.evaluated.grown, trained.model),
        "final": (trained.final.grown, trained.final.model),
    }
    lines = []
    for name, (grown, model) in fits.items():
        judged = judge(source, later, grown.fitted, model, truth)
        lines.append(
            f"{world.name:14} {name:11} learnt {grown.positives:4}  recall at 1 % {judged.recall_at_1pct:.3f}  at 5 % {judged.recall_at_5pct:.3f}  "
            f"of {judged.positives}  promised/true {judged.promised_over_true:.2f}  {seconds:.0f} s"
        )
    return lines


def read_world(folder: Path) -> Tables:
    """Read the tables of a simulated world."""
    return Tables(
        read_table(folder / "consignments.parquet", Consignment).frame,
        read_table(folder / "outcomes.parquet", Outcome).frame,
        read_table(folder / "alerts.parquet", Alert).frame,
    )


def judge(
    source: TableFeatures,
    later: NDArray[np.bool_],
    fitted: FittedParameters,
    model: RiskModel,
    truth: pd.DataFrame,
) -> Judged:
    """Judge a fit on some rows of the table."""
    matrix = source.build_matrix(fitted, later)
    frame = source.tables.consignments.iloc[matrix.rows]
    score = model.score(matrix.X, frame["channel"].astype(str).tolist())
    positive = get_true_labels(frame["consignment_id"], truth, "nps").positive
    order = np.argsort(-score, kind="stable")
    recalls = [positive[order[: round(share * len(order))]].sum() / positive.sum() for share in (0.01, 0.05)]
    return Judged(int(positive.sum()), *map(float, recalls), float(score.sum() / positive.sum()))


if __name__ == "__main__":
    main()
