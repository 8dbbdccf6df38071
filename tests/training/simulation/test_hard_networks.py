"""The hard worlds: deterministic, with networks that keep what they keep; and the other presets as they were."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from training.simulation.operation import SimulatedTables, Simulation, simulate
from training.simulation.parameters import list_hard_sets, load_parameters
from training.simulation.parties import BLOCK_DIGITS
from training.simulation.shipments import Contents, SimulatedDay

BEFORE = {
    ("realistic", 20, 60): "4dbd2626f64510b4",
    ("enriched", 40, 60): "afddb4fcab9b12ad",
    ("operation", 40, 60): "88c68ad9ffaea3cd",
}
"""Of the worlds of seed 17 before there were hard ones."""


def compute_digest(tables: SimulatedTables) -> str:
    digest = hashlib.sha256()
    later = {
        "consignments": ["issued_at", "level", "quality"],
        "alerts": ["author", "occurred_at", "indicators"],
    }
    for name in ("consignments", "outcomes", "alerts", "truth"):
        frame = getattr(tables, name).drop(columns=later.get(name, [])).astype(object)
        digest.update(frame.where(frame.notna(), None).to_csv(index=False).encode())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize(("size", "digest"), BEFORE.items())
def test_the_other_presets_are_what_they_were(size: tuple[str, int, int], digest: str) -> None:
    preset, days, per_day = size
    assert compute_digest(simulate(days=days, per_day=per_day, prevalence=preset, seed=17)) == digest


@pytest.mark.parametrize("name", list_hard_sets())
def test_the_same_seed_gives_the_same_world_and_another_seed_another(name: str) -> None:
    def run(seed: int) -> str:
        return compute_digest(simulate(days=4, per_day=40, prevalence=f"hard:{name}", seed=seed))

    assert run(1) == run(1)
    assert run(1) != run(2)


@pytest.fixture(scope="module")
def lived() -> tuple[Simulation, list[SimulatedDay], SimulatedTables]:
    world, days = load_parameters(preset="hard:sweden"), []
    simulation = Simulation(world, days=120, per_day=200, prevalence="hard", seed=3)
    tables = simulation.run(120, watch=days.append)
    return simulation, days, tables


def test_the_truth_names_each_network_by_its_kind_and_number(
    lived: tuple[Simulation, list[SimulatedDay], SimulatedTables],
) -> None:
    named = lived[2].truth.loc[lived[2].truth["result"] == "nps", "network"]
    assert named.notna().all()
    assert named.str.fullmatch(r"[a-z_]+-\d+").all()
    assert named.nunique() > 8


def test_networks_keep_unlike_things_and_some_keep_nothing(
    lived: tuple[Simulation, list[SimulatedDay], SimulatedTables],
) -> None:
    kept = [frozenset(network.kept) for network in lived[0].networks.networks]
    assert frozenset() in kept
    assert len(set(kept)) > 5


def test_numbers_of_one_block_outlast_the_names(
    lived: tuple[Simulation, list[SimulatedDay], SimulatedTables],
) -> None:
    simulation = lived[0]
    parties = simulation.context.parties
    held = [network for network in simulation.networks.networks if "sender_phone_block" in network.kept]
    assert held
    for network in held:
        phones = parties.get_texts("phone", np.array(network.senders))
        stems = {phone.split(" ")[1][:-BLOCK_DIGITS][-4:] for phone in phones}
        countries = set(parties.country[network.senders].tolist())
        assert len(stems) <= len(countries) + 1


def test_a_share_of_what_networks_send_is_sent_by_nobody_known(
    lived: tuple[Simulation, list[SimulatedDay], SimulatedTables],
) -> None:
    days = lived[1]
    fronts = {party for network in lived[0].networks.networks for party in network.senders}
    sent = [
        (sender, day.since_start)
        for day in days
        for sender, result in zip(day.shipments.sender.tolist(), day.shipments.result.tolist(), strict=True)
        if result == Contents.NPS
    ]
    times = pd.Series([sender for sender, _ in sent]).value_counts()
    once = [sender for sender in times.index[times == 1] if sender not in fronts]
    assert len(once) > 0.03 * len(sent)


def test_declarations_go_to_the_country_of_the_set() -> None:
    tables = simulate(days=4, per_day=80, prevalence="hard:japan", seed=1)
    home = tables.consignments["consignee_country"] == "JP"
    assert home.mean() > 0.9
    assert set(tables.consignments["office"]) <= {"Kawasaki", "Narita"}
