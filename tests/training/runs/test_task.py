from datetime import timedelta

import pandas as pd
import pytest

from features.batch import Tables
from features.streams import FeatureInputs
from training.config import parse_config
from training.fitting.diagnostics import DiagnosticsOptions
from training.fitting.search import SearchBudget
from training.runs.task import TrainingTask, find_day_after_last_event
from training.simulation.operation import simulate


@pytest.fixture(scope="module")
def world():
    return simulate(days=20, per_day=20, prevalence="operation", seed=5)


@pytest.fixture(scope="module")
def tables(world):
    return Tables(world.consignments, world.outcomes, world.alerts)


def find_midnight_after(last: pd.Timestamp) -> pd.Timestamp:
    return last.normalize() + timedelta(days=1)


def test_the_default_date_is_the_midnight_after_the_last_event(tables):
    arrivals = FeatureInputs.from_tables(Tables(tables.consignments))
    last = tables.consignments["received_at"].max()
    assert find_day_after_last_event(arrivals) == find_midnight_after(last)
    last = tables.outcomes["known_at"].max()
    assert find_day_after_last_event(FeatureInputs.from_tables(tables)) == find_midnight_after(last)


def test_a_run_is_named_by_what_was_requested(tables, world):
    as_of = world.consignments["received_at"].max().ceil("D").to_pydatetime()
    assert TrainingTask(tables, as_of).build_title() == f"nps, as of {as_of:%Y-%m-%d}: plain"
    diagnostics = DiagnosticsOptions(ablation=True, search=SearchBudget(4))
    config = parse_config({"evaluation": {"origins": 2}})
    everything = TrainingTask(tables, as_of, "nps", config, world.truth, diagnostics)
    assert everything.build_title().endswith(": truth, trials 4, ablation, origins 2")
