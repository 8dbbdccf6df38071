"""Check whether the level of the served scores, with its interval, agrees with the truth of the month after training.

    python -m benchmarks.level [--presets operation enriched --seeds 20 --days 210 --per-day 600 --keep DIR]

In each world a model is trained on everything known 30 days before its end, as `npsrisk train` does. The final fit scores the
days after, with the history that the service would have. The predicted number of NPS is compared with the true number, in all
traffic and among the 2.5 % that get a band to act on. The interval in bundle and page is of true NPS for one predicted in all
traffic. About 45 seconds of one core for each world.
"""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.script import format_table, parse_options, read_or_measure
from benchmarks.worlds import Floats, World, read_tables
from consignments.errors import BadInput
from features.batch import FeatureParameters
from features.streams import compute_feature_matrix
from models.bands import ELEVATED_SHARE, HIGH_SHARE
from training.config import TrainConfig
from training.data.table_features import TableFeatures
from training.data.training_set import get_true_labels
from training.fitting.deployed import build_training_data, collect_unseen, fit_at_dates
from training.fitting.fit import Recipe, SplitFeatures, calibrate_final, fit_evaluation

JUDGED_DAYS = 30
FACTOR = 2.0
FIRST_SEED = 101


class Level(NamedTuple):
    """Level of the scores in a world, with its interval and both numbers, in all traffic and in that to act on."""

    low: float
    high: float
    predicted: float
    true: int
    predicted_to_act_on: float
    true_to_act_on: int


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
        low, high, *numbers = np.array(levels).T
        real = numbers[1] / numbers[0]
        inside = int(np.sum((low <= real) & (real <= high)))
        for traffic, predicted, true in zip(("all", "to act on"), numbers[::2], numbers[1::2], strict=True):
            rows.append(
                [preset, traffic, len(levels), *describe_ratio(predicted / np.maximum(true, 1)), inside]
            )
    ratios = ("predicted over true, median (range)", "between a half and two in")
    heads = ["preset", "traffic", "worlds", *ratios, "interval contains the truth of all in"]
    print(format_table(heads, rows))


def describe_ratio(ratio: Floats) -> tuple[str, int]:
    """Describe the median and the range of a ratio, and count those near 1."""
    near = (ratio >= 1 / FACTOR) & (ratio <= FACTOR)
    return f"{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})", int(near.sum())


def measure(world: World) -> Level:
    """Train in a world, and compare the predictions of the final fit for the days after with the truth."""
    made, config = world.simulate(), TrainConfig()
    given = read_tables(made)
    as_of = given.find_end() - timedelta(days=JUDGED_DAYS)
    data = build_training_data(given.observe(as_of), "nps", config)
    recipe = Recipe(TableFeatures.from_tables(given.tables, config.features, as_of), config)
    evaluated = fit_evaluation(recipe, data.evaluation, data.keep)
    fits, served = fit_at_dates(data, recipe, evaluated)
    unseen = collect_unseen(fits, SplitFeatures(data.final, evaluated.matrix))
    final = calibrate_final(served, unseen)
    # Later outcomes are history of the evaluated days from the time they were visible, as in the service.
    judged = given.select_from(as_of)
    learnt = FeatureParameters(config.features, final.fitted)
    matrix = compute_feature_matrix(given.tables, learnt, keep=judged)
    channels = given.frame["channel"].iloc[matrix.rows].astype(str).tolist()
    score = final.model.score(matrix.X, channels)
    positive = get_true_labels(given.frame["consignment_id"], made.truth, "nps").positive[matrix.rows]
    act_on = np.argsort(-score)[: round((HIGH_SHARE + ELEVATED_SHARE) * len(score))]
    numbers = float(score.sum()), int(positive.sum()), float(score[act_on].sum()), int(positive[act_on].sum())
    return Level(final.level.low, final.level.high, *numbers)


if __name__ == "__main__":
    main()
