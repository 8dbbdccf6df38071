"""Indicators recognize the spelling variants that the simulated world writes, by name and address alone."""

import pytest
from support.examples import make_consignment

from features.indicators.operation_keys import OperationKey
from features.indicators.values import compute_indicators
from training.simulation.operation import Simulation
from training.simulation.parameters import load_parameters

KEY = OperationKey("EXAMPLE", bytes(32))
NAMED = ("sender_name", "sender_address", "sender_city", "sender_postcode", "sender_country")
OTHERS = dict.fromkeys((*NAMED, "sender_phone", "sender_email", "account_id"))


def list_pairs(preset, fields, *, of_networks):
    """List the first two unlike declarations of each sender that give some fields."""
    world = load_parameters(preset=preset)
    if of_networks:  # which then send much
        world = world.replace(prevalence={"hard": {"nps": 0.3}})
    simulation = Simulation(world, days=60, per_day=60, prevalence=preset, seed=7)
    declared = {}
    for day in map(simulation.simulate_arrivals, range(60)):
        written = zip(*(day.columns[name] for name in fields), strict=True)
        rows = zip(day.shipments.sender.tolist(), day.shipments.network, written, strict=True)
        for sender, network, values in rows:
            if None not in values and (network >= 0 or not of_networks):
                declared.setdefault(sender, {}).setdefault(values)
    return [list(each)[:2] for each in declared.values() if len(each) > 1]


@pytest.mark.parametrize(
    ("preset", "fields", "of_networks"),
    [
        ("operation", NAMED, False),
        ("operation", ("sender_phone",), False),
        ("hard:sweden", (*NAMED, "sender_phone"), True),
    ],
)
def test_nine_of_ten_variants_are_recognized(preset, fields, of_networks):
    pairs = list_pairs(preset, fields, of_networks=of_networks)
    recognized = 0
    for pair in pairs:
        written = (OTHERS | dict(zip(fields, values, strict=True)) for values in pair)
        one, other = (compute_indicators(make_consignment(**each), KEY, ("sender",)) for each in written)
        recognized += not set(one).isdisjoint(other)
    assert len(pairs) > 40
    assert recognized / len(pairs) >= 0.9
