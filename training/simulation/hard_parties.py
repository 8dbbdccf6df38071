"""Parties of a hard world: own domains of firms, buildings shared through forwarders, phone numbers of one block."""

import numpy as np

from training.simulation.hard_parameters import HardParameters, Identifier
from training.simulation.parameters import SimulationParameters
from training.simulation.parties import HUMAN, KIND, Draws, Ids, SimulatedParties, fill_pattern, make_slug
from training.simulation.spelling_noise import move_unit, respell_name, swap_variant

RECEIVERS = np.isin(list(KIND), ["person", "business"])
"""By kind: True if it may receive at a forwarder's building."""
BLOCK_DIGITS = 3
"""Digits that vary within a block of numbers bought together (assumed)."""
PLACE_COLUMNS = ("address", "native_address", "city", "native_city", "postcode")
NAME_COLUMNS = ("name", "native_name")
KEPT_COLUMNS: dict[Identifier, tuple[str, ...]] = {
    "sender_phone": ("phone",),
    "account": ("account",),
    "customer_phone": ("phone",),
}
"""Identifiers that are kept unchanged, and their columns."""


class HardParties(SimulatedParties):
    """Parties whose identifiers may also agree for honest reasons.

    Parameters
    ----------
    world : SimulationParameters
    hard : HardParameters
    """

    def __init__(self, world: SimulationParameters, hard: HardParameters) -> None:
        super().__init__(world)
        self._hard = hard
        self._first_spellings: dict[int, tuple[str, str]] = {}
        self._home = self.countries.index(world.destination)
        self.buildings = self._found_buildings(world)

    def add(self, draws: Draws, kind: Ids, country: Ids, born: Ids) -> Ids:
        """Add new parties; some firms have a domain, and some domestic parties receive at a forwarder's building."""
        ids = super().add(draws, kind, country, born)
        self._add_second_names(
            draws, ids[HUMAN[kind] & (draws.random(len(ids)) < self._hard.honest.second_name)]
        )
        firms = ids[~HUMAN[kind] & (draws.random(len(ids)) < self._hard.honest.own_domain)]
        for party in firms.tolist():
            self.move_to_domain([party], f"{make_slug(self._texts['name'][party])}{party % 97}.example")
        chance = np.where(HUMAN[kind], *self._hard.addresses.used)
        shared = ids[RECEIVERS[kind] & (country == self._home) & (draws.random(len(ids)) < chance)]
        for party in shared.tolist():
            self.move_to_building(draws, party, int(draws.integers(0, len(self.buildings))))
        return ids

    def _add_second_names(self, draws: Draws, ids: Ids) -> None:
        """Add a second given name to persons, so that fewer have the same name."""
        names = self._texts["name"]
        for party, share in zip(ids.tolist(), draws.random(len(ids)).tolist(), strict=True):
            culture = self._cultures[self.country[party]]
            first, space, rest = names[party].partition(" ")
            if space and not self._texts["native_name"][party] and not culture.family_first:
                names[party] = f"{first} {culture.given[int(share * len(culture.given))]} {rest}"

    def move_to_domain(self, ids: list[int], domain: str) -> None:
        """Assign each party a mailbox at a domain."""
        emails = self._texts["email"]
        for party in ids:
            emails[party] = f"{emails[party].partition('@')[0]}@{domain}"

    def move_to_building(self, draws: Draws, party: int, building: int, unit: int = 0) -> None:
        """Move a party to a forwarder's building; without a unit it gets its own."""
        own = unit or 1 + int(draws.integers(0, self._hard.addresses.units))
        address, city, postcode = self.buildings[building]
        values = (f"{address}, {self._hard.addresses.unit.format(u=own)}", "", city, "", postcode)
        self._write(party, PLACE_COLUMNS, values)

    def move_to_block(self, draws: Draws, party: int, stem: str) -> None:
        """Assign a party a phone number from a block."""
        digits = int(draws.integers(0, 10**BLOCK_DIGITS))
        self._write(party, ("phone",), (f"{stem}{digits:0{BLOCK_DIGITS}d}",))

    def respell(self, draws: Draws, ids: list[int]) -> None:
        """Change the spelling of the names and addresses of parties from now on; they stay the same parties."""
        variants = self._hard.spelling.variants
        for party, picks in zip(ids, draws.random((len(ids), 2)).tolist(), strict=True):
            now = self._texts["name"][party], self._texts["address"][party]
            name, address = self._first_spellings.setdefault(party, now)
            moved = move_unit(swap_variant(address, variants, picks[1]))
            self._write(party, ("name", "address"), (respell_name(name, variants, picks[0]).strip(), moved))

    def copy_columns(self, party: int, other: int, columns: tuple[str, ...]) -> None:
        """Copy columns of another party."""
        self._write(party, columns, tuple(self._texts[column][other] for column in columns))

    def _mark_boxes(self, draws: Draws, ids: Ids) -> None:
        """Assign addresses to boxes and offices, the offices in the streets of the destination."""
        super()._mark_boxes(draws, ids)
        addresses, streets = self._texts["address"], self._cultures[self._home].streets
        for party in ids[self.kind[ids] == KIND["virtual_office"]].tolist():
            house = addresses[party].rpartition(", ")[2].partition(" ")[0]
            addresses[party] = (
                f"{addresses[party].rpartition(', ')[0]}, {house} {streets[int(house) % len(streets)]}"
            )

    def _write(self, party: int, columns: tuple[str, ...], values: tuple[str, ...]) -> None:
        for column, value in zip(columns, values, strict=True):
            self._texts[column][party] = value

    def _found_buildings(self, world: SimulationParameters) -> list[tuple[str, str, str]]:
        """Create the forwarders' buildings (address, city and postcode), the same in every world of a set."""
        culture = world.people.cultures[world.people.countries[world.destination].culture]
        found = []
        for number in range(self._hard.addresses.buildings):
            draws = np.random.default_rng([number])
            street, city = draws.integers(0, len(culture.streets)), draws.integers(0, len(culture.cities))
            house = int(draws.integers(1, 400))
            address = culture.address.format(n=house, b=1, u=1, s=culture.streets[street]).rpartition(", ")
            postcode = fill_pattern(draws, culture.postcode, 1)[0]
            found.append((address[0] or address[2], culture.cities[city], postcode))
        return found
