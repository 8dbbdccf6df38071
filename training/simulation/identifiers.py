"""Identifiers of simulated consignments: S10 items in receptacles, house waybills under master waybills.

Serial numbers step through all numbers of their length, so that none occurs twice; a few check digits are wrong.
Networks' consignments are numbered separately, so that honest ones have the same identifiers regardless of networks. Then
they join the receptacles and master waybills of honest consignments on the same route.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from consignments.identifiers import AWB_MODULUS, S10_EXCEPTIONS, S10_WEIGHTS
from models.arrays import Bools, Columns, Ints, Texts
from training.simulation.parameters import SimulationParameters
from training.simulation.shipments import NO_INDEX, Draws, Shipments, draw_flags

S10_SERIALS, AWB_SERIALS = 100_000_000, 10_000_000
S10_STEP, AWB_STEP = 7_368_787, 3_271_193  # steps without a common factor with the numbers of serials
S10_CHECKS = np.array([S10_EXCEPTIONS.get(11 - remainder, 11 - remainder) for remainder in range(11)])
"""Check digit by the weighted sum modulo 11: UPU standard S10."""
RECEPTACLE_DIGITS = 13  # length of the serial at the end of a receptacle's number, after its route
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
MASTER_KEY_OFFSET = 1_000_000_000  # larger than any master number; keeps the groups apart


class IdentifierGenerator:
    """Generator of identifiers; each is used once. Generators of the two halves of all numbers work independently."""

    def __init__(self, world: SimulationParameters, first: int, half: int) -> None:
        self._manner = world.declarations
        self._countries = tuple(world.people.countries)
        self._places = tuple(world.people.countries.values())
        self._letters = [service.letters for service in world.services.values()]
        self._cargo = np.array([service.channel == "air_cargo" for service in world.services.values()])
        self._direct = list(world.services).index("general")
        self._items = self._receptacles = first + half * S10_SERIALS // 2
        self._masters = first + half * AWB_SERIALS // 2

    def assign_identifiers(self, draws: Draws, shipments: Shipments, arrival: Texts) -> tuple[Texts, Texts]:
        """Return identifiers and masters of a day's shipments, '' if there is no master; `arrival` are exchange offices."""
        cargo = self._cargo[shipments.service]
        mail, freight = np.flatnonzero(~cargo), np.flatnonzero(cargo)
        ids, masters = (np.empty(len(shipments), dtype=object) for _ in range(2))
        ids[mail] = self._create_s10(draws, shipments, mail)
        masters[mail] = self._create_receptacles(shipments, arrival, mail)
        ids[freight], masters[freight] = self._create_waybills(draws, shipments, freight)
        return ids, masters

    def _create_s10(self, draws: Draws, shipments: Shipments, rows: Ints) -> list[str]:
        count = len(rows)
        serial = (self._items + np.arange(count)) * S10_STEP % S10_SERIALS
        self._items += count
        digits = serial[:, None] // 10 ** np.arange(7, -1, -1) % 10
        wrong = draw_flags(draws, self._manner.bad_check_digit, count)
        check = (S10_CHECKS[digits @ np.array(S10_WEIGHTS) % 11] + wrong) % 10
        picks = draws.integers(0, [60, len(LETTERS)], (count, 2))
        columns = (shipments.service[rows], shipments.departure[rows], *picks.T, serial, check)
        return [
            f"{self._letters[s][a % len(self._letters[s])]}{LETTERS[b]}{n:08d}{c}{self._countries[d]}"
            for s, d, a, b, n, c in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def _create_receptacles(self, shipments: Shipments, arrival: Texts, rows: Ints) -> list[str]:
        group = self._group_by_master(shipments, rows, arrival[rows] == arrival[0] if len(rows) else rows)
        serial = (self._receptacles + group) * S10_STEP % S10_SERIALS
        self._receptacles += int(group.max(initial=-1)) + 1
        values = zip(shipments.departure[rows].tolist(), arrival[rows], serial.tolist(), strict=True)
        return [f"{self._places[d].impc}{to}AUN4{n:0{RECEPTACLE_DIGITS}d}" for d, to, n in values]

    def _create_waybills(self, draws: Draws, shipments: Shipments, rows: Ints) -> tuple[list[str], list[str]]:
        count = len(rows)
        alone = (shipments.service[rows] == self._direct) & (shipments.master[rows] == NO_INDEX)
        alone &= ~draw_flags(draws, self._manner.consolidated, count)
        group = self._group_by_master(shipments, rows, np.zeros(count, dtype=np.int64))
        group = np.where(alone, group.max(initial=-1) + 1 + np.arange(count), group)
        _, group = np.unique(group, return_inverse=True)
        serial = (self._masters + np.arange(group.max(initial=-1) + 1)) * AWB_STEP % AWB_SERIALS
        self._masters += len(serial)
        wrong = draw_flags(draws, self._manner.bad_check_digit, len(serial))
        check = (serial % AWB_MODULUS + wrong) % AWB_MODULUS
        full = [f"-{s:07d}{c}" for s, c in zip(serial.tolist(), check.tolist(), strict=True)]
        houses = ((self._items + np.arange(count)) * S10_STEP % S10_SERIALS).tolist()
        self._items += count
        places, single = [self._places[each] for each in shipments.departure[rows]], alone.tolist()
        waybills = [place.prefix + full[own] for place, own in zip(places, group.tolist(), strict=True)]
        named = zip(waybills, places, houses, single, strict=True)
        ids = [awb if alone else f"{awb}/{place.airport}{house:08d}" for awb, place, house, alone in named]
        return ids, ["" if alone else awb for awb, alone in zip(waybills, single, strict=True)]

    def _group_by_master(self, shipments: Shipments, rows: Ints, apart: Ints) -> Ints:
        """Group shipments with equal service, place and `apart` into masters of limited size."""
        own = shipments.master[rows]
        key = (shipments.service[rows] * 1000 + shipments.departure[rows]) * 2 + apart.astype(np.int64)
        key = np.where(own == NO_INDEX, key, MASTER_KEY_OFFSET + own)
        _, kind = np.unique(key, return_inverse=True)
        place = pd.Series(kind).groupby(kind).cumcount().to_numpy()
        block = np.where(own == NO_INDEX, place // self._manner.houses, 0)
        _, group = np.unique(kind * len(rows) + block, return_inverse=True)
        return np.asarray(group, dtype=np.int64)


def assign_shared_masters(columns: Columns, others: Columns, own: Bools) -> None:
    """Move consignments to receptacles and master waybills of others on the same route, except those with their own."""
    theirs = dict(zip(_iterate_routes(others), others["master_id"], strict=True))
    for row, way in enumerate(_iterate_routes(columns)):
        master, before = theirs.get(way), columns["master_id"][row]
        if master is not None and before is not None and not own[row]:
            columns["consignment_id"][row] = columns["consignment_id"][row].replace(before, master)
            columns["master_id"][row] = master


def _iterate_routes(columns: Columns) -> Iterator[tuple[str, str, str]]:
    """Yield the route of each consignment: service, country, and for mail the two exchange offices."""
    names = ("service", "departure_country", "channel", "master_id")
    for service, country, channel, master in zip(*(columns[name] for name in names), strict=True):
        yield service, country, master[:-RECEPTACLE_DIGITS] if channel == "postal" else ""
