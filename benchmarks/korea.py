"""Test on public Korean declarations: correctness in time (no use of the own or future results), not skill.

    python -m benchmarks.korea --tables FOLDER

FOLDER has consignments.parquet, outcomes.parquet and korea.toml, made from the public declarations (arXiv 2208.02484). The final
fit as of 2021-01-01 is evaluated on the first quarter of 2021, for `any_offence` and `nps` (there: critical fraud), and compared with
a default LightGBM on the raw columns. Last, the rates of history are replaced by rates of all outcomes of 2020, including the row's
own: a leak that must show as a loss.
"""

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.script import format_table, parse_options
from consignments.records import Outcome, Target
from consignments.tables import read_table
from features.batch import Tables
from training.config import parse_config
from training.data.table_features import TableFeatures
from training.data.training_set import ObservedTables, build_data_set
from training.fitting.fit import Recipe, fit_recipe

TEST_FROM = pd.Timestamp("2021-01-01", tz="UTC")
DELAY = pd.Timedelta(days=14)
SHARES = {"1 %": 0.01, "5 %": 0.05, "10 %": 0.10}


class KoreanTables(NamedTuple):
    """The declarations, their results, and the configuration that declares their columns."""

    consignments: pd.DataFrame
    outcomes: pd.DataFrame
    settings: dict[str, Any]

    def label(self, target: Target) -> NDArray[np.int64]:
        """Return 1 for each declaration with the target, else 0."""
        results = self.outcomes.set_index("consignment_id")["result"]
        mine = results.reindex(self.consignments["consignment_id"])
        hit = mine != "clear" if target == "any_offence" else mine == target
        return hit.to_numpy().astype(np.int64)

    def add_leak(self) -> "KoreanTables":
        """Return tables with rates by key over the training year, including the row's own result, instead of honest keys."""
        labels = pd.Series(self.label("any_offence"), self.consignments.index)
        trained = self.consignments["received_at"] < TEST_FROM
        extra = {}
        for place, key in enumerate(self.settings["history"]["keys"]):
            name = self.consignments[key].astype(str).agg("|".join, axis=1)
            extra[f"leak_{place}"] = name.map(labels[trained].groupby(name[trained]).mean())
        columns = self.settings["columns"]
        columns = {**columns, "numeric": [*columns.get("numeric", []), *extra]}
        settings = {**self.settings, "columns": columns, "history": {"keys": []}}
        return KoreanTables(self.consignments.assign(**extra), self.outcomes, settings)


def main() -> None:
    folder = parse_options(__doc__, tables=Path("korea")).tables
    settings = tomllib.loads((folder / "korea.toml").read_text())
    record = parse_config(settings).features.build_record_type()
    consignments = read_table(folder / "consignments.parquet", record).frame
    world = KoreanTables(consignments, read_table(folder / "outcomes.parquet", Outcome).frame, settings)
    targets: tuple[Target, ...] = ("any_offence", "nps")
    rows = []
    for target in targets:
        rows.append([f"npsrisk as deployed, {target}", *score_final_fit(world, target)])
        rows.append([f"default LightGBM on the raw columns, {target}", *score_plain_lightgbm(world, target)])
    rows.append(["npsrisk with a leak, any_offence", *score_final_fit(world.add_leak(), "any_offence")])
    heads = ["", "AUC", "AP", *(f"precision {s}" for s in SHARES), *(f"recall {s}" for s in SHARES)]
    print(format_table(heads, rows))


def score_final_fit(world: KoreanTables, target: Target) -> list[str]:
    """Evaluate the final fit on later declarations, with the history that the service would have."""
    config = parse_config(world.settings)
    observed = ObservedTables(world.consignments, world.outcomes, TEST_FROM.to_pydatetime())
    data = build_data_set(observed, target, config, held_out="nothing")
    later = (world.consignments["received_at"] >= TEST_FROM).to_numpy()
    source = TableFeatures.from_tables(Tables(world.consignments, world.outcomes), config.features)
    fit = fit_recipe(Recipe(source, config), data, later)
    judged = later[fit.matrix.rows]
    scores = fit.trees.predict_raw(fit.matrix.X[judged])
    return describe_scores(world.label(target)[fit.matrix.rows[judged]], scores)


def score_plain_lightgbm(world: KoreanTables, target: Target) -> list[str]:
    """Evaluate a model of the raw columns without history: codes of categories, numbers as they are."""
    frame, labels = world.consignments, world.label(target)
    given = frame.drop(columns=["consignment_id", "received_at", "channel"])
    X = given.apply(lambda each: each if pd.api.types.is_numeric_dtype(each) else pd.factorize(each)[0] * 1.0)
    known = (frame["received_at"] < TEST_FROM - DELAY).to_numpy()
    test = (frame["received_at"] >= TEST_FROM).to_numpy()
    model = lightgbm.LGBMClassifier(n_jobs=1, verbose=-1, random_state=0).fit(X[known], labels[known])
    return describe_scores(labels[test], np.asarray(model.predict_proba(X[test]))[:, 1])


def describe_scores(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> list[str]:
    """Describe AUC, average precision, and precision and recall at shares of the traffic."""
    hits = np.cumsum(labels[np.argsort(-scores, kind="stable")])
    tops = [max(1, round(share * len(labels))) for share in SHARES.values()]
    values = [roc_auc_score(labels, scores), average_precision_score(labels, scores)]
    values += [hits[top - 1] / top for top in tops] + [hits[top - 1] / hits[-1] for top in tops]
    return [f"{value:.3f}" for value in values]


if __name__ == "__main__":
    main()
