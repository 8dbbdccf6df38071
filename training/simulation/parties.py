"""Senders and consignees of a simulated world, and the variants in which the same party is written."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.simulation.parameters import Country, Culture, Firms, SimulationParameters, Spelling

Ids = NDArray[np.int64]
Texts = NDArray[np.object_]
Draws = np.random.Generator

KINDS = (
    "platform_seller",
    "merchant",
    "private",
    "chemical_trader",
    "forwarder",
    "person",
    "business",
    "po_box",
    "virtual_office",
)
KIND = {name: number for number, name in enumerate(KINDS)}
HUMAN = np.isin(KINDS, ["private", "person", "po_box"])
"""By kind: True if it has a person's name."""
SELLERS = np.isin(KINDS, ["platform_seller", "merchant", "chemical_trader", "forwarder"])
"""By kind: True if it may have an account with a carrier or a platform."""
MAX_AGE_DAYS = 900
"""Maximum age of parties that exist on the first day (assumed)."""

TEXT_COLUMNS = (
    "name",
    "native_name",
    "address",
    "native_address",
    "city",
    "native_city",
    "postcode",
    "phone",
    "email",
    "account",
)
TRAITS = CAPITALS, LANGUAGE, COURIER, DECLARANT, FRONT = tuple(range(5))
"""Positions of a party's traits: lasting numbers from 0 to 1 that decide how it sends."""
CONTACTS = ("address", "native_address", "city", "native_city", "postcode", "phone", "email")


class SimulatedParties:
    """Parties of a world; one row each, and new rows as they are added.

    Parameters
    ----------
    world : SimulationParameters

    Attributes
    ----------
    kind, country, born, opened : int64 array, (capacity,)
        Position in `KINDS`, position in the world's countries, UTC day of creation and of opening the account, from the start.
    leaning : float64 array, (capacity,)
        Tendency to other prohibited goods, mean 1.
    traits : float64 array, (capacity, traits)
        Drawn for each party; deriving them from its number would make them depend on the parties added before.
    """

    def __init__(self, world: SimulationParameters) -> None:
        self._entities = world.entities
        self._firms = world.people.firms
        self.countries = tuple(world.people.countries)
        self._places = tuple(world.people.countries.values())
        self._cultures = tuple(world.people.cultures[place.culture] for place in self._places)
        self.size = 0
        self._texts = {name: np.empty(0, dtype=object) for name in TEXT_COLUMNS}
        self.kind, self.country, self.born, self.opened = (np.empty(0, dtype=np.int64) for _ in range(4))
        self.leaning, self.traits = np.empty(0), np.empty((0, len(TRAITS)))

    def get_texts(self, column: str, ids: Ids) -> Texts:
        """Return a column of `TEXT_COLUMNS` for some parties; '' is missing."""
        return self._texts[column][ids]

    def add(self, draws: Draws, kind: Ids, country: Ids, born: Ids) -> Ids:
        """Add new parties.

        Parameters
        ----------
        draws : Generator
        kind, country, born : int64 array, (n,)

        Returns
        -------
        int64 array, (n,)
            Their numbers.
        """
        ids = self._allocate_rows(len(kind))
        self.kind[ids], self.country[ids], self.born[ids] = kind, country, born
        self.opened[ids] = born - draws.integers(0, 15, len(ids))
        shape = self._entities.offence_shape
        self.leaning[ids] = draws.gamma(shape, 1.0 / shape, len(ids))
        self.traits[ids] = draws.random((len(ids), len(TRAITS)))
        for place in np.unique(country):
            mine = ids[country == place]
            self._assign_names(draws, mine, self._places[place], self._cultures[place])
        self._mark_boxes(draws, ids)
        return ids

    def rename(self, draws: Draws, ids: Ids, born: int, keep: float) -> Ids:
        """Add parties that are old ones under new names; `keep`: probability of keeping the old contacts."""
        fresh = self.add(draws, self.kind[ids], self.country[ids], np.full(len(ids), born))
        kept = draws.random(len(ids)) < keep
        self.copy_contacts(draws, fresh[kept], ids[kept])
        return fresh

    def copy_contacts(self, draws: Draws, ids: Ids, others: Ids) -> None:
        """Copy the address or the phone (or both) of other parties."""
        which = draws.integers(0, 3, len(ids))
        for columns, modes in ((CONTACTS[:5], (0, 2)), (("phone",), (1, 2))):
            chosen = np.isin(which, modes)
            for column in columns:
                self._texts[column][ids[chosen]] = self._texts[column][others[chosen]]

    def copy_name(self, ids: Ids, others: Ids) -> None:
        """Copy the names of other parties."""
        for column in ("name", "native_name"):
            self._texts[column][ids] = self._texts[column][others]

    def _allocate_rows(self, count: int) -> Ids:
        first, self.size = self.size, self.size + count
        if self.size > len(self.kind):
            extra = max(self.size - len(self.kind), len(self.kind), 1024)
            for name, values in self._texts.items():
                self._texts[name] = np.concatenate([values, np.full(extra, "", dtype=object)])
            for name in ("kind", "country", "born", "opened"):
                setattr(self, name, np.concatenate([getattr(self, name), np.zeros(extra, dtype=np.int64)]))
            self.leaning = np.concatenate([self.leaning, np.zeros(extra)])
            self.traits = np.concatenate([self.traits, np.zeros((extra, len(TRAITS)))])
        return np.arange(first, self.size)

    def _assign_names(self, draws: Draws, ids: Ids, place: Country, culture: Culture) -> None:
        human = HUMAN[self.kind[ids]]
        names = np.empty((2, len(ids)), dtype=object)
        names[:, human] = _person_names(draws, int(human.sum()), culture)
        kinds = [KINDS[kind] for kind in self.kind[ids[~human]]]
        names[0, ~human] = _firm_names(draws, kinds, culture, self._firms)
        names[1, ~human] = ""
        self._texts["name"][ids], self._texts["native_name"][ids] = names
        self._assign_addresses(draws, ids, culture)
        self._assign_contacts(draws, ids, place, culture)

    def _assign_addresses(self, draws: Draws, ids: Ids, culture: Culture) -> None:
        count = len(ids)
        numbers = _to_lists(draws.integers(1, [400, 30, 2500], (count, 3)))
        street = draws.integers(0, len(culture.streets), count)
        city = draws.integers(0, len(culture.cities), count)
        streets, native_streets = culture.streets, culture.streets_native
        form, native = culture.address, culture.address_native
        rows = list(zip(*numbers, street.tolist(), strict=True))
        self._texts["address"][ids] = [form.format(n=n, b=b, u=u, s=streets[s]) for n, b, u, s in rows]
        self._texts["native_address"][ids] = (
            [native.format(n=n, b=b, u=u, s=native_streets[s]) for n, b, u, s in rows] if native else ""
        )
        self._texts["city"][ids] = np.array(culture.cities, dtype=object)[city]
        self._texts["native_city"][ids] = (
            np.array(culture.cities_native, dtype=object)[city] if culture.cities_native else ""
        )
        self._texts["postcode"][ids] = fill_pattern(draws, culture.postcode, count)

    def _assign_contacts(self, draws: Draws, ids: Ids, place: Country, culture: Culture) -> None:
        count = len(ids)
        digits = fill_pattern(draws, culture.mobile, count)
        self._texts["phone"][ids] = [f"+{place.dial} {number}" for number in digits]
        houses = ("mail", "post", "inbox", "web", "mymail")
        picks = zip(
            self._texts["name"][ids],
            draws.integers(1, 9999, count).tolist(),
            draws.integers(0, len(houses), count).tolist(),
            strict=True,
        )
        self._texts["email"][ids] = [
            f"{make_slug(name)}{number}@{houses[house]}.example" for name, number, house in picks
        ]
        sells = SELLERS[self.kind[ids]]
        accounts = draws.integers(10_000_000, 99_999_999, count).tolist()
        self._texts["account"][ids] = [
            f"AC{a}" if s else "" for a, s in zip(accounts, sells.tolist(), strict=True)
        ]

    def _mark_boxes(self, draws: Draws, ids: Ids) -> None:
        boxes = ids[self.kind[ids] == KIND["po_box"]]
        numbers = draws.integers(10, 9900, len(boxes)).tolist()
        self._texts["address"][boxes] = [f"P.O. Box {number}" for number in numbers]
        self._texts["native_address"][boxes] = ""
        offices = ids[self.kind[ids] == KIND["virtual_office"]]
        houses = draws.integers(0, self._entities.virtual_addresses, len(offices)).tolist()
        suites = draws.integers(100, 999, len(offices)).tolist()
        buildings = self._firms.buildings
        self._texts["address"][offices] = [
            f"Suite {suite}, {buildings[house % len(buildings)]}, {house + 1} Gonghang-ro"
            for house, suite in zip(houses, suites, strict=True)
        ]
        self._texts["native_address"][offices] = ""


def _to_lists(columns: NDArray[np.int64]) -> list[list[int]]:
    found: list[list[int]] = columns.T.tolist()
    return found


def _person_names(draws: Draws, count: int, culture: Culture) -> list[list[str]]:
    family = draws.integers(0, len(culture.family), count).tolist()
    given = draws.integers(0, len(culture.given), count).tolist()
    pairs = list(zip(family, given, strict=True))
    if culture.family_first:
        latin = [f"{culture.family[f]} {culture.given[g]}" for f, g in pairs]
    else:
        latin = [f"{culture.given[g]} {culture.family[f]}" for f, g in pairs]
    if not culture.family_native:
        return [latin, [""] * count]
    return [latin, [culture.family_native[f] + culture.given_native[g] for f, g in pairs]]


def _firm_names(draws: Draws, kinds: list[str], culture: Culture, firms: Firms) -> list[str]:
    trades = {"chemical_trader": firms.chemical_trades, "forwarder": firms.forwarder_trades}
    picks = draws.random((len(kinds), 4)).tolist()
    return [
        " ".join(
            (_pick(firms.words, a), _pick(trades.get(kind, firms.trades), b), _pick(culture.suffixes, c))
        )
        if d < 0.7
        else f"{_pick(culture.cities, d / 0.31 % 1)} {_pick(firms.words, a)} {_pick(trades.get(kind, firms.trades), b)}"
        for kind, (a, b, c, d) in zip(kinds, picks, strict=True)
    ]


def _pick(options: tuple[str, ...], share: float) -> str:
    return options[int(share * len(options))]


def fill_pattern(draws: Draws, form: str, count: int) -> list[str]:
    """Fill a pattern: `#` is any digit, `@` any letter."""
    columns: list[list[str]] = []
    for sign in form:
        if sign == "#":
            columns.append(draws.integers(0, 10, count).astype("U1").tolist())
        elif sign == "@":
            columns.append((draws.integers(65, 91, count).astype(np.uint32).view("U1")).tolist())
        else:
            columns.append([sign] * count)
    return ["".join(signs) for signs in zip(*columns, strict=True)]


def make_slug(name: str) -> str:
    """Return the letters and digits for the start of an e-mail address."""
    return "".join(sign for sign in name.lower() if sign.isascii() and sign.isalnum())[:12]


SHORT_FORMS = (
    ("Co., Ltd.", "Co Ltd"),
    ("Limited", "Ltd"),
    ("Trading", "Trdg"),
    ("Technology", "Tech"),
    ("Corporation", "Corp"),
    ("Import Export", "Imp & Exp"),
    (" Road", " Rd"),
    (" Street", " St."),
    ("Avenue", "Ave"),
    ("straße", "str."),
    ("Building", "Bldg"),
    ("Room", "Rm"),
    ("Calle ", "C/ "),
    ("-daero", "daero"),
    ("-gil", " gil"),
    ("P.O. Box", "PO Box"),
    ("Suite", "Ste"),
)


def shorten_text(text: str) -> str:
    """Abbreviate a name or an address as clerks do.

    Examples
    --------
    >>> shorten_text("Orchid Trading Limited"), shorten_text("Emma Taylor"), shorten_text("12 High Street, Unit 4")
    ('Orchid Trdg Ltd', 'E. Taylor', '12 High St., Unit 4')
    """
    short = text
    for long, brief in SHORT_FORMS:
        if long in short:
            short = short.replace(long, brief)
    if short == text and " " in text and not any(sign.isdigit() for sign in text):
        first, rest = text.split(" ", 1)
        return f"{first[0]}. {rest}"
    return short


def rotate_parts(text: str) -> str:
    """Write the parts of a name or an address in another order.

    Examples
    --------
    >>> rotate_parts("Kim Min-su"), rotate_parts("12 High Street, Unit 4")
    ('Min-su Kim', 'Unit 4 12 High Street')
    """
    parts = text.split(", ") if ", " in text else text.split(" ")
    return " ".join([parts[-1], *parts[:-1]])


def add_typo(text: str, where: float, how: float) -> str:
    """Add one typing error; `where` and `how` from 0 to 1 decide which.

    Examples
    --------
    >>> add_typo("cotton", 0.4, 0.1), add_typo("cotton", 0.4, 0.5), add_typo("cotton", 0.4, 0.9)
    ('cototn', 'coton', 'cottton')
    """
    if len(text) < 4:
        return text
    at = 1 + int(where * (len(text) - 2))
    if how < 0.4:
        return text[: at + 1] + text[at + 1 : at + 3][::-1] + text[at + 3 :]
    if how < 0.7:
        return text[:at] + text[at + 1 :]
    return text[:at] + text[at] + text[at:]


def write_variants(
    draws: Draws, texts: Texts, native: Texts, spelling: Spelling, upper: NDArray[np.bool_]
) -> Texts:
    """Write names or addresses in the variant of each consignment.

    Parameters
    ----------
    draws : Generator
    texts, native : object array, (n,)
        Their usual form and the one in another script, '' if there is none.
    spelling : Spelling
        Probabilities of each variant.
    upper : bool array, (n,)
        Rows of senders whose system prints capitals.
    """
    out = texts.copy()
    chances = [spelling.case, spelling.script, spelling.short, spelling.typo, spelling.order]
    way = np.searchsorted(np.cumsum(chances), draws.random(len(out)), side="right")
    where = draws.random((2, len(out)))
    scripted = (way == 1) & (native != "")
    out[scripted] = native[scripted]
    for number, change in ((2, shorten_text), (4, rotate_parts)):
        _change(out, way == number, change)
    _change(out, (way == 0) | upper, str.upper)
    slips = np.flatnonzero(way == 3)
    out[slips] = [add_typo(out[at], where[0, at], where[1, at]) for at in slips]
    return out


def _change(texts: Texts, rows: NDArray[np.bool_], change: Callable[[str], str]) -> None:
    texts[rows] = [change(text) for text in texts[rows]]


def format_phones(draws: Draws, phones: Texts) -> Texts:
    """Write phone numbers, `+CC NUMBER`, in one of the usual formats."""
    way = draws.random(len(phones))
    return np.array(
        [_format_phone(phone, share) for phone, share in zip(phones.tolist(), way.tolist(), strict=True)],
        dtype=object,
    )


def _format_phone(phone: str, way: float) -> str:
    if way < 0.5 or " " not in phone:
        return phone
    country, number = phone.split(" ", 1)
    if way < 0.65:
        return f"{country[1:]}{number}"
    if way < 0.85:
        return f"0{number[:2]}-{number[2:-4]}-{number[-4:]}"
    return f"{country} {number[:2]} {number[2:-4]} {number[-4:]}"
