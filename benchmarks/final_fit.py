"""Compare the recall of the final fit with simpler models in different worlds, by the truth of the month after training.

    python -m benchmarks.final_fit [--sets sweden brazil --seeds 11 --keep DIR]

For each set and seed a hard world is simulated. The models are trained on everything known 30 days before its end, and rank the
days after with the history that the service would have. The truth evaluates them: recall of NPS at 1 % of the traffic. The models:

- the final fit: what `npsrisk train` serves;
- plain LightGBM: the same features and rows, the defaults of benchmarks.ordinary, background with weight 0.1;
- strong ordinary form: what a competent person builds from the tables (benchmarks.ordinary), on the same labels;
- full truth: the same recipe, with every past label known.

The held-out sets are run by `--held-out`. Without `--sets`, all sets that are not held out are run.
"""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import lightgbm
import numpy as np

from benchmarks.ordinary import PARAMS, Past, score_by_strong_form
from benchmarks.script import format_table, parse_options, read_or_measure
from benchmarks.worlds import World, describe_interval, rank_shares, read_tables, replace_labels
from training.config import TrainConfig
from training.data.table_features import TableFeatures
from training.data.training_set import build_data_set, get_true_labels
from training.fitting.fit import Recipe, SplitFeatures, fit_recipe
from training.simulation.parameters import list_hard_sets, load_parameters

JUDGED_DAYS = 30
SHARE = 0.01
BACKGROUND_ROWS = 20_000
PLAIN_ROUNDS, PLAIN_BACKGROUND = 150, 0.1
RESAMPLES = 2_000
OURS = "final fit"


class Found(NamedTuple):
    """Known positives in training, positives of the evaluated days, and the recall of each model."""

    learnt: int
    there: int
    recall: dict[str, float]


def main() -> None:
    options = parse_options(__doc__, sets=[], held_out=False, seeds=[11], days=240, per_day=1500, keep=Path)
    sets = options.sets or [name for name in list_hard_sets() if is_held_out(name) == options.held_out]
    found: dict[str, Found] = {}
    for name in sets:
        for seed in options.seeds:
            world = World(f"hard:{name}", seed, options.days, options.per_day)
            path = options.keep and options.keep / f"final-{name}-{seed}-{world.days}-{world.per_day}.json"
            found[f"{name} {seed}"] = read_or_measure(path, Found, partial(measure, world))
    print(render(found))


def is_held_out(name: str) -> bool:
    """Check whether a set is held out from development."""
    return bool(load_parameters(preset=f"hard:{name}").hard.held_out)


def measure(world: World) -> Found:
    """Train every model in a world, and rank its last days."""
    made, config = world.simulate(), TrainConfig()
    given = read_tables(made)
    as_of = given.find_end() - timedelta(days=JUDGED_DAYS)
    judged = given.select_from(as_of)
    truth = get_true_labels(given.frame["consignment_id"], made.truth, "nps")
    data = build_data_set(given.observe(as_of), "nps", config, held_out="nothing")
    past_truth = replace(truth, known=truth.known & ~judged, positive=truth.positive & ~judged)
    everything = replace_labels(data, past_truth)
    # Later outcomes are history of the evaluated days from the time they were visible, as in the service.
    recipe = Recipe(TableFeatures.from_tables(given.tables, config.features), config)
    keep = data.keep | everything.keep | judged
    fit = fit_recipe(recipe, data, keep)
    known = fit_recipe(recipe, everything, keep)
    drawn = np.flatnonzero((data.part == 1) & ~data.labels.chosen)
    background = np.sort(
        np.random.default_rng(1).choice(drawn, min(BACKGROUND_ROWS, len(drawn)), replace=False)
    )
    usable = data.labels.known & (data.part == 1)
    past = Past(given.frame, usable, data.labels.positive, background, np.flatnonzero(judged), given.outcomes)
    tested = fit.matrix.keep_rows(judged).X
    parts = SplitFeatures(data, fit.matrix)
    rows = parts.select_fitting_rows(1)
    weight = np.where(parts.labels.known[rows], 1.0, PLAIN_BACKGROUND)
    plain = lightgbm.Dataset(fit.matrix.take(rows), parts.labels.positive[rows].astype(float), weight=weight)
    booster = lightgbm.train({**PARAMS, "seed": 1}, plain, num_boost_round=PLAIN_ROUNDS)
    scores = {
        OURS: fit.trees.predict_raw(tested),
        "plain LightGBM": np.asarray(booster.predict(tested, num_threads=1), dtype=np.float64),
        "strong ordinary form": score_by_strong_form(past),
        "full truth": known.trees.predict_raw(tested),
    }
    positive = truth.positive[judged]
    recall = {name: float((rank_shares(score)[positive] <= SHARE).mean()) for name, score in scores.items()}
    return Found(fit.positives, int(positive.sum()), recall)


def render(found: dict[str, Found]) -> str:
    """Return the table: a row for each world, the means, and the ratio of the final fit to each model with 95 % intervals."""
    forms = list(next(iter(found.values())).recall)
    recall = np.array([[each.recall[form] for form in forms] for each in found.values()])
    drawn = np.random.default_rng(1).integers(0, len(recall), (RESAMPLES, len(recall)))
    means = np.vstack([recall.mean(axis=0), recall[drawn].mean(axis=1)])
    rows = [
        [world, each.learnt, each.there, *(f"{value:.3f}" for value in each.recall.values())]
        for world, each in found.items()
    ]
    rows.append(["mean", "", "", *(f"{value:.3f}" for value in means[0])])
    rows.append(["final fit over this", "", "", *(describe_interval(means[:, 0] / each) for each in means.T)])
    return format_table(["world and seed", "NPS in training", "NPS in evaluation", *forms], rows)


if __name__ == "__main__":
    main()
