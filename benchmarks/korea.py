"""Rank the first quarter of 2021 of the public Korean customs declarations (arXiv 2208.02484), with the recipes of `benchmarks.learners`.

    python -m benchmarks.korea --tables DIR

DIR has the declarations as consignments.parquet and outcomes.parquet, critical fraud as `nps`, and korea.toml with their own columns.
"""

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.learners import score_recipes
from benchmarks.script import format_table, parse_options
from consignments.records import Outcome, Target
from consignments.tables import read_table
from features.batch import Tables
from training.config import parse_config
from training.data.table_features import TableFeatures
from training.data.training_set import ObservedTables, build_data_set

BEGINS = pd.Timestamp("2021-01-01", tz="UTC")
SHARES = 0.01, 0.05, 0.1
TARGETS: tuple[Target, ...] = ("nps", "any_offence")


def main() -> None:
    folder = parse_options(__doc__, tables=Path).tables
    config = parse_config(tomllib.loads((folder / "korea.toml").read_text(encoding="utf-8")))
    frame = read_table(folder / "consignments.parquet", config.features.build_record_type()).frame
    outcomes = read_table(folder / "outcomes.parquet", Outcome).frame
    source = TableFeatures.from_tables(Tables(frame, outcomes), config.features)
    tested = (frame["received_at"] >= BEGINS).to_numpy()
    result = outcomes.set_index("consignment_id")["result"].reindex(frame["consignment_id"]).to_numpy()
    rows = []
    for target in TARGETS:
        observed = ObservedTables(frame, outcomes, BEGINS.to_pydatetime())
        data = build_data_set(observed, target, config, held_out="nothing")
        parts, mine, scores = score_recipes(source, config, data, tested)
        found = result[parts.rows[mine]]
        truth = found != "clear" if target == "any_offence" else found == target
        for name, raw in scores.items():
            ranked = truth[np.argsort(-raw, kind="stable")]
            precisions = ", ".join(f"{ranked[: round(share * len(ranked))].mean():.3f}" for share in SHARES)
            figures = roc_auc_score(truth, raw), average_precision_score(truth, raw)
            rows.append([target, name, *(f"{each:.3f}" for each in figures), precisions])
    print(format_table(["target", "recipe", "AUC", "AP", f"precision at {SHARES}"], rows))


if __name__ == "__main__":
    main()
