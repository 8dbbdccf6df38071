"""Senders and consignees of a simulated world, with names, addresses, contacts and lasting habits."""

from operator import getitem
from string import ascii_uppercase

import numpy as np

from models.arrays import Bools, Floats, Ints, Texts
from training.simulation.parameters import Parameters, SimulationParameters
from training.simulation.shipments import Draws, draw_flags, pick
from training.simulation.spelling import move_unit, respell_name, swap_variant

SENDER_KINDS = ("platform_seller", "merchant", "private", "chemical_trader", "forwarder")
KINDS = (*SENDER_KINDS, "person", "business", "po_box", "virtual_office")
KIND = {name: number for number, name in enumerate(KINDS)}
HUMAN = np.isin(KINDS, ["private", "person", "po_box"])  # by kind: True if it has a person's name
SELLERS = np.isin(KINDS, ["platform_seller", "merchant", "chemical_trader", "forwarder"])
"""By kind: True if it may have an account with a carrier or a platform."""
BOXES = np.isin(KINDS, ["po_box", "virtual_office"])  # by kind: True if nobody lives or works there
RECEIVERS = np.isin(KINDS, ["person", "business"])  # by kind: True if it may use a forwarder's building
NAME_COLUMNS = ("name", "native_name")
PLACE_COLUMNS = ("address", "native_address", "city", "native_city", "postcode")
TEXT_COLUMNS = (*NAME_COLUMNS, *PLACE_COLUMNS, "phone", "email", "account")
NUMBER_COLUMNS = ("kind", "country", "born", "opened", "leaning", "traits")
TRAITS = CAPITALS, LANGUAGE, COURIER, DECLARANT, FRONT = tuple(range(5))
"""Positions of a party's traits: lasting numbers from 0 to 1 that decide how it sends."""
SIGNS = {"#": "0123456789", "@": ascii_uppercase}  # of a pattern, with what each stands for
BLOCK_DIGITS = 3  # digits that vary within a block of phone numbers bought together (assumed)


class SimulatedParties:
    """Parties of a world; one row each, and new rows as they are added."""

    def __init__(self, world: SimulationParameters) -> None:
        self._world, self._entities, self._hard = world, world.entities, world.hard
        self._firms = world.people.firms
        self.countries = tuple(world.people.countries)
        self.home = self.countries.index(world.destination)
        self._places = tuple(world.people.countries.values())
        self._cultures = tuple(world.people.cultures[place.culture] for place in self._places)
        self.size = 0
        self._texts = {name: np.empty(0, dtype=object) for name in TEXT_COLUMNS}
        # Positions, and days from the start of the world on which it began and opened its account.
        self.kind, self.country, self.born, self.opened = (np.empty(0, dtype=np.int64) for _ in range(4))
        # The tendency to other prohibited goods, with mean 1, and lasting numbers that depend on no other party.
        self.leaning, self.traits = np.empty(0), np.empty((0, len(TRAITS)))
        self._first_spellings: dict[int, tuple[str, str]] = {}
        self._buildings = [self._found_building(number) for number in range(self._hard.addresses.buildings)]

    def get_texts(self, column: str, ids: Ints) -> Texts:
        """Return a column of `TEXT_COLUMNS` for some parties; '' is missing."""
        return self._texts[column][ids]

    def add(self, draws: Draws, kind: Ints, country: Ints, born: Ints) -> Ints:
        """Add new parties, and return their numbers."""
        ids = self._allocate_rows(len(kind))
        self.kind[ids], self.country[ids], self.born[ids] = kind, country, born
        self.opened[ids] = born - draws.integers(0, 15, len(ids))
        shape = self._entities.offence_shape
        self.leaning[ids] = draws.gamma(shape, 1.0 / shape, len(ids))
        self.traits[ids] = draws.random((len(ids), len(TRAITS)))
        for place in np.unique(country).tolist():
            self._assign_texts(draws, ids[country == place], self._places[place], self._cultures[place])
        self._mark_boxes(draws, ids)
        self._add_likenesses(draws, ids)
        return ids

    def rename(self, draws: Draws, ids: Ints, born: int, keep: float) -> Ints:
        """Add parties that are old ones under new names; `keep`: probability of keeping the old contacts."""
        fresh = self.add(draws, self.kind[ids], self.country[ids], np.full(len(ids), born))
        kept = draw_flags(draws, keep, len(ids))
        self.copy_contacts(draws, fresh[kept], ids[kept])
        return fresh

    def copy_contacts(self, draws: Draws, ids: Ints, others: Ints) -> None:
        """Copy the address or the phone (or both) of other parties."""
        which = draws.integers(0, 3, len(ids))
        for columns, modes in ((PLACE_COLUMNS, (0, 2)), (("phone",), (1, 2))):
            chosen = np.isin(which, modes)
            self.copy_columns(ids[chosen], others[chosen], columns)

    def copy_columns(self, ids: Ints | int, others: Ints | int, columns: tuple[str, ...]) -> None:
        """Copy columns of other parties."""
        for column in columns:
            self._texts[column][ids] = self._texts[column][others]

    def move_to_domain(self, party: int, domain: str) -> None:
        """Assign a party a mailbox at a domain."""
        emails = self._texts["email"]
        emails[party] = f"{emails[party].partition('@')[0]}@{domain}"

    def move_to_building(self, draws: Draws, party: int, building: int, unit: int = 0) -> None:
        """Move a party to a forwarder's building; without a unit it gets its own."""
        addresses = self._hard.addresses
        own = unit or 1 + int(draws.integers(0, addresses.units))
        address, city, postcode = self._buildings[building]
        values = (f"{address}, {addresses.unit.format(u=own)}", "", city, "", postcode)
        for column, value in zip(PLACE_COLUMNS, values, strict=True):
            self._texts[column][party] = value

    def move_to_block(self, draws: Draws, party: int, country: int, stem: str) -> None:
        """Assign a party a phone number of a country from the block of a stem."""
        form, digits = self._cultures[country].mobile, iter(stem + stem)
        filled = "".join(next(digits) if sign == "#" else sign for sign in form)
        last = int(draws.integers(0, 10**BLOCK_DIGITS))
        number = f"{filled[:-BLOCK_DIGITS]}{last:0{BLOCK_DIGITS}d}"
        self._texts["phone"][party] = f"+{self._places[country].dial} {number}"

    def respell(self, draws: Draws, ids: list[int]) -> None:
        """Change the spelling of the names and addresses of parties from now on; they stay the same parties."""
        variants, names, addresses = self._hard.spelling.variants, self._texts["name"], self._texts["address"]
        for party, picks in zip(ids, draws.random((len(ids), 2)).tolist(), strict=True):
            name, address = self._first_spellings.setdefault(party, (names[party], addresses[party]))
            names[party] = respell_name(name, variants, picks[0]).strip()
            addresses[party] = move_unit(swap_variant(address, variants, picks[1]))

    def _allocate_rows(self, count: int) -> Ints:
        first, self.size = self.size, self.size + count
        if self.size > len(self.kind):
            extra = max(self.size - len(self.kind), len(self.kind), 1024)
            for name, texts in self._texts.items():
                self._texts[name] = np.concatenate([texts, np.full(extra, "", dtype=object)])
            for name in NUMBER_COLUMNS:
                values = getattr(self, name)
                room = np.zeros_like(values, shape=(extra, *values.shape[1:]))
                setattr(self, name, np.concatenate([values, room]))
        return np.arange(first, self.size)

    def _assign_texts(self, draws: Draws, ids: Ints, place: Parameters, culture: Parameters) -> None:
        human = HUMAN[self.kind[ids]]
        names = np.full((2, len(ids)), "", dtype=object)
        names[:, human] = _draw_person_names(draws, int(human.sum()), culture)
        names[0, ~human] = self._draw_firm_names(draws, self.kind[ids[~human]], culture)
        self._texts["name"][ids], self._texts["native_name"][ids] = names
        self._assign_addresses(draws, ids, culture)
        self._assign_contacts(draws, ids, place, culture)

    def _draw_firm_names(self, draws: Draws, kinds: Ints, culture: Parameters) -> list[str]:
        firms = self._firms
        special = {KIND["chemical_trader"]: firms.chemical_trades, KIND["forwarder"]: firms.forwarder_trades}
        names = []
        for kind, (a, b, c, d) in zip(kinds.tolist(), draws.random((len(kinds), 4)).tolist(), strict=True):
            firm = f"{pick(firms.words, a)} {pick(special.get(kind, firms.trades), b)}"
            city, suffix = pick(culture.cities, d / 0.31 % 1), pick(culture.suffixes, c)
            names.append(f"{firm} {suffix}" if d < 0.7 else f"{city} {firm}")
        return names

    def _assign_addresses(self, draws: Draws, ids: Ints, culture: Parameters) -> None:
        count = len(ids)
        numbers = draws.integers(1, [400, 30, 2500], (count, 3))
        street = draws.integers(0, len(culture.streets), count)
        city = draws.integers(0, len(culture.cities), count)
        rows = [dict(zip("nbu", three, strict=True)) for three in numbers.tolist()]
        for prefix, suffix in (("", ""), ("native_", "_native")):
            if form := culture.get(f"address{suffix}"):
                named = zip(np.array(culture[f"streets{suffix}"], dtype=object)[street], rows, strict=True)
                self._texts[f"{prefix}address"][ids] = [form.format(s=name, **row) for name, row in named]
            if cities := culture.get(f"cities{suffix}"):
                self._texts[f"{prefix}city"][ids] = np.array(cities, dtype=object)[city]
        self._texts["postcode"][ids] = fill_pattern(draws, culture.postcode, count)

    def _assign_contacts(self, draws: Draws, ids: Ints, place: Parameters, culture: Parameters) -> None:
        count, mailboxes, texts = len(ids), self._firms.mailboxes, self._texts
        phones = fill_pattern(draws, culture.mobile, count)
        texts["phone"][ids] = [f"+{place.dial} {digits}" for digits in phones]
        numbers, houses = (draws.integers(*ends, count).tolist() for ends in ((1, 9999), (0, len(mailboxes))))
        texts["email"][ids] = [
            f"{_make_slug(name)}{number}@{mailboxes[house]}.example"
            for name, number, house in zip(texts["name"][ids], numbers, houses, strict=True)
        ]
        accounts = zip(draws.integers(10_000_000, 99_999_999, count), SELLERS[self.kind[ids]], strict=True)
        texts["account"][ids] = [f"AC{account}" if sells else "" for account, sells in accounts]

    def _mark_boxes(self, draws: Draws, ids: Ints) -> None:
        """Assign addresses to boxes and virtual offices."""
        boxes = ids[self.kind[ids] == KIND["po_box"]]
        numbers = draws.integers(10, 9900, len(boxes)).tolist()
        self._texts["address"][boxes] = [f"P.O. Box {number}" for number in numbers]
        offices = ids[self.kind[ids] == KIND["virtual_office"]]
        houses = draws.integers(0, self._entities.virtual_addresses, len(offices)).tolist()
        suites = draws.integers(100, 999, len(offices)).tolist()
        buildings, streets = self._firms.buildings, self._cultures[self.home].streets
        for party, house, suite in zip(offices.tolist(), houses, suites, strict=True):
            street = self._entities.virtual_street or streets[(house + 1) % len(streets)]
            building = buildings[house % len(buildings)]
            self._texts["address"][party] = f"Suite {suite}, {building}, {house + 1} {street}"
        self._texts["native_address"][np.concatenate([boxes, offices])] = ""

    def _add_likenesses(self, draws: Draws, ids: Ints) -> None:
        """Assign honest parties what networks have too: own domains and shared buildings; and persons second names."""
        honest, addresses = self._hard.honest, self._hard.addresses
        kind, human, names = self.kind[ids], HUMAN[self.kind[ids]], self._texts["name"]
        if honest.second_name:
            chosen = ids[human & draw_flags(draws, honest.second_name, len(ids))].tolist()
            for party, share in zip(chosen, draws.random(len(chosen)).tolist(), strict=True):
                self._add_second_name(party, share)
        if honest.own_domain:
            for party in ids[~human & draw_flags(draws, honest.own_domain, len(ids))].tolist():
                self.move_to_domain(party, f"{_make_slug(names[party])}{party % 97}.example")
        if addresses.buildings:
            used: Floats = np.where(human, *addresses.used)
            shared: Bools = draws.random(len(ids)) < used
            for party in ids[RECEIVERS[kind] & (self.country[ids] == self.home) & shared].tolist():
                self.move_to_building(draws, party, int(draws.integers(0, addresses.buildings)))

    def _add_second_name(self, party: int, share: float) -> None:
        culture, names = self._cultures[self.country[party]], self._texts["name"]
        first, space, rest = names[party].partition(" ")
        if space and not self._texts["native_name"][party] and not culture.get("family_first", False):
            names[party] = f"{first} {pick(culture.given, share)} {rest}"

    def _found_building(self, number: int) -> tuple[str, str, str]:
        """Create one of the forwarders' buildings (address, city and postcode), the same in every world of a set."""
        culture, draws = self._cultures[self.home], np.random.default_rng([number])
        street, city = draws.integers(0, len(culture.streets)), draws.integers(0, len(culture.cities))
        house = int(draws.integers(1, 400))
        address = culture.address.format(n=house, b=1, u=1, s=culture.streets[street]).rpartition(", ")
        postcode = fill_pattern(draws, culture.postcode, 1)[0]
        return address[0] or address[2], culture.cities[city], postcode


def fill_pattern(draws: Draws, form: str, count: int) -> list[str]:
    """Fill a pattern: `#` is any digit, `@` any letter."""
    signs = [SIGNS[sign] for sign in form if sign in SIGNS]
    sizes = np.array([len(each) for each in signs], dtype=np.int64)
    drawn = draws.integers(0, sizes[:, None], (len(signs), count)).T.tolist()
    filled = "".join("{}" if sign in SIGNS else sign for sign in form)
    return [filled.format(*map(getitem, signs, places)) for places in drawn]


def _draw_person_names(draws: Draws, count: int, culture: Parameters) -> list[list[str]]:
    """Draw names in Latin letters, and in the culture's own script; '' if it has none."""
    family, given = (draws.integers(0, len(culture[part]), count).tolist() for part in ("family", "given"))
    pairs = list(zip(family, given, strict=True))
    order = "{0} {1}" if culture.get("family_first", False) else "{1} {0}"
    latin = [order.format(culture.family[f], culture.given[g]) for f, g in pairs]
    if not culture.get("family_native"):
        return [latin, [""] * count]
    return [latin, [culture.family_native[f] + culture.given_native[g] for f, g in pairs]]


def _make_slug(name: str) -> str:
    return "".join(sign for sign in name.lower() if sign.isascii() and sign.isalnum())[:12]
