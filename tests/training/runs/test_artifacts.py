"""Claims about what a run leaves behind."""

import json

import pytest

from features.batch import Tables
from models.bundle import load_bundle
from training.config import parse_config
from training.fitting.diagnostics import DiagnosticsOptions
from training.fitting.search import SearchBudget
from training.reporting.html import MAX_PAGE_BYTES
from training.runs.artifacts import write_artifacts
from training.runs.run_report import compute_feature_importance, describe_run
from training.runs.train import TrainingTask, train_model
from training.simulation.operation import simulate

CONFIG = parse_config(
    {
        "split": {"validation_days": 14, "test_days": 14, "label_delay_days": 10},
        "model": {"trees": 10},
        "evaluation": {"resamples": 20, "smallest_slice": 10, "origins": 1},
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
        write_artifacts(trained, tables, folder / name)
        found[name] = (trained, folder / name)
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
    assert (folder / "plots" / "capacity_truth.svg").read_text().startswith("<svg")


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
    assert "Names swapped for names of another language" in page


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
    shown = shown[shown["consignment_id"].map(lambda name: f"<td>{name}</td>" in page)]
    assert len(shown) > 5
    for column in ("sender_name", "sender_address", "consignee_name", "consignee_address", "consignee_phone"):
        assert not [value for value in shown[column].dropna() if value in page]


def test_the_importance_of_features_adds_up_to_one(runs):
    importance = compute_feature_importance(runs["with"][0])
    assert sum(row["share"] for row in importance) == pytest.approx(1.0)
    assert importance[0]["share"] >= importance[-1]["share"]


def test_the_description_has_the_verdict_and_the_key_figures(runs):
    text = describe_run(runs["with"][0])
    assert runs["with"][0].verdict.sentences[0] in text
    assert "| Area under the ROC curve |" in text
