"""Claims about the loop: nobody peeks, the past is common, the same seed gives the same bytes, a kill loses nothing."""

import gc
from collections import Counter
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pytest
from support.replayed import CONFIG, MAKER, SETTINGS

from consignments.errors import BadInput
from consignments.files.folders import lock_folder
from consignments.records import Consignment, Outcome
from training.policy_replay.environments import SimulatedEnvironment, TrueResults, describe_simulation
from training.policy_replay.experiment import ExperimentPlan, run_experiment
from training.policy_replay.policies import POLICIES, Policy
from training.policy_replay.replay import PolicyReplay, ReplaySettings, train_model
from training.simulation.inspection_outcomes import InspectionChoice
from training.simulation.operation import Simulation
from training.simulation.parameters import load_parameters
from training.simulation.shipments import Shipments

SEED = 5
OPERATION_DAY = MAKER.first_day + dict(MAKER.events)["operation with doubled capacity"]

SHORT = ReplaySettings(capacity=2, warm_up_days=7, target="any_offence")
TWO_WEEKS = describe_simulation(None, days=14, per_day=20, prevalence="operation")


def replay(policy="greedy", *, maker=MAKER, settings=SETTINGS, seed=SEED, **more):
    chosen = policy if isinstance(policy, Policy) else POLICIES[policy]
    return PolicyReplay(maker.create(seed), chosen, settings, CONFIG, seed, **more)


def reachable(start):
    seen, todo = {}, [start]
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, (type, ModuleType, FunctionType)):
            continue
        seen[id(one)] = one
        todo += gc.get_referents(one)
    return list(seen.values())


class Lived(NamedTuple):
    """The tables of a replay, what its policy was offered and took, and when and with what of the future it was trained."""

    openings: pd.DataFrame
    asked: list[tuple[Any, list[InspectionChoice]]]
    moments: list[datetime]
    future: list[str]


@pytest.fixture(scope="module")
def greedy():
    lived = Lived(pd.DataFrame(), [], [], [])

    def watch(offer):
        lived.asked.append((offer, POLICIES["greedy"].choose(offer)))
        return lived.asked[-1][1]

    def peek(known, config, target):
        lived.moments.append(known.as_of)
        lived.future.extend(find_future(known))
        return train_model(known, config, target)

    openings, _ = replay(Policy("greedy", "", "model", watch), trainer=peek).run()
    return lived._replace(openings=openings)


WORLD = (TrueResults, Shipments, Simulation, SimulatedEnvironment, PolicyReplay)


def find_future(known):
    """List what a trainer gets of the future and of the truth."""
    found = [name for name in known.consignments if name == "truth"]
    assert 0 < (known.consignments["received_at"] < known.as_of).sum() == len(known.consignments)
    for one in reachable(known):
        if isinstance(one, pd.DataFrame):
            times = one.select_dtypes("datetimetz")
            found += [column for column in times if (times[column] > known.as_of).any()]
        elif isinstance(one, WORLD):
            found.append(type(one).__name__)
        elif (isinstance(one, Outcome) and one.known_at is not None and one.known_at > known.as_of) or (
            isinstance(one, Consignment) and (one.received_at >= known.as_of or one.cancelled_at is not None)
        ):
            found.append(one.consignment_id)
    return found


def test_a_trainer_gets_nothing_of_the_future_and_no_truth(greedy):
    assert len(greedy.moments) == 2
    assert greedy.future == []


def test_an_offer_leads_to_no_truth_and_to_no_outcome_and_cannot_be_changed(greedy):
    offer, _ = greedy.asked[-1]
    found = reachable(offer)
    assert any(isinstance(one, np.ndarray) for one in found)
    assert [one for one in found if isinstance(one, (Outcome, pd.DataFrame, *WORLD))] == []
    for values in (offer.X, offer.scores):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1


@pytest.mark.parametrize(
    ("choose", "error"),
    [(lambda offer, truth: truth, TypeError), (lambda offer: offer.truth, AttributeError)],
    ids=["by its argument", "in the offer"],
)
def test_a_policy_that_asks_for_the_truth_fails(choose, error):
    with pytest.raises(error, match="truth"):
        replay(Policy("ask", "", "features", choose), maker=TWO_WEEKS, settings=SHORT).run()


class Altered(SimulatedEnvironment):
    """The same world, but its truth is NPS everywhere, and so is what is inspected on the last three days."""

    def get_truth(self):
        truth = super().get_truth()
        return truth._replace(results=("nps",) * len(truth.results))

    def inspect(self, choices):
        late = self.arrivals.since_start >= self.days - 3
        change = msgspec.structs.replace
        found = super().inspect(choices)
        return [change(one, result="nps") if late and one.known_at else one for one in found]


def test_neither_the_truth_nor_what_becomes_known_later_changes_a_choice(greedy):
    create = MAKER.create
    altered = replace(MAKER, create=partial(Altered, *create.args, **create.keywords))
    one, (other, _) = greedy.openings, replay("greedy", maker=altered).run()
    columns = ["day", "consignment_id", "selected_by", "selection_probability", "score"]
    before = one["day"] <= MAKER.first_day + MAKER.days - 3
    early = other["day"].isin(one["day"][before])
    pd.testing.assert_frame_equal(one.loc[before, columns], other.loc[early, columns])
    assert (other["result"] == "nps").sum() > (one["result"] == "nps").sum()


def test_each_office_opens_its_capacity_and_twice_that_during_the_operation(greedy):
    own = greedy.openings[greedy.openings["within_capacity"] & ~greedy.openings["warm_up"]]
    cells = own.groupby(["day", "office"]).size().reset_index(name="opened")
    doubled = cells["day"] >= OPERATION_DAY
    assert set(cells.loc[~doubled, "opened"]) <= set(range(1, 5))
    assert (cells["opened"] == 4).sum() > 10
    assert cells["opened"].max() <= 8


@pytest.fixture(scope="module")
def others():
    """The tables of the operation as it was, and of a policy that knows the truth."""
    return {name: replay(name).run() for name in ("officer", "oracle")}


def test_all_policies_have_the_same_past(greedy, others):
    past, *same = (
        openings.loc[openings["warm_up"], ["consignment_id", "selected_by", "result"]].reset_index(drop=True)
        for openings in (greedy.openings, *(openings for openings, _ in others.values()))
    )
    for each in same:
        pd.testing.assert_frame_equal(each, past)


def test_the_operation_as_it_was_keeps_to_the_capacity(others):
    openings, _ = others["officer"]
    own = openings[openings["within_capacity"] & (openings["day"] < OPERATION_DAY)]
    assert set(own["selected_by"]) <= {"random", "rule", "model", "officer"}
    opened = own.groupby(["day", "office"]).size()
    assert Counter(opened).most_common(1)[0][0] == opened.max() == 4


def test_the_oracle_finds_most(greedy, others):
    oracle, positives = others["oracle"]
    mine, best = (each.loc[~each["warm_up"], "found"].sum() for each in (greedy.openings, oracle))
    assert best > mine
    assert positives["found"].sum() == oracle["found"].sum()


def test_what_an_inspection_finds_depends_on_the_consignment_alone():
    def inspect(step):
        world = MAKER.create(SEED)
        world.receive_day(0)
        rows = np.flatnonzero(~world.arrivals.tipped)[::step]
        outcomes = world.inspect([InspectionChoice(row, "random", 1.0) for row in rows.tolist()])
        return {(one.consignment_id, one.known_at): one.result for one in outcomes}

    every, third = inspect(1), inspect(3)
    assert len(every) > 30
    assert {None, "clear"} < set(every.values()), "each has draws of its own"
    assert third.items() <= every.items()


def compete(folder, *, settings=SHORT, seeds=(1,), **options):
    return run_experiment(ExperimentPlan(TWO_WEEKS, ["random"], seeds, settings, CONFIG), folder, **options)


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_jobs(tmp_path):
    def files(jobs):
        folder = tmp_path / str(jobs)
        compete(folder, seeds=[1, 2], jobs=jobs)
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert files(1) == files(2)


def test_a_finished_contest_is_read_and_not_lived_again_nor_taken_for_another(tmp_path, monkeypatch):
    told = []
    first = compete(tmp_path, progress=lambda _, done, total: told.append((done, total)))
    monkeypatch.setattr(PolicyReplay, "run", None)
    pd.testing.assert_frame_equal(first.openings, compete(tmp_path).openings)
    assert told == [(1, 1)]
    with pytest.raises(BadInput, match="another replay"):
        compete(tmp_path, settings=msgspec.structs.replace(SHORT, capacity=3))


def test_pictures_are_taken_of_what_a_policy_ranks_highest_and_wrong_ones_come_first(greedy):
    share, by_day, wrong = load_parameters().inspection.xray_share, {}, 0
    for offer, picks in greedy.asked:
        by_day.setdefault(offer.day, []).append((offer, picks))
    for *screenings, (offer, picks) in by_day.values():
        screened = set()
        for part, riskiest in screenings:
            assert not part.suspect.any()
            assert len(set(part.offices)) == 1
            assert len(riskiest) == max(1, round(share * len(part.offices)))
            screened |= {part.consignment_ids[pick.row] for pick in riskiest}
        suspects = {offer.consignment_ids[row] for row in np.flatnonzero(offer.suspect)}
        assert suspects <= screened < set(offer.consignment_ids)
        counts = Counter(offer.offices[row] for row in np.flatnonzero(offer.suspect))
        opened = {offer.consignment_ids[pick.row] for pick in picks}
        assert max(counts.values(), default=0) > offer.capacity or suspects <= opened
        wrong += len(suspects)
    assert wrong > 3


def test_who_chooses_by_lot_or_by_the_truth_has_no_pictures():
    offers = []

    def watch(offer, *truth):
        offers.append(offer)
        return POLICIES["random"].choose(offer)

    for name, sees in [("a", "nothing"), ("b", "truth")]:
        replay(Policy(name, "", sees, watch), maker=TWO_WEEKS, settings=SHORT).run()
    assert len(offers) == 2 * 7
    assert not any(offer.suspect.any() for offer in offers)


def test_two_runs_do_not_replay_in_one_folder(tmp_path):
    with lock_folder(tmp_path, "replay"), pytest.raises(BadInput, match="another run is writing this replay"):
        compete(tmp_path)
