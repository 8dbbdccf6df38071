"""Identifiers of simulated consignments: S10 items in receptacles, house waybills under master waybills.

Serial numbers step through all numbers of their length, so that none occurs twice; a few check digits are wrong.
Networks' consignments are numbered separately, so that honest ones have the same identifiers regardless of networks. Then
they join the receptacles and master waybills of honest consignments on the same route.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consignments.identifiers import AWB_MODULUS, S10_EXCEPTIONS, S10_WEIGHTS
from training.simulation.parameters import SimulationParameters
from training.simulation.shipments import NO_INDEX, Draws, Numbers, Shipments, draw_flags

S10_SERIALS, AWB_SERIALS = 100_000_000, 10_000_000
S10_STEP, AWB_STEP = 7_368_787, 3_271_193
"""Steps without a common factor with the numbers of serials."""
S10_CHECKS = np.array([S10_EXCEPTIONS.get(11 - remainder, 11 - remainder) for remainder in range(11)])
"""Check digit by the weighted sum modulo 11: UPU standard S10."""
RECEPTACLE_DIGITS = 13
"""Length of the serial at the end of a receptacle's number, after its route."""
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
MASTER_KEY_OFFSET = 1_000_000_000
"""Larger than any master number; keeps the groups apart."""


class IdentifierGenerator:
    """Generator of identifiers; each is used once.

    Parameters
    ----------
    world : SimulationParameters
    first : int
        First serial number.
    half : {0, 1}
        Half of all numbers to use, so that two generators can work independently.
    """

    def __init__(self, world: SimulationParameters, first: int, half: int) -> None:
        self._manner = world.declarations
        self._countries = tuple(world.people.countries)
        self._places = tuple(world.people.countries.values())
        self._letters = [service.letters for service in world.services.values()]
        self._cargo = np.array([service.channel == "air_cargo" for service in world.services.values()])
        self._direct = list(world.services).index("general")
        self._items = self._receptacles = first + half * S10_SERIALS // 2
        self._masters = first + half * AWB_SERIALS // 2

    def assign_identifiers(
        self, draws: Draws, shipments: Shipments, arrival: NDArray[np.object_]
    ) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        """Assign identifiers to the shipments of a day.

        Parameters
        ----------
        draws : Generator
        shipments : Shipments
        arrival : object array of str, (n,)
            IMPC of the exchange office of arrival.

        Returns
        -------
        ids, masters : object array of str, (n,)
            '' if there is no master.
        """
        cargo = self._cargo[shipments.service]
        ids = np.empty(len(shipments), dtype=object)
        masters = np.empty(len(shipments), dtype=object)
        ids[~cargo] = self._create_s10(draws, shipments, np.flatnonzero(~cargo))
        masters[~cargo] = self._receptacle_numbers(shipments, arrival, np.flatnonzero(~cargo))
        ids[cargo], masters[cargo] = self._waybills(draws, shipments, np.flatnonzero(cargo))
        return ids, masters

    def _create_s10(self, draws: Draws, shipments: Shipments, rows: Numbers) -> list[str]:
        count = len(rows)
        serial = (self._items + np.arange(count)) * S10_STEP % S10_SERIALS
        self._items += count
        digits = serial[:, None] // 10 ** np.arange(7, -1, -1) % 10
        check = S10_CHECKS[digits @ np.array(S10_WEIGHTS) % 11]
        wrong = draw_flags(draws, self._manner.bad_check_digit, count)
        check = np.where(wrong, (check + 1) % 10, check)
        picks = draws.integers(0, [60, len(LETTERS)], (count, 2)).tolist()
        values = zip(
            shipments.service[rows].tolist(),
            shipments.departure[rows].tolist(),
            picks,
            serial.tolist(),
            check.tolist(),
            strict=True,
        )
        letters, countries = self._letters, self._countries
        return [
            f"{letters[s][a % len(letters[s])]}{LETTERS[b]}{n:08d}{c}{countries[d]}"
            for s, d, (a, b), n, c in values
        ]

    def _receptacle_numbers(
        self, shipments: Shipments, arrival: NDArray[np.object_], rows: Numbers
    ) -> list[str]:
        group = self._group_by_master(shipments, rows, arrival[rows] == arrival[0] if len(rows) else rows)
        serial = (self._receptacles + group) * S10_STEP % S10_SERIALS
        self._receptacles += int(group.max(initial=-1)) + 1
        values = zip(shipments.departure[rows].tolist(), arrival[rows], serial.tolist(), strict=True)
        return [f"{self._places[d].impc}{to}AUN4{n:0{RECEPTACLE_DIGITS}d}" for d, to, n in values]

    def _waybills(self, draws: Draws, shipments: Shipments, rows: Numbers) -> tuple[list[str], list[str]]:
        count = len(rows)
        alone = (
            (shipments.service[rows] == self._direct)
            & (shipments.master[rows] == NO_INDEX)
            & ~draw_flags(draws, self._manner.consolidated, count)
        )
        group = self._group_by_master(shipments, rows, np.zeros(count, dtype=np.int64))
        group = np.where(alone, group.max(initial=-1) + 1 + np.arange(count), group)
        _, group = np.unique(group, return_inverse=True)
        serial = (self._masters + np.arange(group.max(initial=-1) + 1)) * AWB_STEP % AWB_SERIALS
        self._masters += len(serial)
        wrong = draw_flags(draws, self._manner.bad_check_digit, len(serial))
        check = (serial % AWB_MODULUS + wrong) % AWB_MODULUS
        prefixes = [self._places[d].prefix for d in shipments.departure[rows].tolist()]
        airports = [self._places[d].airport for d in shipments.departure[rows].tolist()]
        full = [f"-{s:07d}{c}" for s, c in zip(serial.tolist(), check.tolist(), strict=True)]
        waybills = [prefix + full[g] for prefix, g in zip(prefixes, group.tolist(), strict=True)]
        houses = ((self._items + np.arange(count)) * S10_STEP % S10_SERIALS).tolist()
        self._items += count
        ids = [
            waybill if single else f"{waybill}/{airport}{house:08d}"
            for waybill, single, airport, house in zip(
                waybills, alone.tolist(), airports, houses, strict=True
            )
        ]
        masters = [
            "" if single else waybill for waybill, single in zip(waybills, alone.tolist(), strict=True)
        ]
        return ids, masters

    def _group_by_master(self, shipments: Shipments, rows: Numbers, apart: Numbers) -> Numbers:
        """Group shipments with equal service, place and `apart` into masters of limited size."""
        own = shipments.master[rows]
        key = (shipments.service[rows] * 1000 + shipments.departure[rows]) * 2 + apart.astype(np.int64)
        key = np.where(own == NO_INDEX, key, MASTER_KEY_OFFSET + own)
        _, kind, sizes = np.unique(key, return_inverse=True, return_counts=True)
        order = np.argsort(kind, kind="stable")
        starts = np.cumsum(sizes) - sizes
        place = np.empty(len(rows), dtype=np.int64)
        place[order] = np.arange(len(rows)) - starts[kind[order]]
        block = np.where(own == NO_INDEX, place // self._manner.houses, 0)
        _, group = np.unique(kind * len(rows) + block, return_inverse=True)
        return np.asarray(group, dtype=np.int64)


def assign_shared_masters(
    columns: dict[str, NDArray[Any]], others: dict[str, NDArray[Any]], own: NDArray[np.bool_]
) -> None:
    """Assign consignments to receptacles and master waybills of others on the same route, if there are any.

    Parameters
    ----------
    columns, others : dict of arrays
        Declared columns; `columns` are changed.
    own : bool array, (n,)
        Rows of `columns` that keep their own master.
    """
    theirs = dict(zip(_iterate_routes(others), others["master_id"], strict=True))
    for row, way in enumerate(_iterate_routes(columns)):
        master, before = theirs.get(way), columns["master_id"][row]
        if master is not None and before is not None and not own[row]:
            columns["consignment_id"][row] = columns["consignment_id"][row].replace(before, master)
            columns["master_id"][row] = master


def _iterate_routes(columns: dict[str, NDArray[Any]]) -> Iterator[tuple[str, str, str]]:
    """Yield the route of each consignment: service, country, and for mail the two exchange offices."""
    rows = zip(
        columns["service"],
        columns["departure_country"],
        columns["channel"],
        columns["master_id"],
        strict=True,
    )
    for service, country, channel, master in rows:
        between = master[:-RECEPTACLE_DIGITS] if channel == "postal" else ""
        yield service, country, between
