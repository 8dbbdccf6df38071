"""The recipe at earlier dates, as it is deployed."""

from datetime import timedelta

import msgspec
import numpy as np
import pytest

from features.batch import Tables
from training.config import parse_config
from training.data.splits import TEST
from training.data.table_features import TableFeatures
from training.data.training_set import ObservedTables, get_true_labels
from training.fitting.deployed import build_training_data, calibrate_origins, evaluate_deployed, fit_at_dates
from training.fitting.fit import Recipe, SplitFeatures, fit_evaluation
from training.runs.task import TrainingTask
from training.runs.train import train_model
from training.simulation.operation import simulate
from training.simulation.parameters import load_parameters


def configure(origins, own=None, **split):
    return parse_config(
        {
            "split": {"validation_days": 14, "test_days": 14, "label_delay_days": 10} | split,
            "model": {"trees": 12},
            "evaluation": {"name_rows": 60, "origins": origins},
        }
        | (own or {})
    )


CONFIG = configure(3)
TARGET = "any_offence"


@pytest.fixture(scope="module")
def world():
    busy = load_parameters().replace(prevalence={"operation": {"opened": 0.05}})
    made = simulate(busy, days=90, per_day=40, prevalence="operation", seed=6)
    return Tables(made.consignments, made.outcomes, made.alerts), made.truth


@pytest.fixture(scope="module")
def made(world):
    """The data sets of a run, the fits of its dates, and the features of all."""
    return fit_origins(world[0])


def fit_origins(tables, config=CONFIG):
    as_of = tables.consignments["received_at"].max().ceil("D").to_pydatetime()
    data = build_training_data(ObservedTables(tables.consignments, tables.outcomes, as_of), TARGET, config)
    source = TableFeatures.from_tables(tables, config.features, as_of)
    recipe = Recipe(source, config)
    evaluated = fit_evaluation(recipe, data.evaluation, data.keep)
    fits, _ = fit_at_dates(data, recipe, evaluated, jobs=3)
    return data, evaluated, fits


def test_windows_walk_back_from_the_test_period_and_each_fit_ends_where_its_window_begins(made):
    data, _, fits = made
    test = data.evaluation.split.test
    assert len(fits) == 3
    for place, fit in enumerate(fits):
        own, earlier = fit.data.split.test, timedelta(days=14 * place)
        assert (own.begins, own.ends) == (test.begins - earlier, test.ends - earlier)
    assert (fits[0].tested == np.flatnonzero(data.evaluation.part == TEST)).all()
    assert all(fit.learnt_until == fit.data.split.test.begins for fit in fits)
    learnt = [fit.positives for fit in fits]
    assert learnt == sorted(learnt, reverse=True)
    assert data.tested[-1].split.test.begins == fits[-1].data.split.test.begins


def test_a_fit_of_an_earlier_date_is_the_one_that_would_have_been_deployed_then(world, made):
    fit = made[2][0]
    config = configure(0, test_days=7, label_delay_days=7)
    then = train_model(TrainingTask(world[0], fit.data.split.test.begins, TARGET, config))
    assert then.final.trees.text == fit.trees.text
    assert then.final.fitted.vocabularies == fit.fitted.vocabularies


def test_fewer_dates_are_judged_where_earlier_ones_have_too_little_to_learn_from(world):
    tables, _ = world
    as_of = tables.consignments["received_at"].max().ceil("D").to_pydatetime()
    outcomes, begins = tables.outcomes, tables.consignments["received_at"].min()
    late = ~(outcomes["known_at"] < begins + timedelta(days=50))
    rare = outcomes.assign(result=outcomes["result"].where(late, "clear"))
    data = build_training_data(ObservedTables(tables.consignments, rare, as_of), TARGET, CONFIG)
    assert len(data.origins) < 3


def test_figures_count_what_each_fit_ranks_at_the_top_of_its_own_window(world, made):
    data, evaluated, fits = made
    parts = SplitFeatures(data.final, evaluated.matrix)
    true = get_true_labels(parts.frame["consignment_id"], world[1], TARGET)
    served = calibrate_origins(fits, CONFIG, evaluated.unseen)
    deployed = evaluate_deployed(served, parts, CONFIG.evaluation, true)
    recipe, known = deployed.recipe, data.final.labels.positive
    assert [row["windows"] for row in deployed.ages] == [3, 2, 1]
    assert [row["from"] for row in deployed.origins] == [fit.window for fit in fits]
    windows = np.concatenate([fit.tested for fit in fits])
    assert recipe.model.counts.known == int(known[windows].sum()) > 0
    assert sum(row["positives"] for row in deployed.origins) == recipe.model.counts.known
    # By hand: of each window the best hundredth by its own fit.
    best = [fit.tested[np.argsort(-fit.raw[0], kind="stable")[: len(fit.tested) // 100]] for fit in fits]
    assert recipe.model.counts.found["1pct"] == pytest.approx(known[np.concatenate(best)].sum(), abs=1.0)
    assert set(recipe.baselines) == {"random", "rules", "best_feature", "logistic"}
    assert "fitted at 3 dates on" in deployed.sentences[0]
    more = evaluate_deployed(served, parts, msgspec.structs.replace(CONFIG.evaluation, origins=4), true)
    said = "fitted at 3 dates (of 4 asked for: at earlier ones too few results were known)"
    assert said in more.sentences[0]


@pytest.mark.slow
def test_the_same_finds_weigh_the_same_whatever_the_settings(world, made):
    """So the fixed rules have the same figures in the reports of two recipes."""
    own = {"history": {"keys": [["hs_code", "departure_country"]]}, "model": {"trees": 3, "seed": 2}}
    both = made, fit_origins(world[0], configure(3, own | {"weights": {"background_share": 0.3}}))
    rules = []
    for data, evaluated, fits in both:
        deployed = evaluate_deployed(fits, SplitFeatures(data.final, evaluated.matrix), CONFIG.evaluation)
        assert deployed.recipe.model.counts.known > 0
        rules.append(deployed.recipe.baselines["rules"].metrics)
    assert rules[0] == rules[1]


def test_probabilities_are_those_that_each_date_would_have_served(world, made):
    """The earliest date has no earlier scores to calibrate with; a result that became known after a date changes nothing of it."""
    data, evaluated, fits = made
    served = calibrate_origins(fits, CONFIG, evaluated.unseen)
    assert np.isnan(served[-1].predict()).all()
    latest = served[0].predict()
    assert ((latest > 0) & (latest < 1)).all()
    cut = fits[0].data.split.test.begins
    outcomes = data.evaluation.observed.outcomes
    later = outcomes["known_at"] >= cut
    assert later.any()
    opposite = outcomes["result"].map({"clear": "controlled_drug"}).fillna("clear")
    swapped = outcomes.assign(result=outcomes["result"].where(~later, opposite))
    tables, _ = world
    others = fit_origins(Tables(tables.consignments, swapped, tables.alerts))
    assert others[1].model.trees.text == evaluated.model.trees.text, "nor of the evaluation fit"
    assert others[1].model.calibration == evaluated.model.calibration
    # The history of rows within the window changes with the results; the calibration of that date does not.
    again = calibrate_origins(others[2], CONFIG, others[1].unseen)
    assert again[0].model.calibration == served[0].model.calibration
