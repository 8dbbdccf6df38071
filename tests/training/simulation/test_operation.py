"""The simulated world: what must hold for a model that is measured in it to mean something."""

from datetime import date
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from benchmarks.realism import SimulatedPeriod
from consignments.errors import BadInput, BadSetting, UnknownName
from consignments.identifiers import has_valid_check_digit
from consignments.records import Alert, Consignment, Outcome, Truth, get_fields
from consignments.tables import check_frame
from training.simulation.operation import SimulatedTables, Simulation, simulate
from training.simulation.parameters import load_parameters
from training.simulation.shipments import SimulatedDay
from training.simulation.targeting import TargetingCentre

REPOSITORY = Path(__file__).resolve().parents[3]
TABLES = {"consignments": Consignment, "outcomes": Outcome, "alerts": Alert, "truth": Truth}


@pytest.fixture(scope="module")
def world() -> SimulatedTables:
    return simulate(days=60, per_day=250, prevalence="enriched", seed=1)


@pytest.fixture(scope="module")
def lane(lived_lane: SimulatedPeriod) -> SimulatedTables:
    """A lane with five NPS in a thousand, so that figures about NPS rest on more than a few."""
    return lived_lane.tables


def holds(simulated: SimulatedTables, result: str) -> NDArray[np.bool_]:
    return (simulated.truth["result"] == result).to_numpy(dtype=bool)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_world() -> None:
    def written(seed: int) -> list[bytes]:
        simulated = simulate(days=12, per_day=80, seed=seed)
        return [parquet(getattr(simulated, name)) for name in TABLES]

    first = written(4)
    assert written(4) == first
    assert all(other != one for other, one in zip(written(5)[:2], first[:2], strict=True))


def parquet(frame: pd.DataFrame) -> bytes:
    out = BytesIO()
    frame.to_parquet(out)
    return out.getvalue()


@pytest.mark.parametrize("name", TABLES)
def test_each_table_has_exactly_the_columns_of_its_record(world: SimulatedTables, name: str) -> None:
    assert list(getattr(world, name).columns) == [field.name for field in get_fields(TABLES[name])]


@pytest.mark.parametrize("name", TABLES)
def test_no_row_of_any_table_is_rejected(world: SimulatedTables, name: str) -> None:
    frame = getattr(world, name)
    assert len(check_frame(frame, TABLES[name]).frame) == len(frame)


def test_volume_and_prevalence_are_what_the_preset_says() -> None:
    simulated = simulate(days=80, per_day=200, prevalence="operation", seed=3)
    assert len(simulated.consignments) == pytest.approx(16_000, rel=0.08)
    assert holds(simulated, "nps").mean() == pytest.approx(5e-3, rel=0.4)
    assert holds(simulated, "controlled_drug").mean() == pytest.approx(5e-3, rel=0.4)
    assert holds(simulated, "other_offence").mean() == pytest.approx(4e-2, rel=0.2)


def test_arrivals_come_in_the_order_of_time(world: SimulatedTables) -> None:
    assert world.consignments["received_at"].is_monotonic_increasing
    assert world.consignments["consignment_id"].is_unique


def test_every_outcome_belongs_to_a_consignment_and_every_consignment_has_a_truth(
    world: SimulatedTables,
) -> None:
    ids = set(world.consignments["consignment_id"])
    assert set(world.outcomes["consignment_id"]) <= ids
    assert list(world.truth["consignment_id"]) == list(world.consignments["consignment_id"])


def test_times_of_an_outcome_follow_each_other(world: SimulatedTables) -> None:
    outcomes = world.outcomes.merge(world.consignments[["consignment_id", "received_at"]])
    steps = [outcomes[name] for name in ("received_at", "selected_at", "inspected_at", "known_at")]
    for before, after in pairwise(steps):
        both = before.notna() & after.notna()
        assert both.sum() > 100
        assert (before[both] <= after[both]).all()


def test_what_was_missed_has_no_result_and_was_never_opened(world: SimulatedTables) -> None:
    missed = world.outcomes[world.outcomes["status"] == "missed"]
    assert missed["result"].isna().all()
    assert missed["inspected_at"].isna().all()
    chosen = world.outcomes.drop_duplicates("consignment_id")
    assert (chosen["status"] == "missed").mean() == pytest.approx(0.12, abs=0.05)


def test_identifiers_have_the_form_of_their_channel_and_mostly_a_right_check_digit(
    world: SimulatedTables,
) -> None:
    checks = world.consignments["consignment_id"].map(has_valid_check_digit)
    assert checks.notna().all()
    assert 0.99 < checks.mean() < 1.0
    cargo = world.consignments["channel"] == "air_cargo"
    assert world.consignments.loc[cargo, "consignment_id"].str.contains("-").all()
    assert not world.consignments.loc[~cargo, "consignment_id"].str.contains("-").any()


def test_houses_of_one_master_waybill_share_its_number(world: SimulatedTables) -> None:
    houses = world.consignments[world.consignments["consignment_id"].str.contains("/")]
    assert (houses["consignment_id"].str.split("/").str[0] == houses["master_id"]).all()
    assert houses.groupby("master_id").size().max() > 10


def test_parties_that_history_knows_are_worth_more_than_unknown_ones(lane: SimulatedTables) -> None:
    """Addresses and phones of which a tenth held NPS in the first half point to NPS in the second, not surely."""
    positive, half = holds(lane, "nps"), len(lane.consignments) // 2
    before, after = lane.consignments[:half], lane.consignments[half:]
    listed = np.zeros(len(after), dtype=bool)
    for name in ("sender_address", "sender_phone", "consignee_address", "consignee_phone"):
        rates = pd.Series(positive[:half]).groupby(before[name].to_numpy()).mean()
        listed |= after[name].isin(rates.index[rates > 0.1]).to_numpy()
    found = positive[half:]
    assert found[listed].mean() > 10 * found[~listed].mean()
    assert found[listed].mean() < 0.9
    assert 0.1 < listed[found].mean() < 0.9


def test_some_examinations_never_end_and_some_results_are_corrected(lane: SimulatedTables) -> None:
    outcomes = lane.outcomes
    pending = set(outcomes.loc[outcomes["result"] == "pending", "consignment_id"])
    known = outcomes[outcomes["known_at"].notna()]
    assert 0 < len(pending - set(known["consignment_id"])) < 0.12 * len(pending)
    assert 0 < known["consignment_id"].duplicated().mean() < 0.04


def test_chance_is_logged_with_its_exact_probability_and_nothing_else_is(world: SimulatedTables) -> None:
    outcomes = world.outcomes.drop_duplicates("consignment_id")
    random = outcomes[outcomes["selected_by"] == "random"]
    usual = 0.02 * 0.05
    during = random["operation"].notna()
    assert random.loc[~during, "selection_probability"].to_numpy() == pytest.approx(usual)
    assert random.loc[during, "selection_probability"].to_numpy() == pytest.approx(2 * usual)
    assert outcomes.loc[outcomes["selected_by"] != "random", "selection_probability"].isna().all()
    assert set(outcomes["selected_by"]) == {"random", "rule", "officer", "intelligence"}


def test_what_partners_name_is_opened_beyond_the_capacity() -> None:
    simulation = Simulation(load_parameters(), days=40, per_day=400, prevalence="operation", seed=2)
    for day in range(12):
        arrivals = simulation.simulate_arrivals(day)
        chosen = {outcome.consignment_id: outcome.selected_by for outcome in simulation.inspect(arrivals)}
        named = set(arrivals.columns["consignment_id"][arrivals.tipped])
        assert named == {name for name, by in chosen.items() if by == "intelligence"}


def test_after_its_first_days_a_model_and_officers_choose_too() -> None:
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


def test_capacity_is_kept_and_doubles_in_the_operation(world: SimulatedTables) -> None:
    chosen = world.outcomes.drop_duplicates("consignment_id").merge(
        world.consignments[["consignment_id", "received_at"]]
    )
    arrived = world.consignments["received_at"].dt.floor("D").value_counts()
    opened = chosen["received_at"].dt.floor("D").value_counts()
    during = chosen.loc[chosen["operation"].notna(), "received_at"].dt.floor("D").unique()
    on = arrived.index.isin(during)
    assert opened.reindex(arrived.index[~on]).sum() / arrived[~on].sum() == pytest.approx(0.02, rel=0.1)
    assert opened.reindex(arrived.index[on]).sum() / arrived[on].sum() == pytest.approx(0.04, rel=0.1)


def test_what_is_missing_depends_on_how_it_was_sent(world: SimulatedTables) -> None:
    missing = world.consignments.isna().groupby(world.consignments["service"]).mean()
    assert missing.loc["small_packet", "hs_code"] > 0.4
    assert missing.loc["express", "hs_code"] < 0.1
    assert missing.loc["small_packet", "description"] > 2 * missing.loc["express", "description"] + 0.05
    assert missing.loc["general", "consignee_address"] < 0.02


def test_the_operation_gets_seven_alerts_around_its_days(world: SimulatedTables) -> None:
    told = world.alerts["text"].str.startswith("newsletter: ")
    alerts, newsletters = world.alerts[~told], world.alerts[told]
    assert len(alerts) == 7
    assert (alerts["issued_at"] < alerts["expires_at"]).all()
    patterns = ["description_pattern", "sender_name", "consignee_address", "departure_country"]
    assert alerts[patterns].notna().any(axis="columns").all()
    assert 0 < len(newsletters) <= 6
    assert newsletters[patterns].isna().all(axis=None)


def test_a_world_that_ends_on_another_date_is_the_same_but_for_whole_weeks(world: SimulatedTables) -> None:
    moved = world.end_by(date(2026, 11, 26))
    assert date(2026, 11, 20) <= moved.consignments["received_at"].max().date() <= date(2026, 11, 26)
    shifts = [
        (getattr(moved, table)[column] - getattr(world, table)[column]).dropna().unique().tolist()
        for table in ("consignments", "outcomes", "alerts")
        for column in getattr(world, table).select_dtypes("datetimetz")
    ]
    weeks = {shift for held in shifts for shift in held}
    (weeks_later,) = weeks
    assert weeks_later % pd.Timedelta(weeks=1) == pd.Timedelta(0)
    opened = [frame["account_opened_on"].dropna() for frame in (world.consignments, moved.consignments)]
    assert set((opened[1] - opened[0]).unique()) == {weeks_later.to_pytimedelta()}
    untimed = ["consignment_id", "description", "sender_name", "declared_value"]
    pd.testing.assert_frame_equal(moved.consignments[untimed], world.consignments[untimed])
    assert moved.truth is world.truth
    for name, record in TABLES.items():
        assert check_frame(getattr(moved, name), record).rejects == ()


def test_networks_use_other_names_after_a_seizure_than_before() -> None:
    simulation = Simulation(load_parameters(), days=60, per_day=200, prevalence="operation", seed=3)
    network = simulation.networks.networks[0]
    before = set(network.senders)
    draws = np.random.default_rng(0)
    for day in range(40):
        simulation.networks.record_seizure(draws, network.number, day)
        simulation.simulate_arrivals(day)
    assert not before & set(network.senders)


def test_what_officers_do_does_not_change_what_honest_people_send() -> None:
    """The streams of chance are apart, so that policies are compared in one world: declarations, tips, pictures and all."""

    class Idle(TargetingCentre):
        def inspect(self, draws: np.random.Generator, arrivals: SimulatedDay) -> list[Outcome]:
            return []

    def lived(simulation: Simulation) -> tuple[pd.DataFrame, list[int]]:
        days, sent = [], []
        for day in range(40):
            arrivals = simulation.simulate_arrivals(day)
            simulation.inspect(arrivals)
            told = pd.DataFrame(arrivals.columns)
            told["tipped"], told["pictured"] = arrivals.tipped, arrivals.pictured
            days.append(told[arrivals.shipments.network < 0])
            sent.append(int((arrivals.shipments.network >= 0).sum()))
        return pd.concat(days, ignore_index=True), sent

    def fresh() -> Simulation:
        return Simulation(load_parameters(), days=40, per_day=150, prevalence="operation", seed=8)

    idle = fresh()
    idle.inspections = Idle(idle.context, operation_day=0)
    (one, theirs), (other, changed) = lived(idle), lived(fresh())
    pd.testing.assert_frame_equal(one, other)
    assert theirs != changed, "networks did answer to what was seized"


def test_a_network_that_is_left_alone_sends_the_same_whatever_happens_to_others() -> None:
    def sent(hit: int | None) -> dict[int, list[float]]:
        simulation = Simulation(load_parameters(), days=40, per_day=300, prevalence="operation", seed=8)
        weights: dict[int, list[float]] = {}
        for day in range(40):
            if hit is not None:
                simulation.networks.record_seizure(np.random.default_rng(day), hit, day)
            shipments = simulation.simulate_arrivals(day).shipments
            for network, kg in zip(shipments.network.tolist(), shipments.kg.tolist(), strict=True):
                weights.setdefault(network, []).append(kg)
        return weights

    alone, among = sent(None), sent(0)
    assert alone.pop(0) != among.pop(0)
    assert alone == among


def test_what_networks_send_travels_with_honest_mail_and_freight() -> None:
    """Else a receptacle or a master waybill of its own would give it away."""
    simulation = Simulation(load_parameters(), days=10, per_day=400, prevalence="operation", seed=2)
    beside, alone = 0, 0
    for day in range(10):
        arrivals = simulation.simulate_arrivals(day)
        masters = pd.Series(arrivals.columns["master_id"])
        theirs = arrivals.shipments.network >= 0
        others = set(masters[~theirs].dropna())
        mine = masters[theirs & (arrivals.shipments.master < 0)].dropna()
        beside += mine.isin(others).sum()
        alone += (~mine.isin(others)).sum()
    assert beside > 2 * alone > 0


def test_after_its_event_a_cover_and_an_origin_are_out_of_use_and_the_others_came() -> None:
    """The shifts last: a network that changes its ways later does not go back to what is gone."""
    world = load_parameters().replace(events={"cover_shift": {"day": 10}, "origin_shift": {"day": 10}})
    simulation = Simulation(world, days=60, per_day=200, prevalence="operation", seed=3)
    networks, countries = simulation.networks.networks, simulation.context.parties.countries

    def used() -> tuple[set[str], set[str]]:
        makers = [each for each in networks if "cathinone" in each.families]
        return {each.cover for each in networks}, {countries[each.origin] for each in makers}

    simulation.simulate_arrivals(0)
    covers, origins = used()
    assert "industrial_chemical" in covers
    assert "CN" in origins
    draws = np.random.default_rng(0)
    for day in range(1, 50):
        for network in networks:
            simulation.networks.record_seizure(draws, network.number, day)
        simulation.simulate_arrivals(day)
        if day >= 10:
            covers, origins = used()
            assert "industrial_chemical" not in covers
            assert "CN" not in origins
    assert "cosmetic_or_supplement" in covers
    assert "IN" in origins


def test_a_controlled_family_falls_to_its_part_and_the_substitute_makes_up_for_it() -> None:
    world = load_parameters().replace(events={"class_control": {"day": 0, "over": 1}})
    networks = Simulation(world, days=9, per_day=50, prevalence="operation", seed=1).networks
    draws = np.random.default_rng(0)
    names = [networks.draw_substance(draws, "nitazene", since_start=5) for _ in range(2000)]
    assert np.mean([name == "cychlorphine" for name in names]) == pytest.approx(0.6, abs=0.05)
    assert networks.draw_substance(draws, "nitazene", since_start=-1) != "cychlorphine"


def test_the_substance_of_the_event_is_in_no_list_that_is_shipped() -> None:
    new = load_parameters().events.new_substance.name
    assert new.casefold() not in (REPOSITORY / "features" / "goods" / "lexicon.csv").read_text().casefold()


def test_an_unknown_preset_or_an_empty_world_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'enriched'"):
        simulate(days=1, per_day=1, prevalence="enrichd")
    with pytest.raises(BadInput, match="days and traffic"):
        simulate(days=0, per_day=10)


def test_a_specification_replaces_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text("[laboratory]\nnever = 0.5\n")
    changed, usual = load_parameters(spec), load_parameters()
    assert changed.laboratory.never == 0.5
    assert changed.laboratory.log_days == usual.laboratory.log_days
    assert changed.services == usual.services


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ("[laboratory]\nnevver = 0.5\n", UnknownName, "did you mean 'never'"),
        ("[laboratry]\n", UnknownName, "did you mean 'laboratory'"),
        ("[laboratory]\nnever = 'x'\n", BadSetting, "laboratory.never: .* got a text; expected a number"),
        ("[tells]\ncrypto = [0.1]\n", BadSetting, "got a list of 1 numbers; expected a list of 2 numbers"),
        ("[people.countries.XX]\nculture = 'korean'\n", BadSetting, "missing; expected airline, airport"),
        ("[goods.covers.paint]\nhiden = 'letter'\nhidden = 'letter'\nwares = []\n", UnknownName, "hiden"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(
    tmp_path: Path, table: str, error: type[BadInput], message: str
) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(table)
    with pytest.raises(error, match=message):
        load_parameters(spec)


def test_a_table_that_a_file_replaces_as_a_whole_keeps_none_of_its_entries(tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text('replaced = ["entities.origins"]\n[entities.origins]\nNL = 1.0\n')
    entities = load_parameters(spec).entities
    assert entities.origins == {"NL": 1.0}
    assert entities.shipper_types == load_parameters().entities.shipper_types
