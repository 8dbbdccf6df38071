"""Indicators recognize the spelling variants that the simulated world writes, by name and address alone."""

import numpy as np
from support.examples import make_consignment

from features.indicators.operation_keys import OperationKey
from features.indicators.values import compute_indicators
from training.simulation.operation import Simulation
from training.simulation.parameters import load_parameters
from training.simulation.spelling import SpellingWriter, format_phones, write_variants

KEY = OperationKey("EXAMPLE", bytes(32))
PARTIES = 400


def write(simulation: Simulation, ids, draws):
    """Write name and address of each party once."""
    parties, world = simulation.context.parties, simulation.context.world
    upper = np.zeros(len(ids), dtype=bool)
    written = {
        column: write_variants(
            draws,
            parties.get_texts(column, ids),
            parties.get_texts(f"native_{column}", ids),
            world.spelling,
            upper,
        )
        for column in ("name", "address")
    }
    written |= {column: parties.get_texts(column, ids) for column in ("city", "postcode")}
    written["phone"] = format_phones(draws, parties.get_texts("phone", ids))
    writer = SpellingWriter(world.hard.spelling, draws, np.ones(len(ids), dtype=bool))
    if not writer.is_off:
        address = writer.write("address", written["address"], ids)
        written["address"] = writer.add_care_of(address, ids, written["name"])
        written["name"] = writer.write("name", written["name"], ids)
        written["postcode"] = writer.write_postcodes(written["postcode"], ids)
        written["phone"] = writer.write("phone", written["phone"], ids)
    countries = np.array(parties.countries, dtype=object)[parties.country[ids]]
    return [
        {f"sender_{column}": texts[row] or None for column, texts in written.items()}
        | {"sender_country": country}
        for row, country in enumerate(countries)
    ]


def measure(preset: str, *left_out: str) -> float:
    """Return the share of parties that are recognized, of those whose two declarations differ."""
    simulation = Simulation(load_parameters(preset=preset), days=1, per_day=300, prevalence=preset, seed=7)
    draws = np.random.default_rng(11)
    ids = np.arange(PARTIES)
    without = dict.fromkeys(left_out) | {"account_id": None}
    differ = recognized = 0
    for one, other in zip(write(simulation, ids, draws), write(simulation, ids, draws), strict=True):
        one, other = one | without, other | without
        if one == other:
            continue
        first, second = (
            compute_indicators(make_consignment(**each), KEY, ("sender",)) for each in (one, other)
        )
        differ += 1
        recognized += not set(first).isdisjoint(second)
    assert differ > PARTIES / 10
    return recognized / differ


def test_nine_of_ten_variants_match_by_name_and_address() -> None:
    assert measure("operation", "sender_phone") >= 0.9


def test_nine_of_ten_variants_of_phones_match_by_themselves() -> None:
    assert measure("operation", "sender_name", "sender_address") >= 0.9


def test_nine_of_ten_parties_of_a_network_match_in_a_hard_world() -> None:
    assert measure("hard:sweden") >= 0.9
