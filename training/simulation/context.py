"""Shared parts of a simulated world: its parameters, parties, goods and substances."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from models.arrays import Ints
from training.simulation.parameters import Parameters, SimulationParameters
from training.simulation.parties import SimulatedParties
from training.simulation.shipments import Draws


@dataclass(frozen=True)
class Substances:
    """All substances of a world: NPS first, then other drugs, then the kinds of other prohibited goods."""

    names: tuple[str, ...]
    families: tuple[str, ...]

    @classmethod
    def list_from(cls, world: SimulationParameters) -> Self:
        """List the substances of a world, including those that appear later."""
        goods, new, control = world.goods, world.events.new_substance, world.events.class_control
        pairs = [(name, family) for family, held in goods.substances.items() for name in held.names]
        pairs += [(new.name, new.family), (control.substitute, control.substitute_family)]
        pairs += [(name, family) for family, held in goods.controlled_drugs.items() for name in held.names]
        pairs += [(name, "") for name in goods.offences.names]
        return cls(tuple(name for name, _ in pairs), tuple(family for _, family in pairs))


class GoodsCatalogue:
    """Goods of a world, by number: ordinary goods first, then the legitimate look-alikes, which are `hard`."""

    def __init__(self, world: SimulationParameters, nps: float) -> None:
        named = world.goods.ordinary | world.goods.hard_negatives
        self.wares: tuple[Parameters, ...] = tuple(named.values())
        self.number = {name: number for number, name in enumerate(named)}
        facts = [[ware[name] for ware in self.wares] for name in ("kg", "usd_per_kg", "offence", "share")]
        self.kg, self.usd_per_kg, self.offence, shares = np.array(facts, dtype=np.float64)
        self.powder = np.array([ware.get("powder", False) for ware in self.wares])
        self.hard = np.arange(len(self.wares)) >= len(world.goods.ordinary)
        self.has_cues = np.array([bool(ware.get("cues")) for ware in self.wares])
        self.heaviest = np.array([service.heaviest_kg for service in world.services.values()])
        # With more NPS there are more look-alikes, so that they outnumber NPS.
        shares[self.hard] *= max(1.0, world.entities.look_alikes_per_nps * nps / shares[self.hard].sum())
        shares[~self.hard] *= (1.0 - shares[self.hard].sum()) / shares[~self.hard].sum()
        self._edges = np.cumsum(shares)

    def draw_wares(self, draws: Draws, count: int) -> Ints:
        """Draw goods of legitimate traffic by their shares."""
        return np.searchsorted(self._edges, draws.random(count) * 0.999_999, side="right")


@dataclass(frozen=True)
class SimulationContext:
    """Shared parts of one simulated world."""

    world: SimulationParameters
    parties: SimulatedParties  # grows as senders and consignees are added
    catalogue: GoodsCatalogue
    substances: Substances
    prevalence: Parameters
    per_day: int  # mean consignments a day
