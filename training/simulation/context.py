"""What all parts of a simulated world share: its parameters, its parties, its goods, its substances."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from training.simulation.hard_parties import HardParties
from training.simulation.parameters import Prevalence, SimulationParameters
from training.simulation.parties import SimulatedParties
from training.simulation.shipments import GoodsCatalogue, Substances, list_substances


class CalendarDay(NamedTuple):
    """One day: since the world's start, in UTC days since the epoch, and the factor of its volume."""

    since_start: int
    utc: int
    height: float


@dataclass(frozen=True)
class SimulationContext:
    """The shared parts of one world.

    Attributes
    ----------
    world : World
    parties : Parties
        Grows as senders and consignees are born.
    catalogue : Catalogue
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
        """Build the stage of a world, still without parties."""
        catalogue = GoodsCatalogue(world, prevalence.nps)
        parties = SimulatedParties(world) if world.hard is None else HardParties(world, world.hard)
        return cls(world, parties, catalogue, list_substances(world), prevalence, per_day)
