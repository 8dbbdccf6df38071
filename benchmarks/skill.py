"""Measure skill: the share of NPS detected at a capacity, compared with other models on the same tables.

    python -m benchmarks.skill [--seeds 31 32 33 --days 270 --per-day 1500 --keep DIR]

On simulated worlds with known truth, for each seed in one run: npsrisk as `train_model` trains it; the ordinary models of
benchmarks.ordinary; the rules, and logistic regression on our features; and npsrisk trained on the full truth of its
training period, with the same features and history: the upper bound. The truth evaluates the test period. The 95 %
intervals come from resampled whole days, the same days for all.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.ordinary import Past, hour_form, strong_form
from consignments.records import Alert, Consignment, Outcome
from consignments.tables import check_frame
from consignments.timestamps import get_time_column_us, to_us
from features.batch import Tables
from training.data.splits import TEST, TRAIN, VALIDATION
from training.data.table_features import TableFeatures
from training.data.training_set import (
    DataSet,
    Labels,
    ObservedTables,
    build_data_set,
    get_labels_as_of,
    get_true_labels,
)
from training.evaluation.estimate import draw_days
from training.fitting.deployed import score_baselines
from training.fitting.fit import Recipe, fit_evaluation
from training.runs.task import TrainingTask
from training.runs.train import TrainingResult, train_model
from training.simulation.operation import SimulatedTables, simulate

SHARES = {".1 %": 0.001, "1 %": 0.01, "5 %": 0.05}
RATIO_AT = "1 %"
RESAMPLES = 1000
BACKGROUND_ROWS = 60_000
TARGETS = {"hour form": 1.8, "strong ordinary form": 1.3, "rules": 3.0, "trained on the full truth": 0.75}
OURS = "npsrisk"

Floats = NDArray[np.float64]
Found = dict[str, Floats]
"""Capacity -> positives above it, of the data and then of each resample."""


@dataclass(frozen=True)
class DetectionCounts:
    """Detections of each model in the test period of a world.

    Attributes
    ----------
    found : mapping
        Model -> capacity -> positives of the data and of each resample.
    there : float64 array
        All positives, likewise.
    """

    found: Mapping[str, Found]
    there: Floats


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[31, 32, 33])
    parser.add_argument("--days", type=int, default=270)
    parser.add_argument("--per-day", type=int, default=1500)
    parser.add_argument(
        "--keep", type=Path, help="folder for the result of each seed; existing results are reused"
    )
    arguments = parser.parse_args()

    results = []
    for seed in arguments.seeds:
        start = time.monotonic()
        results.append(kept(seed, arguments.days, arguments.per_day, arguments.keep))
        tell(f"seed {seed}, {time.monotonic() - start:.0f} s", results[-1:])
    tell(f"{len(results)} seeds together", results)


def kept(seed: int, days: int, per_day: int, folder: Path | None) -> DetectionCounts:
    """Run a seed, or read the result of an earlier run."""
    path = None if folder is None else folder / f"skill-{seed}-{days}-{per_day}.npz"
    if path is not None and path.exists():
        with np.load(path, allow_pickle=False) as held:
            forms = dict.fromkeys(name.partition(": ")[0] for name in held.files if ": " in name)
            found = {form: {share: held[f"{form}: {share}"] for share in SHARES} for form in forms}
            return DetectionCounts(found, held["there"])
    result = run(seed, days, per_day)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        flat = {f"{form}: {share}": found for form, by in result.found.items() for share, found in by.items()}
        np.savez(path, there=result.there, **flat)
    return result


def run(seed: int, days: int, per_day: int) -> DetectionCounts:
    """Simulate a world, train and score every model, and evaluate all by the truth."""
    made = simulate(days=days, per_day=per_day, prevalence="enriched", seed=seed)
    tables = tables_of(made)
    trained = train_model(TrainingTask(tables, truth=made.truth))
    past = past_of(tables, trained)
    tested = np.flatnonzero(trained.data.part == TEST)
    baselines = score_baselines(trained.evaluated, tested, trained.config.model.seed)
    scores = {
        OURS: trained.test_scores,
        "hour form": hour_form(past),
        "strong ordinary form": strong_form(past),
        "rules": baselines["rules"],
        "logistic regression on our features": baselines["logistic"],
        "trained on the full truth": full_truth(tables, made.truth, trained),
    }
    true = get_true_labels(tables.consignments["consignment_id"], made.truth, trained.target)
    return judged(scores, trained.test_traffic.day, true.positive[trained.test_rows], seed)


def tables_of(made: SimulatedTables) -> Tables:
    """Check the tables of a simulated world like tables read from files, without the truth."""
    return Tables(
        check_frame(made.consignments, Consignment).frame,
        check_frame(made.outcomes, Outcome).frame,
        check_frame(made.alerts, Alert).frame,
    )


def past_of(tables: Tables, trained: TrainingResult) -> Past:
    """Return what was known at the beginning of the test period."""
    frame, outcomes = tables.consignments, tables.outcomes
    assert outcomes is not None
    begins = trained.data.split.test.begins
    before = get_time_column_us(frame, "received_at") < to_us(begins)
    labels = get_labels_as_of(frame["consignment_id"], outcomes, begins, trained.target)
    unopened = np.flatnonzero(before & ~labels.chosen)
    drawn = np.random.default_rng(1).choice(unopened, min(BACKGROUND_ROWS, len(unopened)), replace=False)
    return Past(frame, before & labels.known, labels.positive, np.sort(drawn), trained.test_rows, outcomes)


def full_truth(tables: Tables, truth: pd.DataFrame, trained: TrainingResult) -> Floats:
    """Score the test rows by npsrisk trained on the truth: same rows and features, every label correct, none missing."""
    assert tables.outcomes is not None
    labels = get_true_labels(tables.consignments["consignment_id"], truth, trained.target)
    observed = ObservedTables(tables.consignments, tables.outcomes, trained.as_of)
    data = truthful(build_data_set(observed, trained.target, trained.config), labels)
    source = TableFeatures.from_tables(tables, trained.config.features, trained.as_of)
    found = fit_evaluation(Recipe(source, trained.config), data)
    test = data.part[found.matrix.rows] == TEST
    channels = tables.consignments["channel"].iloc[found.matrix.rows[test]].astype(str).tolist()
    return found.model.score(found.matrix.X[test], channels)


def truthful(data: DataSet, truth: Labels) -> DataSet:
    """Replace the labels of a data set by the true ones: all positives, and the drawn background with its weights."""
    learnt = np.isin(data.part, (TRAIN, VALIDATION))
    known = learnt & (data.labels.known | truth.positive)
    background = data.background & ~known
    nothing = np.zeros(len(known), dtype=bool)
    labels = Labels(known, known & truth.positive, truth.probability, nothing, known, truth.selected_by)
    weight = np.where(known, 1.0, np.where(background, data.traffic_weight, 0.0))
    return replace(data, labels=labels, background=background, weight=weight, report=[])


def judged(
    scores: Mapping[str, Floats], day: NDArray[np.int64], positive: NDArray[np.bool_], seed: int
) -> DetectionCounts:
    """Count the positives of each model above each capacity, over the same resamples of days."""
    days, place = np.unique(day, return_inverse=True)
    draws = draw_days(len(days), RESAMPLES, seed)

    def count(positives: NDArray[np.bool_]) -> Floats:
        counted: Floats = draws @ np.bincount(place, positives, len(days))
        return counted

    found: dict[str, Found] = {}
    for name, score in scores.items():
        rank = np.empty(len(score), dtype=np.int64)
        rank[np.argsort(-score, kind="stable")] = np.arange(len(score))
        found[name] = {
            share: count(positive & (rank < round(part * len(score)))) for share, part in SHARES.items()
        }
    there = count(positive)
    return DetectionCounts(found, there)


def tell(title: str, results: list[DetectionCounts]) -> None:
    """Print the recall of each model, and the ratio of ours to theirs, over one or more worlds."""
    there = sum(result.there for result in results)
    print(f"\n**{title}**: {there[0]:.0f} NPS in the test period\n")
    heads = ["", *(f"recall at {share}" for share in SHARES), f"npsrisk over this, at {RATIO_AT}", "required"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    ours = sum(result.found[OURS][RATIO_AT] for result in results)
    for name in results[0].found:
        sums = {share: sum(result.found[name][share] for result in results) for share in SHARES}
        recalls = [spelt(sums[share] / there) for share in SHARES]
        ratio = "" if name == OURS else spelt(ours / np.maximum(sums[RATIO_AT], 0.5))
        wanted = f">= {TARGETS[name]:g}" if name in TARGETS else ""
        print("| " + " | ".join([name, *recalls, ratio, wanted]) + " |", flush=True)


def spelt(values: Floats) -> str:
    """Format the value of the data with the interval of the resamples."""
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return f"{values[0]:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
