"""The short calls take every step, and a learner of another kind is judged on the same traffic as the model."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from sklearn.ensemble import RandomForestClassifier
from support.trained_run import CONFIG, SETTINGS, TARGET, write_tables

from consignments.errors import BadInput, UnknownName
from consignments.files.table_writers import write_table
from features.batch import Tables
from models.registry import Registry
from training import api


@pytest.fixture(scope="module")
def tables(shared_run, tmp_path_factory):
    folder = write_tables(shared_run.world, tmp_path_factory.mktemp("tables"))
    return api.read_tables(folder / "consignments", folder / "outcomes.parquet", folder / "alerts.parquet")


@pytest.fixture(scope="module")
def store(searched, tmp_path_factory):
    """A store with two versions."""
    return searched.copy_store(tmp_path_factory.mktemp("store")).registry.tracking_uri


@pytest.fixture(scope="module")
def bundle(store):
    return api.load_model("1", target=TARGET, store=store)


def cut(tables):
    """Cut off the last ten consignments: new ones, and their history."""
    frame = tables.consignments
    return Tables(frame[-10:].reset_index(drop=True)), Tables(frame[:-10], tables.outcomes, tables.alerts)


def test_a_table_with_doubtful_rows_is_read_with_a_warning(shared_run, tmp_path):
    frame = shared_run.world.consignments.head(3).assign(departure_country=["China", "CN", "CN"])
    write_table(frame, tmp_path / "t.csv")
    with pytest.warns(UserWarning, match=r"1 x departure_country: the country was read as its code"):
        assert len(api.read_tables(tmp_path / "t.csv").consignments) == 3


def test_new_consignments_are_scored_with_their_history_by_a_named_version(tables, store):
    bundle = api.load_model("challenger", target=TARGET, store=store)
    new, past = cut(tables)
    scores = api.score(bundle, new, history=past, reasons=1)
    whole = api.score(bundle, tables)
    assert set(scores["history"]) == {"given"}
    assert scores["score"].to_list() == whole["score"].to_list()[-10:]
    assert set(scores["model_version"]) == {Registry(store).resolve("challenger", target=TARGET).number}


def test_features_are_those_that_the_model_sees(bundle, tables):
    new, past = cut(tables)
    features = api.compute_features(new, bundle, history=past)
    assert features.shape == (10, len(bundle.model.spec))
    assert list(features.index) == list(new.consignments["consignment_id"])
    channels = new.consignments["channel"].tolist()
    scores = api.score(bundle, new, history=past)["score"].to_numpy()
    assert (bundle.model.score(features.to_numpy(), channels) == scores).all()
    assert api.compute_features(new).shape[0] == 10


def test_one_score_is_explained_with_what_raises_and_what_lowers_it(bundle, tables):
    new, past = cut(tables)
    reasons = api.explain(bundle, new, new.consignments["consignment_id"][3], history=past)
    assert set(reasons["direction"]) <= {"raises", "lowers"}
    assert reasons["code"].is_unique
    assert (reasons["contribution"] > 0).eq(reasons["direction"] == "raises").all()
    assert reasons["text"].str.len().min() > 5
    with pytest.raises(UnknownName, match="unknown consignment"):
        api.explain(bundle, new, "nobody")


def test_a_training_takes_settings_as_a_mapping(tables, store, monkeypatch):
    asked: list[Any] = []
    monkeypatch.setattr(api, "run_training", lambda *given, **options: asked.append((given, options)))
    api.train(tables, target=TARGET, config=SETTINGS, register=True, store=store)
    (((task, uri), options),) = asked
    assert (task.tables, task.target, task.config, uri) == (tables, TARGET, CONFIG, store)
    assert options == {"register": True, "jobs": 1}


def test_a_comparison_of_two_versions_is_logged(shared_run, tables, store):
    found = api.compare("1", "2", tables, target=TARGET, truth=shared_run.world.truth, store=store)
    assert found.consignments > 100
    runs = MlflowClient(tracking_uri=store).search_runs(["1"], "tags.kind = 'comparison'")
    assert len(runs) == 1


class ModelsOwnScores:
    """A learner that gives the scores of the model, or some of them."""

    def __init__(self, scores):
        self._scores = scores

    def fit(self, X, y, sample_weight):
        assert len(X) == len(y) == len(sample_weight)
        assert y.sum() > 5

    def predict_proba(self, X):
        return np.column_stack([1 - self._scores, self._scores])


def test_a_learner_of_another_kind_is_judged_on_the_same_traffic_as_the_model(shared_run):
    run, forest = shared_run.run, RandomForestClassifier(10, random_state=1)
    found = api.evaluate_learner(run, forest)
    gain = found.gains["roc_auc"]
    assert gain.low <= gain.value <= gain.high
    assert gain.value == pytest.approx(found.b["roc_auc"].value - found.a["roc_auc"].value)
    assert forest.n_features_in_ == len(run.trained.evaluated.model.spec)


def test_the_models_own_scores_differ_by_nothing_and_wrong_ones_are_refused(shared_run):
    run = shared_run.run
    scores = run.trained.test_traffic.score
    same = api.evaluate_learner(run, ModelsOwnScores(scores))
    assert all(each.value == 0.0 or np.isnan(each.value) for each in same.gains.values())
    with pytest.raises(BadInput, match=r"expected a finite number for each of"):
        api.evaluate_learner(run, ModelsOwnScores(scores[1:]))
    with pytest.raises(BadInput, match="1 of them not finite"):
        api.evaluate_learner(run, ModelsOwnScores(np.where(np.arange(len(scores)) == 0, np.nan, 0.5)))


def test_what_calls_return_is_shown_in_one_line(shared_run, bundle, tables):
    run, trained = shared_run.run, shared_run.run.trained
    assert repr(bundle).startswith("<Bundle nps-risk-any_offence, version 1, final fit as of ")
    assert repr(run).startswith(f"<RegisteredRun {run.run_id}, models:/nps-risk-any_offence/1, ")
    assert "verdict" in repr(trained)
    assert repr(tables).startswith("<Tables consignments ")
    for each in (run, trained, trained.final, trained.data, trained.matrix, bundle, tables):
        assert len(repr(each)) < 400, type(each)
        assert "\n" not in repr(each), type(each)


def test_every_call_in_the_page_fits_to_its_function():
    page = (Path(api.__file__).parents[1] / "docs" / "data-scientist.md").read_text()
    blocks = [block for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if "api." in block]
    called = set()
    nodes = (node for block in blocks for node in ast.walk(ast.parse(block)))
    for call in (node for node in nodes if isinstance(node, ast.Call)):
        name = call.func
        if isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name) and name.value.id == "api":
            words: dict[str, Any] = {str(each.arg): None for each in call.keywords}
            inspect.signature(getattr(api, name.attr)).bind(*call.args, **words)
            called.add(name.attr)
    own = {name for name, each in vars(api).items() if getattr(each, "__module__", "") == api.__name__}
    assert called == {name for name in own if name.islower() and name[0] != "_"} - {"read_truth"}
