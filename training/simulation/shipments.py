"""Shipments of a simulated world as really sent, before declaration: goods and contents, one array for each fact."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from consignments.records import Result
from consignments.timestamps import US_PER_DAY
from training.simulation.hard_parameters import Shares
from training.simulation.parameters import GoodsClass, SimulationParameters

Numbers = NDArray[np.int64]
Values = NDArray[np.float64]
Draws = np.random.Generator

RESULTS: tuple[Result, ...] = ("clear", "nps", "controlled_drug", "other_offence")
CLEAR, NPS, CONTROLLED, OTHER = range(len(RESULTS))
CONCEALMENTS = ("powder_bag", "concealed_in_goods", "letter")
PLAIN, CUE, VAGUE, ADMIN, SUBSTANCE, HABIT = range(6)
"""Wording of a description: plain, with words that traffickers like, vague, about the carriage, with the substance's name, or
in the network's own wording."""
NO_INDEX = -1
"""No hub, no substance, no network, no master of its own."""
KG_PER_GRAM = 0.001


@dataclass
class Shipments:
    """Shipments, with one array for each fact, all of one length.

    Attributes
    ----------
    received_us : arrival of the advance data
    service, departure, hub : positions in the world's services and countries
    sender, consignee, named : numbers of parties; `named` is the party whose name is declared as the consignee's
    ware, hs_ware : the declared goods, and the goods whose HS code is declared
    wording, habit : kind of description, and the number of a network's own wording
    kg, usd : gross weight and declared value
    gift, crypto : flags
    master : its own consolidation
    result, substance, grams, hidden : the contents
    network : the network that sent it
    """

    received_us: Numbers
    service: Numbers
    departure: Numbers
    hub: Numbers
    sender: Numbers
    consignee: Numbers
    named: Numbers
    ware: Numbers
    hs_ware: Numbers
    wording: Numbers
    habit: Numbers
    kg: Values
    usd: Values
    gift: Numbers
    crypto: Numbers
    master: Numbers
    result: Numbers
    substance: Numbers
    grams: Values
    hidden: Numbers
    network: Numbers

    def __len__(self) -> int:
        return len(self.received_us)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Concatenate shipments."""
        return cls(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            }
        )

    def select_rows(self, rows: Numbers) -> Self:
        """Return some rows, in their order."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class Substances:
    """All substances of a world: NPS first, then other drugs, then the kinds of other prohibited goods."""

    names: tuple[str, ...]
    families: tuple[str, ...]

    def list_family(self, family: str) -> list[int]:
        """Return the numbers of the substances of a family."""
        return [number for number, own in enumerate(self.families) if own == family]

    def get_number(self, name: str) -> int:
        """Return the number of a substance."""
        return self.names.index(name)


def list_substances(world: SimulationParameters) -> Substances:
    """List the substances of a world, including those that appear later."""
    wares, events = world.goods, world.events
    pairs = [(name, family) for family, held in wares.substances.items() for name in held.names]
    pairs.append((events.new_substance.name, events.new_substance.family))
    pairs.append((events.class_control.substitute, events.class_control.substitute_family))
    pairs += [(name, family) for family, held in wares.controlled_drugs.items() for name in held.names]
    pairs += [(name, "") for name in wares.offences.names]
    return Substances(tuple(name for name, _ in pairs), tuple(family for _, family in pairs))


class GoodsCatalogue:
    """Goods of a world, by number: ordinary goods first, then the look-alikes.

    Attributes
    ----------
    kg, usd_per_kg, offence : float64 array, (goods,)
    powder, hard : bool array, (goods,)
        Powders and herbs; legitimate look-alikes.
    """

    def __init__(self, world: SimulationParameters, nps: float) -> None:
        self.wares: tuple[GoodsClass, ...] = (
            *world.goods.ordinary.values(),
            *world.goods.hard_negatives.values(),
        )
        self.names = (*world.goods.ordinary, *world.goods.hard_negatives)
        self.number = {name: number for number, name in enumerate(self.names)}
        self.kg, self.usd_per_kg, self.offence = (
            np.array([getattr(ware, name) for ware in self.wares]) for name in ("kg", "usd_per_kg", "offence")
        )
        self.powder = np.array([ware.powder for ware in self.wares])
        self.hard = np.arange(len(self.wares)) >= len(world.goods.ordinary)
        self.shares = self._compute_shares(nps)
        self.chapters = np.array([int(ware.hs[0][:2]) for ware in self.wares])

    def _compute_shares(self, nps: float) -> Values:
        """Compute shares of legitimate traffic; with more NPS there are more look-alikes, so that they outnumber NPS."""
        shares = np.array([ware.share for ware in self.wares])
        look_alikes = shares[self.hard].sum()
        shares[self.hard] *= max(1.0, LOOK_ALIKES_PER_NPS * nps / look_alikes)
        shares[~self.hard] *= (1.0 - shares[self.hard].sum()) / shares[~self.hard].sum()
        return shares

    def draw_weights(self, draws: Draws, ware: Numbers, spread: float) -> Values:
        """Draw gross weights, in kilograms."""
        return self.kg[ware] * np.exp(draws.normal(0.0, spread, len(ware)))

    def draw_values(self, draws: Draws, ware: Numbers, kg: Values, spread: float) -> Values:
        """Draw declared values, in US dollars."""
        return self.usd_per_kg[ware] * kg * np.exp(draws.normal(0.0, spread, len(ware)))


LOOK_ALIKES_PER_NPS = 36.0
"""More than the required 30, since a consolidation may contain many NPS."""


BUSY_HOURS_SHARE = 0.75
"""Share of data that arrive in working hours (assumed)."""


def draw_indices(draws: Draws, shares: Shares, count: int) -> NDArray[np.int64]:
    """Draw positions in a table of shares, which need not add up to 1."""
    edges = np.cumsum(list(shares.values()))
    return np.searchsorted(edges / edges[-1], draws.random(count), side="right")


def draw_timestamps(draws: Draws, day: int, count: int) -> Numbers:
    """Draw times of a day (UTC days since the epoch); most data arrive from noon to evening in East Asia."""
    busy, any_time = draws.normal(5.5, 3.5, count) % 24, draws.uniform(0, 24, count)
    hours = np.where(draw_flags(draws, BUSY_HOURS_SHARE, count), busy, any_time)
    seconds = np.minimum((hours * 3600).astype(np.int64), 86_399)
    return day * US_PER_DAY + seconds * 1_000_000


def draw_flags(draws: Draws, chance: float | Values, count: int) -> NDArray[np.bool_]:
    """Draw a random flag for each."""
    flags: NDArray[np.bool_] = draws.random(count) < chance
    return flags
