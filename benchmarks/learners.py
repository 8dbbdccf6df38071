"""Compare recipes of the trees in unlike worlds, by the truth of the four weeks after each of three dates.

    python -m benchmarks.learners --keep DIR [--held-out] [--worlds NAME...]

In each world the recipes learn from the same rows, everything known at a date, and rank the four weeks after it, with history as
the service has it. The parameters of the recipe were chosen on the first worlds. The held-out ones were run once, after that.
"""

import argparse
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.skill import tables_of
from benchmarks.world import table
from consignments.timestamps import US_PER_DAY, get_time_column_us, to_datetime, to_us
from features.batch import FeatureMatrix, FeatureParameters
from models.fitting.baselines import compute_average_precision
from models.fitting.boosting import grow_trees
from training.config import TrainConfig
from training.data.splits import TRAIN
from training.data.table_features import TableFeatures
from training.data.training_set import ObservedTables, build_data_set, get_true_labels
from training.evaluation.estimate import draw_days
from training.fitting.fit import Recipe, SplitFeatures, fit_recipe
from training.simulation.operation import simulate
from training.simulation.parameters import load_parameters

WINDOWS, WINDOW_DAYS, RESAMPLES = 3, 28, 1000
SHARES = {"at 1 %": 0.01, "at 5 %": 0.05}
BEFORE, NOW = "150 trees from the rules, linear .4 (before)", "mean of unlike learners (now)"
RECIPES: dict[str, dict[str, Any]] = {
    BEFORE: {
        "trees": 150,
        "learning_rate": 0.05,
        "feature_share": 0.5,
        "linear_share": 0.4,
        "plain_share": 0.0,
    },
    NOW: {},
    "trees from the rules, linear .4": {"linear_share": 0.4, "plain_share": 0.0},
    "plain trees, linear .15": {"plain_share": 1.0},
}
"""Each recipe, and its parameters that differ from the defaults."""


class World(NamedTuple):
    """A simulated world: preset, seed, days, consignments a day, and changes of its parameters, as TOML."""

    preset: str
    seed: int
    days: int = 130
    per_day: int = 420
    changes: str = "[prevalence.hard]\nnps = 0.006\nopened = 0.04\n"


WORLDS = {
    "operation": World("operation", 501, 140, 600, ""),
    "sweden": World("hard:sweden", 502, 160, 550, "[prevalence.hard]\nopened = 0.05\n"),
    "brazil": World("hard:brazil", 503),
    "japan": World("hard:japan", 504),
    "enriched": World("enriched", 505, changes="[prevalence.enriched]\nnps = 0.005\nopened = 0.04\n"),
}
HELD_OUT = {
    "kazakhstan": World("hard:kazakhstan", 601),
    "newzealand": World("hard:newzealand", 602),
    "southafrica": World("hard:southafrica", 603),
    "operation 2": World("operation", 606, 120, 450, "[inspection]\nrules_only_days = 60\n"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", type=Path, required=True, help="folder for the ranks; existing are reused")
    parser.add_argument("--held-out", action="store_true", help="the held-out worlds instead")
    parser.add_argument("--worlds", nargs="+", help="only these")
    arguments = parser.parse_args()
    worlds = HELD_OUT if arguments.held_out else WORLDS
    arguments.keep.mkdir(parents=True, exist_ok=True)
    lines = []
    for name in arguments.worlds or worlds:
        path = arguments.keep / f"{name}.parquet"
        if not path.exists():
            pd.concat(iterate_windows(worlds[name]), ignore_index=True).to_parquet(path)
        lines += compare(name, pd.read_parquet(path))
        print("\n".join(lines[-len(RECIPES) :]), flush=True)
    print(table(["world", "recipe", "recall " + ", ".join(SHARES), "AP", "over before (95 %)"], lines))


def iterate_windows(world: World) -> Iterator[pd.DataFrame]:
    """Simulate a world, and yield the truth of each window with the raw scores of each recipe."""
    with TemporaryDirectory() as folder:
        changes = Path(folder) / "changes.toml"
        changes.write_text(world.changes)
        parameters = load_parameters(changes, world.preset)
    made = simulate(
        parameters, days=world.days, per_day=world.per_day, prevalence=world.preset, seed=world.seed
    )
    tables, config = tables_of(made), TrainConfig()
    frame, outcomes = tables.consignments, tables.outcomes
    assert outcomes is not None
    received = get_time_column_us(frame, "received_at")
    truth = get_true_labels(frame["consignment_id"], made.truth, "nps").positive
    source = TableFeatures.from_tables(tables, config.features)
    spec = FeatureParameters(config.features).build_pipeline().spec
    matrix = FeatureMatrix(source.X, np.arange(len(source.X)), spec)
    ends = to_datetime((int(received.max()) // US_PER_DAY + 1) * US_PER_DAY)
    for place in range(WINDOWS):
        begins = ends - timedelta(days=WINDOW_DAYS * (place + 1))
        later = begins + timedelta(days=WINDOW_DAYS)
        tested = (received >= to_us(begins)) & (received < to_us(later))
        data = build_data_set(ObservedTables(frame, outcomes, begins), "nps", config, held_out="nothing")
        parts = SplitFeatures(data, fit_recipe(Recipe(source, config), data, tested, matrix).matrix)
        rows, mine = parts.build_labelled_rows(parts.select_fitting_rows(TRAIN)), tested[parts.rows]
        found = {"window": place, "day": parts.day[mine], "truth": truth[parts.rows][mine]}
        for name, changed in RECIPES.items():
            trees, _ = grow_trees(rows, spec, msgspec.structs.replace(config.model, **changed))
            found[name] = trees.predict_raw(parts.X[mine])
        yield pd.DataFrame(found)


def compare(world: str, frame: pd.DataFrame) -> list[str]:
    """Return a line for each recipe: recall and average precision, and the ratio of recalls with an interval from resampled days."""
    truth = frame["truth"].to_numpy(dtype=bool)
    _, day = np.unique(frame["window"] * 100_000 + frame["day"], return_inverse=True)
    draws = draw_days(int(day.max()) + 1, RESAMPLES, seed=1)[:, day[truth]]
    found, lines = {}, []
    for name in RECIPES:
        raw = frame.groupby("window")[name]
        above = (raw.rank(ascending=False, method="first") / raw.transform("size")).to_numpy()[truth]
        found[name] = above <= SHARES["at 1 %"]
        recalls = ", ".join(f"{(above <= share).mean():.3f}" for share in SHARES.values())
        precision = np.mean([_compute_precision(part, name) for _, part in frame.groupby("window")])
        ratio = (draws @ found[name]) / np.maximum(draws @ found[BEFORE], 1)
        low, high = np.quantile(ratio, (0.025, 0.975))
        gain = f"{found[name].sum() / found[BEFORE].sum():.2f} ({low:.2f} to {high:.2f})"
        lines.append(f"| {world}, {truth.sum()} NPS | {name} | {recalls} | {precision:.3f} | {gain} |")
    return lines


def _compute_precision(part: pd.DataFrame, name: str) -> float:
    ones: NDArray[np.float64] = np.ones(len(part))
    return compute_average_precision(part[name].to_numpy(), part["truth"].to_numpy(dtype=float), ones)


if __name__ == "__main__":
    main()
