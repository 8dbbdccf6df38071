"""Check whether the estimates from inspected consignments agree with the truth, in small simulated worlds.

    python -m benchmarks.estimates --seeds 20 [--first 101 --world plain --target nps --keep DIR]

plain    the world as it is: selectors also see X-ray images and intelligence, which no declaration shows; 5 % random
blind    without images and intelligence: selected by what the declarations show, and by officers' little skill
lot      blind, and half of the inspections random

For each estimator and capacity: how often the 95 % interval contains the truth, mean estimate and mean truth, and the median
width. A seed takes about a minute of one core.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from benchmarks.skill import tables_of
from consignments.records import Target
from training.config import parse_config
from training.evaluation.off_policy import DOUBLY_ROBUST, INVERSE_PROPENSITY, LOGGED_PROBABILITIES
from training.runs.task import TrainingTask
from training.runs.train import train_model
from training.simulation.operation import simulate
from training.simulation.parameters import SimulationParameters, load_parameters

DAYS, PER_DAY = 210, 600
CONFIG = parse_config({"split": {"test_days": 56}})
"""A test period of eight weeks contains about thirty NPS, of which about ten are detected."""
NO_TIPS = dict.fromkeys(("nps", "controlled_drug", "other_offence", "clear"), 0.0)
WORLDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "blind": {"xray_share": 0.0, "tips": NO_TIPS},
    "lot": {"xray_share": 0.0, "tips": NO_TIPS, "random_share": 0.5},
}
"""Changes of the inspections in each world."""
MEASURES = ("precision", "recall")

Row = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20, help="number of worlds")
    parser.add_argument("--first", type=int, default=101, help="first seed")
    parser.add_argument("--world", choices=list(WORLDS), default="plain")
    parser.add_argument("--target", choices=["nps", "controlled_drug", "any_offence"], default="nps")
    parser.add_argument(
        "--keep", type=Path, help="folder for the rows of each seed; existing ones are reused"
    )
    arguments = parser.parse_args()

    worlds = []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        worlds.append(kept(seed, arguments.world, arguments.target, arguments.keep))
        print(f"seed {seed} done", file=sys.stderr, flush=True)
    tell(worlds, f"{arguments.world}, {arguments.target}")


def kept(seed: int, world: str, target: Target, folder: Path | None) -> list[Row]:
    """Run a seed, or read the result of an earlier run."""
    path = None if folder is None else folder / f"estimates-{world}-{target}-{seed}.json"
    if path is not None and path.exists():
        rows: list[Row] = json.loads(path.read_text())
        return rows
    rows = run(seed, changed(load_parameters(), world), target)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))
    return rows


def changed(world: SimulationParameters, name: str) -> SimulationParameters:
    """Return the world with the inspections of one of `WORLDS`."""
    return replace(world, inspection=replace(world.inspection, **WORLDS[name]))


def run(seed: int, world: SimulationParameters, target: Target) -> list[Row]:
    """Simulate a world, train, and return its estimates with the truth."""
    made = simulate(world, days=DAYS, per_day=PER_DAY, prevalence="enriched", seed=seed)
    trained = train_model(TrainingTask(tables_of(made), truth=made.truth, target=target, config=CONFIG))
    return list(trained.estimates.rows)


def tell(worlds: Sequence[Sequence[Row]], title: str) -> None:
    """Print for each capacity, estimator and measure how the estimates of all worlds compare with the truth."""
    print(f"\n**{title}**, {len(worlds)} worlds\n")
    print(
        "| capacity | estimator | measure | interval contains the truth | estimate, mean | truth, mean | width, median |"
    )
    print("|---|---|---|---|---|---|---|")
    rows = [row for world in worlds for row in world]
    for capacity in dict.fromkeys(row["capacity"] for row in rows):
        for way in (INVERSE_PROPENSITY, DOUBLY_ROBUST, LOGGED_PROBABILITIES):
            mine = [row for row in rows if (row["capacity"], row["estimator"]) == (capacity, way)]
            for measure in MEASURES:
                print(f"| {capacity} | {way} | {measure} | {' | '.join(_figures(mine, measure))} |")


def _figures(rows: Sequence[Row], measure: str) -> list[str]:
    value, low, high, true = (
        np.array([row[name] for row in rows], dtype=float)
        for name in (measure, f"{measure}_low", f"{measure}_high", f"{measure}_true")
    )
    judged = np.isfinite(true)
    held = int((judged & (low <= true) & (true <= high)).sum())
    known = judged & np.isfinite(value)
    means = (value[known].mean(), true[known].mean()) if known.any() else (np.nan, np.nan)
    return [
        f"{held} of {judged.sum()}",
        f"{means[0]:.3f} ({known.sum()} worlds)",
        f"{means[1]:.3f}",
        f"{np.median((high - low)[judged]):.2f}",
    ]


if __name__ == "__main__":
    main()
