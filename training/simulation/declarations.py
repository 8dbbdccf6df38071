"""Declarations: converts what is sent to consignment rows with missing values, spellings, languages and errors."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import Bools, Columns, Floats, Ints, Texts
from training.simulation.context import SimulationContext
from training.simulation.identifiers import IdentifierGenerator
from training.simulation.parties import CAPITALS, COURIER, DECLARANT, LANGUAGE, SELLERS
from training.simulation.shipments import (
    HOUR_US,
    NO_INDEX,
    Draws,
    Shipments,
    Wording,
    draw_flags,
    draw_indices,
    pick,
)
from training.simulation.spelling import SpellingWriter, add_typo, format_phones, write_variants

ITEM_TEXTS = (("description", "en"), ("hs_code", "hs"))  # texts of an item, and where the goods have them


class DeclarationGenerator:
    """Generator of the declarations of a world."""

    def __init__(self, context: SimulationContext) -> None:
        world, parties = context.world, context.parties
        self._world, self._manner, self._parties = world, world.declarations, parties
        self._catalogue, self._substances = context.catalogue, context.substances
        self._names = np.array(list(world.services), dtype=object)
        self._services = tuple(world.services.values())
        self._places = tuple(world.people.countries.values())
        self._codes = np.array(parties.countries, dtype=object)
        self._cargo = np.array([service.channel == "air_cargo" for service in self._services])
        self._start = np.datetime64(world.start, "D")

    def declare(
        self, draws: Draws, sent: Shipments, since_start: int, numbering: IdentifierGenerator
    ) -> Columns:
        """Declare shipments of a day; returns columns of a consignment table, with None for missing texts."""
        advance = self._draw_advance_data(draws, sent, since_start)
        office = self._draw_offices(draws, sent)
        arrival = np.array([self._world.arrival_places[name][0] for name in office], dtype=object)
        ids, masters = numbering.assign_identifiers(draws, sent, arrival)
        columns: Columns = {
            "consignment_id": ids,
            "channel": np.where(self._cargo[sent.service], "air_cargo", "postal").astype(object),
            "received_at": sent.received_us.astype("datetime64[us]"),
            "service": self._names[sent.service],
            "master_id": masters,
            "nature": self._draw_natures(draws, sent, advance),
        }
        manner = self._manner
        typed, phones = manner.typed_from_label, (manner.phone, manner.consignee_phone)
        columns |= self._write_party(draws, "sender", sent, advance, typed, phones[0])
        columns |= self._write_party(draws, "consignee", sent, advance, 2 * typed, phones[1])
        columns |= self._draw_accounts(draws, sent, advance)
        columns |= self._describe_carriage(sent, office)
        columns |= self._describe_goods(draws, sent, advance)
        columns |= self._draw_amounts(draws, sent, advance)
        columns["items"] = self._draw_items(draws, sent, columns)
        return {name: _replace_empty(values) for name, values in columns.items()}

    def _draw_advance_data(self, draws: Draws, sent: Shipments, since_start: int) -> Bools:
        """Draw for which shipments advance data arrived; an outage lowers the probability of a service for some days."""
        chance = np.array([service.ead for service in self._services], dtype=np.float64)
        outage = self._world.events.data_outage
        if 0 <= since_start - outage.day < outage.days:
            chance[list(self._names).index(outage.service)] = outage.ead
        factors = self._manner.advance_of_seller, self._manner.advance_of_private
        lean = np.where(self._sells(sent), *factors)
        complete = chance[sent.service] >= 1.0
        return complete | draw_flags(draws, chance[sent.service] * lean, len(sent))

    def _sells(self, sent: Shipments) -> Bools:
        return SELLERS[self._parties.kind[sent.sender]]

    def _draw_offices(self, draws: Draws, sent: Shipments) -> Texts:
        office = np.empty(len(sent), dtype=object)
        for number, service in enumerate(self._names):
            rows = np.flatnonzero(sent.service == number)
            shares = self._world.offices[service]
            office[rows] = np.array(list(shares), dtype=object)[draw_indices(draws, shares, len(rows))]
        return office

    def _draw_natures(self, draws: Draws, sent: Shipments, advance: Bools) -> Texts:
        sells, draw = self._sells(sent), draws.random(len(sent))
        nature = np.where(sells | (draw < 0.25), "sale", np.where(draw < 0.6, "gift", "other")).astype(object)
        nature[draw > 0.985] = "returned"
        nature[(draw > 0.95) & (draw <= 0.985) & sells] = "sample"
        nature[sent.ware == self._catalogue.number["documents"]] = "documents"
        nature[sent.gift > 0] = "gift"
        nature[~advance] = ""
        return nature

    def _write_party(
        self, draws: Draws, role: str, sent: Shipments, advance: Bools, typed: float, phoned: float
    ) -> Columns:
        """Write the party of each consignment in the sender's style, with a name that may be another's, and gaps."""
        count, manner, text = len(sent), self._manner, self._parties.get_texts
        placed = sent.sender if role == "sender" else sent.consignee
        named = sent.sender if role == "sender" else sent.named
        upper = self._parties.traits[sent.sender, CAPITALS] < manner.upper
        spelling, columns = self._world.spelling, (("name", named), ("address", placed))
        forms = ((text(column, ids), text(f"native_{column}", ids)) for column, ids in columns)
        name, address = (write_variants(draws, *both, spelling, upper) for both in forms)
        city, postcode = text("city", placed).copy(), text("postcode", placed)
        city[upper] = [each.upper() for each in city[upper]]
        writer = SpellingWriter(self._world.hard.spelling, draws, sent.network != NO_INDEX)
        if not writer.is_off:
            address = writer.add_care_of(writer.write("address", address, placed), placed, name)
            name = writer.write("name", name, named)
            city = writer.write("city", city, placed)
            postcode = writer.write_postcodes(postcode, placed)
        kept = advance | draw_flags(draws, typed, count)
        missing = np.array([service.missing_address for service in self._services])[sent.service]
        has_place = kept & ~draw_flags(draws, missing, count)
        coded = has_place & advance & ~draw_flags(draws, 0.12, count)
        written = {
            f"{role}_name": np.where(kept & ~draw_flags(draws, missing / 4, count), name, ""),
            f"{role}_address": np.where(has_place, address, ""),
            f"{role}_city": np.where(has_place, city, ""),
            f"{role}_postcode": np.where(coded, postcode, ""),
            f"{role}_country": self._codes[self._parties.country[placed]],
        }
        phone = advance & draw_flags(draws, phoned, count)
        mailed = manner.email * np.where(self._cargo[sent.service], 1.3, 0.7)
        email = advance & draw_flags(draws, mailed, count)
        numbers = np.where(phone, text("phone", placed), "")
        if not writer.is_off:
            numbers = writer.write("phone", numbers, placed)
        emails = np.where(email, text("email", placed), "")
        return written | {f"{role}_phone": format_phones(draws, numbers), f"{role}_email": emails}

    def _draw_accounts(self, draws: Draws, sent: Shipments, advance: Bools) -> Columns:
        chance = self._manner.account
        has = np.where(self._cargo[sent.service], chance["air_cargo"], chance["postal"])
        shown = advance & draw_flags(draws, has, len(sent))
        account = np.where(shown, self._parties.get_texts("account", sent.sender), "")
        dated = (account != "") & draw_flags(draws, 0.8, len(sent))
        opened = self._start + self._parties.opened[sent.sender]
        opened_on = np.where(dated, opened, np.datetime64("NaT", "D"))
        return {"account_id": account, "account_opened_on": opened_on}

    def _describe_carriage(self, sent: Shipments, office: Texts) -> Columns:
        firms, postal = self._world.people.firms, ~self._cargo[sent.service]
        places = [self._places[place] for place in sent.departure.tolist()]
        carriers = [place["post" if mail else "airline"] for place, mail in zip(places, postal, strict=True)]
        carrier, express = np.array(carriers, dtype=object), self._names[sent.service] == "express"
        couriers = self._pick_firms(firms.couriers, sent.sender, COURIER)
        declarant = self._pick_firms(firms.declarants, sent.sender, DECLARANT)
        rows = zip(sent.departure.tolist(), sent.hub.tolist(), office, postal.tolist(), strict=True)
        return {
            "declarant": np.where(postal, "", declarant),
            "carrier": np.where(express, couriers, carrier),
            "office": office,
            "departure_country": self._codes[sent.departure],
            "destination_country": self._codes[self._parties.country[sent.consignee]],
            "route": np.array([self._write_route(*row) for row in rows], dtype=object),
        }

    def _pick_firms(self, firms: tuple[str, ...], senders: Ints, trait: int) -> Texts:
        """Return the firm that each sender always uses."""
        places = (self._parties.traits[senders, trait] * len(firms)).astype(np.int64)
        used: Texts = np.array(firms, dtype=object)[places]
        return used

    def _write_route(self, departure: int, hub: int, office: str, postal: bool) -> str:
        stops = [departure] + ([hub] if hub >= 0 and hub != departure else [])
        names = [self._places[stop]["impc" if postal else "airport"] for stop in stops]
        return ">".join([*names, self._world.arrival_places[office][not postal]])

    def _describe_goods(self, draws: Draws, sent: Shipments, advance: Bools) -> Columns:
        count = len(sent)
        kept = advance | draw_flags(draws, self._manner.typed_from_label, count)
        description = np.where(kept, self._write_descriptions(draws, sent), "")
        six = np.array([service.hs6 for service in self._services])[sent.service]
        home = self._codes[self._parties.country[sent.sender]]
        origin = np.where(draw_flags(draws, 0.3, count), "CN", home)
        origin_known = advance & draw_flags(draws, 0.3 + 0.6 * six, count)
        return {
            "description": description,
            "hs_code": np.where(advance, self._write_hs_codes(draws, sent, six), ""),
            "origin_country": np.where(origin_known, origin, ""),
        }

    def _write_hs_codes(self, draws: Draws, sent: Shipments, six: Floats) -> Texts:
        picks, draw, tail = draws.random((3, len(sent)))
        wares = self._catalogue.wares
        rows = zip(sent.hs_ware.tolist(), picks, strict=True)
        codes = np.array([pick(wares[ware].hs, share) for ware, share in rows], dtype=object)
        codes = np.where(tail < self._manner.ten_digit_hs, codes + "0000", codes)
        heading = np.array([code[:4] for code in codes], dtype=object)
        partial = draw < six + self._manner.four_digit_hs * (1 - six)
        return np.where(draw < six, codes, np.where(partial, heading, ""))

    def _write_descriptions(self, draws: Draws, sent: Shipments) -> Texts:
        manner, count = self._manner, len(sent)
        language = self._draw_languages(draws, sent)
        picks = draws.random((4, count)).T.tolist()
        columns = (sent.ware, sent.wording, sent.habit, sent.substance)
        rows = zip(*(column.tolist() for column in columns), language, picks, strict=True)
        texts = np.array([self._write_description(*row) for row in rows], dtype=object)
        upper = self._parties.traits[sent.sender, CAPITALS] < manner.upper
        texts[upper] = [text.upper() for text in texts[upper]]
        where = draws.random((3, count))
        for at in np.flatnonzero(where[2] < manner.typo):
            texts[at] = add_typo(texts[at], where[0, at], where[1, at])
        cut = ~self._cargo[sent.service] & draw_flags(draws, manner.truncated, count)
        texts[cut] = [text[: manner.max_characters] for text in texts[cut]]
        return texts

    def _draw_languages(self, draws: Draws, sent: Shipments) -> list[str]:
        """Draw the language of each sender: English, that of its country, or in a hard world that of the destination."""
        natives, local_text = self._manner.native_senders, self._world.hard.honest.local_text
        trait = self._parties.traits[sent.sender, LANGUAGE]
        native = (trait < natives) & draw_flags(draws, self._manner.native_text / natives, len(sent))
        homes = self._parties.country[sent.sender].copy()
        local = trait > 1.0 - local_text
        homes[local] = self._parties.home
        own = zip(homes.tolist(), (native | local).tolist(), strict=True)
        return [self._places[home].languages[-1] if is_own else "en" for home, is_own in own]

    def _write_description(
        self, ware: int, wording: int, habit: int, substance: int, language: str, picks: list[float]
    ) -> str:
        first, second, third, fourth = picks
        words, held = self._world.goods.words, self._catalogue.wares[ware]
        if wording == Wording.CUE and held.get("cues"):
            return pick(held.cues, first)
        if wording == Wording.VAGUE:
            return pick(words.vague_by_language.get(language, words.vague), first)
        if wording == Wording.ADMIN:
            return _fill_number(pick(words.admin, first), second)
        if wording == Wording.HABIT:
            return self._write_habit(ware, habit, third)
        if wording == Wording.SUBSTANCE:
            return self._write_true_name(substance, picks)
        text = pick(held.get(language, held.en), first)
        detailed = fourth < self._manner.detail
        return f"{text} {_fill_number(pick(words.details, second), third)}" if detailed else text

    def _write_habit(self, ware: int, habit: int, share: float) -> str:
        tails, held = self._world.goods.words.habits, self._catalogue.wares[ware]
        phrases = held.cues if held.get("cues") and habit % 3 == 0 else held.en
        stem = phrases[habit % len(phrases)]
        return stem if share < 0.25 else f"{stem} {tails[habit % len(tails)].format(habit % 90)}"

    def _write_true_name(self, substance: int, picks: list[float]) -> str:
        """Write a name that a list may know, or a code, with an amount."""
        first, second, third, fourth = picks
        amount = (1, 5, 10, 25, 50, 100)[int(third * 6)]
        if first < self._manner.plain_name:
            return f"{self._substances.names[substance]} {f'{amount}g' if fourth < 0.5 else 'sample'}"
        return f"{_fill_number(pick(self._world.goods.words.codes, second), fourth)} {amount}g"

    def _draw_amounts(self, draws: Draws, sent: Shipments, advance: Bools) -> Columns:
        count, manner = len(sent), self._manner
        home = np.where(
            draw_flags(draws, 0.25, count),
            "USD",
            [self._places[c].currency for c in self._parties.country[sent.sender]],
        )
        rate = np.array([manner.usd_per[currency] for currency in home])
        tiny = draw_flags(draws, manner.zero_or_one_value, count)
        value = np.where(tiny, np.floor(draws.uniform(0, 2, count)), sent.usd / rate)
        whole = np.isin(home, manner.whole_currencies)
        base, per_kg = np.array([service.postage_usd for service in self._services])[sent.service].T
        postage = (base + per_kg * sent.kg) * np.exp(draws.normal(0, 0.15, count)) / rate
        declared = advance | draw_flags(draws, 0.3, count)
        paid = advance & draw_flags(draws, np.where(self._cargo[sent.service], 0.9, 0.6), count)
        weighed = advance | draw_flags(draws, 0.8, count)
        mean = np.where(self._names[sent.service] == "general", 4.0, 0.15)
        pieces = draws.poisson(mean * np.minimum(sent.kg / 5, 3) + 0.02).astype(np.float64)
        return {
            "pieces": 1.0 + pieces,
            "gross_weight_kg": np.where(weighed, np.maximum(np.round(sent.kg, 3), 0.01), np.nan),
            "declared_value": np.where(declared, _round_amounts(value, whole), np.nan),
            "currency": np.where(declared | paid, home, "").astype(object),
            "postage": np.where(paid, _round_amounts(postage, whole), np.nan),
            **self._draw_payments(draws, sent, paid),
        }

    def _draw_payments(self, draws: Draws, sent: Shipments, paid: Bools) -> Columns:
        """Draw how it is paid, and when it is cancelled."""
        draw = draws.random(len(sent))
        of_seller = np.where(draw < 0.6, "account", "card")
        usual = np.where(self._sells(sent), of_seller, np.where(draw < 0.5, "cash", "card"))
        payment = np.where(paid, np.where(sent.crypto > 0, "crypto", usual), "").astype(object)
        cancelled = draw_flags(draws, self._manner.cancelled, len(sent))
        later = sent.received_us + (draws.uniform(1, 20, len(sent)) * HOUR_US).astype(np.int64)
        cancelled_at = np.where(cancelled, later.astype("datetime64[us]"), np.datetime64("NaT", "us"))
        return {"payment": payment, "cancelled_at": cancelled_at}

    def _draw_items(self, draws: Draws, sent: Shipments, columns: Columns) -> Texts:
        """List the kinds of goods if there are several; the first is the one that the consignment names."""
        items = np.full(len(sent), "", dtype=object)
        several = draw_flags(draws, self._manner.several, len(sent)) & (columns["hs_code"] != "")
        for at in np.flatnonzero(several & (columns["description"] != "")):
            kinds = 2 + int(draws.integers(0, 3))
            shares = draws.dirichlet(np.ones(kinds)).round(3)
            main = {"description": columns["description"][at], "hs_code": columns["hs_code"][at]}
            ordinary = int((~self._catalogue.hard).sum())
            wares = (self._catalogue.wares[int(draws.integers(0, ordinary))] for _ in range(kinds - 1))
            others = [{key: pick(ware[of], draws.random()) for key, of in ITEM_TEXTS} for ware in wares]
            total, kg = columns["declared_value"][at], columns["gross_weight_kg"][at]
            for item, share in zip([main, *others], shares.tolist(), strict=True):
                item["quantity"] = float(draws.integers(1, 6))
                item["net_weight_kg"] = round(0.9 * kg * share, 3)
                item["value"] = round(total * share, 2)
            items[at] = json.dumps([main, *others], ensure_ascii=False)
        return items


def _fill_number(text: str, share: float) -> str:
    return text.format(1 + int(share * 997)) if "{" in text else text


def _round_amounts(values: Floats, whole: Bools) -> Floats:
    return np.where(whole, np.round(values), np.round(values, 2))


def _replace_empty(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind not in "OU":
        return values
    texts = values.astype(object)
    texts[texts == ""] = None
    return texts
