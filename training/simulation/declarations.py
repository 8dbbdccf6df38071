"""Declarations: converts what is sent to consignment rows with missing values, spellings, languages and errors."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.simulation.context import SimulationContext
from training.simulation.identifiers import IdentifierGenerator
from training.simulation.parties import (
    CAPITALS,
    COURIER,
    DECLARANT,
    KIND,
    LANGUAGE,
    SELLERS,
    Ids,
    SimulatedParties,
    Texts,
    add_typo,
    format_phones,
    write_variants,
)
from training.simulation.shipments import (
    ADMIN,
    CUE,
    HABIT,
    NO_INDEX,
    PLAIN,
    SUBSTANCE,
    VAGUE,
    Draws,
    Shipments,
    Values,
    draw_flags,
    draw_indices,
)
from training.simulation.spelling_noise import SpellingWriter

Columns = dict[str, NDArray[Any]]
Flags = NDArray[np.bool_]

ADVANCE_OF_PRIVATE, ADVANCE_OF_SELLER = 0.88, 1.06
"""Factors of the probability of advance data: lower for private senders, higher for sellers' systems (assumed)."""
FOUR_DIGIT_HS_SHARE = 0.4
"""Share of codes with four digits, among those without six (assumed)."""
TEN_DIGIT_HS_SHARE = 0.2
"""Share of six-digit codes that are declared with ten (assumed)."""
MAX_TEXT_CHARACTERS = 44
"""Maximum length of a description in some postal systems, in characters."""
TRUNCATED_TEXT_SHARE = 0.5
"""Share of postal descriptions that pass through such a system (assumed)."""
PLAIN_NAME_SHARE = 0.7
"""Share of names that a list may know, among true names or codes (assumed)."""
CODE_PATTERNS = ("RC-{}", "item {} research use", "compound {}", "M{} crystal")
NATIVE_SENDERS_SHARE = 0.5
"""Share of senders whose texts may be in their own language (assumed)."""
CURRENCIES_WITHOUT_DECIMALS = ("JPY", "KRW")
"""Currencies declared without decimals."""
EPOCH = np.datetime64("1970-01-01", "D")
HOUR_US = 3_600_000_000


class DeclarationGenerator:
    """Generator of the declarations of a world.

    Parameters
    ----------
    stage : SimulationContext
    """

    def __init__(self, stage: SimulationContext) -> None:
        world, parties = stage.world, stage.parties
        self._world, self._manner, self._parties = world, world.declarations, parties
        self._catalogue, self._substances = stage.catalogue, stage.substances
        self._names = np.array(list(world.services), dtype=object)
        self._services = tuple(world.services.values())
        self._places = tuple(world.people.countries.values())
        self._codes = np.array(parties.countries, dtype=object)
        self._cargo = np.array([service.channel == "air_cargo" for service in self._services])
        self._start = int((np.datetime64(world.start) - EPOCH).astype(int))

    def declare(
        self, draws: Draws, sent: Shipments, since_start: int, numbering: IdentifierGenerator
    ) -> Columns:
        """Declare shipments of a day.

        Returns
        -------
        dict of arrays
            Columns of a consignment table. Texts are objects with None for missing, times are datetime64[us].
        """
        advance = self._draw_advance_data(draws, sent, since_start)
        office = self._offices(draws, sent)
        arrival = np.array([self._world.arrival_places[name][0] for name in office], dtype=object)
        ids, masters = numbering.assign_identifiers(draws, sent, arrival)
        columns: Columns = {
            "consignment_id": ids,
            "channel": np.where(self._cargo[sent.service], "air_cargo", "postal").astype(object),
            "received_at": sent.received_us.astype("datetime64[us]"),
            "service": self._names[sent.service],
            "master_id": masters,
            "nature": self._natures(draws, sent, advance),
        }
        columns |= self._sender(draws, sent, advance)
        columns |= self._consignee(draws, sent, advance)
        columns |= self._account(draws, sent, advance)
        columns |= self._carriage(sent, office)
        columns |= self._goods(draws, sent, advance)
        columns |= self._amounts(draws, sent, advance)
        columns["items"] = self._items(draws, sent, columns)
        return {name: _replace_empty(values) for name, values in columns.items()}

    def _draw_advance_data(self, draws: Draws, sent: Shipments, since_start: int) -> Flags:
        """Draw for which shipments advance data arrived; an outage lowers the probability of a service for some days."""
        chance = np.array([service.ead for service in self._services])
        outage = self._world.events.data_outage
        if 0 <= since_start - outage.day < outage.days:
            chance[list(self._names).index(outage.service)] = outage.ead
        sells = SELLERS[self._parties.kind[sent.sender]]
        lean = np.where(sells, ADVANCE_OF_SELLER, ADVANCE_OF_PRIVATE)
        complete = chance[sent.service] >= 1.0
        return complete | draw_flags(draws, chance[sent.service] * lean, len(sent))

    def _offices(self, draws: Draws, sent: Shipments) -> Texts:
        office = np.empty(len(sent), dtype=object)
        for number, service in enumerate(self._names):
            rows = np.flatnonzero(sent.service == number)
            shares = self._world.offices[service]
            office[rows] = np.array(list(shares), dtype=object)[draw_indices(draws, shares, len(rows))]
        return office

    def _natures(self, draws: Draws, sent: Shipments, advance: Flags) -> Texts:
        sells = SELLERS[self._parties.kind[sent.sender]]
        draw = draws.random(len(sent))
        nature = np.where(sells | (draw < 0.25), "sale", np.where(draw < 0.6, "gift", "other")).astype(object)
        nature[draw > 0.985] = "returned"
        nature[(draw > 0.95) & (draw <= 0.985) & sells] = "sample"
        nature[sent.ware == self._catalogue.number["documents"]] = "documents"
        nature[sent.gift > 0] = "gift"
        nature[~advance] = ""
        return nature

    def _sender(self, draws: Draws, sent: Shipments, advance: Flags) -> Columns:
        party = _WrittenParty(self, draws, sent, named=sent.sender, placed=sent.sender)
        kept = advance | draw_flags(draws, self._manner.typed_from_label, len(sent))
        columns = self._party(draws, "sender", party, sent, advance, kept)
        columns["sender_country"] = self._codes[self._parties.country[sent.sender]]
        phone = advance & draw_flags(draws, self._manner.phone, len(sent))
        return columns | self._contacts(draws, "sender", sent, sent.sender, phone, advance)

    def _consignee(self, draws: Draws, sent: Shipments, advance: Flags) -> Columns:
        party = _WrittenParty(self, draws, sent, named=sent.named, placed=sent.consignee)
        kept = advance | draw_flags(draws, 2 * self._manner.typed_from_label, len(sent))
        columns = self._party(draws, "consignee", party, sent, advance, kept)
        columns["consignee_country"] = self._codes[self._parties.country[sent.consignee]]
        phone = advance & draw_flags(draws, self._manner.consignee_phone, len(sent))
        return columns | self._contacts(draws, "consignee", sent, sent.consignee, phone, advance)

    def _party(
        self, draws: Draws, role: str, party: "_WrittenParty", sent: Shipments, advance: Flags, kept: Flags
    ) -> Columns:
        missing = np.array([service.missing_address for service in self._services])[sent.service]
        placed = kept & ~draw_flags(draws, missing, len(sent))
        coded = placed & advance & ~draw_flags(draws, 0.12, len(sent))
        return {
            f"{role}_name": np.where(kept & ~draw_flags(draws, missing / 4, len(sent)), party.name, ""),
            f"{role}_address": np.where(placed, party.address, ""),
            f"{role}_city": np.where(placed, party.city, ""),
            f"{role}_postcode": np.where(coded, party.postcode, ""),
        }

    def _contacts(
        self, draws: Draws, role: str, sent: Shipments, ids: Ids, phone: Flags, advance: Flags
    ) -> Columns:
        mailed = self._manner.email * np.where(self._cargo[sent.service], 1.3, 0.7)
        email = advance & draw_flags(draws, mailed, len(sent))
        numbers = np.where(phone, self._parties.get_texts("phone", ids), "")
        if self._world.hard is not None:
            numbers = self._get_writer(draws, sent).write_phones(numbers, ids)
        return {
            f"{role}_phone": format_phones(draws, numbers),
            f"{role}_email": np.where(email, self._parties.get_texts("email", ids), ""),
        }

    def _get_writer(self, draws: Draws, sent: Shipments) -> SpellingWriter:
        """Return the writer that distorts the parties of a hard world."""
        assert self._world.hard is not None
        return SpellingWriter(self._world.hard.spelling, draws, sent.network != NO_INDEX)

    def _account(self, draws: Draws, sent: Shipments, advance: Flags) -> Columns:
        has = np.where(
            self._cargo[sent.service], self._manner.account["air_cargo"], self._manner.account["postal"]
        )
        shown = advance & draw_flags(draws, has, len(sent))
        account = np.where(shown, self._parties.get_texts("account", sent.sender), "")
        dated = (account != "") & draw_flags(draws, 0.8, len(sent))
        opened = (self._start + self._parties.opened[sent.sender]).astype("datetime64[D]")
        return {
            "account_id": account,
            "account_opened_on": np.where(dated, opened, np.datetime64("NaT", "D")),
        }

    def _carriage(self, sent: Shipments, office: Texts) -> Columns:
        firms, names = self._world.people.firms, list(self._names)
        postal, express = ~self._cargo[sent.service], sent.service == names.index("express")
        couriers = self._pick_firms(firms.couriers, sent.sender, COURIER)
        places = [self._places[place] for place in sent.departure.tolist()]
        carrier = np.array([place.airline for place in places], dtype=object)
        carrier = np.where(postal, np.array([place.post for place in places], dtype=object), carrier)
        declarant = self._pick_firms(firms.declarants, sent.sender, DECLARANT)
        return {
            "declarant": np.where(postal, "", declarant),
            "carrier": np.where(express, couriers, carrier),
            "office": office,
            "departure_country": self._codes[sent.departure],
            "destination_country": self._codes[self._parties.country[sent.consignee]],
            "route": self._routes(sent, office),
        }

    def _pick_firms(self, firms: tuple[str, ...], senders: Ids, trait: int) -> Texts:
        """Return the firm that each sender always uses."""
        places = (self._parties.traits[senders, trait] * len(firms)).astype(np.int64)
        used: Texts = np.array(firms, dtype=object)[places]
        return used

    def _routes(self, sent: Shipments, office: Texts) -> Texts:
        cargo = self._cargo[sent.service].tolist()
        rows = zip(sent.departure.tolist(), sent.hub.tolist(), office, cargo, strict=True)
        return np.array([self._route(*row) for row in rows], dtype=object)

    def _route(self, departure: int, hub: int, office: str, cargo: bool) -> str:
        stops = [departure] + ([hub] if hub >= 0 and hub != departure else [])
        places = [self._places[stop].airport if cargo else self._places[stop].impc for stop in stops]
        return ">".join([*places, self._world.arrival_places[office][cargo]])

    def _goods(self, draws: Draws, sent: Shipments, advance: Flags) -> Columns:
        kept = advance | draw_flags(draws, self._manner.typed_from_label, len(sent))
        description = np.where(kept, self._describe(draws, sent), "")
        six = np.array([service.hs6 for service in self._services])[sent.service]
        origin = np.where(
            draw_flags(draws, 0.3, len(sent)), "CN", self._codes[self._parties.country[sent.sender]]
        )
        origin_known = advance & draw_flags(draws, 0.3 + 0.6 * six, len(sent))
        return {
            "description": description,
            "hs_code": np.where(advance, self._hs_codes(draws, sent, six), ""),
            "origin_country": np.where(origin_known, origin, ""),
        }

    def _hs_codes(self, draws: Draws, sent: Shipments, six: Values) -> Texts:
        picks, draw, tail = draws.random((3, len(sent)))
        held = self._catalogue.wares
        codes = np.array(
            [held[w].hs[int(p * len(held[w].hs))] for w, p in zip(sent.hs_ware.tolist(), picks, strict=True)],
            dtype=object,
        )
        codes = np.where(tail < TEN_DIGIT_HS_SHARE, codes + "0000", codes)
        partial = np.array([code[:4] for code in codes], dtype=object)
        return np.where(
            draw < six, codes, np.where(draw < six + FOUR_DIGIT_HS_SHARE * (1 - six), partial, "")
        )

    def _describe(self, draws: Draws, sent: Shipments) -> Texts:
        manner, count = self._manner, len(sent)
        language = self._languages(draws, sent)
        picks = draws.random((4, count))
        rows = zip(
            sent.ware.tolist(),
            sent.wording.tolist(),
            sent.habit.tolist(),
            sent.substance.tolist(),
            language,
            picks.T.tolist(),
            strict=True,
        )
        texts = np.array([self._text(*row) for row in rows], dtype=object)
        upper = self._parties.traits[sent.sender, CAPITALS] < manner.upper
        texts[upper] = [text.upper() for text in texts[upper]]
        where = draws.random((3, count))
        for at in np.flatnonzero(where[2] < manner.typo):
            texts[at] = add_typo(texts[at], where[0, at], where[1, at])
        cut = ~self._cargo[sent.service] & draw_flags(draws, TRUNCATED_TEXT_SHARE, count)
        texts[cut] = [text[:MAX_TEXT_CHARACTERS] for text in texts[cut]]
        return texts

    def _languages(self, draws: Draws, sent: Shipments) -> list[str]:
        native = (self._parties.traits[sent.sender, LANGUAGE] < NATIVE_SENDERS_SHARE) & draw_flags(
            draws, self._manner.native_text / NATIVE_SENDERS_SHARE, len(sent)
        )
        homes = self._parties.country[sent.sender].copy()
        if self._world.hard is not None:
            local = self._parties.traits[sent.sender, LANGUAGE] > 1.0 - self._world.hard.honest.local_text
            homes[local] = self._parties.countries.index(self._world.destination)
            native |= local
        return [
            self._places[home].languages[-1] if own else "en"
            for home, own in zip(homes.tolist(), native.tolist(), strict=True)
        ]

    def _text(
        self, ware: int, wording: int, habit: int, substance: int, language: str, picks: list[float]
    ) -> str:
        """Write one description."""
        first, second, third, fourth = picks
        words, held = self._world.goods.words, self._catalogue.wares[ware]
        if wording == PLAIN or (wording == CUE and not held.cues):
            text = _pick_option(held.get_phrases(language), first)
            return (
                f"{text} {_fill_number(_pick_option(words.details, second), third)}"
                if fourth < self._manner.detail
                else text
            )
        if wording == CUE:
            return _pick_option(held.cues, first)
        if wording == VAGUE:
            return _pick_option(words.vague_by_language.get(language, words.vague), first)
        if wording == ADMIN:
            return _fill_number(_pick_option(words.admin, first), second)
        if wording == HABIT:
            return self._habit(ware, habit, third)
        assert wording == SUBSTANCE
        return self._true_name(substance, picks)

    def _habit(self, ware: int, habit: int, share: float) -> str:
        words, held = self._world.goods.words, self._catalogue.wares[ware]
        phrases = held.cues if held.cues and habit % 3 == 0 else held.en
        stem = phrases[habit % len(phrases)]
        tail = words.habits[habit % len(words.habits)].format(habit % 90)
        return stem if share < 0.25 else f"{stem} {tail}"

    def _true_name(self, substance: int, picks: list[float]) -> str:
        first, second, third, fourth = picks
        amount = (1, 5, 10, 25, 50, 100)[int(third * 6)]
        if first < PLAIN_NAME_SHARE:
            name = self._substances.names[substance]
            return f"{name} {amount}g" if fourth < 0.5 else f"{name} sample"
        return f"{_fill_number(_pick_option(CODE_PATTERNS, second), fourth)} {amount}g"

    def _amounts(self, draws: Draws, sent: Shipments, advance: Flags) -> Columns:
        count, manner = len(sent), self._manner
        home = np.where(
            draw_flags(draws, 0.25, count),
            "USD",
            [self._places[c].currency for c in self._parties.country[sent.sender]],
        )
        rate = np.array([manner.usd_per[currency] for currency in home])
        tiny = draw_flags(draws, manner.zero_or_one_value, count)
        value = np.where(tiny, np.floor(draws.uniform(0, 2, count)), sent.usd / rate)
        whole = np.isin(home, CURRENCIES_WITHOUT_DECIMALS)
        base, per_kg = np.array([service.postage_usd for service in self._services])[sent.service].T
        postage = (base + per_kg * sent.kg) * np.exp(draws.normal(0, 0.15, count)) / rate
        declared = advance | draw_flags(draws, 0.3, count)
        paid = advance & draw_flags(draws, np.where(self._cargo[sent.service], 0.9, 0.6), count)
        weighed = advance | draw_flags(draws, 0.8, count)
        return {
            "pieces": self._pieces(draws, sent),
            "gross_weight_kg": np.where(weighed, np.maximum(np.round(sent.kg, 3), 0.01), np.nan),
            "declared_value": np.where(declared, _round_amounts(value, whole), np.nan),
            "currency": np.where(declared | paid, home, "").astype(object),
            "postage": np.where(paid, _round_amounts(postage, whole), np.nan),
            "payment": self._payments(draws, sent, paid),
            "cancelled_at": self._cancellations(draws, sent),
        }

    def _pieces(self, draws: Draws, sent: Shipments) -> Values:
        mean = np.where(sent.service == list(self._names).index("general"), 4.0, 0.15)
        return 1.0 + draws.poisson(mean * np.minimum(sent.kg / 5, 3) + 0.02).astype(np.float64)

    def _payments(self, draws: Draws, sent: Shipments, paid: Flags) -> Texts:
        sells = SELLERS[self._parties.kind[sent.sender]]
        draw = draws.random(len(sent))
        usual = np.where(sells, np.where(draw < 0.6, "account", "card"), np.where(draw < 0.5, "cash", "card"))
        return np.where(paid, np.where(sent.crypto > 0, "crypto", usual), "").astype(object)

    def _cancellations(self, draws: Draws, sent: Shipments) -> NDArray[np.datetime64]:
        cancelled = draw_flags(draws, self._manner.cancelled, len(sent))
        later = sent.received_us + (draws.uniform(1, 20, len(sent)) * HOUR_US).astype(np.int64)
        return np.where(cancelled, later.astype("datetime64[us]"), np.datetime64("NaT", "us"))

    def _items(self, draws: Draws, sent: Shipments, columns: Columns) -> Texts:
        """List the kinds of goods if there are several; the first is the one that the consignment names."""
        items = np.full(len(sent), "", dtype=object)
        several = draw_flags(draws, self._manner.several, len(sent)) & (columns["hs_code"] != "")
        for at in np.flatnonzero(several & (columns["description"] != "")):
            kinds = 2 + int(draws.integers(0, 3))
            shares = draws.dirichlet(np.ones(kinds)).round(3)
            main = {"description": columns["description"][at], "hs_code": columns["hs_code"][at]}
            others = [self._item(draws) for _ in range(kinds - 1)]
            total, kg = columns["declared_value"][at], columns["gross_weight_kg"][at]
            for item, share in zip([main, *others], shares.tolist(), strict=True):
                item["quantity"] = float(draws.integers(1, 6))
                item["net_weight_kg"] = round(0.9 * kg * share, 3)
                item["value"] = round(total * share, 2)
            items[at] = json.dumps([main, *others], ensure_ascii=False)
        return items

    def _item(self, draws: Draws) -> dict[str, Any]:
        ordinary = int((~self._catalogue.hard).sum())
        ware = self._catalogue.wares[int(draws.integers(0, ordinary))]
        return {
            "description": _pick_option(ware.en, draws.random()),
            "hs_code": _pick_option(ware.hs, draws.random()),
        }


class _WrittenParty:
    """Party of each consignment as written on it: name of one, address of another, in the sender's style."""

    def __init__(
        self, declarations: DeclarationGenerator, draws: Draws, sent: Shipments, *, named: Ids, placed: Ids
    ) -> None:
        parties, spelling = declarations._parties, declarations._world.spelling
        upper = parties.traits[sent.sender, CAPITALS] < declarations._manner.upper
        text = parties.get_texts
        self.name = write_variants(draws, text("name", named), text("native_name", named), spelling, upper)
        self.address = write_variants(
            draws, text("address", placed), text("native_address", placed), spelling, upper
        )
        self.city = text("city", placed).copy()
        self.city[upper] = [city.upper() for city in self.city[upper]]
        self.postcode = text("postcode", placed)
        if declarations._world.hard is not None:
            self._mangle(declarations._get_writer(draws, sent), named, placed)

    def _mangle(self, writer: SpellingWriter, named: Ids, placed: Ids) -> None:
        """Distort all texts as forms and clerks do in a hard world."""
        self.address = writer.write_addresses(self.address, placed, self.name)
        self.name = writer.write_names(self.name, named)
        self.city = writer.write_cities(self.city, placed)
        self.postcode = writer.write_postcodes(self.postcode, placed)


def is_box_or_forwarder(parties: SimulatedParties, ids: Ids) -> Flags:
    """Check which parties are P.O. boxes or virtual offices."""
    return np.isin(parties.kind[ids], [KIND["po_box"], KIND["virtual_office"]])


def _pick_option(options: tuple[str, ...], share: float) -> str:
    return options[int(share * len(options))]


def _fill_number(text: str, share: float) -> str:
    return text.format(1 + int(share * 997)) if "{" in text else text


def _round_amounts(values: Values, whole: Flags) -> Values:
    return np.where(whole, np.round(values), np.round(values, 2))


def _replace_empty(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind not in "OU":
        return values
    texts = values.astype(object)
    texts[texts == ""] = None
    return texts
