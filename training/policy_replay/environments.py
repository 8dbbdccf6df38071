"""Environment of a replay: a simulation whose networks react to seizures.

The result of an inspection, and when it is known, depends on the seed and the consignment alone. It does not depend on who
inspects it or on the other inspections. Consignments with intelligence are inspected beyond the capacity, under every policy.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from consignments.records import Alert, Consignment, Outcome, Result
from models.arrays import Ints
from training.simulation.inspection_outcomes import InspectionChoice
from training.simulation.operation import Simulation, concatenate_days
from training.simulation.parameters import SimulationParameters, check_size, load_parameters
from training.simulation.shipments import Draws

LEGACY_STREAM = 77  # stream of random numbers of the simulated previous operation


class TrueResults(NamedTuple):
    """True results of a day's arrivals, and kinds of network; for evaluation, and for the oracle."""

    results: tuple[Result, ...]
    networks: tuple[str | None, ...]


@dataclass(frozen=True)
class ReplayedWorld:
    """A world that is replayed: the same environment again for every policy, under a seed."""

    create: Callable[[int], "SimulatedEnvironment"]  # from a seed
    days: int
    first_day: int  # UTC day
    header: dict[str, Any]  # description as JSON values; other values mean another world
    events: list[tuple[str, int]] = field(default_factory=list)  # with the day from its start


def describe_simulation(path: Path | None, *, days: int, per_day: int, prevalence: str) -> ReplayedWorld:
    """Describe a simulated world whose networks react, by a TOML file of its parameters or the built-in ones."""
    check_size(days, per_day)
    world = load_parameters(path, prevalence)
    trends, operation_day = world.events, world.compute_operation_day(days, world.get_preset(prevalence))
    events = [
        ("class control; a substitute appears", trends.class_control.day),
        ("a substance that is on no list", trends.new_substance.day),
        ("producers move to another country", trends.origin_shift.day),
        ("a cover is no longer used", trends.cover_shift.day),
        ("advance data fail", trends.data_outage.day),
        ("operation with doubled capacity", operation_day),
    ]
    size: dict[str, Any] = {"days": days, "per_day": per_day, "prevalence": prevalence}
    return ReplayedWorld(
        partial(SimulatedEnvironment, world, **size),
        days,
        int(np.datetime64(world.start, "D").astype(np.int64)),
        {"world": world, **size},
        sorted(((name, day) for name, day in events if day < days), key=lambda event: event[1]),
    )


class SimulatedEnvironment:
    """A simulation whose networks react to the seizures of this policy; each day is received once, in order, and is then `arrivals`."""

    def __init__(
        self, world: SimulationParameters, seed: int, *, days: int, per_day: int, prevalence: str
    ) -> None:
        self._simulation = Simulation(world, days=days, per_day=per_day, prevalence=prevalence, seed=seed)
        self._seed = seed % 2**63
        self._seen: Ints | None = None
        self._world, self.days = world, days
        self.start_day = int(np.datetime64(world.start, "D").astype(np.int64))
        self.screened_share = float(world.inspection.xray_share)

    def receive_day(self, number: int) -> tuple[pd.DataFrame, list[Alert]]:
        """Return the declared data of a day's consignments, and the alerts of the day."""
        alerts = self._simulation.issue_alerts(number)
        self.arrivals = self._simulation.simulate_arrivals(number)
        return concatenate_days(Consignment, [self.arrivals.columns]), alerts

    def get_truth(self) -> TrueResults:
        """Return the true results, and the kinds of network."""
        held = self._simulation.build_truth(self.arrivals)
        kinds = (label and label.partition("-")[0] for label in held["network"].tolist())
        return TrueResults(tuple(held["result"].tolist()), tuple(kinds))

    def choose_legacy(self, capacity: int) -> list[InspectionChoice]:
        """Return the choices of rules and officers of the simulated operation; those beyond the capacity are dropped."""
        targeting, arrivals = self._simulation.inspections, self.arrivals
        draws = np.random.default_rng([self._seed, LEGACY_STREAM, arrivals.since_start])
        signs = targeting.detect_signs(arrivals)
        self._seen = targeting.encode_inputs(arrivals, signs)
        kept, full = list[InspectionChoice](), Counter[str]()
        for choice in targeting.choose(draws, arrivals, signs, self._seen, capacity):
            office = arrivals.columns["office"][choice.row]
            if full[office] < capacity and not arrivals.tipped[choice.row]:
                full[office] += 1
                kept.append(choice)
        return kept

    def compute_capacity(self, capacity: int) -> int:
        """Compute the capacity of the day, which is higher during the operation."""
        on = self._simulation.inspections.get_operation(self.arrivals.since_start) is not None
        return round(capacity * self._world.operation.capacity) if on else capacity

    def inspect(self, choices: Sequence[InspectionChoice]) -> list[Outcome]:
        """Inspect, and update what the networks notice."""
        targeting, arrivals = self._simulation.inspections, self.arrivals
        draws_of = partial(create_generator, self._seed)
        outcomes, self._seen = targeting.inspect_chosen(draws_of, arrivals, choices, self._seen), None
        self._simulation.react(arrivals.since_start)
        return outcomes


def create_generator(seed: int, consignment_id: str) -> Draws:
    """Create the random generator of one consignment's inspection, independent of the policy and of earlier ones."""
    digest = hashlib.blake2b(consignment_id.encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])
