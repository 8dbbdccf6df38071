"""Test on public Korean declarations: correctness in time (no use of the own or future results), not skill.

    python -m benchmarks.korea TABLES [--quick]

TABLES is a folder with consignments.parquet, outcomes.parquet and korea.toml, made from the public declarations
(arXiv 2208.02484). The final fit as of 2021-01-01 is evaluated on the first quarter of 2021, for `any_offence` and `nps` (there:
critical fraud). It is compared with the evaluation fit, which its split keeps from the last weeks of 2020, and with a default
LightGBM on the raw columns. Then the delay of outcomes is changed. Last, the rates of history are computed from outcomes known at
once, including the row's own: a leak that must show as a loss.
"""

import argparse
import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from consignments.records import Outcome, Target
from consignments.tables import read_table
from features.batch import Tables
from training.config import parse_config
from training.data.table_features import TableFeatures
from training.data.training_set import ObservedTables, build_data_set
from training.fitting.fit import Recipe, fit_recipe
from training.runs.task import TrainingTask
from training.runs.train import train_model

TEST_FROM = pd.Timestamp("2021-01-01", tz="UTC")
SHARES = {"1 %": 0.01, "5 %": 0.05, "10 %": 0.10}
OTHER_DELAYS_DAYS = (0, 30, 60)


@dataclass(frozen=True)
class Figures:
    """Metrics of a score: AUC, average precision, precision and recall at shares of the traffic."""

    auc: float
    average_precision: float
    precision: tuple[float, ...]
    recall: tuple[float, ...]


@dataclass(frozen=True)
class KoreanTables:
    """The declarations, their results, and the configuration that declares their columns."""

    consignments: pd.DataFrame
    outcomes: pd.DataFrame
    settings: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "KoreanTables":
        settings = tomllib.loads((folder / "korea.toml").read_text())
        record = parse_config(settings).features.build_record_type()
        consignments = read_table(folder / "consignments.parquet", record).frame
        return cls(consignments, read_table(folder / "outcomes.parquet", Outcome).frame, settings)

    def end(self, delay_days: int) -> datetime:
        """Return the time at which the last result is known."""
        last: datetime = self.consignments["received_at"].max().to_pydatetime()
        return last + timedelta(days=max(1, delay_days) + 1)

    def labels(self, target: Target, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        results = self.outcomes.set_index("consignment_id")["result"]
        mine = results.reindex(self.consignments["consignment_id"].iloc[rows])
        hit = mine != "clear" if target == "any_offence" else mine == target
        return hit.to_numpy().astype(np.int64)

    def with_delay(self, days: int) -> "KoreanTables":
        """Return the same results, known some days after arrival."""
        received = self.outcomes["consignment_id"].map(
            self.consignments.set_index("consignment_id")["received_at"]
        )
        late = self.outcomes.assign(known_at=received + pd.Timedelta(days=days))
        return KoreanTables(self.consignments, late, self.settings)

    def leaking(self) -> "KoreanTables":
        """Return tables with rates by key over the training year, including the row's own result, instead of honest keys."""
        keys = self.settings["history"]["keys"]
        labels = pd.Series(
            self.labels("any_offence", np.arange(len(self.consignments))), self.consignments.index
        )
        trained = self.consignments["received_at"] < TEST_FROM
        extra = {}
        for place, key in enumerate(keys):
            name = self.consignments[key].astype(str).agg("|".join, axis=1)
            extra[f"leak_{place}"] = name.map(labels[trained].groupby(name[trained]).mean())
        columns = self.settings["columns"]
        numeric = [*columns.get("numeric", []), *extra]
        settings = {**self.settings, "columns": {**columns, "numeric": numeric}, "history": {"keys": []}}
        return KoreanTables(self.consignments.assign(**extra), self.outcomes, settings)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path)
    parser.add_argument("--quick", action="store_true", help="only the two targets at 14 days")
    arguments = parser.parse_args()

    world = KoreanTables.read(arguments.tables)
    print(header())
    for target in ("any_offence", "nps"):
        tell(f"npsrisk as deployed, {target}, 14 days", deployed(world, target))
        tell(f"npsrisk, evaluation fit, {target}, 14 days", npsrisk(world, target, 14))
        tell(f"default LightGBM on the raw columns, {target}", plain_lightgbm(world, target))
    print("| published LightGBM, any offence (second quarter of 2021) | | | | .762 | .641 | | | |")
    if arguments.quick:
        return
    for days in OTHER_DELAYS_DAYS:
        tell(f"npsrisk, any_offence, {days} days", npsrisk(world.with_delay(days), "any_offence", days))
    tell(
        "npsrisk, any_offence, rates that include the row's own result (a leak)",
        npsrisk(world.leaking(), "any_offence", 14),
    )


def npsrisk(world: KoreanTables, target: Target, delay_days: int) -> Figures:
    """Train as the product does, and evaluate its scores of the test quarter."""
    config = parse_config(
        world.settings
        | {
            "evaluation": {"origins": 0},
            "split": {"test_from": TEST_FROM.date(), "label_delay_days": max(1, delay_days)},
        }
    )
    task = TrainingTask(
        Tables(world.consignments, world.outcomes),
        as_of=world.end(delay_days),
        target=target,
        config=config,
    )
    trained = train_model(task)
    return figures(world.labels(target, trained.test_rows), trained.test_scores)


def deployed(world: KoreanTables, target: Target, as_of: pd.Timestamp = TEST_FROM) -> Figures:
    """Evaluate the final fit of a date on later declarations, with the history that the service would have."""
    config = parse_config(world.settings)
    observed = ObservedTables(world.consignments, world.outcomes, as_of.to_pydatetime())
    data = build_data_set(observed, target, config, held_out="nothing")
    later = (world.consignments["received_at"] >= as_of).to_numpy()
    source = TableFeatures.from_tables(Tables(world.consignments, world.outcomes), config.features)
    fit = fit_recipe(Recipe(source, config), data, later)
    judged = later[fit.matrix.rows]
    scores = fit.trees.predict_raw(fit.matrix.X[judged])
    return figures(world.labels(target, fit.matrix.rows[judged]), scores)


def plain_lightgbm(world: KoreanTables, target: Target) -> Figures:
    """Evaluate a model of the raw columns without history: codes of categories, numbers as they are."""
    frame = world.consignments
    columns = [name for name in frame.columns if name not in ("consignment_id", "received_at", "channel")]
    X = pd.DataFrame(
        {
            name: frame[name]
            if pd.api.types.is_numeric_dtype(frame[name])
            else pd.factorize(frame[name])[0].astype(float)
            for name in columns
        }
    )
    known = (frame["received_at"] < TEST_FROM - pd.Timedelta(days=14)).to_numpy()
    test = (frame["received_at"] >= TEST_FROM).to_numpy()
    labels = world.labels(target, np.arange(len(frame)))
    model = lightgbm.LGBMClassifier(n_jobs=1, verbose=-1, random_state=0).fit(X[known], labels[known])
    return figures(labels[test], model.predict_proba(X[test])[:, 1])


def figures(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> Figures:
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    tops = [max(1, round(share * len(labels))) for share in SHARES.values()]
    return Figures(
        float(roc_auc_score(labels, scores)),
        float(average_precision_score(labels, scores)),
        tuple(float(hits[top - 1] / top) for top in tops),
        tuple(float(hits[top - 1] / hits[-1]) for top in tops),
    )


def header() -> str:
    columns = ["", "AUC", "AP", *(f"precision {s}" for s in SHARES), *(f"recall {s}" for s in SHARES)]
    return "| " + " | ".join(columns) + " |\n|" + "---|" * len(columns)


def tell(name: str, found: Figures) -> None:
    numbers = [found.auc, found.average_precision, *found.precision, *found.recall]
    print(f"| {name} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |", flush=True)


if __name__ == "__main__":
    main()
