"""The parameters of the simulated worlds: each number says where it is from, and the sets of the preset `hard` are unlike each other."""

import re

import pytest

from cli.options import HARD_SETS
from consignments.errors import UnknownName
from training.simulation.operation import simulate
from training.simulation.parameters import HERE, SETS_FOLDER, list_hard_sets, load_parameters

MARKS = ("[S]", "[D]", "[A:", "[S:", "assumed")
HELD_OUT = {"kazakhstan", "newzealand"}
IDENTIFIERS = {
    *("sender_phone", "sender_phone_block", "email_domain", "account", "drop_address", "drop_building"),
    *("customer_phone", "customer_phone_block", "wording", "figures", "route"),
}
"""Everything that a network may keep."""
REACTIONS = {"everything", "senders", "customers", "goods", "route", "spelling"}
WAVE = {"day", "over", "share", "origins", "services", "covers", "families", "kept"}
SETS = list_hard_sets()
HARD = {name: load_parameters(preset=f"hard:{name}") for name in SETS}
WORLDS = {"operation": load_parameters(), **HARD}
FILES = {path.name: path for path in (*HERE.glob("*.toml"), *SETS_FOLDER.glob("*.toml"))}


def unsourced(lines):
    """Give the lines that hold a number and neither say where it is from nor stand under a comment that does."""
    found, above, before = [], "", ""
    for line in lines:
        if line.startswith("#"):
            above = f"{above} {line}" if before.startswith("#") else line
        value, _, comment = line.partition("# ")
        has_number = "=" in value and re.search(r"\d", re.sub(r'"[^"]*"', "", value.split("=", 1)[1]))
        if has_number and not any(mark in comment or mark in above for mark in MARKS):
            found.append(line)
        before = line
    return found


def test_the_parameter_files_are_all_in_one_place_and_the_command_line_offers_every_set():
    assert set(FILES) == {"world.toml", "people.toml", "goods.toml", *(f"{name}.toml" for name in SETS)}
    assert HARD_SETS == SETS


@pytest.mark.parametrize("name", FILES)
def test_every_number_has_its_source_or_the_word_assumed(name):
    assert unsourced(FILES[name].read_text(encoding="utf-8").splitlines()) == []


def test_a_number_without_a_source_is_found():
    assert unsourced(["[table]", "share = 0.3", 'name = "2C-B"', "never = 0.1  # [S]"]) == ["share = 0.3"]
    assert unsourced(["# assumed", "share = 0.3", "# but this", "other = 1"]) == ["other = 1"]


@pytest.mark.parametrize("name", WORLDS)
def test_shares_that_divide_a_whole_add_up_to_it(name):
    world, networks = WORLDS[name], WORLDS[name].networks.values()
    whole = [*world.offices.values(), *(each[part] for each in networks for part in ("services", "origins"))]
    if name == "operation":
        whole += [
            {name: service.share for name, service in world.services.items()},
            {name: family.share for name, family in world.goods.substances.items()},
            *(world.entities.shipper_types, world.entities.consignee_types),
            *(network.covers for network in networks),
        ]
    else:
        kinds = {kind: network.share for kind, network in world.networks.items() if kind != "smuggler"}
        whole += [world.entities.origins, world.hard.identifiers.changed, kinds]
        divided = ("origins", "services", "covers")
        whole += [wave[each] for wave in world.hard.waves for each in divided if each in wave]
    for shares in whole:
        assert sum(shares.values()) == pytest.approx(1.0, abs=0.011), shares


@pytest.mark.parametrize("name", WORLDS)
def test_names_that_one_table_gives_and_another_uses_are_the_same(name):
    world = WORLDS[name]
    countries = set(world.people.countries)
    named = (world.entities.origins, world.inspection.officer_bias, world.tells.hubs)
    assert set().union(*named, *(network.origins for network in world.networks.values())) <= countries


def test_the_events_and_covers_of_the_built_in_world_name_what_there_is():
    world, wares = WORLDS["operation"], WORLDS["operation"].goods
    events = world.events
    families = {events.class_control.family, events.new_substance.family, events.origin_shift.family}
    assert families <= set(wares.substances)
    covers = {name for kind in world.networks.values() for name in kind.covers}
    assert covers | {events.cover_shift["from"], events.cover_shift.to} <= set(wares.covers)
    assert events.data_outage.service in world.services
    goods = set(wares.ordinary) | set(wares.hard_negatives)
    assert {name for cover in wares.covers.values() for name in cover.wares} <= goods


@pytest.mark.parametrize("world", HARD.values(), ids=HARD)
def test_the_waves_and_places_of_a_hard_set_name_what_there_is(world):
    countries = set(world.people.countries)
    assert world.destination in countries - set(world.entities.origins)
    assert {office for shares in world.offices.values() for office in shares} <= set(world.arrival_places)
    assert {world.people.countries[place].currency for place in countries} <= set(world.declarations.usd_per)
    assert set(world.hard.identifiers.changed) <= REACTIONS
    known = {
        "origins": countries,
        "covers": set(world.goods.covers),
        "services": set(world.services),
        "families": {family for family, held in world.goods.substances.items() if held.names},
        "kept": IDENTIFIERS,
    }
    for wave in world.hard.waves:
        assert {"day", "over", "share"} <= set(wave) <= WAVE
        for name, allowed in known.items():
            assert set(wave.get(name, ())) <= allowed


def test_there_are_six_sets_to_develop_with_and_two_that_are_held_out():
    assert {name for name, world in HARD.items() if world.hard.held_out} == HELD_OUT
    assert len(SETS) - len(HELD_OUT) >= 6
    for name in HELD_OUT:
        assert "Held out" in FILES[f"{name}.toml"].read_text(encoding="utf-8").splitlines()[0]


def test_sets_are_unlike_in_country_language_and_habits():
    worlds = HARD.values()
    assert len({world.destination for world in worlds}) == len(SETS)
    assert len({world.people.countries[world.destination].languages[-1] for world in worlds}) == len(SETS)
    assert len({world.hard.spelling.variants for world in worlds}) == len(SETS)
    assert all(len({*group}) > 1 for world in worlds for group in world.hard.spelling.variants)
    habits = [world.hard.identifiers.kept for world in worlds]
    weightiest = {frozenset(sorted(kept, key=lambda name: -kept[name])[:3]) for kept in habits}
    assert len(weightiest) >= len(SETS) - 1
    assert set().union(*habits) == IDENTIFIERS


def test_an_unknown_set_is_refused_and_hard_alone_is_the_first_one():
    with pytest.raises(UnknownName):
        load_parameters(preset="hard:atlantis")
    with pytest.raises(UnknownName):
        simulate(WORLDS["operation"], days=1, per_day=1, prevalence="hard:sweden")
    assert load_parameters(preset="hard").destination == HARD["sweden"].destination
    assert not load_parameters(preset="enriched").hard.identifiers.kept
