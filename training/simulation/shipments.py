"""Shipments of a simulated world as really sent, before declaration: goods and contents, one array for each fact."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Self

import numpy as np

from consignments.records import Result
from consignments.timestamps import US_PER_DAY
from models.arrays import Bools, Columns, Floats, Ints

Draws = np.random.Generator


class Contents(IntEnum):
    """Contents of a consignment; the position of its result in `RESULTS`."""

    CLEAR, NPS, CONTROLLED, OTHER = range(4)


class Wording(IntEnum):
    """Kind of description: plain, with words that traffickers like, vague, about the carriage, the substance, or the sender's own."""

    PLAIN, CUE, VAGUE, ADMIN, SUBSTANCE, HABIT = range(6)


RESULTS: tuple[Result, ...] = ("clear", "nps", "controlled_drug", "other_offence")
CONCEALMENTS = ("powder_bag", "concealed_in_goods", "letter")
NO_INDEX = -1  # no hub, no substance, no network, no master of its own
KG_PER_GRAM = 0.001
HOUR_US = 3_600_000_000


class CalendarDay(NamedTuple):
    """A day: since the start of the world, in UTC days since the epoch, and the factor of its volume."""

    since_start: int
    utc: int
    height: float


@dataclass
class Shipments:
    """Shipments, with one array for each fact, all of one length; what is named is given by its number."""

    received_us: Ints  # when the advance data arrive
    service: Ints
    departure: Ints
    hub: Ints
    sender: Ints
    consignee: Ints
    named: Ints  # the party whose name is declared as the consignee's
    ware: Ints
    hs_ware: Ints  # the goods whose HS code is declared
    wording: Ints
    habit: Ints  # the number of the sender's own wording
    kg: Floats
    usd: Floats
    gift: Ints
    crypto: Ints
    master: Ints  # its own consolidation
    result: Ints
    substance: Ints
    grams: Floats
    hidden: Ints
    network: Ints  # the network that sent it

    def __len__(self) -> int:
        return len(self.received_us)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Concatenate shipments."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*(np.concatenate(values) for values in columns))

    def select_rows(self, rows: Ints) -> Self:
        """Return some rows, in their order."""
        return type(self)(*(values[rows] for values in vars(self).values()))

    def overwrite(self, rows: Ints, others: "Shipments", keep: Sequence[str] = ()) -> None:
        """Set some rows to other shipments, except for the facts to keep."""
        for name, values in vars(self).items():
            if name not in keep:
                values[rows] = getattr(others, name)


@dataclass(frozen=True)
class SimulatedDay:
    """One day of arrivals: what was sent, what was declared, and what partners and X-ray machines would say of it."""

    shipments: Shipments
    columns: Columns
    since_start: int
    tipped: Bools  # with intelligence from partners; inspected beyond the capacity
    pictured: Bools  # with a suspicious X-ray image, if one is taken

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Concatenate parts of one day."""
        sent = Shipments.concatenate([part.shipments for part in parts])
        columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
        flags = (np.concatenate([getattr(part, name) for part in parts]) for name in ("tipped", "pictured"))
        return cls(sent, columns, parts[0].since_start, *flags)

    def select_rows(self, rows: Ints) -> Self:
        """Return some rows, in their order."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        sent = self.shipments.select_rows(rows)
        return type(self)(sent, columns, self.since_start, self.tipped[rows], self.pictured[rows])


def draw_indices(draws: Draws, shares: Mapping[str, float], count: int) -> Ints:
    """Draw positions in a table of shares, which need not add up to 1."""
    edges = np.cumsum(list(shares.values()))
    return np.searchsorted(edges / edges[-1], draws.random(count), side="right")


def draw_name(draws: Draws, shares: Mapping[str, float]) -> str:
    """Draw one name of a table of shares."""
    return list(shares)[int(draw_indices(draws, shares, 1)[0])]


def draw_flags(draws: Draws, chance: float | Floats, count: int) -> Bools:
    """Draw a random flag for each."""
    return np.asarray(draws.random(count) < chance)


def draw_chance(draws: Draws, chance: float) -> bool:
    """Draw one flag; a probability of 0 draws no random number."""
    return chance > 0 and bool(draws.random() < chance)


def draw_timestamps(draws: Draws, day: int, count: int) -> Ints:
    """Draw times of a day (UTC days since the epoch); most data arrive from noon to evening in East Asia (assumed)."""
    busy, any_time = draws.normal(5.5, 3.5, count) % 24, draws.uniform(0, 24, count)
    hours = np.where(draw_flags(draws, 0.75, count), busy, any_time)
    return day * US_PER_DAY + np.minimum((hours * 3600).astype(np.int64), 86_399) * 1_000_000


def pick(options: Sequence[str], share: float) -> str:
    """Return the option at a share of the list, 0 to 1."""
    return options[int(share * len(options))]
