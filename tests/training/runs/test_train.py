"""Claims about retraining, from a small simulated world to a logged and registered model."""

import json
import os
import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from support.stores import create_store
from support.trained_run import CONFIG, TARGET

from consignments.errors import BadInput, BundleRefused
from features.batch import FeatureParameters, Tables
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs, compute_feature_matrix
from models.batch_scoring import score_table
from models.bundle import MANIFEST, load_bundle
from training.data.fit_rows import compute_fit_rows
from training.data.splits import TRAIN
from training.data.table_features import TableFeatures
from training.data.training_set import ObservedTables, build_data_set, get_labels_as_of
from training.evaluation.name_invariance import find_worst_move
from training.fitting.rolling_origin import TEXT_SCORE
from training.runs.artifacts import write_run_bundles
from training.runs.registered_run import run_training
from training.runs.task import TrainingTask
from training.runs.train import train_model

SHARES = ("0.1pct", "1pct", "5pct", "10pct", "capacity")


@pytest.fixture(scope="module")
def tables(shared_run):
    return shared_run.tables


@pytest.fixture(scope="module")
def as_of(shared_run):
    return shared_run.as_of


@pytest.fixture(scope="module")
def known(tables, as_of):
    """The results of all consignments that are known at the date."""
    return get_labels_as_of(tables.consignments["consignment_id"], tables.outcomes, as_of, TARGET)


def test_without_outcomes_there_is_nothing_to_learn_from(tables):
    with pytest.raises(BadInput, match="no results to train on"):
        train_model(TrainingTask(Tables(tables.consignments)))


def test_names_of_another_language_move_no_score(trained):
    assert find_worst_move(trained.name_swaps) == 0.0
    assert sum(row["rows"] for row in trained.name_swaps) > 0


def read_fits(folder):
    """Read the files of both fits, of the card without the hash of the data."""
    files = [path for name in ("bundle", "evaluation") for path in (folder / name).iterdir()]
    fits = {f"{each.parent.name}/{each.name}": each.read_bytes() for each in files}
    for name in ("bundle", "evaluation"):
        del fits[f"{name}/{MANIFEST}"]
        fits[f"{name}/model.json"] = json.loads(fits[f"{name}/model.json"]) | {"data_sha256": ""}
    return fits


def test_neither_chunks_nor_jobs_nor_what_came_after_the_date_change_a_byte_of_a_fit_or_a_score(
    shared_run, trained, repeated, tmp_path
):
    write_run_bundles(repeated, tmp_path)
    assert read_fits(tmp_path) == read_fits(shared_run.folder)
    assert (repeated.test_rows == trained.test_rows).all()
    assert (repeated.test_traffic.score == trained.test_traffic.score).all()
    assert repeated.data_sha256 != trained.data_sha256
    assert len(repeated.data.observed.consignments) < repeated.consignments.rows


def test_the_truth_is_shown_and_decides_nothing(trained, repeated):
    mine = trained.metrics
    shown = {name for name in mine if name.startswith("deployed/truth/")}
    assert "deployed/truth/recall_at_1pct" in shown
    assert {name: mine[name] for name in mine.keys() - shown} == repeated.metrics
    assert trained.verdict == repeated.verdict


def test_the_words_of_training_rows_are_scored_out_of_fold_and_others_as_served(trained, tables, as_of):
    keep = np.zeros(len(tables.consignments), dtype=bool)
    keep[trained.data.observed.kept.rows[trained.data.keep]] = True
    parameters = FeatureParameters(CONFIG.features, trained.evaluated.fitted)
    plain = compute_feature_matrix(tables, parameters, keep=keep, as_of=pd.Timestamp(as_of))
    column = plain.spec.get_column(TEXT_SCORE)
    places = np.flatnonzero(trained.data.keep)
    learnt = trained.data.part[places] == TRAIN
    mine = trained.matrix.look_up(places)[:, column]
    served = plain.X[:, column]
    assert np.array_equal(mine[~learnt], served[~learnt], equal_nan=True)
    assert not np.array_equal(mine[learnt], served[learnt], equal_nan=True)


def test_the_metrics_have_their_agreed_names_and_are_those_of_the_deployed_recipe(trained):
    names = trained.metrics.keys()
    assert all(name.startswith("deployed/") for name in names)
    for side in ("deployed", "deployed/truth", "deployed/baseline/rules"):
        counted = {f"{side}/found_at_{share}" for share in SHARES}
        assert counted | {f"{side}/effective_results"} <= names
    for name in ("roc_auc", "recall_averaged", "recall_at_10pct"):
        assert {f"deployed/truth/{name}{end}" for end in ("", "_low", "_high")} <= names
        assert trained.deployed.recipe.model[name].is_shown == (f"deployed/{name}" in names)
    assert not any("calibration" in name for name in names if "/baseline/" in name)


def test_there_is_one_calibration_ratio_and_it_is_that_of_the_served_probabilities(trained):
    frame, ratio = trained.deployed.stored.frame, trained.deployed.recipe.model["calibration_ratio"]
    last = frame["window"] == frame["window"].max()
    # The earlier date had no scores of unseen weeks to calibrate with.
    assert frame["probability"].notna().tolist() == last.tolist()
    finds = trained.deployed.recipe.model.finds
    mine = last[frame["labelled"] & frame["positive"]].to_numpy()
    assert ratio.value == pytest.approx(frame["probability"].sum() / finds.weight[mine].sum())


def list_child_runs(shared):
    client = MlflowClient(tracking_uri=shared.registry.tracking_uri)
    experiment = client.get_run(shared.run.run_id).info.experiment_id
    return client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{shared.run.run_id}'")


def test_a_search_trains_on_the_best_parameters_and_logs_each_trial_below_the_run(searched):
    best = next(row for row in searched.run.trained.studied.trials if row["best"])
    assert searched.run.trained.config.model.leaves == best["model.leaves"]
    below = list_child_runs(searched)
    assert {run.info.run_name for run in below} == {"trial 0", "trial 1"}
    assert all("origins/worth" in run.data.metrics for run in below)


def test_without_an_earlier_date_the_evaluation_fit_is_judged_and_the_run_says_so(searched):
    made = searched.run.trained
    assert [row["windows"] for row in made.deployed.ages] == [1]
    assert "evaluation fit" in made.deployed.sentences[0]
    assert made.deployed.stored.frame["probability"].to_numpy() == pytest.approx(made.test_traffic.score)


@pytest.fixture(scope="module")
def client(shared_run):
    return MlflowClient(tracking_uri=shared_run.registry.tracking_uri)


def test_the_run_is_logged_with_its_tags_inputs_artifacts_and_the_figures_of_the_training(shared_run, client):
    done = shared_run.run
    run = client.get_run(done.run_id)
    assert re.fullmatch(
        r"version 1: any_offence, as of 20[\d-]{8}: truth, ablation, origins 2", run.info.run_name
    )
    wanted = "as_of target data_sha256 code_version feature_spec_sha256 verdict mlflow.user"
    assert set(wanted.split()) <= run.data.tags.keys()
    assert run.data.params["as_of"] == run.data.tags["as_of"]
    assert run.data.params["period.test"].count(" to ") == 1
    paths = {item.path for item in client.list_artifacts(done.run_id)}
    assert {"bundle", "evaluation", "report.html", "tables", "plots"} <= paths
    (found,) = client.get_metric_history(done.run_id, "deployed/found_at_10pct")
    assert found.value == pytest.approx(done.trained.metrics["deployed/found_at_10pct"], rel=1e-8)
    inputs = run.inputs.dataset_inputs
    use = {each.dataset.name: each.tags[0].value for each in inputs}
    assert use == dict.fromkeys(("consignments", "outcomes", "alerts"), "training") | {"truth": "evaluation"}
    assert len({each.dataset.digest for each in inputs}) == 4


def test_the_version_is_registered_as_challenger_and_its_model_has_the_main_metrics(shared_run, client):
    done = shared_run.run
    version = shared_run.registry.resolve("models:/nps-risk-any_offence@challenger")
    assert (version.number, version.run_id) == (done.version, done.run_id)
    assert done.model_uri in done.summarize()
    (output,) = client.get_run(done.run_id).outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    named = {"name": "nps-risk-any_offence", "version": int(done.version)}
    assert json.loads(model.tags["mlflow.modelVersions"]) == [named]
    assert "deployed/found_at_capacity" in {metric.key for metric in model.metrics}
    assert {metric.dataset_name for metric in model.metrics} == {"consignments"}


def test_a_run_that_cannot_be_trained_is_kept_as_failed_with_its_reason(tables, as_of, tmp_path):
    uri = create_store(tmp_path)
    few = Tables(tables.consignments.head(20), tables.outcomes, tables.alerts)
    with pytest.raises(BadInput) as refused:
        run_training(TrainingTask(few, as_of, TARGET, CONFIG), uri)
    (run,) = MlflowClient(tracking_uri=uri).search_runs(["1"])
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == str(refused.value)[:500]


def test_mlflow_looks_where_it_looked_before(shared_run):
    uri = shared_run.registry.tracking_uri
    assert uri not in (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), *os.environ.values())


def test_the_final_fit_has_learnt_from_every_label_known_at_the_date(trained, tables, as_of, known):
    usable = tables.consignments["cancelled_at"].isna() | known.chosen
    assert trained.final.positives == int((known.positive & usable).sum()) > trained.evaluated.positives
    assert trained.final.learnt_until == as_of


def test_the_final_fit_repeats_the_judged_recipe_and_is_calibrated_on_later_time(trained, tables, known):
    evaluation, final = trained.evaluated.model, trained.final
    assert final.model.trees.text != evaluation.trees.text
    assert final.model.trees.feature_names == evaluation.trees.feature_names
    frame = trained.deployed.stored.frame
    ids = pd.Index(tables.consignments["consignment_id"])
    windows = ids.get_indexer(frame["consignment_id"][frame["labelled"]])
    assert known.known[windows].all()
    assert final.level.inspected == (known.selected_by[windows] == "random").sum()
    assert "random inspections" in " ".join(trained.sentences)


def test_the_bands_of_the_final_fit_are_shares_of_later_traffic_that_it_has_not_learnt(trained):
    final = trained.final
    assert (trained.data.observed.kept.rows[final.usual] == trained.test_rows).all()
    bands = Counter(final.model.bands.assign_all(final.usual_scores))
    evaluated = Counter(trained.evaluated.model.bands.assign_all(trained.test_traffic.score))
    assert bands.total() == len(trained.test_rows)
    assert 0 < bands["high"] <= 2 * max(evaluated["high"], len(trained.test_rows) // 100)


def test_words_and_norms_of_the_final_fit_are_learnt_on_its_own_rows(trained, tables, as_of):
    """Its rows of the matrix are those of a whole computation under its own fitted parameters."""
    observed = ObservedTables(tables.consignments, tables.outcomes, as_of)
    keep = build_data_set(observed, TARGET, CONFIG, held_out="nothing").keep
    source = TableFeatures.from_tables(tables, CONFIG.features)
    parameters = FeatureParameters(CONFIG.features, trained.final.fitted)
    refitted = compute_fit_rows(source, parameters, keep)
    whole = compute_feature_matrix(tables, parameters, keep=keep, as_of=pd.Timestamp(as_of))
    np.testing.assert_array_equal(refitted.take(slice(None)), whole.X)
    np.testing.assert_array_equal(refitted.rows, whole.rows)


def test_a_version_holds_both_fits_and_each_is_judged_on_what_it_has_not_learnt(shared_run, as_of):
    fits = shared_run.registry.fetch_fits(shared_run.version)
    assert (fits.served.card.fit, fits.evaluation.card.fit) == ("final", "evaluation")
    assert fits.evaluation.sha256 == load_bundle(shared_run.folder / "evaluation").sha256
    assert fits.served.unseen_from == as_of
    assert fits.evaluation.unseen_from == fits.first_unseen < as_of
    assert fits.choose(as_of).card.fit == "final", "the version as it is deployed"
    assert fits.choose(as_of - timedelta(days=1)).card.fit == "evaluation"
    tags = {**shared_run.version.tags, "evaluation_sha256": "0" * 64}
    with pytest.raises(BundleRefused, match="evaluation fit is not the registered one"):
        shared_run.registry.fetch_fits(replace(shared_run.version, tags=tags))


def test_the_evaluation_fit_gives_the_scores_that_were_judged_to_the_last_bit(shared_run, tables, as_of):
    bundle, trained = load_bundle(shared_run.folder / "evaluation"), shared_run.run.trained
    bundle.run_self_test()
    inputs = FeatureInputs.from_tables(tables, as_of=pd.Timestamp(as_of))
    scores = score_table(bundle, inputs, Pseudonyms(b"another key entirely, of 32 bytes"))
    assert (scores["score"].to_numpy()[trained.test_rows] == trained.test_traffic.score).all()


def test_each_group_of_an_ablation_is_a_child_run(shared_run, trained):
    below = {run.info.run_name: run.data.tags["kind"] for run in list_child_runs(shared_run)}
    assert below == {f"without {row['left_out']}": "ablation" for row in trained.studied.ablation}
