"""Claims about what a run leaves behind."""

import json

import numpy as np
import pytest

from features.batch import Tables
from models.bundle import load_bundle
from models.registry import MAX_DESCRIPTION_CHARACTERS
from training.config import parse_config
from training.fitting.diagnostics import DiagnosticsOptions
from training.fitting.search import SearchBudget
from training.gate.rules import COMPARISON_RULE
from training.reporting.html import MAX_PAGE_BYTES
from training.runs.artifacts import check_gate, write_artifacts
from training.runs.explanations import (
    build_waterfall,
    compute_dependence,
    compute_feature_importance,
    explain_sample,
)
from training.runs.run_description import describe_run
from training.runs.task import TrainingTask
from training.runs.train import train_model
from training.simulation.operation import simulate

CONFIG = parse_config(
    {
        "split": {"validation_days": 14, "test_days": 14, "label_delay_days": 10},
        "model": {"trees": 10},
        "evaluation": {"resamples": 20, "name_rows": 60, "smallest_slice": 10, "origins": 1},
    }
)
TABLES = {
    "metrics",
    "truth",
    "baselines",
    "capacity",
    "estimates",
    "calibration",
    "slices",
    "fairness",
    "name_swaps",
    "leaks",
    "split",
    "data",
    "features",
    "deployed",
    "origins",
    "ages",
    "ablation",
    "search",
    "gate",
    "deciding_facts",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One run with truth and all studies, and one without."""
    world = simulate(days=90, per_day=100, prevalence="operation", seed=8)
    tables = Tables(world.consignments, world.outcomes, world.alerts)
    as_of = world.consignments["received_at"].max().ceil("D").to_pydatetime()
    folder = tmp_path_factory.mktemp("runs")
    found = {"tables": tables}
    everything = DiagnosticsOptions(ablation=True, search=SearchBudget(1))
    for name, truth, studies in (("with", world.truth, everything), ("without", None, DiagnosticsOptions())):
        trained = train_model(TrainingTask(tables, as_of, "any_offence", CONFIG, truth, studies))
        gate = write_artifacts(trained, folder / name)
        found[name] = (trained, folder / name)
        found[f"gate {name}"] = gate
    return found


def read(folder, name):
    return json.loads((folder / "tables" / f"{name}.json").read_text())


def test_the_folder_holds_bundle_page_tables_and_pictures(runs):
    _, folder = runs["with"]
    assert {path.name for path in folder.iterdir()} == {
        "bundle",
        "evaluation",
        "config.json",
        "report.html",
        "tables",
        "plots",
    }
    assert {path.stem for path in (folder / "tables").iterdir()} == TABLES
    pictures = {path.stem: path.read_text() for path in (folder / "plots").iterdir()}
    assert {"precision", "gain", "lift", "calibration", "beeswarm", "dependence_01"} <= pictures.keys()
    assert [
        name for name, text in pictures.items() if not text.startswith("<svg") or "mathdefault" in text
    ] == []


def test_every_run_has_the_same_tables_with_the_same_columns(runs):
    for name in sorted(TABLES):
        with_truth, without = (read(folder, name)["columns"] for _, folder in (runs["with"], runs["without"]))
        assert with_truth == without


def test_studies_have_their_tables_a_picture_and_a_section_of_the_page(runs):
    folder = runs["with"][1]
    groups = {row[0] for row in read(folder, "ablation")["data"]}
    assert {"goods", "parties", "route", "value", "history", "history.sender"} <= groups
    assert len(read(folder, "origins")["data"]) == len(read(folder, "search")["data"]) == 1
    assert "Evaluation as deployed" in (folder / "report.html").read_text()
    assert (folder / "plots" / "ablation.svg").exists()
    assert "Diagnostics before the reported periods" in (folder / "report.html").read_text()
    plain = runs["without"][1]
    assert not (plain / "plots" / "ablation.svg").exists()
    assert "Diagnostics before the reported periods" not in (plain / "report.html").read_text()
    assert all(read(plain, name)["data"] == [] for name in ("ablation", "search"))


def test_without_truth_its_table_is_empty(runs):
    assert read(runs["without"][1], "truth")["data"] == []
    assert len(read(runs["with"][1], "truth")["data"]) > 10


def test_the_burden_of_the_groups_is_told_by_what_was_found_and_by_the_truth(runs):
    table = read(runs["with"][1], "fairness")
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert {row["judged_by"] for row in rows} == {"outcomes", "truth"}
    assert {row["kind"] for row in rows} == {"all", "departure", "channel", "consignee"}
    page = (runs["with"][1] / "report.html").read_text()
    assert "Name invariance" in page


def test_the_bundle_names_its_data_and_keeps_examples_of_several_bands(runs):
    trained, folder = runs["with"]
    bundle = load_bundle(folder / "bundle")
    assert bundle.card.data_sha256 == trained.data_sha256
    assert bundle.card.name == "nps-risk-any_offence"
    assert len(set(bundle.model.assign_bands(bundle.examples.probability))) > 1


def test_the_page_is_light_and_names_no_person(runs):
    trained, folder = runs["with"]
    page = (folder / "report.html").read_text()
    assert len(page.encode()) < MAX_PAGE_BYTES
    assert trained.data_sha256[:12] in page
    shown = runs["tables"].consignments
    shown = shown[shown["consignment_id"].map(lambda name: f'<span class="id">{name}</span>' in page)]
    assert len(shown) > 5
    for column in ("sender_name", "sender_address", "consignee_name", "consignee_address", "consignee_phone"):
        assert not [value for value in shown[column].dropna() if value in page]


def test_the_importance_of_features_adds_up_to_one(runs):
    importance = compute_feature_importance(runs["with"][0])
    assert sum(row["share"] for row in importance) == pytest.approx(1.0)
    assert importance[0]["share"] >= importance[-1]["share"]


def test_the_description_has_the_verdict_and_the_key_figures(runs):
    text = describe_run(runs["with"][0], runs["gate with"])
    assert runs["with"][0].verdict.sentences[0] in text
    assert "| Area under the ROC curve |" in text
    assert text.startswith(f"**{runs['gate with'].recommendation.action.upper()}.** ")
    assert len(text) < MAX_DESCRIPTION_CHARACTERS


def test_the_gate_of_a_run_is_in_its_table_its_page_and_its_description(runs):
    for name in ("with", "without"):
        (trained, folder), gate = runs[name], runs[f"gate {name}"]
        rows = read(folder, "gate")["data"]
        assert {row[0] for row in rows} == set(gate.rules)
        page, text = (folder / "report.html").read_text(), describe_run(trained, gate)
        for rule in gate.rules:
            assert f"<td>{rule}</td>" in page
            assert rule in text
        assert gate.recommendation.sentence.replace(" %", "\N{NO-BREAK SPACE}%") in page


def test_with_a_champion_the_gate_of_a_run_waits_for_the_comparison(runs):
    trained, folder = runs["without"]
    assert COMPARISON_RULE not in runs["gate without"].rules
    assert check_gate(trained, folder, champion="1").rules[COMPARISON_RULE].undecided


def test_baselines_have_the_ends_of_their_intervals(runs):
    table = read(runs["with"][1], "baselines")
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert len(rows) == 5
    known = [row for row in rows if row["roc_auc_low"] is not None]
    assert len(known) > 1
    for row in known:
        assert row["roc_auc_low"] <= row["roc_auc"] <= row["roc_auc_high"]


def test_a_waterfall_adds_up_exactly_from_the_average_to_the_raw_score(runs):
    trained = runs["with"][0]
    at = trained.test_matrix_rows[int(np.argmax(trained.test_scores))]
    row = trained.matrix.X[at]
    first, *steps, last = build_waterfall(trained.model, row, "research chemical")
    raw = trained.model.predict_raw(row[None, :])[0]
    assert first["change"] == trained.model.trees.compute_contributions(row[None, :])[0, -1]
    assert last["change"] == raw
    assert first["change"] + sum(step["change"] for step in steps) == pytest.approx(raw, abs=1e-9)
    assert all(0 <= step["left"] <= 100 for step in steps)
    named = {step["text"] for step in steps}
    reasons = {
        reason.text
        for reason in trained.model.explain(row, len(row), lowering=True, goods="research chemical")
    }
    assert len(named & reasons) == len(steps) - 1


def test_the_dependence_of_a_feature_is_the_change_of_the_mean_raw_score(runs):
    trained = runs["with"][0]
    sample = explain_sample(trained)
    found = compute_dependence(trained.model, sample)
    assert len(found) == 10
    strongest, column = found[0], sample.rank_features()[0]
    changed = sample.X.copy()
    changed[:, column] = strongest.values[0]
    change = trained.model.predict_raw(changed).mean() - trained.model.predict_raw(sample.X).mean()
    assert strongest.effect[0] == pytest.approx(change)
    assert [each.title for each in found if "{" in each.title] == []
