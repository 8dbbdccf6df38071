"""What all parts of a simulated world share: its parameters, its parties, its goods, its substances."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from training.simulation.parameters import Prevalence, World
from training.simulation.parties import Parties
from training.simulation.shipments import Catalogue, Substances, list_substances


class Day(NamedTuple):
    """One day: since the world's start, in UTC days since the epoch, and the factor of its volume."""

    since_start: int
    utc: int
    height: float


@dataclass(frozen=True)
class Stage:
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

    world: World
    parties: Parties
    catalogue: Catalogue
    substances: Substances
    prevalence: Prevalence
    per_day: int

    @classmethod
    def of(cls, world: World, prevalence: Prevalence, per_day: int) -> Self:
        """Build the stage of a world, still without parties."""
        catalogue = Catalogue(world, prevalence.nps)
        return cls(world, Parties(world), catalogue, list_substances(world), prevalence, per_day)
