"""The recipe at earlier dates, as it is deployed."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from features.batch import Tables
from training.config import parse_config
from training.data.splits import TEST
from training.data.table_features import TableFeatures
from training.data.training_set import ObservedTables, get_true_labels
from training.evaluation.metrics import compute_capacity_curve
from training.fitting.deployed import build_training_data, fit_at_dates, judge_origins
from training.fitting.fit import FitTask, SplitFeatures, fit_evaluation
from training.runs.task import TrainingTask
from training.runs.train import train_model
from training.simulation.operation import simulate

CONFIG = parse_config(
    {
        "split": {"validation_days": 14, "test_days": 14, "label_delay_days": 10},
        "model": {"trees": 12},
        "evaluation": {"resamples": 20, "name_rows": 60, "origins": 3},
    }
)
TARGET = "any_offence"


@pytest.fixture(scope="module")
def world():
    made = simulate(days=90, per_day=100, prevalence="operation", seed=6)
    return Tables(made.consignments, made.outcomes, made.alerts), made.truth


@pytest.fixture(scope="module")
def made(world):
    """The data sets of a run, the fits of its dates, and the features of all."""
    tables, _ = world
    as_of = tables.consignments["received_at"].max().ceil("D").to_pydatetime()
    data = build_training_data(ObservedTables(tables.consignments, tables.outcomes, as_of), TARGET, CONFIG)
    source = TableFeatures.from_tables(tables, CONFIG.features, as_of)
    evaluated = fit_evaluation(FitTask(data.evaluation, source, CONFIG), also=data.keep)
    return (
        data,
        evaluated,
        fit_at_dates(data, FitTask(data.final, source, CONFIG), evaluated.matrix, jobs=3)[0],
    )


def test_windows_walk_back_from_the_test_period_and_each_fit_ends_where_its_window_begins(made):
    data, _, fits = made
    test = data.evaluation.split.test
    assert len(fits) == 3
    assert [(fit.origin.begins, fit.origin.ends) for fit in fits] == [
        (test.begins - timedelta(days=14 * place), test.ends - timedelta(days=14 * place))
        for place in range(3)
    ]
    assert (fits[0].origin.window == np.flatnonzero(data.evaluation.part == TEST)).all()
    assert all(fit.grown.learnt_until == fit.origin.begins for fit in fits)
    learnt = [fit.grown.positives for fit in fits]
    assert learnt == sorted(learnt, reverse=True)
    assert data.reported_from == fits[-1].origin.begins


def test_a_fit_of_an_earlier_date_is_the_one_that_would_have_been_deployed_then(world, made):
    """Nothing of later weeks has taken part: training on that day gives the same trees to the last byte."""
    fit = made[2][0]
    then = train_model(
        TrainingTask(
            world[0],
            fit.origin.begins,
            TARGET,
            replace_origins(0),
        )
    )
    assert then.deployed is None
    assert then.final.grown.trees.text == fit.grown.trees.text
    assert then.final.grown.fitted.vocabularies == fit.grown.fitted.vocabularies


def replace_origins(count):
    return parse_config(
        {
            "split": {"validation_days": 14, "test_days": 7, "label_delay_days": 7},
            "model": {"trees": 12},
            "evaluation": {"resamples": 20, "name_rows": 60, "origins": count},
        }
    )


def test_fewer_dates_are_judged_where_earlier_ones_have_too_little_to_learn_from(world):
    tables, _ = world
    as_of = tables.consignments["received_at"].max().ceil("D").to_pydatetime()
    outcomes, begins = tables.outcomes, tables.consignments["received_at"].min()
    late = ~(outcomes["known_at"] < begins + timedelta(days=50))
    rare = outcomes.assign(result=outcomes["result"].where(late, "clear"))
    data = build_training_data(ObservedTables(tables.consignments, rare, as_of), TARGET, CONFIG)
    assert len(data.origins) < 3


def test_all_windows_are_judged_together_and_by_the_age_of_the_model(world, made):
    data, evaluated, fits = made
    tables, truth = world
    parts = SplitFeatures(data.final, evaluated.matrix)
    test = SplitFeatures(data.evaluation, evaluated.matrix)
    mine = test.select_part(TEST)
    weight = test.estimate_result_weights(mine, CONFIG.model.seed)[mine]
    true = get_true_labels(tables.consignments["consignment_id"], truth, TARGET)
    judged = judge_origins(fits, parts, CONFIG, weight, true)
    assert judged.truth is not None
    assert [row["windows"] for row in judged.ages] == [3, 2, 1]
    assert judged.ages[0]["recall_at_1pct"] == judged.truth["recall_at_1pct"].value
    windows = np.concatenate([fit.origin.window for fit in fits])
    assert sum(row["positives"] for row in judged.origins) == int(true.positive[windows].sum())
    known = data.final.labels.positive
    assert judged.known == int(known[windows].sum()) > 0
    # By hand: of each window the best hundredth by its own fit.
    found = ranked = 0
    for fit in fits:
        best = fit.origin.window[np.argsort(-fit.raw[0], kind="stable")[: len(fit.origin.window) // 100]]
        found += int(true.positive[best].sum())
        ranked += int(known[best].sum())
    assert judged.best == ranked
    assert judged.truth["recall_at_1pct"].value == pytest.approx(
        found / true.positive[windows].sum(), abs=0.03
    )
    assert [len(each.rows) for each in judged.unseen] == [len(fit.origin.window) for fit in fits[::-1]]
    assert "fitted at 3 dates" in judged.sentence
    assert f"Of the {judged.known} known positives, {ranked} ranked in the top 1 %" in judged.sentence
    assert judged.positives == int(true.positive[windows].sum())
    assert judged.judged is judged.truth
    assert replace(judged, truth=None).judged is judged.evaluation
    assert set(judged.baselines) == {"random", "rules", "best_feature", "logistic"}
    assert judged.baselines["rules"]["roc_auc"].value != judged.truth["roc_auc"].value
    assert not [name for name in judged.flatten_metrics() if "calibration" in name]
    # The curves of the page are those of the same ranks.
    for traffic, evaluation in (
        (judged.traffic, judged.judged),
        *(
            (judged.traffic.replace_score(score), judged.baselines[name])
            for name, score in judged.scores.items()
        ),
    ):
        (point,) = compute_capacity_curve(traffic, np.array([0.01]), CONFIG.evaluation)["recall"]
        assert point.value == evaluation["recall_at_1pct"].value
