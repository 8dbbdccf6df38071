"""Claims about retraining, from a small simulated world to a logged and registered model."""

import json
import os
from dataclasses import replace
from datetime import timedelta

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from support.stores import create_store
from support.trained_run import AT_ONE_DATE, CONFIG, TARGET

from consignments.errors import BadInput, BundleRefused
from features.batch import FeatureParameters, Tables
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs, compute_feature_matrix
from models.batch_scoring import score_table
from models.bundle import load_bundle
from models.registry import Registry
from training.data.splits import TRAIN
from training.data.table_features import TableFeatures
from training.data.training_set import ObservedTables, build_data_set, get_labels_as_of
from training.evaluation.name_invariance import find_worst_move
from training.fitting.diagnostics import DiagnosticsOptions, DiagnosticsResult, SearchBudget
from training.fitting.rolling_origin import TEXT_SCORE
from training.runs.artifacts import write_run_bundles
from training.runs.registered_run import iterate_child_runs, run_training
from training.runs.task import TrainingTask
from training.runs.train import train_model

# MLflow 3.17 maps its tables with a loader that SQLAlchemy 2.1 will drop, and warns of its own types when imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

SHARES = ("0.1pct", "1pct", "5pct", "10pct")


@pytest.fixture(scope="module")
def trained(shared_run):
    return shared_run.run.trained


@pytest.fixture(scope="module")
def tables(shared_run):
    return shared_run.tables


@pytest.fixture(scope="module")
def as_of(shared_run):
    return shared_run.as_of


def train_again(tables, as_of):
    return train_model(TrainingTask(tables, as_of, TARGET, CONFIG))


def test_without_outcomes_there_is_nothing_to_learn_from(tables):
    with pytest.raises(BadInput, match="no results to train on"):
        train_model(TrainingTask(Tables(tables.consignments)))


def test_names_of_another_language_move_no_score(trained):
    assert find_worst_move(trained.name_swaps) == 0.0
    assert sum(row["rows"] for row in trained.name_swaps) > 0


def learnt(trained):
    """Give all that training decided."""
    model = trained.evaluated.model
    final = trained.final
    return (
        *(
            model.trees.text,
            model.calibration,
            model.bands,
            trained.evaluated.fitted.vocabularies,
            trained.evaluated.fitted.norms,
        ),
        *(
            final.model.trees.text,
            final.model.calibration,
            final.fitted.vocabularies,
            final.fitted.norms,
        ),
    )


def test_the_same_tables_date_and_settings_give_the_same_bundle_to_the_last_byte_on_any_number_of_jobs(
    shared_run, repeated, tmp_path
):
    write_run_bundles(repeated, tmp_path)
    for name in ("bundle", "evaluation"):
        assert load_bundle(tmp_path / name).sha256 == load_bundle(shared_run.folder / name).sha256
    assert (repeated.test_scores == shared_run.run.trained.test_scores).all()


def test_what_came_after_the_date_changes_nothing_but_the_hash_of_the_data(trained, tables, as_of):
    later = tables.consignments.tail(50).assign(
        consignment_id=[f"later-{n}" for n in range(50)],
        received_at=tables.consignments["received_at"].tail(50) + pd.Timedelta(days=200),
    )
    visible = tables.outcomes["known_at"] <= pd.Timestamp(as_of)
    correction = tables.outcomes[visible].assign(
        result="nps", known_at=pd.Timestamp(as_of) + pd.Timedelta(days=1)
    )
    more = Tables(
        pd.concat([tables.consignments, later], ignore_index=True),
        pd.concat([tables.outcomes, correction], ignore_index=True),
        tables.alerts,
    )
    other = train_again(more, as_of)
    assert learnt(other) == learnt(trained)
    assert (other.test_scores == trained.test_scores).all()
    assert other.data_sha256 != trained.data_sha256


def test_the_truth_is_shown_and_takes_no_part(trained, repeated):
    assert learnt(repeated) == learnt(trained)
    mine, without = trained.metrics, repeated.metrics
    assert {name: value for name, value in mine.items() if not name.startswith("deployed/truth/")} == without
    assert "deployed/truth/recall_at_1pct" in mine
    assert trained.verdict == repeated.verdict


def test_the_words_of_training_rows_are_scored_out_of_fold_and_those_of_others_as_served(
    trained, tables, as_of
):
    keep = np.zeros(len(tables.consignments), dtype=bool)
    keep[trained.data.observed.kept.rows[trained.data.keep]] = True
    plain = compute_feature_matrix(
        tables,
        FeatureParameters(CONFIG.features, trained.evaluated.fitted),
        keep=keep,
        as_of=pd.Timestamp(as_of),
    )
    column = plain.spec.get_column(TEXT_SCORE)
    places = np.flatnonzero(trained.data.keep)
    part = trained.data.part[places]
    rows = np.searchsorted(trained.matrix.rows, places)
    mine, served = trained.matrix.X[rows, column], plain.X[:, column]
    assert np.array_equal(mine[part != TRAIN], served[part != TRAIN], equal_nan=True)
    assert not np.array_equal(mine[part == TRAIN], served[part == TRAIN], equal_nan=True)


def test_the_metrics_have_their_agreed_names_and_are_those_of_the_deployed_recipe(trained):
    assert all(name.startswith("deployed/") for name in trained.metrics)
    for side in ("deployed", "deployed/truth", "deployed/baseline/rules"):
        counted = {f"{side}/found_at_{share}" for share in (*SHARES, "capacity")} | {
            f"{side}/effective_results"
        }
        assert counted <= trained.metrics.keys()
    for name in ("roc_auc", "recall_averaged", "recall_at_10pct"):
        assert {f"deployed/truth/{name}{end}" for end in ("", "_low", "_high")} <= trained.metrics.keys()
        assert trained.deployed.recipe.model[name].is_shown == (f"deployed/{name}" in trained.metrics)
    assert not any("calibration" in name for name in trained.metrics if "/baseline/" in name)


def test_there_is_one_calibration_ratio_and_it_is_that_of_the_served_probabilities(trained):
    frame, ratio = trained.deployed.stored.frame, trained.deployed.recipe.model["calibration_ratio"]
    last = frame["window"] == frame["window"].max()
    # The earlier date had no scores of unseen weeks to calibrate with.
    assert frame["probability"].notna().tolist() == last.tolist()
    finds = trained.deployed.recipe.model.finds
    mine = last[frame["labelled"] & frame["positive"]].to_numpy()
    assert ratio.value == pytest.approx(frame["probability"].sum() / finds.weight[mine].sum())


def test_the_first_sentence_counts_and_the_recipe_is_tested_at_earlier_dates(trained):
    assert len(trained.deployed.origins) == 2
    assert trained.sentences[0].startswith(f"Of {trained.deployed.recipe.model.counts.known} known offences")
    assert "fitted at 2 dates" in " ".join(trained.sentences)


@pytest.fixture(scope="module")
def searched(tables, as_of, tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched")
    uri = create_store(folder)
    studies = DiagnosticsOptions(search=SearchBudget(2, study=folder / "search.log"))
    task = TrainingTask(tables, as_of, TARGET, AT_ONE_DATE, diagnostics=studies)
    return run_training(task, uri), uri


def test_a_search_trains_on_the_best_parameters_and_logs_each_trial_below_the_run(searched):
    done, uri = searched
    best = next(row for row in done.trained.studied.trials if row["best"])
    assert done.trained.config.model.leaves == best["model.leaves"]
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_run(done.run_id).info.experiment_id
    below = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{done.run_id}'")
    assert {run.info.run_name for run in below} == {"trial 0", "trial 1"}
    assert all("origins/worth" in run.data.metrics for run in below)


@pytest.fixture(scope="module")
def logged(shared_run):
    return shared_run.run, shared_run.registry.tracking_uri, shared_run.folder


def test_the_run_is_logged_with_its_tags_and_artifacts(logged):
    done, uri, _ = logged
    client = MlflowClient(tracking_uri=uri)
    run = client.get_run(done.run_id)
    assert run.info.run_name.endswith(f": truth, ablation, origins 2, version {done.version}")
    wanted = {
        "as_of",
        "target",
        "data_sha256",
        "code_version",
        "feature_spec_sha256",
        "verdict",
        "mlflow.user",
    }
    assert wanted <= run.data.tags.keys()
    assert run.data.params["as_of"] == run.data.tags["as_of"]
    assert run.data.params["period.test"].count(" to ") == 1
    assert {"bundle", "evaluation", "report.html", "tables", "plots"} <= {
        item.path for item in client.list_artifacts(done.run_id)
    }
    assert run.data.metrics["deployed/found_at_10pct"] == pytest.approx(
        done.trained.metrics["deployed/found_at_10pct"], rel=1e-8
    )


def test_each_table_is_an_input_with_its_own_hash_and_use(logged):
    done, uri, _ = logged
    inputs = MlflowClient(tracking_uri=uri).get_run(done.run_id).inputs.dataset_inputs
    assert {each.dataset.name for each in inputs} == {"consignments", "outcomes", "alerts", "truth"}
    assert len({each.dataset.digest for each in inputs}) == 4
    use = {each.dataset.name: each.tags[0].value for each in inputs}
    assert (use["truth"], use["outcomes"]) == ("evaluation", "training")


def test_the_logged_model_names_its_version_and_has_the_main_metrics(logged):
    done, uri, _ = logged
    client = MlflowClient(tracking_uri=uri)
    outputs = client.get_run(done.run_id).outputs.model_outputs
    model = client.get_logged_model(outputs[0].model_id)
    assert json.loads(model.tags["mlflow.modelVersions"]) == [
        {"name": "nps-risk-any_offence", "version": int(done.version)}
    ]
    assert "deployed/found_at_capacity" in {metric.key for metric in model.metrics}
    assert {metric.dataset_name for metric in model.metrics} == {"consignments"}
    assert len(client.get_metric_history(done.run_id, "deployed/found_at_10pct")) == 1


def test_a_run_that_cannot_be_trained_is_kept_as_failed_with_its_reason(tables, as_of, tmp_path):
    uri = create_store(tmp_path)
    few = Tables(tables.consignments.head(20), tables.outcomes, tables.alerts)
    with pytest.raises(BadInput) as refused:
        run_training(TrainingTask(few, as_of, TARGET, CONFIG), uri)
    (run,) = MlflowClient(tracking_uri=uri).search_runs(["1"])
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == str(refused.value)[:500]


def test_the_version_is_registered_as_challenger(logged):
    done, uri, _ = logged
    version = Registry(uri).resolve("models:/nps-risk-any_offence@challenger")
    assert (version.number, version.run_id) == (done.version, done.run_id)
    assert done.model_uri in done.summarize()


def test_mlflow_looks_where_it_looked_before(logged):
    _, uri, _ = logged
    assert mlflow.get_tracking_uri() != uri
    assert mlflow.get_registry_uri() != uri
    assert uri not in os.environ.values()


def test_the_final_fit_has_learnt_from_every_label_known_at_the_date(trained, tables, as_of):
    ids = tables.consignments["consignment_id"]
    known = get_labels_as_of(ids, tables.outcomes, as_of, TARGET)
    usable = tables.consignments["cancelled_at"].isna() | known.chosen
    assert trained.final.positives == int((known.positive & usable).sum()) > trained.evaluated.positives
    assert trained.final.learnt_until == as_of
    assert f"trained on {trained.final.positives} positives" in " ".join(trained.sentences)


def test_the_final_fit_repeats_the_recipe_that_was_judged_and_is_calibrated_on_later_time(
    trained, tables, as_of
):
    evaluation, final = trained.evaluated.model, trained.final
    assert final.model.trees.text != evaluation.trees.text
    assert final.model.trees.feature_names == evaluation.trees.feature_names
    ids = tables.consignments["consignment_id"]
    known = get_labels_as_of(ids, tables.outcomes, as_of, TARGET)
    frame = trained.deployed.stored.frame
    windows = pd.Index(ids).get_indexer(frame["consignment_id"][frame["labelled"]])
    assert known.known[windows].all()
    assert final.level.inspected == (known.selected_by[windows] == "random").sum()
    assert "random inspections" in " ".join(trained.sentences)


def test_the_bands_of_the_final_fit_are_shares_of_later_traffic_that_it_has_not_learnt(trained):
    final = trained.final
    assert (trained.data.observed.kept.rows[final.usual.rows] == trained.test_rows).all()
    shares = dict.fromkeys(("high", "elevated", "routine"), 0)
    for band in final.model.assign_bands(final.usual_scores):
        shares[band] += 1
    evaluated = [0, 0, 0]
    for band in trained.evaluated.model.assign_bands(trained.test_scores):
        evaluated[("high", "elevated", "routine").index(band)] += 1
    assert shares["high"] + shares["elevated"] + shares["routine"] == len(trained.test_rows)
    assert 0 < shares["high"] <= 2 * max(evaluated[0], len(trained.test_rows) // 100)


def test_words_and_norms_of_the_final_fit_are_learnt_on_its_own_rows(trained, tables, as_of):
    """Its rows of the matrix are those of a whole computation under its own fitted parameters."""
    everything = build_data_set(
        ObservedTables(tables.consignments, tables.outcomes, as_of), TARGET, CONFIG, held_out="nothing"
    )
    source = TableFeatures.from_tables(tables, CONFIG.features)
    matrix = trained.matrix.locate(trained.data.observed.kept.rows)
    refitted = source.build_matrix(trained.final.fitted, everything.keep, matrix)
    parameters = FeatureParameters(CONFIG.features, trained.final.fitted)
    whole = compute_feature_matrix(tables, parameters, keep=everything.keep, as_of=pd.Timestamp(as_of))
    np.testing.assert_array_equal(refitted.X, whole.X)
    np.testing.assert_array_equal(refitted.rows, whole.rows)


def test_a_version_holds_both_fits_and_each_is_judged_on_what_it_has_not_learnt(logged, as_of):
    done, uri, folder = logged
    registry = Registry(uri)
    fits = registry.fetch_fits(registry.resolve(done.model_uri))
    assert fits.evaluation is not None
    assert (fits.served.card.fit, fits.evaluation.card.fit) == ("final", "evaluation")
    assert fits.evaluation.sha256 == load_bundle(folder / "evaluation").sha256
    assert fits.served.unseen_from == as_of
    assert fits.evaluation.unseen_from == fits.first_unseen < as_of
    assert fits.choose(as_of).card.fit == "final", "the version as it is deployed"
    assert fits.choose(as_of - timedelta(days=1)).card.fit == "evaluation"


def test_an_exchanged_evaluation_fit_is_refused(logged):
    done, uri, _ = logged
    version = Registry(uri).resolve(done.model_uri)
    forged = replace(version, tags={**version.tags, "evaluation_sha256": "0" * 64})
    with pytest.raises(BundleRefused, match="evaluation fit is not the registered one"):
        Registry(uri).fetch_fits(forged)


def test_the_evaluation_fit_gives_the_scores_that_were_judged_to_the_last_bit(logged, tables, as_of):
    done, _, folder = logged
    bundle = load_bundle(folder / "evaluation")
    bundle.run_self_test()
    scores = score_table(
        bundle,
        FeatureInputs.from_tables(tables, as_of=pd.Timestamp(as_of)),
        Pseudonyms(b"another key entirely, of 32 bytes"),
    )
    assert (scores["score"].to_numpy()[done.trained.test_rows] == done.trained.test_scores).all()


def test_each_group_of_an_ablation_is_a_child_run(logged):
    done, uri, _ = logged
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_run(done.run_id).info.experiment_id
    below = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{done.run_id}'")
    rows = done.trained.studied.ablation
    assert {run.info.run_name for run in below} == {f"without {row['left_out']}" for row in rows}
    assert {run.data.tags["kind"] for run in below} == {"ablation"}


def test_a_measure_that_is_not_known_is_not_logged(trained):
    row = {"left_out": "history", "kind": "group", "features": 400}
    row |= {f"{name}{end}": 0.1 for name in ("worth", "recall_at_1pct") for end in ("", "_low", "_high")}
    studied = DiagnosticsResult(ablation=[row, {**row, "left_out": "goods", "worth_low": float("nan")}])
    first, second = iterate_child_runs(replace(trained, studied=studied), "a parent")
    assert (first.name, first.tags["kind"], first.parent) == ("without history", "ablation", "a parent")
    assert (second.name, len(first.metrics)) == ("without goods", 6)
