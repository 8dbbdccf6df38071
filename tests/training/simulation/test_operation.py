"""The simulated world: what must hold for a model that is measured in it to mean something."""

from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from consignments.errors import BadInput, UnknownName
from consignments.identifiers import has_valid_check_digit
from consignments.records import Alert, Consignment, Outcome, Truth, get_fields
from consignments.tables import check_frame
from training.simulation.operation import Simulation, simulate
from training.simulation.parameters import load_parameters
from training.simulation.targeting import TargetingCentre

REPOSITORY = Path(__file__).resolve().parents[3]
TABLES = {"consignments": Consignment, "outcomes": Outcome, "alerts": Alert, "truth": Truth}


@pytest.fixture(scope="module")
def world(enriched):
    return enriched.tables


@pytest.fixture(scope="module")
def chosen(world):
    """The first outcome of each consignment that was chosen, with the time of its arrival."""
    arrived = world.consignments[["consignment_id", "received_at"]]
    return world.outcomes.drop_duplicates("consignment_id").merge(arrived)


@pytest.fixture(scope="module")
def lane(lived_lane):
    return lived_lane.tables


def start(days, per_day, seed, parameters=None):
    given = parameters or load_parameters()
    return Simulation(given, days=days, per_day=per_day, prevalence="operation", seed=seed)


def holds(simulated, result):
    return (simulated.truth["result"] == result).to_numpy(dtype=bool)


@pytest.mark.parametrize("name", TABLES)
def test_each_table_has_the_columns_of_its_record_and_no_bad_row(world, name):
    frame = getattr(world, name)
    assert list(frame.columns) == [field.name for field in get_fields(TABLES[name])]
    assert len(check_frame(frame, TABLES[name]).frame) == len(frame)


def test_volume_and_prevalence_are_what_the_preset_says(lane):
    assert len(lane.consignments) == pytest.approx(60 * 320, rel=0.08)
    shares = {"nps": (5e-3, 0.4), "controlled_drug": (5e-3, 0.4), "other_offence": (4e-2, 0.2)}
    for result, (share, tolerance) in shares.items():
        assert holds(lane, result).mean() == pytest.approx(share, rel=tolerance), result


def test_each_arrival_comes_once_in_the_order_of_time_and_has_a_truth(world):
    ids = world.consignments["consignment_id"]
    assert world.consignments["received_at"].is_monotonic_increasing
    assert ids.is_unique
    assert set(world.outcomes["consignment_id"]) <= set(ids)
    assert list(world.truth["consignment_id"]) == list(ids)


def test_times_of_an_outcome_follow_each_other_and_what_was_missed_was_not_opened(world, chosen):
    outcomes = world.outcomes.merge(world.consignments[["consignment_id", "received_at"]])
    steps = [outcomes[name] for name in ("received_at", "selected_at", "inspected_at", "known_at")]
    for before, after in pairwise(steps):
        both = before.notna() & after.notna()
        assert both.sum() > 100
        assert (before[both] <= after[both]).all()
    missed = world.outcomes[world.outcomes["status"] == "missed"]
    assert missed[["result", "inspected_at"]].isna().all(axis=None)
    assert (chosen["status"] == "missed").mean() == pytest.approx(0.12, abs=0.05)


def test_identifiers_have_the_form_of_their_channel_and_houses_that_of_their_master(world):
    ids = world.consignments["consignment_id"]
    checks = ids.map(has_valid_check_digit)
    assert checks.notna().all()
    assert 0.99 < checks.mean() < 1.0
    assert (ids.str.contains("-") == (world.consignments["channel"] == "air_cargo")).all()
    houses = world.consignments[ids.str.contains("/")]
    assert (houses["consignment_id"].str.split("/").str[0] == houses["master_id"]).all()
    assert houses.groupby("master_id").size().max() > 10


def test_parties_that_history_knows_are_worth_more_than_unknown_ones(lane):
    """Addresses and phones of which a tenth held NPS in the first half point to NPS in the second, not surely."""
    positive, half = holds(lane, "nps"), len(lane.consignments) // 2
    before, after = lane.consignments[:half], lane.consignments[half:]
    listed = np.zeros(len(after), dtype=bool)
    for name in ("sender_address", "sender_phone", "consignee_address", "consignee_phone"):
        rates = pd.Series(positive[:half]).groupby(before[name].to_numpy()).mean()
        listed |= after[name].isin(rates.index[rates > 0.1]).to_numpy()
    found = positive[half:]
    assert 10 * found[~listed].mean() < found[listed].mean() < 0.9
    assert 0.1 < listed[found].mean() < 0.9


def test_some_examinations_never_end_and_some_results_are_corrected(lane):
    outcomes = lane.outcomes
    pending = set(outcomes.loc[outcomes["result"] == "pending", "consignment_id"])
    known = outcomes[outcomes["known_at"].notna()]
    assert 0 < len(pending - set(known["consignment_id"])) < 0.12 * len(pending)
    assert 0 < known["consignment_id"].duplicated().mean() < 0.04


def test_chance_is_logged_with_its_exact_probability_and_nothing_else_is(chosen):
    random, usual = chosen[chosen["selected_by"] == "random"], 0.02 * 0.05
    expected = np.where(random["operation"].notna(), 2 * usual, usual)
    assert set(expected) == {usual, 2 * usual}
    assert random["selection_probability"].to_numpy() == pytest.approx(expected)
    assert chosen.loc[chosen["selected_by"] != "random", "selection_probability"].isna().all()
    assert set(chosen["selected_by"]) == {"random", "rule", "officer", "intelligence"}


def test_what_partners_name_is_opened_beyond_the_capacity():
    simulation, tipped = start(days=40, per_day=400, seed=2), set()
    for day in range(12):
        arrivals = simulation.simulate_arrivals(day)
        named = set(arrivals.columns["consignment_id"][arrivals.tipped])
        outcomes = simulation.inspect(arrivals)
        assert named == {each.consignment_id for each in outcomes if each.selected_by == "intelligence"}
        tipped |= named
    assert tipped


def test_after_its_first_days_a_model_and_officers_choose_too():
    """What the model learnt from is what was opened; it takes half of what is left to rules and model."""
    soon = load_parameters().replace(inspection={"rules_only_days": 20})
    simulated = simulate(soon, days=45, per_day=300, seed=2)
    arrived = simulated.consignments.set_index("consignment_id")["received_at"]
    chosen = simulated.outcomes.drop_duplicates("consignment_id")
    early = chosen["consignment_id"].map(arrived) < arrived.min().floor("D") + pd.Timedelta(days=20)
    assert "model" not in set(chosen.loc[early, "selected_by"])
    shares = chosen.loc[~early, "selected_by"].value_counts(normalize=True)
    assert shares["model"] == pytest.approx(shares["rule"], rel=0.3)
    assert shares["officer"] > 0.15


def test_capacity_is_kept_and_doubles_in_the_operation(world, chosen):
    arrived = world.consignments["received_at"].dt.floor("D").value_counts()
    day = chosen["received_at"].dt.floor("D")
    opened, on = day.value_counts(), arrived.index.isin(day[chosen["operation"].notna()])
    for days, share in ((arrived[~on], 0.02), (arrived[on], 0.04)):
        assert opened.reindex(days.index).sum() / days.sum() == pytest.approx(share, rel=0.1)


def test_what_is_missing_depends_on_how_it_was_sent(world):
    missing = world.consignments.isna().groupby(world.consignments["service"]).mean()
    packets, express = missing.loc["small_packet"], missing.loc["express"]
    assert packets["hs_code"] > 0.4
    assert express["hs_code"] < 0.1
    assert packets["description"] > 2 * express["description"] + 0.05
    assert missing.loc["general", "consignee_address"] < 0.02


def test_the_operation_gets_seven_alerts_around_its_days(world):
    told = world.alerts["text"].str.startswith("newsletter: ")
    alerts, newsletters = world.alerts[~told], world.alerts[told]
    assert len(alerts) == 7
    assert (alerts["issued_at"] < alerts["expires_at"]).all()
    patterns = ["description_pattern", "sender_name", "consignee_address", "departure_country"]
    assert alerts[patterns].notna().any(axis="columns").all()
    assert 0 < len(newsletters) <= 6
    assert newsletters[patterns].isna().all(axis=None)


def test_a_world_that_ends_on_another_date_is_the_same_but_for_whole_weeks(world):
    moved = world.end_by(date(2026, 11, 24))
    assert date(2026, 11, 18) <= moved.consignments["received_at"].max().date() <= date(2026, 11, 24)
    (weeks_later,) = {
        shift
        for table in ("consignments", "outcomes", "alerts")
        for column in getattr(world, table).select_dtypes("datetimetz")
        for shift in (getattr(moved, table)[column] - getattr(world, table)[column]).dropna().unique()
    }
    assert weeks_later % pd.Timedelta(weeks=1) == pd.Timedelta(0)
    opened = [frame["account_opened_on"].dropna() for frame in (world.consignments, moved.consignments)]
    assert set((opened[1] - opened[0]).unique()) == {weeks_later.to_pytimedelta()}
    untimed = ["consignment_id", "description", "sender_name", "declared_value"]
    pd.testing.assert_frame_equal(moved.consignments[untimed], world.consignments[untimed])
    assert moved.truth is world.truth
    for name, record in TABLES.items():
        assert check_frame(getattr(moved, name), record).rejects == ()


def test_what_officers_do_does_not_change_what_honest_people_send():
    """The streams of chance are apart, so that policies are compared in one world: declarations, tips, pictures and all."""

    class Idle(TargetingCentre):
        def inspect(self, draws, arrivals):
            return []

    def live(simulation):
        days, sent = [], []
        for day in range(40):
            arrivals = simulation.simulate_arrivals(day)
            simulation.inspect(arrivals)
            told = pd.DataFrame(arrivals.columns)
            told["tipped"], told["pictured"] = arrivals.tipped, arrivals.pictured
            days.append(told[arrivals.shipments.network < 0])
            sent.append(int((arrivals.shipments.network >= 0).sum()))
        return pd.concat(days, ignore_index=True), sent

    busy, idle = (start(days=40, per_day=150, seed=8) for _ in range(2))
    idle.inspections = Idle(idle.context, operation_day=0)
    (one, theirs), (other, changed) = live(idle), live(busy)
    pd.testing.assert_frame_equal(one, other)
    assert theirs != changed, "networks did answer to what was seized"


def test_a_network_that_is_left_alone_sends_the_same_whatever_happens_to_others():
    def send(hit):
        simulation = start(days=20, per_day=300, seed=8)
        weights: dict[int, list[float]] = {}
        for day in range(20):
            if hit is not None:
                simulation.networks.record_seizure(np.random.default_rng(day), hit, day)
            shipments = simulation.simulate_arrivals(day).shipments
            for network, kg in zip(shipments.network.tolist(), shipments.kg.tolist(), strict=True):
                weights.setdefault(network, []).append(kg)
        return weights

    alone, among = send(None), send(2)
    assert alone.pop(2) != among.pop(2)
    assert alone == among


def test_what_networks_send_travels_with_honest_mail_and_freight():
    """Else a receptacle or a master waybill of its own would give it away."""
    simulation, among, alone = start(days=10, per_day=400, seed=2), 0, 0
    for day in range(10):
        arrivals = simulation.simulate_arrivals(day)
        masters = pd.Series(arrivals.columns["master_id"])
        theirs = arrivals.shipments.network >= 0
        mine = masters[theirs & (arrivals.shipments.master < 0)].dropna()
        shared = mine.isin(set(masters[~theirs].dropna()))
        among, alone = among + shared.sum(), alone + (~shared).sum()
    assert among > 2 * alone > 0


def test_after_its_event_a_cover_and_an_origin_are_out_of_use_and_the_others_came():
    """The shifts last: a network that changes its ways after a seizure does not go back to what is gone."""
    world = load_parameters().replace(events={"cover_shift": {"day": 10}, "origin_shift": {"day": 10}})
    simulation, covers, origins = start(days=60, per_day=20, seed=3, parameters=world), [], []
    networks, countries = simulation.networks.networks, simulation.context.parties.countries
    draws = np.random.default_rng(0)
    for day in range(50):
        for network in networks if day else ():
            simulation.networks.record_seizure(draws, network.number, day)
        simulation.simulate_arrivals(day)
        covers.append({each.cover for each in networks})
        origins.append({countries[each.origin] for each in networks if "cathinone" in each.families})
    shifts = ((covers, "industrial_chemical", "cosmetic_or_supplement"), (origins, "CN", "IN"))
    for used, gone, came in shifts:
        assert gone in used[0]
        assert not any(gone in each for each in used[10:])
        assert came in used[49]


def test_a_controlled_family_falls_to_its_part_and_the_substitute_makes_up_for_it():
    world = load_parameters().replace(events={"class_control": {"day": 0, "over": 1}})
    networks = start(days=9, per_day=50, seed=1, parameters=world).networks
    draws = np.random.default_rng(0)
    names = [networks.draw_substance(draws, "nitazene", since_start=5) for _ in range(2000)]
    assert np.mean([name == "cychlorphine" for name in names]) == pytest.approx(0.6, abs=0.05)
    assert networks.draw_substance(draws, "nitazene", since_start=-1) != "cychlorphine"


def test_the_substance_of_the_event_is_in_no_list_that_is_shipped():
    new = load_parameters().events.new_substance.name
    assert new.casefold() not in (REPOSITORY / "features" / "goods" / "lexicon.csv").read_text().casefold()


def test_an_unknown_preset_or_an_empty_world_is_refused():
    with pytest.raises(UnknownName, match="did you mean 'enriched'"):
        simulate(days=1, per_day=1, prevalence="enrichd")
    with pytest.raises(BadInput, match="days and traffic"):
        simulate(days=0, per_day=10)


def read_specification(folder, text):
    (folder / "spec.toml").write_text(text)
    return load_parameters(folder / "spec.toml")


def test_a_specification_replaces_what_it_names_and_nothing_else(tmp_path):
    changed, usual = read_specification(tmp_path, "[laboratory]\nnever = 0.5\n"), load_parameters()
    assert changed.laboratory.never == 0.5
    assert changed.laboratory.log_days == usual.laboratory.log_days
    assert changed.services == usual.services
    whole = 'replaced = ["entities.origins"]\n[entities.origins]\nNL = 1.0\n'
    entities = read_specification(tmp_path, whole).entities
    assert entities.origins == {"NL": 1.0}, "a table that is replaced as a whole keeps none of its entries"
    assert entities.shipper_types == usual.entities.shipper_types
