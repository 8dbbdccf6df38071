"""Claims about what is known when: the same bits as a batch over what had become visible, and nothing later."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from support.examples import make_outcome

from consignments.records import Alert, Outcome
from consignments.tables import to_records
from consignments.visibility import compute_visible_us
from features.batch import Tables
from features.config import FeatureConfig
from features.streams import compute_feature_matrix
from training.policy_replay.observed_history import (
    ObservedHistory,
    select_final_results,
    select_outcomes_as_of,
)
from training.simulation.operation import simulate

DAYS = 24
MIDWAY = datetime(2024, 1, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def world():
    return simulate(days=DAYS, per_day=60, prevalence="operation", seed=3)


@pytest.fixture(scope="module")
def lived(world):
    """The knowledge after all days, and the rows that each day gave."""
    knowledge = ObservedHistory(FeatureConfig(), background=0.3, seed=1)
    day = world.consignments["received_at"].dt.floor("D")
    issued = world.alerts["issued_at"].dt.floor("D")
    seen = []
    for today, frame in world.consignments.groupby(day, sort=True):
        wanted = np.arange(len(frame)) % 2 == 0
        alerts = to_records(world.alerts[issued == today], Alert)
        seen.append(knowledge.add_arrivals(frame, alerts, wanted)[wanted])
        opened = world.outcomes[world.outcomes["consignment_id"].isin(frame["consignment_id"])]
        knowledge.keep_features(np.flatnonzero(wanted).tolist())
        knowledge.schedule_outcomes(to_records(opened, Outcome))
    return knowledge, np.concatenate(seen)


def kept_of(world):
    place = world.consignments.groupby(world.consignments["received_at"].dt.floor("D")).cumcount()
    return (place % 2 == 0).to_numpy()


def test_what_is_read_day_by_day_is_what_a_batch_reads_to_the_bit(world, lived):
    assert world.consignments["cancelled_at"].notna().any()
    tables = Tables(world.consignments, world.outcomes, world.alerts)
    matrix = compute_feature_matrix(tables, keep=kept_of(world))
    assert np.array_equal(lived[1], matrix.X, equal_nan=True)
    assert np.nanmax(matrix.X[:, matrix.spec.get_column("history.sender.inspections_ever")]) > 0


def test_kept_features_are_those_of_the_day(world, lived):
    known = lived[0].get_state(MIDWAY)
    assert (known.consignments["received_at"] < MIDWAY).sum() == len(known.consignments) > 0
    inside = kept_of(world)[: len(known.consignments)]
    assert (known.offered == inside).all()
    again = known.features.unfitted
    assert np.array_equal(again.rows, np.flatnonzero(inside))
    assert np.array_equal(again.X, lived[1][: inside.sum()], equal_nan=True)


def test_no_cancellation_or_outcome_after_the_moment_is_known(world, lived):
    known = lived[0].get_state(MIDWAY)
    us = int(MIDWAY.timestamp() * 1_000_000)
    assert 0 < len(known.outcomes) < len(world.outcomes)
    assert (compute_visible_us(known.outcomes) <= us).all()
    # A moment between an arrival and its withdrawal.
    waits = world.consignments["cancelled_at"] - world.consignments["received_at"]
    withdrawn = world.consignments.loc[waits.idxmax()]
    between = (withdrawn["received_at"] + waits.max() / 2).to_pydatetime()
    earlier = lived[0].get_state(between).consignments
    mine = earlier["consignment_id"] == withdrawn["consignment_id"]
    assert mine.any()
    assert earlier.loc[mine, "cancelled_at"].isna().all()


def outcome(name, result, known_day, selected_day=1):
    """Days count from 1 January 2024."""
    days = {"selected_at": selected_day, "inspected_at": selected_day + 1, "known_at": known_day}
    times = {what: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number) for what, number in days.items()}
    return make_outcome(name, result=result, substance="3-CMC", **times)


def test_what_waits_for_the_laboratory_is_pending_and_tells_nothing_else():
    (waiting,) = select_outcomes_as_of([outcome("A", "nps", 20)], MIDWAY)
    assert (waiting.result, waiting.status) == ("pending", "inspected")
    assert (waiting.known_at, waiting.inspected_at, waiting.substance) == (None, None, None)
    assert select_final_results([waiting]) == {}


def test_what_is_chosen_or_corrected_later_is_not_there():
    assert select_outcomes_as_of([outcome("A", "nps", 30, selected_day=20)], MIDWAY) == []
    both = [outcome("A", "controlled_drug", 5), outcome("A", "nps", 20)]
    assert select_outcomes_as_of(both, MIDWAY) == both[:1]
    assert select_final_results(both) == {"A": "nps"}


def test_background_depends_on_the_identifier_and_the_seed_alone():
    names = [f"C{number}" for number in range(4000)]
    one, other = (ObservedHistory(FeatureConfig(), background=0.3, seed=seed) for seed in (1, 2))
    drawn = one.is_background(names)
    assert drawn.mean() == pytest.approx(0.3, abs=0.03)
    assert (one.is_background(names[::-1]) == drawn[::-1]).all()
    assert (other.is_background(names) != drawn).any()
