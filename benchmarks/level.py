"""Check whether the level of the served scores, with its interval, agrees with the truth of the month after training.

    python -m benchmarks.level [--presets operation enriched --seeds 20 --days 210 --per-day 600 --keep DIR]

In each world a model is trained on everything known 30 days before its end, as `npsrisk train` does. The final fit scores the
days after, with the history that the service would have. The predicted number of NPS is compared with the true number. The
interval in bundle and page is of true NPS for one predicted. About 45 seconds of one core for each world.
"""

import argparse
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.skill import tables_of
from benchmarks.world import table
from consignments.errors import BadInput
from consignments.timestamps import get_time_column_us, to_us
from features.batch import Tables
from features.streams import FeatureInputs
from models.calibration import CalibrationLevel
from training.config import TrainConfig
from training.data.splits import TEST
from training.data.table_features import TableFeatures
from training.data.training_set import ObservedTables, get_true_labels
from training.fitting.deployed import build_training_data, collect_unseen, fit_at_dates
from training.fitting.fit import Recipe, SplitFeatures, calibrate_final, fit_evaluation
from training.runs.task import find_day_after_last_event
from training.simulation.operation import simulate

JUDGED_DAYS = 30
FACTOR, SPREAD = 2.0, 6.0
"""Limits with enough random positives: of predicted over true, and of the ratio of the ends of the interval."""


class Measured(NamedTuple):
    """Results of one world: random inspections and positives, the interval, and predicted and true NPS."""

    inspected: int
    positives: int
    low: float
    high: float
    promised: float
    true: int

    @property
    def is_held(self) -> bool:
        """True if the interval contains the truth."""
        return self.low <= self.true / self.promised <= self.high

    @property
    def is_anchored(self) -> bool:
        """True if random inspections detected enough to determine the level alone."""
        return CalibrationLevel(0.0, self.low, self.high, self.inspected, self.positives).is_anchored


def main() -> None:
    """Measure each world, and print a line for each and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presets", nargs="+", default=["operation", "enriched"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=101)
    parser.add_argument("--days", type=int, default=210)
    parser.add_argument("--per-day", type=int, default=600)
    parser.add_argument("--keep", type=Path, help="folder for the results; existing results are reused")
    arguments = parser.parse_args()
    found: dict[str, list[Measured]] = {}
    for preset in arguments.presets:
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            begun = time.monotonic()
            try:
                world = measure_or_read(preset, seed, arguments.days, arguments.per_day, arguments.keep)
            except BadInput as error:  # such a world gives no model
                print(preset, seed, error, flush=True)
                continue
            found.setdefault(preset, []).append(world)
            print(preset, seed, world, world.is_held, f"{time.monotonic() - begun:.0f} s", flush=True)
    print(render(found))


def measure_or_read(preset: str, seed: int, days: int, per_day: int, folder: Path | None) -> Measured:
    """Measure a world, or read the result of an earlier run."""
    path = None if folder is None else folder / f"level-{preset}-{seed}-{days}-{per_day}.json"
    if path is not None and path.exists():
        return Measured(*json.loads(path.read_text()))
    found = measure(preset, seed, days, per_day)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
    return found


def measure(preset: str, seed: int, days: int, per_day: int) -> Measured:
    """Train in a world, and compare the predictions of the final fit for the days after with the truth."""
    made = simulate(days=days, per_day=per_day, prevalence=preset, seed=seed)
    tables, config = tables_of(made), TrainConfig()
    frame, outcomes = tables.consignments, tables.outcomes
    assert outcomes is not None
    as_of = find_day_after_last_event(FeatureInputs.from_tables(Tables(frame))) - timedelta(days=JUDGED_DAYS)
    data = build_training_data(ObservedTables(frame, outcomes, as_of), "nps", config)
    source = TableFeatures.from_tables(tables, config.features, as_of)
    recipe = Recipe(source, config)
    evaluated = fit_evaluation(recipe, data.evaluation, data.keep)
    test = SplitFeatures(data.evaluation, evaluated.matrix)
    mine = test.select_part(TEST)
    weight = test.estimate_result_weights(mine, config.model.seed)[mine]
    fits, served = fit_at_dates(data, recipe, evaluated)
    parts = SplitFeatures(data.final, evaluated.matrix)
    unseen = collect_unseen(fits, parts, weight, config.model.seed)
    final = calibrate_final(served, unseen)
    # Later outcomes are history of the evaluated days from the time they were visible, as in the service.
    judged = get_time_column_us(frame, "received_at") >= to_us(as_of)
    matrix = TableFeatures.from_tables(tables, config.features).build_matrix(final.fitted, judged)
    channels = frame["channel"].iloc[matrix.rows].astype(str).tolist()
    promised = float(final.model.score(matrix.X, channels).sum())
    truth = get_true_labels(frame["consignment_id"], made.truth, "nps")
    level = final.level
    return Measured(
        level.inspected, level.positives, level.low, level.high, promised, int(truth.positive[judged].sum())
    )


def render(found: dict[str, list[Measured]]) -> str:
    """Return the table: for each preset, worlds by whether random inspections detected enough."""
    lines = []
    for preset, worlds in found.items():
        for anchored in (False, True):
            some = [world for world in worlds if world.is_anchored == anchored]
            if not some:
                continue
            ratio = np.array([world.promised / max(world.true, 1) for world in some])
            within = int(np.sum((ratio >= 1 / FACTOR) & (ratio <= FACTOR)))
            spread = np.array([world.high / world.low for world in some])
            lines.append(
                f"| {preset} | {'ten or more' if anchored else 'fewer than ten'} | {len(some)} | "
                f"{sum(world.is_held for world in some)} | {np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f}) | "
                f"{within} | {np.median(spread):.1f} | {int(np.sum(spread <= SPREAD))} |"
            )
    return table(
        [
            "worlds",
            "positives among random inspections",
            "worlds",
            "interval contains the truth in",
            "predicted over true, median (range)",
            "between a half and two in",
            "ratio of the interval's ends, median",
            "at most six in",
        ],
        lines,
    )


if __name__ == "__main__":
    main()
