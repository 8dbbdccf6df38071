"""Compare recipes of the trees, with and without the history of networks, by the truth of the four weeks after each of three dates.

    python -m benchmarks.learners --keep DIR [--held-out] [--short] [--worlds NAME...]

In each world the recipes learn from the same rows, everything known at a date, and rank the four weeks after it, with history as
the service has it. The parameters of the recipe were chosen on the first worlds. The held-out ones were run once, after that.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from benchmarks.script import format_table, parse_options
from benchmarks.worlds import World, describe_interval, read_tables
from features.spec import Spec
from models.arrays import Bools, Columns
from models.fitting.boosting import grow_trees
from training.config import TrainConfig
from training.data.splits import TRAIN
from training.data.table_features import TableFeatures
from training.data.training_set import DataSet, build_data_set, get_true_labels
from training.evaluation.estimate import draw_days
from training.fitting.fit import Recipe, SplitFeatures, fit_recipe

WINDOWS, WINDOW_DAYS, RESAMPLES = 3, 28, 1000
SHARES = {"at 1 %": 0.01, "at 5 %": 0.05}
BEFORE, NOW = "150 trees from the rules, linear .4 (before)", "mean of unlike learners, networks (now)"
ONE_LEARNER = {
    "trees": 150,
    "learning_rate": 0.05,
    "feature_share": 0.5,
    "linear_share": 0.4,
    "plain_share": 0.0,
}
RECIPES: dict[str, dict[str, Any]] = {BEFORE: ONE_LEARNER, "mean of unlike learners": {}, NOW: {}}
"""Each recipe, and its parameters that differ from the defaults. Only that of now reads networks."""
HARD = "[prevalence.hard]\nnps = 0.006\nopened = 0.04\n"
WORLDS = {
    "operation": World("operation", 501, 140, 600),
    "sweden": World("hard:sweden", 502, 160, 550, "[prevalence.hard]\nopened = 0.05\n"),
    "brazil": World("hard:brazil", 503, 130, 420, HARD),
    "japan": World("hard:japan", 504, 130, 420, HARD),
    "enriched": World("enriched", 505, 130, 420, "[prevalence.enriched]\nnps = 0.005\nopened = 0.04\n"),
}
HELD_OUT = {
    "kazakhstan": World("hard:kazakhstan", 601, 130, 420, HARD),
    "newzealand": World("hard:newzealand", 602, 130, 420, HARD),
    "southafrica": World("hard:southafrica", 603, 130, 420, HARD),
    "operation 2": World("operation", 606, 120, 450, "[inspection]\nrules_only_days = 60\n"),
}
SHORT = {"short": World("operation", 1, 100, 150, "[prevalence.operation]\nnps = 0.02\nopened = 0.06\n")}


def main() -> None:
    options = parse_options(__doc__, keep=Path("learners"), held_out=False, worlds=[], short=False)
    worlds = SHORT if options.short else HELD_OUT if options.held_out else WORLDS
    options.keep.mkdir(parents=True, exist_ok=True)
    rows: list[Sequence[str]] = []
    frames: list[pd.DataFrame] = []
    for name in options.worlds or worlds:
        path = options.keep / f"{name}.parquet"
        if not path.exists():
            pd.concat(iterate_windows(worlds[name]), ignore_index=True).to_parquet(path)
        frame = pd.read_parquet(path)
        frame["window"] += WINDOWS * len(frames)
        frames.append(frame)
        rows += compare(name, frame)
    rows += compare("all", pd.concat(frames))
    print(format_table(["world", "recipe", "recall " + ", ".join(SHARES), "AP", "over before (95 %)"], rows))


def iterate_windows(world: World) -> Iterator[pd.DataFrame]:
    """Simulate a world, and yield the truth of each window with the raw scores of each recipe."""
    made, config = world.simulate(), TrainConfig()
    given = read_tables(made)
    truth = get_true_labels(given.frame["consignment_id"], made.truth, "nps").positive
    source = TableFeatures.from_tables(given.tables, config.features)
    for place, (begins, tested) in enumerate(given.iterate_windows(WINDOWS, WINDOW_DAYS)):
        data = build_data_set(given.observe(begins), "nps", config, held_out="nothing")
        parts, mine, scores = score_recipes(source, config, data, tested)
        found = {"window": place, "day": parts.day[mine], "truth": truth[parts.rows][mine]}
        yield pd.DataFrame(found | scores)


def score_recipes(
    source: TableFeatures, config: TrainConfig, data: DataSet, tested: Bools
) -> tuple[SplitFeatures, Bools, Columns]:
    """Fit each recipe on the same rows; return the feature rows, which of them are tested, and their raw scores by recipe."""
    parts = SplitFeatures(data, fit_recipe(Recipe(source, config), data, tested).matrix)
    spec, X = parts.spec, parts.matrix.keep_rows(tested).X
    rows, mine = parts.build_labelled_rows(parts.select_fitting_rows(TRAIN)), tested[parts.rows]
    others = np.array([at for at, name in enumerate(spec.names) if "_network." not in name])
    scores = {}
    for name, changed in RECIPES.items():
        columns = np.arange(len(spec)) if name == NOW else others
        some = rows._replace(X=np.ascontiguousarray(rows.X[:, columns]))
        features = Spec([spec.features[at] for at in columns])
        trees, _ = grow_trees(some, features, msgspec.structs.replace(config.model, **changed))
        scores[name] = trees.predict_raw(np.ascontiguousarray(X[:, columns]))
    return parts, mine, scores


def compare(world: str, frame: pd.DataFrame) -> Iterator[list[str]]:
    """Yield a row for each recipe: recall and average precision, and the ratio of recalls with an interval from resampled days."""
    truth = frame["truth"].to_numpy(dtype=bool)
    _, day = np.unique(frame["window"] * 100_000 + frame["day"], return_inverse=True)
    draws = draw_days(int(day.max()) + 1, RESAMPLES, seed=1)[:, day[truth]]
    counts = {}
    for name in RECIPES:
        raw = frame.groupby("window")[name]
        above = (raw.rank(ascending=False, method="first") / raw.transform("size")).to_numpy()[truth]
        counts[name] = draws @ (above <= SHARES["at 1 %"])
        recalls = ", ".join(f"{(above <= share).mean():.3f}" for share in SHARES.values())
        precisions = [
            average_precision_score(part["truth"].to_numpy(dtype=bool), part[name])
            for _, part in frame.groupby("window")
        ]
        gain = describe_interval(counts[name] / np.maximum(counts[BEFORE], 1))
        yield [f"{world}, {truth.sum()} NPS", name, recalls, f"{np.mean(precisions):.3f}", gain]


if __name__ == "__main__":
    main()
