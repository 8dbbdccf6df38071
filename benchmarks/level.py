"""Check whether the level of the served scores, with its interval, agrees with the truth of the month after training.

    python -m benchmarks.level [--presets operation enriched --seeds 20 --days 210 --per-day 600 --keep DIR]

In each world a model is trained on everything known 30 days before its end, as `npsrisk train` does. The final fit scores the
days after, with the history that the service would have. The predicted number of NPS is compared with the true number. The
interval in bundle and page is of true NPS for one predicted. About 45 seconds of one core for each world.
"""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.script import format_table, parse_options, read_or_measure
from benchmarks.worlds import World, read_tables
from consignments.errors import BadInput
from training.config import TrainConfig
from training.data.splits import TEST
from training.data.table_features import TableFeatures
from training.data.training_set import get_true_labels
from training.fitting.deployed import build_training_data, collect_unseen, fit_at_dates
from training.fitting.fit import Recipe, SplitFeatures, calibrate_final, fit_evaluation

JUDGED_DAYS = 30
FACTOR = 2.0
FIRST_SEED = 101


class Level(NamedTuple):
    """Level of the scores in a world: the interval of true NPS for one predicted, and both numbers."""

    low: float
    high: float
    predicted: float
    true: int


def main() -> None:
    options = parse_options(
        __doc__, presets=["operation", "enriched"], seeds=20, days=210, per_day=600, keep=Path
    )
    rows = []
    for preset in options.presets:
        levels = []
        for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
            world = World(preset, seed, options.days, options.per_day)
            path = options.keep and options.keep / f"level-{preset}-{seed}-{world.days}-{world.per_day}.json"
            try:
                levels.append(read_or_measure(path, Level, partial(measure, world)))
                print(preset, seed, levels[-1], flush=True)
            except BadInput as error:  # such a world gives no model
                print(preset, seed, error, flush=True)
        if not levels:
            continue
        low, high, predicted, true = np.array(levels).T
        ratio = predicted / np.maximum(true, 1)
        rows.append([
            preset, len(levels), int(np.sum((low <= true / predicted) & (true / predicted <= high))),
            f"{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})",
            int(np.sum((ratio >= 1 / FACTOR) & (ratio <= FACTOR))),
        ])  # fmt: skip
    heads = ["preset", "worlds", "interval contains the truth in", "predicted over true, median (range)"]
    print(format_table([*heads, "between a half and two in"], rows))


def measure(world: World) -> Level:
    """Train in a world, and compare the predictions of the final fit for the days after with the truth."""
    made, config = world.simulate(), TrainConfig()
    given = read_tables(made)
    as_of = given.find_end() - timedelta(days=JUDGED_DAYS)
    data = build_training_data(given.observe(as_of), "nps", config)
    recipe = Recipe(TableFeatures.from_tables(given.tables, config.features, as_of), config)
    evaluated = fit_evaluation(recipe, data.evaluation, data.keep)
    test = SplitFeatures(data.evaluation, evaluated.matrix)
    mine = test.select_part(TEST)
    weight = test.estimate_result_weights(mine, config.model.seed)[mine]
    fits, served = fit_at_dates(data, recipe, evaluated)
    unseen = collect_unseen(fits, SplitFeatures(data.final, evaluated.matrix), weight, config.model.seed)
    final = calibrate_final(served, unseen)
    # Later outcomes are history of the evaluated days from the time they were visible, as in the service.
    judged = given.select_from(as_of)
    matrix = TableFeatures.from_tables(given.tables, config.features).build_matrix(final.fitted, judged)
    channels = given.frame["channel"].iloc[matrix.rows].astype(str).tolist()
    predicted = float(final.model.score(matrix.X, channels).sum())
    truth = get_true_labels(given.frame["consignment_id"], made.truth, "nps")
    return Level(final.level.low, final.level.high, predicted, int(truth.positive[judged].sum()))


if __name__ == "__main__":
    main()
