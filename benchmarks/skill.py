"""Measure skill: the share of NPS detected at a capacity, compared with other models on the same tables.

    python -m benchmarks.skill [--seeds 31 32 33 --days 270 --per-day 1500 --keep DIR]

On simulated worlds with known truth, for each seed in one run: npsrisk as `train_model` trains it; the ordinary models of
benchmarks.ordinary; the rules, and logistic regression on our features; and npsrisk trained on the full truth of its
training period, with the same features and history: the upper bound. The truth evaluates the test period. The 95 %
intervals come from resampled whole days, the same days for all.
"""

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.ordinary import Past, score_by_hour_form, score_by_strong_form
from benchmarks.script import format_table, parse_options, read_or_measure
from benchmarks.worlds import (
    Bools,
    Floats,
    World,
    WorldTables,
    describe_interval,
    rank_shares,
    read_tables,
    replace_labels,
)
from training.data.splits import TEST
from training.data.table_features import TableFeatures
from training.data.training_set import Labels, build_data_set, get_labels_as_of, get_true_labels
from training.evaluation.estimate import draw_days
from training.fitting.deployed import score_baselines
from training.fitting.fit import Recipe, fit_evaluation
from training.runs.task import TrainingTask
from training.runs.train import TrainingResult, train_model

SHARES = {".1 %": 0.001, "1 %": 0.01, "5 %": 0.05}
RATIO_AT = "1 %"
RESAMPLES = 1000
BACKGROUND_ROWS = 60_000
TARGETS = {"hour form": 1.8, "strong ordinary form": 1.3, "rules": 3.0, "trained on the full truth": 0.75}
OURS, THERE = "npsrisk", "all"

Found = dict[str, dict[str, list[float]]]
"""Model -> capacity -> positives above it, of the data and then of each resample; all positives under `THERE`."""


def main() -> None:
    options = parse_options(__doc__, seeds=[31, 32, 33], days=270, per_day=1500, keep=Path)
    results: list[Found] = []
    for seed in options.seeds:
        world = World("enriched", seed, options.days, options.per_day)
        path = options.keep and options.keep / f"skill-{seed}-{options.days}-{options.per_day}.json"
        results.append(read_or_measure(path, Found, partial(measure, world)))
        print_recall(f"seed {seed}", results[-1:])
    print_recall(f"{len(results)} seeds together", results)


def measure(world: World) -> Found:
    """Simulate a world, train and score every model, and count by the truth."""
    made = world.simulate()
    given = read_tables(made)
    trained = train_model(TrainingTask(given.tables, truth=made.truth))
    true = get_true_labels(given.frame["consignment_id"], made.truth, trained.target)
    past = list_past(given, trained)
    baselines = score_baselines(
        trained.evaluated, np.flatnonzero(trained.data.part == TEST), trained.config.model.seed
    )
    scores = {
        OURS: trained.test_traffic.score,
        "hour form": score_by_hour_form(past),
        "strong ordinary form": score_by_strong_form(past),
        "rules": baselines["rules"],
        "logistic regression on our features": baselines["logistic"],
        "trained on the full truth": score_by_truth(given, true, trained),
    }
    days, place = np.unique(trained.test_traffic.day, return_inverse=True)
    draws, positive = draw_days(len(days), RESAMPLES, world.seed), true.positive[trained.test_rows]

    def count(positives: Bools) -> list[float]:
        counted: list[float] = (draws @ np.bincount(place, positives, len(days))).tolist()
        return counted

    found = {
        name: {share: count(positive & (rank_shares(score) <= part)) for share, part in SHARES.items()}
        for name, score in scores.items()
    }
    return found | {THERE: {THERE: count(positive)}}


def list_past(given: WorldTables, trained: TrainingResult) -> Past:
    """Return what was known at the beginning of the test period."""
    begins = trained.data.split.test.begins
    before = ~given.select_from(begins)
    labels = get_labels_as_of(given.frame["consignment_id"], given.outcomes, begins, trained.target)
    unopened = np.flatnonzero(before & ~labels.chosen)
    drawn = np.random.default_rng(1).choice(unopened, min(BACKGROUND_ROWS, len(unopened)), replace=False)
    known = before & labels.known
    return Past(given.frame, known, labels.positive, np.sort(drawn), trained.test_rows, given.outcomes)


def score_by_truth(given: WorldTables, true: Labels, trained: TrainingResult) -> Floats:
    """Score the test rows by npsrisk trained on the truth: same rows and features, every label correct, none missing."""
    data = build_data_set(given.observe(trained.as_of), trained.target, trained.config)
    source = TableFeatures.from_tables(given.tables, trained.config.features, trained.as_of)
    found = fit_evaluation(Recipe(source, trained.config), replace_labels(data, true))
    test = data.part[found.matrix.rows] == TEST
    channels = given.frame["channel"].iloc[found.matrix.rows[test]].astype(str).tolist()
    return found.model.score(found.matrix.take(test), channels)


def print_recall(title: str, results: list[Found]) -> None:
    """Print the recall of each model, and the ratio of ours to theirs, over one or more worlds."""

    def add(name: str, share: str) -> Floats:
        return np.asarray(np.sum([result[name][share] for result in results], axis=0))

    there, rows = add(THERE, THERE), []
    for name in results[0]:
        if name != THERE:
            recalls = [describe_interval(add(name, share) / there) for share in SHARES]
            ratio = describe_interval(add(OURS, RATIO_AT) / np.maximum(add(name, RATIO_AT), 0.5))
            rows.append([name, *recalls, ratio, TARGETS.get(name, "")])
    print(f"\n**{title}**: {there[0]:.0f} NPS in the test period\n")
    heads = ["", *(f"recall at {share}" for share in SHARES), f"npsrisk over this, at {RATIO_AT}", "required"]
    print(format_table(heads, rows), flush=True)


if __name__ == "__main__":
    main()
