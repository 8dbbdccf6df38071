from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest

from consignments.errors import BadInput
from features.batch import Tables
from features.streams import FeatureInputs
from training.config import parse_config
from training.fitting.diagnostics import DiagnosticsOptions, SearchBudget
from training.runs.task import TrainingTask, find_day_after_last_event
from training.simulation.operation import simulate


@pytest.fixture(scope="module")
def world():
    return simulate(days=20, per_day=20, prevalence="operation", seed=5)


@pytest.fixture(scope="module")
def tables(world):
    return Tables(world.consignments, world.outcomes, world.alerts)


def test_the_default_date_is_the_midnight_after_the_last_event(tables):
    def find(given):
        return find_day_after_last_event(FeatureInputs.from_tables(given)) - timedelta(days=1)

    assert find(Tables(tables.consignments)) == tables.consignments["received_at"].max().normalize()
    last = tables.outcomes["known_at"].max()
    assert find(tables) == last.normalize()
    # An inspection that is planned for a day to come moves nothing.
    outcomes = pd.concat([tables.outcomes, tables.outcomes.iloc[[0]]], ignore_index=True)
    planned = "pending", pd.NaT, last + timedelta(days=30)
    outcomes.loc[len(outcomes) - 1, ["result", "known_at", "inspected_at"]] = planned
    assert find(replace(tables, outcomes=outcomes)) == last.normalize()


def test_a_run_is_named_by_what_was_requested(tables, world):
    as_of = world.consignments["received_at"].max().ceil("D").to_pydatetime()
    assert TrainingTask(tables, as_of).build_title() == f"nps, as of {as_of:%Y-%m-%d}: plain"
    diagnostics = DiagnosticsOptions(ablation=("groups",), search=SearchBudget(4))
    config = parse_config({"evaluation": {"origins": 2}})
    everything = TrainingTask(tables, as_of, "nps", config, world.truth, diagnostics)
    assert everything.build_title().endswith(": truth, trials 4, ablation, origins 2")


def test_swapped_results_are_refused_with_their_numbers(tables):
    first = tables.outcomes[tables.outcomes["known_at"].notna()].iloc[[0] * 60]
    ids, results = tables.consignments["consignment_id"].iloc[:60].array, ["nps"] * 12 + ["clear"] * 48
    found = first.assign(consignment_id=ids, selected_by="model", result=results)
    TrainingTask(Tables(tables.consignments, found)).check()
    swapped = found.assign(result=found["result"].replace({"nps": "clear", "clear": "nps"}))
    told = r"target nps: more than half.*got 80.0 % of 60 results: nps 48, clear 12; expected at most 50.0 %.*not swapped"
    with pytest.raises(BadInput, match=told):
        TrainingTask(Tables(tables.consignments, swapped)).check()
