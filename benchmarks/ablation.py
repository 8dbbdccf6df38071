"""Measure the value of each idea: npsrisk without it, on simulated worlds, by the truth of their test periods.

    python -m benchmarks.ablation [--seeds 21 22 23 24 --days 270 --per-day 1500 --keep DIR]

The trees and the linear part are fitted again without each group of features, and once with keys of history as they were
written: names, addresses and phones without a normal form. The result is the loss over all NPS of the test periods: in the
log-discounted rank score (1 within the top 0.1 % of the traffic, falling with the logarithm of the position to 0) and in
recall. The 95 % intervals come from resampled whole days. Background is thinned to a sixteenth, for speed.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.skill import tables_of
from consignments.records import Consignment
from features.batch import FeatureParameters, Tables
from features.history.keys import COMMON_KINDS, KeyBuilder, Keys
from features.normalization.normal_forms import NormalForms
from features.spec import Spec
from features.streams import compute_feature_matrix
from models.fitting.boosting import LabelledRows
from training.config import parse_config
from training.data.splits import TRAIN
from training.data.training_set import get_true_labels
from training.fitting.diagnostics import group_features
from training.fitting.rolling_origin import (
    TEXT_SCORE,
    DetectionRanks,
    RollingOrigin,
    estimate_gain,
    evaluate_origins,
)
from training.runs.task import TrainingTask
from training.runs.train import TrainingResult, train_model
from training.simulation.operation import simulate

CONFIG = parse_config({"weights": {"background_share": 0.0625}})
WHOLE, AS_WRITTEN = "everything", "normal forms in keys of history"
SHARES = (0.001, 0.01, 0.05)
KEYS_OF_PARTIES = {
    "keys: names": ("sender", "consignee", "pair"),
    "keys: addresses": ("sender_address", "consignee_address", "address_pair"),
    "keys: phones and mail": ("sender_phone", "sender_email", "consignee_phone", "consignee_email"),
    "keys: goods and ways": ("product", "product_route", "route", "declarant"),
}
FINDS = ("inspections_", "nps_", "controlled_drug_", "any_offence_", "days_since_find")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[21, 22, 23, 24])
    parser.add_argument("--days", type=int, default=270)
    parser.add_argument("--per-day", type=int, default=1500)
    parser.add_argument(
        "--keep", type=Path, help="folder for the result of each seed; existing results are reused"
    )
    arguments = parser.parse_args()
    tell([kept(seed, arguments.days, arguments.per_day, arguments.keep) for seed in arguments.seeds])


def kept(seed: int, days: int, per_day: int, folder: Path | None) -> dict[str, DetectionRanks]:
    """Run a seed, or read the result of an earlier run."""
    path = None if folder is None else folder / f"ablation-{seed}-{days}-{per_day}.npz"
    if path is not None and path.exists():
        with np.load(path, allow_pickle=False) as held:
            day = held["day"]
            names = [name for name in held.files if name != "day"]
            return {name: DetectionRanks(held[name], np.full(len(day), seed), day) for name in names}
    found = run(seed, days, per_day)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, day=found[WHOLE].day, **{name: each.above for name, each in found.items()})
    return {
        name: DetectionRanks(each.above, np.full_like(each.origin, seed), each.day)
        for name, each in found.items()
    }


def run(seed: int, days: int, per_day: int) -> dict[str, DetectionRanks]:
    """Train once, and fit without each idea; the truth evaluates the results."""
    made = simulate(days=days, per_day=per_day, prevalence="enriched", seed=seed)
    tables = tables_of(made)
    trained = train_model(TrainingTask(tables, truth=made.truth, config=CONFIG))
    origin = test_origin(trained, trained.matrix.X, made.truth)
    found = {
        name: judged(origin, columns)
        for name, columns in {WHOLE: [], **ideas(trained.evaluated.model.spec)}.items()
    }
    return found | {AS_WRITTEN: judged(test_origin(trained, as_written(tables, trained), made.truth), [])}


def judged(origin: RollingOrigin, without: list[int]) -> DetectionRanks:
    """Fit at the origin without some columns."""
    return evaluate_origins([origin], CONFIG.model, CONFIG.weights, without=without)


def ideas(spec: Spec) -> dict[str, list[int]]:
    """Return the columns of each idea: the groups and keys of the product's own ablation, and groups across them."""
    names = spec.names

    def of_keys(keys: tuple[str, ...]) -> list[int]:
        return [
            place
            for place, name in enumerate(names)
            if name.startswith(tuple(f"history.{key}." for key in keys))
        ]

    across = {name: of_keys(keys) for name, keys in KEYS_OF_PARTIES.items()}
    history = [place for place, name in enumerate(names) if name.startswith("history.")]
    finds = [place for place in history if names[place].rpartition(".")[2].startswith(FINDS)]
    across["history: what was inspected and found"] = finds
    across["history: what arrived"] = sorted(set(history) - set(finds))
    across["score of words"] = [spec.get_column(TEXT_SCORE)]
    return {**group_features(spec), **across}


def test_origin(trained: TrainingResult, X: NDArray[np.float32], truth: pd.DataFrame) -> RollingOrigin:
    """Build the evaluation origin: training labels as known after the test period's label delay, test labels by the truth."""
    data, rows = trained.data, trained.matrix.rows
    fitted = data.select_fitting_rows(TRAIN)[rows]
    traffic = trained.test_traffic
    tested = rows[trained.test_matrix_rows]
    true = get_true_labels(data.observed.consignments["consignment_id"], truth, trained.target)
    channel = data.observed.consignments["channel"].astype(str).to_numpy(dtype=object)
    return RollingOrigin(
        LabelledRows(
            X[fitted],
            data.labels.positive[rows][fitted],
            data.weight[rows][fitted],
            list(channel[rows][fitted]),
        ),
        data.background[rows][fitted],
        LabelledRows(
            X[trained.test_matrix_rows],
            true.positive[tested],
            np.ones(len(traffic.score)),
            list(channel[tested]),
        ),
        traffic.day,
        trained.matrix.spec,
    )


def as_written(tables: Tables, trained: TrainingResult) -> NDArray[np.float32]:
    """Compute the features again with keys of history as they were written."""
    normal = KeyBuilder.fill
    places = {kind.name: place for place, kind in enumerate(COMMON_KINDS)}
    of_parties = [kind for kind in COMMON_KINDS if set(kind.parts) <= set(NormalForms._fields)]
    pseudonyms = FeatureParameters().pseudonyms

    def fill(builder: KeyBuilder, c: Consignment, forms: NormalForms, keys: Keys, counterparts: Keys) -> None:
        normal(builder, c, forms, keys, counterparts)
        for kind in of_parties:
            parts = [getattr(c, name) or "" for name in kind.parts]
            value = "\x1f".join(parts) if all(parts) else ""
            keys[places[kind.name]] = pseudonyms.compute_number(kind.name, value)
        for kind in COMMON_KINDS:
            counterparts[places[kind.name]] = keys[places[kind.counterpart or ""]]

    KeyBuilder.fill = fill
    try:
        keep = np.zeros(len(tables.consignments), dtype=bool)
        keep[trained.data.observed.kept.rows[trained.matrix.rows]] = True
        matrix = compute_feature_matrix(
            tables,
            FeatureParameters(CONFIG.features, trained.evaluated.fitted),
            keep=keep,
            as_of=pd.Timestamp(trained.as_of),
        )
    finally:
        KeyBuilder.fill = normal
    words = matrix.spec.get_column(TEXT_SCORE)
    matrix.X[:, words] = trained.matrix.X[:, words]
    return matrix.X


def tell(worlds: list[dict[str, DetectionRanks]]) -> None:
    """Print the loss over the positives of all worlds without each idea, the most valuable first."""
    found = {name: together([world[name] for world in worlds]) for name in worlds[0]}
    whole = found.pop(WHOLE)
    print(f"\n{len(worlds)} worlds, {len(whole.above)} NPS in their test periods\n")
    print(
        "| without | worth lost (95 %) | "
        + " | ".join(f"found within {share:.1%}" for share in SHARES)
        + " |"
    )
    print("|---|---|" + "---|" * len(SHARES))
    print(f"| nothing ({whole.worth.mean():.3f}) | | " + counted(whole))
    losses = {name: estimate_gain(whole, whole.worth - each.worth) for name, each in found.items()}
    for name in sorted(losses, key=lambda name: -losses[name].value):
        loss = losses[name]
        print(f"| {name} | {loss.value:+.3f} ({loss.low:+.3f} to {loss.high:+.3f}) | " + counted(found[name]))


def counted(found: DetectionRanks) -> str:
    """Count the positives within each share of the traffic, as the rest of a row."""
    return " | ".join(str(int((found.above <= share).sum())) for share in SHARES) + " |"


def together(parts: list[DetectionRanks]) -> DetectionRanks:
    """Concatenate the positives of several worlds."""
    return DetectionRanks(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("above", "origin", "day"))
    )


if __name__ == "__main__":
    main()
