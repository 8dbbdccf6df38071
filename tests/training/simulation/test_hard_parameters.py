"""The sets of the preset `hard`: valid, unlike each other, and named where they are offered."""

import pytest

from cli.options import HARD_SETS
from consignments.errors import UnknownName
from tests.training.simulation.test_parameters import unsourced
from training.simulation.operation import simulate
from training.simulation.parameters import (
    SETS_FOLDER,
    Parameters,
    SimulationParameters,
    list_hard_sets,
    load_parameters,
)

HELD_OUT = {"kazakhstan", "newzealand"}
IDENTIFIERS = {
    "sender_phone",
    "sender_phone_block",
    "email_domain",
    "account",
    "drop_address",
    "drop_building",
    "customer_phone",
    "customer_phone_block",
    "wording",
    "figures",
    "route",
}
"""Everything that a network may keep."""
REACTIONS = {"everything", "senders", "customers", "goods", "route", "spelling"}
WAVE = {"day", "over", "share", "origins", "services", "covers", "families", "kept"}
SETS = list_hard_sets()


def load_set(name: str) -> tuple[SimulationParameters, Parameters]:
    world = load_parameters(preset=f"hard:{name}")
    return world, world.hard


def test_the_command_line_offers_every_set() -> None:
    assert HARD_SETS == SETS


def test_there_are_six_sets_to_develop_with_and_two_that_are_held_out() -> None:
    held_out = {name for name in SETS if load_set(name)[1].held_out}
    assert held_out == HELD_OUT
    assert len(SETS) - len(held_out) >= 6
    for name in held_out:
        assert "Held out" in (SETS_FOLDER / f"{name}.toml").read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.parametrize("name", SETS)
def test_every_number_has_its_source_or_the_word_assumed(name: str) -> None:
    lines = (SETS_FOLDER / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    assert unsourced(lines) == []


@pytest.mark.parametrize("name", SETS)
def test_shares_that_divide_a_whole_add_up_to_it(name: str) -> None:
    world, hard = load_set(name)
    waves = [wave[name] for wave in hard.waves for name in ("origins", "services", "covers") if name in wave]
    whole = [
        world.entities.origins,
        *world.offices.values(),
        *(network.services for network in world.networks.values()),
        *(network.origins for network in world.networks.values()),
        {kind: network.share for kind, network in world.networks.items() if kind != "smuggler"},
        hard.identifiers.changed,
        *waves,
    ]
    for shares in whole:
        assert sum(shares.values()) == pytest.approx(1.0, abs=0.011), shares


@pytest.mark.parametrize("name", SETS)
def test_names_that_one_table_gives_and_another_uses_are_the_same(name: str) -> None:
    world, hard = load_set(name)
    countries, covers = set(world.people.countries), set(world.goods.covers)
    assert world.destination in countries
    assert world.destination not in world.entities.origins
    assert (
        set(world.entities.origins) | set(world.inspection.officer_bias) | set(world.tells.hubs) <= countries
    )
    assert {name for network in world.networks.values() for name in network.origins} <= countries
    assert {office for shares in world.offices.values() for office in shares} <= set(world.arrival_places)
    current = {family for family, held in world.goods.substances.items() if held.names}
    for wave in hard.waves:
        assert {"day", "over", "share"} <= set(wave) <= WAVE
        assert set(wave.get("origins", ())) <= countries
        assert set(wave.get("covers", ())) <= covers
        assert set(wave.get("services", ())) <= set(world.services)
        assert set(wave.get("families", ())) <= current
        assert set(wave.get("kept", ())) <= IDENTIFIERS
    assert set(hard.identifiers.changed) <= REACTIONS
    assert {world.people.countries[place].currency for place in countries} <= set(world.declarations.usd_per)


def test_sets_are_unlike_in_country_language_and_habits() -> None:
    loaded = [load_set(name) for name in SETS]
    assert len({world.destination for world, _ in loaded}) == len(SETS)
    assert len({world.people.countries[world.destination].languages[-1] for world, _ in loaded}) == len(SETS)
    habits = [
        frozenset(sorted(hard.identifiers.kept, key=lambda kept: -hard.identifiers.kept[kept])[:3])
        for _, hard in loaded
    ]
    assert len(set(habits)) >= len(SETS) - 1
    assert len({hard.spelling.variants for _, hard in loaded}) == len(SETS)
    every = {kept for _, hard in loaded for kept in hard.identifiers.kept}
    assert every == IDENTIFIERS


def test_an_unknown_set_is_refused_and_hard_alone_is_the_first_one() -> None:
    with pytest.raises(UnknownName):
        load_parameters(preset="hard:atlantis")
    with pytest.raises(UnknownName):
        simulate(load_parameters(), days=1, per_day=1, prevalence="hard:sweden")
    assert load_parameters(preset="hard").destination == load_parameters(preset="hard:sweden").destination
    assert not load_parameters(preset="enriched").hard.identifiers.kept
