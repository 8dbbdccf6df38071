"""Compare the recall of the final fit with simpler models in different worlds, by the truth of the month after training.

    python -m benchmarks.final_fit [--sets sweden brazil --seeds 11 --keep DIR]

For each set and seed a hard world is simulated (`npsrisk simulate --prevalence hard:SET`). The models are trained on everything
known 30 days before its end, and rank the days after with the history that the service would have. The truth evaluates them:
recall of NPS at 1 % of the traffic. The models:

- the final fit: what `npsrisk train` serves;
- plain LightGBM: the same features and rows, the defaults of benchmarks.ordinary, background with weight 0.1;
- strong ordinary form: what a competent person builds from the tables (benchmarks.ordinary), on the same labels;
- full truth: the same recipe, with every past label known.

The held-out sets are run by `--held-out`. Without `--sets`, all sets that are not held out are run.
"""

import argparse
import json
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import lightgbm
import numpy as np
from numpy.typing import NDArray

from benchmarks.hard_worlds import is_held_out
from benchmarks.ordinary import PARAMS, Past, strong_form
from benchmarks.skill import tables_of, truthful
from benchmarks.world import table
from consignments.timestamps import get_time_column_us, to_us
from features.batch import FeatureMatrix, Tables
from features.streams import FeatureInputs
from training.config import TrainConfig
from training.data.table_features import TableFeatures
from training.data.training_set import ObservedTables, build_data_set, get_true_labels
from training.fitting.fit import Recipe, SplitFeatures, fit_recipe
from training.runs.task import find_day_after_last_event
from training.simulation.operation import SimulatedTables, simulate
from training.simulation.parameters import list_hard_sets

JUDGED_DAYS = 30
SHARE = 0.01
BACKGROUND_ROWS = 20_000
"""Background rows of the strong ordinary form, as in benchmarks.skill."""
PLAIN_ROUNDS, PLAIN_BACKGROUND = 150, 0.1
RESAMPLES = 2_000
OURS, PLAIN, ORDINARY, TRUTH = "final fit", "plain LightGBM", "strong ordinary form", "full truth"

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Found(NamedTuple):
    """Results of the models in a world.

    Attributes
    ----------
    learnt, there : int
        Known positives in training, and positives of the evaluated days.
    recall : dict
        Model to recall at `SHARE`.
    """

    learnt: int
    there: int
    recall: dict[str, float]


def main() -> None:
    """Measure each world, and print a line for each and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", choices=list_hard_sets())
    parser.add_argument("--held-out", action="store_true", help="run only the held-out sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11])
    parser.add_argument("--days", type=int, default=240)
    parser.add_argument("--per-day", type=int, default=1500)
    parser.add_argument("--keep", type=Path, help="folder for the results; existing results are reused")
    arguments = parser.parse_args()
    sets = arguments.sets or [name for name in list_hard_sets() if is_held_out(name) == arguments.held_out]
    found: dict[str, Found] = {}
    for name in sets:
        for seed in arguments.seeds:
            begun = time.monotonic()
            world = f"{name} {seed}"
            found[world] = measure_or_read(name, seed, arguments.days, arguments.per_day, arguments.keep)
            print(world, found[world], f"{time.monotonic() - begun:.0f} s", flush=True)
    print(render(found))


def measure_or_read(name: str, seed: int, days: int, per_day: int, folder: Path | None) -> Found:
    """Measure a world, or read the result of an earlier run."""
    path = None if folder is None else folder / f"final-{name}-{seed}-{days}-{per_day}.json"
    if path is not None and path.exists():
        return Found(*json.loads(path.read_text()))
    made = simulate(days=days, per_day=per_day, prevalence=f"hard:{name}", seed=seed)
    found = measure(made)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
    return found


def measure(made: SimulatedTables) -> Found:
    """Train every model in a world, and rank its last days."""
    tables, config = tables_of(made), TrainConfig()
    frame, outcomes = tables.consignments, tables.outcomes
    assert outcomes is not None
    as_of = find_day_after_last_event(FeatureInputs.from_tables(Tables(frame))) - timedelta(days=JUDGED_DAYS)
    judged = get_time_column_us(frame, "received_at") >= to_us(as_of)
    truth = get_true_labels(frame["consignment_id"], made.truth, "nps")
    data = build_data_set(ObservedTables(frame, outcomes, as_of), "nps", config, held_out="nothing")
    # Later outcomes are history of the evaluated days from the time they were visible, as in the service.
    source = TableFeatures.from_tables(tables, config.features)
    everything = truthful(
        data, replace(truth, known=truth.known & ~judged, positive=truth.positive & ~judged)
    )
    keep, recipe = data.keep | everything.keep | judged, Recipe(source, config)
    fit = fit_recipe(recipe, data, keep)
    known = fit_recipe(recipe, everything, keep, fit.matrix)
    drawn = np.flatnonzero((data.part == 1) & ~data.labels.chosen)
    background = np.sort(np.random.default_rng(1).choice(drawn, BACKGROUND_ROWS, replace=False))
    usable = data.labels.known & (data.part == 1)
    past = Past(frame, usable, data.labels.positive, background, np.flatnonzero(judged), outcomes)
    scores = {
        OURS: fit.trees.predict_raw(fit.matrix.X[judged[fit.matrix.rows]]),
        PLAIN: fit_plain(SplitFeatures(data, fit.matrix), fit.matrix, judged),
        ORDINARY: strong_form(past),
        TRUTH: known.trees.predict_raw(known.matrix.X[judged[known.matrix.rows]]),
    }
    positive = truth.positive[judged]
    return Found(
        fit.positives,
        int(positive.sum()),
        {name: compute_recall(score, positive) for name, score in scores.items()},
    )


def fit_plain(parts: SplitFeatures, matrix: FeatureMatrix, judged: Bools) -> Floats:
    """Rank the evaluated days with plain LightGBM on the features and rows of the final fit."""
    rows = parts.select_fitting_rows(1)
    weight = np.where(parts.labels.known[rows], 1.0, PLAIN_BACKGROUND)
    data = lightgbm.Dataset(matrix.X[rows], parts.labels.positive[rows].astype(np.float64), weight=weight)
    booster = lightgbm.train({**PARAMS, "seed": 1}, data, num_boost_round=PLAIN_ROUNDS)
    return np.asarray(booster.predict(matrix.X[judged[matrix.rows]], num_threads=1), dtype=np.float64)


def compute_recall(score: Floats, positive: Bools) -> float:
    """Compute the share of the positives in the top `SHARE` of the rows."""
    best = np.argsort(-score, kind="stable")[: round(SHARE * len(score))]
    return float(positive[best].sum() / positive.sum())


def render(found: dict[str, Found]) -> str:
    """Return the table: a line for each world, the means, and the ratio of the final fit to each model with 95 % intervals."""
    forms = (OURS, PLAIN, ORDINARY, TRUTH)
    lines = [
        f"| {world} | {each.learnt} | {each.there} | "
        + " | ".join(f"{each.recall[form]:.3f}" for form in forms)
        + " |"
        for world, each in found.items()
    ]
    recall = np.array([[each.recall[form] for form in forms] for each in found.values()])
    means = " | ".join(f"**{value:.3f}**" for value in recall.mean(axis=0))
    drawn = np.random.default_rng(1).integers(0, len(recall), (RESAMPLES, len(recall)))
    resampled = recall[drawn].mean(axis=1)
    ratios = []
    for place in range(len(forms)):
        low, high = np.quantile(resampled[:, 0] / resampled[:, place], (0.025, 0.975))
        ratio = recall[:, 0].mean() / recall[:, place].mean()
        ratios.append("1" if place == 0 else f"{ratio:.2f} ({low:.2f} to {high:.2f})")
    lines += [f"| mean |  |  | {means} |", f"| final fit over this |  |  | {' | '.join(ratios)} |"]
    return table(["world and seed", "NPS in training", "NPS in evaluation", *forms], lines)


if __name__ == "__main__":
    main()
