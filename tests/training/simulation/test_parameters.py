"""The parameters of the simulated world: each number says where it is from."""

import re
from pathlib import Path

import pytest

from training.simulation.parameters import HERE, load_parameters

MARKS = ("[S]", "[D]", "[A:", "[S:", "assumed")


def unsourced(lines: list[str]) -> list[str]:
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


@pytest.mark.parametrize("name", ["world.toml", "goods.toml", "people.toml"])
def test_every_number_has_its_source_or_the_word_assumed(name: str) -> None:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) > 50
    assert unsourced(lines) == []


def test_a_number_without_a_source_is_found() -> None:
    assert unsourced(["[table]", "share = 0.3", 'name = "2C-B"', "never = 0.1  # [S]"]) == ["share = 0.3"]
    assert unsourced(["# assumed", "share = 0.3", "# but this", "other = 1"]) == ["other = 1"]


def test_shares_that_divide_a_whole_add_up_to_it() -> None:
    world = load_parameters()
    whole = [
        {name: service.share for name, service in world.services.items()},
        world.entities.shipper_types,
        world.entities.consignee_types,
        *world.offices.values(),
        *(network.services for network in world.networks.values()),
        *(network.origins for network in world.networks.values()),
        *(network.covers for network in world.networks.values()),
        {name: family.share for name, family in world.goods.substances.items()},
    ]
    for shares in whole:
        assert sum(shares.values()) == pytest.approx(1.0, abs=0.011), shares


def test_names_that_one_table_gives_and_another_uses_are_the_same() -> None:
    world, wares = load_parameters(), load_parameters().goods
    events, families = world.events, set(wares.substances)
    assert {events.class_control.family, events.new_substance.family, events.origin_shift.family} <= families
    assert {events.cover_shift["from"], events.cover_shift.to} <= set(wares.covers)
    assert events.data_outage.service in world.services
    assert {name for kind in world.networks.values() for name in kind.covers} <= set(wares.covers)
    countries = set(world.people.countries)
    assert {name for kind in world.networks.values() for name in kind.origins} <= countries
    assert (
        set(world.entities.origins) | set(world.tells.hubs) | set(world.inspection.officer_bias) <= countries
    )
    goods = set(wares.ordinary) | set(wares.hard_negatives)
    assert {name for cover in wares.covers.values() for name in cover.wares} <= goods


def test_the_parameter_files_are_all_in_one_place() -> None:
    assert {path.name for path in Path(HERE).glob("*.toml")} == {"world.toml", "people.toml", "goods.toml"}
