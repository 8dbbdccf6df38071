"""Claims about the loop: nobody peeks, the past is common, the same seed gives the same bytes, a kill loses nothing."""

import gc
from collections import Counter
from types import FunctionType, ModuleType

import msgspec
import numpy as np
import pandas as pd
import pytest
from support.replayed import CONFIG, MAKER, SETTINGS

from consignments.errors import BadInput
from consignments.files.folders import lock_folder
from consignments.records import Outcome
from features.batch import Tables
from training.policy_replay.environments import (
    SimulatedEnvironment,
    TrueResults,
    describe_simulation,
    describe_tables,
)
from training.policy_replay.experiment import ExperimentPlan, run_experiment
from training.policy_replay.policies import POLICIES, Policy
from training.policy_replay.replay import PolicyReplay, ReplaySettings, train_model
from training.simulation.inspection_outcomes import InspectionChoice
from training.simulation.operation import Simulation, simulate
from training.simulation.parameters import load_parameters
from training.simulation.shipments import Shipments

SEED = 5


SHORT = ReplaySettings(capacity=2, warm_up_days=7, target="any_offence")
TWO_WEEKS = describe_simulation(None, days=14, per_day=20, prevalence="operation")


def replay(policy="greedy", *, maker=MAKER, settings=SETTINGS, seed=SEED, **more):
    chosen = policy if isinstance(policy, Policy) else POLICIES[policy]
    return PolicyReplay(maker.create(seed), chosen, settings, CONFIG, seed, **more)


def reachable(start):
    """Everything that references of data lead to."""
    seen, todo = {}, [start]
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, (type, ModuleType, FunctionType)):
            continue
        seen[id(one)] = one
        todo += gc.get_referents(one)
    return list(seen.values())


@pytest.fixture(scope="module")
def greedy():
    """The tables of the greedy policy, what it was offered, and when and with what of the future it was trained."""
    offers, moments, future = [], [], []

    def watch(offer):
        offers.append(offer)
        return POLICIES["greedy"].choose(offer)

    def peek(known, config, target):
        moments.append(known.as_of)
        future.extend(find_future(known))
        return train_model(known, config, target)

    tables = replay(Policy("greedy", "", "model", watch), trainer=peek).run()
    return (*tables, offers, moments, future)


def find_future(known):
    """List what a trainer gets of the future and of the truth."""
    found = [name for name in known.consignments if name == "truth"]
    for one in reachable(known):
        if isinstance(one, pd.DataFrame):
            times = one.select_dtypes("datetimetz")
            found += [column for column in times if (times[column] > known.as_of).any()]
        elif isinstance(one, (TrueResults, Shipments, Simulation, SimulatedEnvironment, PolicyReplay)):
            found.append(type(one).__name__)
        elif isinstance(one, Outcome) and one.known_at is not None and one.known_at > known.as_of:
            found.append(one.consignment_id)
    return found


def test_a_trainer_gets_nothing_of_the_future_and_no_truth(greedy):
    *_, moments, future = greedy
    assert len(moments) == 2
    assert future == []


def test_an_offer_leads_to_no_truth_and_to_no_outcome(greedy):
    found = reachable(greedy[2][-1])
    assert any(isinstance(one, np.ndarray) for one in found)
    hidden = (Outcome, TrueResults, Shipments, Simulation, SimulatedEnvironment, PolicyReplay, pd.DataFrame)
    assert [type(one).__name__ for one in found if isinstance(one, hidden)] == []


def test_a_policy_that_asks_for_the_truth_fails(tmp_path):
    def ask(offer, truth):
        return [InspectionChoice(row, "model", 1.0) for row in np.flatnonzero(np.array(truth) == "nps")]

    def look(offer):
        return [InspectionChoice(row, "model", 1.0) for row in np.flatnonzero(np.array(offer.truth) == "nps")]

    with pytest.raises(TypeError, match="truth"):
        replay(Policy("ask", "", "features", ask), maker=TWO_WEEKS, settings=SHORT).run()
    with pytest.raises(AttributeError, match="truth"):
        replay(Policy("look", "", "features", look), maker=TWO_WEEKS, settings=SHORT).run()


def test_an_offer_cannot_be_changed(greedy):
    with pytest.raises(ValueError, match="read-only"):
        greedy[2][0].X[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        greedy[2][0].scores[0] = 1


@pytest.fixture(scope="module")
def past():
    """Tables of a world in which nothing reacts."""
    return simulate(days=40, per_day=45, prevalence="operation", seed=2)


def given(past, truth=None):
    tables = Tables(past.consignments, past.outcomes, past.alerts)
    return describe_tables(tables, past.truth if truth is None else truth)


@pytest.fixture(scope="module")
def explored(past, tmp_path_factory):
    return replay("explore", maker=given(past)).run()[0]


def test_neither_the_truth_of_what_nobody_opened_nor_what_becomes_known_later_changes_a_choice(
    past, explored
):
    openings = explored
    late = openings["round"] >= int(openings["round"].max()) - 3
    ids = past.truth["consignment_id"]
    unopened = ~ids.isin(openings["consignment_id"])
    changed = unopened | ids.isin(openings.loc[late, "consignment_id"])
    truth = past.truth.assign(result=past.truth["result"].where(~changed, "nps"))
    again, positives = replay("explore", maker=given(past, truth)).run()
    pd.testing.assert_frame_equal(again[~late], openings[~late])
    assert len(positives) > unopened.sum() / 2


def test_each_office_opens_its_capacity_and_twice_that_during_the_operation(greedy):
    openings = greedy[0]
    own = openings[openings["within_capacity"] & ~openings["warm_up"]]
    cells = own.groupby(["round", "office"]).size().reset_index(name="opened")
    doubled = {
        number
        for number, day in enumerate(range(MAKER.days))
        if day >= dict(MAKER.events)["operation with doubled capacity"]
    }
    assert set(cells.loc[~cells["round"].isin(doubled), "opened"]) <= set(range(1, 5))
    assert (cells["opened"] == 4).sum() > 10
    assert cells["opened"].max() <= 8


def test_all_policies_have_the_same_past(tmp_path, greedy):
    columns = ["consignment_id", "selected_by", "result"]
    random, _ = replay("random").run()
    for one, other in [(random, greedy[0])]:
        past, same = (frame.loc[frame["warm_up"], columns].reset_index(drop=True) for frame in (one, other))
        pd.testing.assert_frame_equal(past, same)


def test_the_operation_as_it_was_keeps_to_the_capacity():
    openings, _ = replay("officer").run()
    begins = dict(MAKER.events)["operation with doubled capacity"]
    own = openings[openings["within_capacity"] & (openings["round"] < begins)]
    assert set(own["selected_by"]) <= {"random", "rule", "model", "officer"}
    assert Counter(own.groupby(["round", "office"]).size()).most_common(1)[0][0] == 4
    assert own.groupby(["round", "office"]).size().max() == 4


def test_what_an_opening_yields_depends_on_the_consignment_alone(past, tmp_path):
    plain = describe_tables(Tables(past.consignments), past.truth)
    settings = ReplaySettings(capacity=4, warm_up_days=1, target="any_offence")
    results = [replay(name, maker=plain, settings=settings).run()[0] for name in ("random", "oracle")]
    one, other = (frame.set_index("consignment_id")["result"].fillna("unknown") for frame in results)
    both = one.index.intersection(other.index)
    assert len(both) > 20
    assert (one[both] == other[both]).all()


def test_the_oracle_finds_most(tmp_path, greedy):
    oracle, positives = replay("oracle").run()
    assert oracle.loc[~oracle["warm_up"], "found"].sum() > greedy[0].loc[~greedy[0]["warm_up"], "found"].sum()
    assert positives["found"].sum() == oracle["found"].sum()


def test_a_folder_of_another_replay_is_refused(tmp_path):
    run_experiment(ExperimentPlan(TWO_WEEKS, ["random"], [1], SHORT, CONFIG), tmp_path)
    other = msgspec.structs.replace(SHORT, capacity=3)
    with pytest.raises(BadInput, match="another replay"):
        run_experiment(ExperimentPlan(TWO_WEEKS, ["random"], [1], other, CONFIG), tmp_path)


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_jobs(tmp_path):
    def files(jobs):
        folder = tmp_path / str(jobs)
        run_experiment(ExperimentPlan(TWO_WEEKS, ["random"], [1, 2], SHORT, CONFIG), folder, jobs=jobs)
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }

    assert files(1) == files(2)


def test_a_finished_contest_is_read_and_not_lived_again(tmp_path, monkeypatch):
    told = []

    def tell(what, done, total):
        told.append((done, total))

    plan = ExperimentPlan(TWO_WEEKS, ["random"], [1], SHORT, CONFIG)
    first = run_experiment(plan, tmp_path, progress=tell)
    monkeypatch.setattr(PolicyReplay, "run", None)
    again = run_experiment(plan, tmp_path)
    pd.testing.assert_frame_equal(first.openings, again.openings)
    assert told == [(1, 1)]


def test_pictures_are_taken_of_what_a_policy_ranks_highest_and_wrong_ones_come_first(tmp_path):
    share, asked, wrong = load_parameters().inspection.xray_share, [], 0

    def watch(offer):
        asked.append((offer, POLICIES["rules"].choose(offer)))
        return asked[-1][1]

    replay(Policy("rules", "", "features", watch)).run()
    by_day = {}
    for offer, picks in asked:
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
        assert max(counts.values(), default=0) > offer.capacity or suspects <= {
            offer.consignment_ids[pick.row] for pick in picks
        }
        wrong += len(suspects)
    assert wrong > 5


def test_who_chooses_by_lot_or_by_the_truth_and_who_replays_tables_has_no_pictures(tmp_path, past):
    offers = []

    def watch(offer, *truth):
        offers.append(offer)
        return POLICIES["random"].choose(offer)

    for name, sees, maker in [
        ("a", "nothing", MAKER),
        ("b", "truth", MAKER),
        ("c", "features", given(past)),
    ]:
        settings = msgspec.structs.replace(SETTINGS, warm_up_days=36)
        replay(Policy(name, "", sees, watch), maker=maker, settings=settings).run()
    assert len(offers) == 2 * (MAKER.days - 36) + 4
    assert not any(offer.suspect.any() for offer in offers)


def test_the_version_that_stood_when_the_list_was_drawn_up_is_replayed(past):
    one = past.consignments.iloc[[len(past.consignments) // 2]]
    noon = one["received_at"].dt.floor("D") + pd.Timedelta(hours=23, minutes=59)
    told = {"first": one["received_at"], "same day": noon, "next day": noon + pd.Timedelta(days=1)}
    versions = [one.assign(description=text, received_at=at) for text, at in told.items()]
    others = past.consignments.drop(index=one.index)
    amended = pd.concat([*versions, others], ignore_index=True)
    world = describe_tables(Tables(amended), past.truth).create(1)
    seen = pd.concat([world.receive_round(number)[0] for number in range(world.rounds)])
    mine = seen[seen["consignment_id"] == one["consignment_id"].item()]
    assert mine["description"].tolist() == ["same day"]


def test_a_truth_with_gaps_is_refused(past):
    with pytest.raises(BadInput, match="does not cover all consignments"):
        describe_tables(Tables(past.consignments), past.truth.head(5)).create(1)


def test_a_world_that_ends_within_the_warm_up_is_refused(tmp_path):
    with pytest.raises(BadInput, match="ends within the warm-up"):
        run_experiment(ExperimentPlan(TWO_WEEKS, ["random"], [1], SETTINGS, CONFIG), tmp_path)


def test_two_runs_do_not_replay_in_one_folder(tmp_path):
    plan = ExperimentPlan(TWO_WEEKS, ["random"], [1], SHORT, CONFIG)
    with lock_folder(tmp_path, "replay"), pytest.raises(BadInput, match="another run is writing this replay"):
        run_experiment(plan, tmp_path)
