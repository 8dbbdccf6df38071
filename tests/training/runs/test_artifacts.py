"""Claims about what a run leaves behind."""

import json
import re

import numpy as np
import pytest
from support.described import REAL

from models.bundle import load_bundle
from models.reasons.sentences import ReasonContext
from models.reasons.texts import name_feature
from training.reporting.html import MAX_PAGE_BYTES
from training.runs.artifacts import STORED_SCORES, build_training_record, check_gate, write_run_bundles
from training.runs.explanations import ExplainedSample, compute_dependence, name_value

TABLES = [
    *("deployed", "baselines", "deployed_truth", "evaluation_fit", "capacity", "calibration", "slices"),
    *("origins", "ages", "fairness", "name_swaps", "leaks", "split", "data", "features", "ablation"),
    *("search", "gate"),
]
STUDIES = "Diagnostics before the reported periods"


@pytest.fixture(scope="module")
def folder(shared_run):
    return shared_run.folder


@pytest.fixture(scope="module")
def plain(repeated, tmp_path_factory):
    """The folder of the same run without truth and ablation."""
    folder = tmp_path_factory.mktemp("plain")
    write_run_bundles(repeated, folder)
    build_training_record(repeated, check_gate(repeated, folder), folder).write(folder)
    return folder


def read(folder, name):
    return json.loads((folder / "tables" / f"{name}.json").read_text())


def read_rows(folder, name):
    table = read(folder, name)
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def test_the_folder_holds_bundles_scores_page_tables_and_charts(trained, folder):
    folders = ["bundle", "evaluation", "scores", "tables", "plots"]
    files = ["config.json", "description.md", "evidence.json", "report.html"]
    assert {path.name for path in folder.iterdir()} == {*folders, *files}
    assert (folder / STORED_SCORES).exists()
    assert {path.stem for path in (folder / "tables").iterdir()} == set(TABLES)
    charts = {path.stem: path.read_text() for path in (folder / "plots").iterdir()}
    assert {"daily", "fairness_hit_rate", "importance", "beeswarm", "dependence_01"} <= charts.keys()
    assert ("recall" in charts) == trained.deployed.recipe.model["recall_at_1pct"].is_shown
    assert [name for name, text in charts.items() if not text.startswith("<svg")] == []


def test_every_run_has_the_same_tables_with_the_same_columns(folder, plain):
    for name in TABLES:
        assert read(folder, name)["columns"] == read(plain, name)["columns"], name


def test_a_table_of_estimates_has_the_reason_for_what_is_not_shown(folder):
    for name in ("deployed", "baselines", "evaluation_fit"):
        for row in read_rows(folder, name):
            assert (row["shown"] is True) == (row["why"] in ("", None))


def test_studies_have_their_tables_a_chart_and_a_section_of_the_page(folder, plain):
    assert {row["left_out"] for row in read_rows(folder, "ablation")} == {"route", "history.sender"}
    assert len(read(folder, "origins")["data"]) == 2
    for place, is_studied in ((folder, True), (plain, False)):
        assert (place / "plots" / "ablation.svg").exists() == is_studied
        assert (STUDIES in (place / "report.html").read_text()) == is_studied
    assert all(read(plain, name)["data"] == [] for name in ("ablation", "search"))


def test_the_bundle_names_its_data_and_keeps_examples_of_several_bands(trained, folder):
    bundle = load_bundle(folder / "bundle")
    assert (bundle.card.data_sha256, bundle.card.name) == (trained.data_sha256, "nps-risk-any_offence")
    capacities = {trained.deployed.recipe.model.daily_capacity, trained.evaluation_fit.daily_capacity}
    assert capacities == {bundle.reference.capacity}
    assert len(set(bundle.model.bands.assign_all(bundle.examples.probability))) > 1


def test_the_page_is_light_and_names_no_person(trained, folder):
    page = (folder / "report.html").read_text()
    assert len(page.encode()) < MAX_PAGE_BYTES
    assert trained.data_sha256[:12] in page
    shown = trained.data.observed.consignments
    shown = shown[shown["consignment_id"].map(lambda name: f'<span class="id">{name}</span>' in page)]
    assert len(shown) > 5
    for column in ("sender_name", "sender_address", "consignee_name", "consignee_address", "consignee_phone"):
        if column in shown:
            assert not [value for value in shown[column].dropna() if value in page]


def test_the_dependence_of_a_feature_is_the_change_of_the_mean_raw_score_of_the_served_fit(trained, folder):
    model, sample = trained.final.model, ExplainedSample.from_result(trained)
    column = sample.rank_features()[0]
    values, effect, _ = compute_dependence(model, sample.X, column)
    changed = sample.X.copy()
    changed[:, column] = values[0]
    change = np.mean(model.trees.predict_raw(changed)) - np.mean(model.trees.predict_raw(sample.X))
    assert effect[0] == pytest.approx(change)
    charts = [path.read_text() for path in (folder / "plots").glob("dependence_*.svg")]
    assert len(charts) == 10
    assert not [chart for chart in charts if "{" in re.sub("<style.*?</style>", "", chart, flags=re.DOTALL)]


def test_the_axis_of_a_chart_names_codes_and_shares():
    context = ReasonContext(vocabularies={"channel": ["air_cargo", "postal"]})
    features = {feature.name: feature for feature in REAL.features}
    channel = [name_value(features["category.channel"], code, context) for code in (0.0, 1.0, 2.0)]
    assert channel == ["other", "air cargo", "postal"]
    first = {each.unit: each for each in reversed(REAL.features)}
    share, flag, count = first["share"], first["flag"], first["count"]
    named = [name_value(each, value, context) for each, value in ((share, 0.125), (flag, 1.0), (count, 3.0))]
    assert named == ["12.0 %", "yes", "3"]


def test_the_title_of_a_chart_names_a_feature_without_a_blank_and_not_by_its_missing_value():
    titles = {feature.name: name_feature(feature) for feature in REAL.features}
    assert not [title for title in titles.values() if "{" in title or title.startswith("No usual value")]
    assert titles["history.route.arrivals_30d"] == "… consignments on this route in the last 30 days"
