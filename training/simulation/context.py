"""Shared context of a simulated world: its parameters, parties, goods and substances."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from training.simulation.hard_parties import HardParties
from training.simulation.parameters import Prevalence, SimulationParameters
from training.simulation.parties import SimulatedParties
from training.simulation.shipments import GoodsCatalogue, Substances, list_substances


class CalendarDay(NamedTuple):
    """A day: since the start of the world, in UTC days since the epoch, and the factor of its volume."""

    since_start: int
    utc: int
    height: float


@dataclass(frozen=True)
class SimulationContext:
    """Shared parts of one simulated world.

    Attributes
    ----------
    world : SimulationParameters
    parties : SimulatedParties
        Grows as senders and consignees are added.
    catalogue : GoodsCatalogue
    substances : Substances
    prevalence : Prevalence
    per_day : int
        Mean consignments a day.
    """

    world: SimulationParameters
    parties: SimulatedParties
    catalogue: GoodsCatalogue
    substances: Substances
    prevalence: Prevalence
    per_day: int

    @classmethod
    def build(cls, world: SimulationParameters, prevalence: Prevalence, per_day: int) -> Self:
        """Build the context of a world, without parties."""
        catalogue = GoodsCatalogue(world, prevalence.nps)
        parties = SimulatedParties(world) if world.hard is None else HardParties(world, world.hard)
        return cls(world, parties, catalogue, list_substances(world), prevalence, per_day)
